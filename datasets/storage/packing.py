"""Writing a picture into a gzip dataset with several threads: HDF5 itself compresses one chunk after the other.

Python's zlib lets other threads run meanwhile, so threads compress chunks and HDF5 only stores them. The file is the
same as if HDF5 had compressed it: zlib streams of whole chunks, bytes shuffled first where the dataset says so.
"""

import itertools
import zlib
from concurrent.futures import Executor
from functools import partial
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.datasets.storage.compression import filter_numbers

LEVEL = 1
_KNOWN = ([h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])


def put_row(dataset: Any, row: int, values: npt.NDArray[Any], threads: Executor | None = None) -> None:
    """`dataset[row] = values`, with `threads` compressing if the dataset is in gzip and of more than one chunk."""
    filters = filter_numbers(dataset)
    chunk, size = dataset.chunks[1:], dataset.shape[1:]
    if threads is None or filters not in _KNOWN or chunk == size:
        dataset[row] = values
        return
    corners = list(itertools.product(*(range(0, full, step) for full, step in zip(size, chunk, strict=True))))
    pack = partial(_packed, np.asarray(values, dataset.dtype), chunk, filters == _KNOWN[1])
    for corner, content in zip(corners, threads.map(pack, corners), strict=True):
        dataset.id.write_direct_chunk((row, *corner), content)


def _packed(values: npt.NDArray[Any], chunk: tuple[int, ...], shuffled: bool, corner: tuple[int, ...]) -> bytes:
    part = values[tuple(slice(start, start + step) for start, step in zip(corner, chunk, strict=True))]
    whole = np.zeros(chunk, values.dtype)
    whole[tuple(slice(0, length) for length in part.shape)] = part
    content = whole.view(np.uint8).reshape(-1, whole.itemsize).T if shuffled else whole
    return zlib.compress(np.ascontiguousarray(content).data, LEVEL)

"""Pairs as a pairs file stores them, chunks compressed and row encoded: made by workers, so that the one process that
writes the file has only to put bytes in their places.

HDF5 itself makes the chunks, in a file in memory that is laid out as the one on disk: whatever the compression, they
are the bytes that it would have written there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Pair
from localblur.datasets.storage.compression import Compression
from localblur.datasets.storage.hdf5 import LIBVER
from localblur.datasets.storage.layout import create_masks, create_scene, put_pair
from localblur.datasets.storage.schema import PAIR_ROW, StoreHeader, check_pair, encode_row, text

ROW = "pairs"
CHUNK_TABLE = np.dtype([("bytes", "<i8"), ("filter_mask", "<u4")])


@dataclass(frozen=True, kw_only=True)
class PackedImage:
    """One picture of a pair: the bytes of its chunks one after the other, row by row, and their (n,) `CHUNK_TABLE`."""

    content: npt.NDArray[np.uint8]
    table: npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class PackedPair:
    """A pair ready to be put into a pairs file.

    Attributes:
        scene, split: where it belongs.
        size: height and width in pixels.
        row: its row, shape (), `PAIR_ROW`.
        images: chunks by the name of their dataset.
    """

    scene: str
    split: str
    size: tuple[int, int]
    row: npt.NDArray[Any]
    images: Mapping[str, PackedImage]

    @property
    def name(self) -> str:
        """The pair's name inside its scene."""
        return text(self.row["name"].item())

    @property
    def masked(self) -> bool:
        """Whether it has a mask."""
        return bool(self.row["masked"])


def pack_pair(header: StoreHeader, pair: Pair, split: str, compression: Compression) -> PackedPair:
    """Check `pair` against the file that it is for, and do everything that costs time: compression, thumbnail, blur
    cells, checksums.

    Args:
        header: of the file.
        pair: what to store.
        split: train, val or test.
        compression: of the file.

    Raises:
        LocalblurError: if the pair cannot be stored in such a file: its type, names, valid box, texts too long.
    """
    check_pair(header, pair, split)
    row = encode_row(pair)
    # nothing of this name is opened or made; threads that pack at the same time need names of their own
    with h5py.File(uuid4().hex, "w", driver="core", backing_store=False, libver=LIBVER) as file:
        file.create_group("scenes")
        group = create_scene(file, pair.scene, split, pair.blurred.shape, header.dtype, compression)
        put_pair(group, 0, pair, row, header.encoding, compression)
        file.flush()
        images = {name: _packed(dataset) for name, dataset in group.items() if name != ROW}
    height, width = pair.blurred.shape[:2]
    return PackedPair(scene=pair.scene, split=split, size=(height, width), row=row, images=images)


def put_packed(group: Any, row: int, packed: PackedPair, compression: Compression) -> None:
    """Write a packed pair at `row` of the group of its scene, appending if that has fewer pairs.

    Raises:
        LocalblurError: if its chunks are not those of the scene.
    """
    if packed.masked:
        create_masks(group, compression)
    for name, image in packed.images.items():
        count = sum(1 for _ in _corners(group[name])) if name in group else 0
        if count != len(image.table) or image.table["bytes"].sum() != len(image.content):
            raise LocalblurError(f"part of pair {packed.scene}/{packed.name} makes no sense: chunks of {name}")
    for dataset in group.values():
        if len(dataset) <= row:
            dataset.resize(row + 1, axis=0)
    for name, image in packed.images.items():
        target, start = group[name].id, 0
        for corner, (length, skipped) in zip(_corners(group[name]), image.table.tolist(), strict=True):
            target.write_direct_chunk((row, *corner), image.content[start : start + length], skipped)
            start += length
    group[ROW][row] = packed.row  # with `complete`, so it comes last: readers do not see a row without it


def plain_row(row: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of a row, shape (n,): types of texts do not survive in plain array files."""
    return np.frombuffer(row.tobytes(), np.uint8)


def row_of(plain: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """The inverse of `plain_row`; ValueError if the bytes are no row."""
    return np.frombuffer(plain.tobytes(), PAIR_ROW, count=1).reshape(())


def _packed(dataset: Any) -> PackedImage:
    chunks = [dataset.id.read_direct_chunk((0, *corner)) for corner in _corners(dataset)]
    table = np.array([(len(content), skipped) for skipped, content in chunks], CHUNK_TABLE)
    content = np.frombuffer(b"".join(content for _, content in chunks), np.uint8)
    return PackedImage(content=content, table=table)


def _corners(dataset: Any) -> Iterator[tuple[int, ...]]:
    """Where the chunks of one picture begin, row by row."""
    steps = dataset.chunks[1:]
    counts = [-(-size // step) for size, step in zip(dataset.shape[1:], steps, strict=True)]
    for place in np.ndindex(*counts):
        yield tuple(number * step for number, step in zip(place, steps, strict=True))

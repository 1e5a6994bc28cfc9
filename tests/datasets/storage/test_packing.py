"""Chunks that threads compressed read as those that HDF5 compressed."""

from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from localblur.datasets.storage.check import find_damage
from localblur.datasets.storage.packing import put_row
from localblur.datasets.store import PairsFile, PairsWriter


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"compression": "lzf"}, {}, {"fletcher32": True}])
def test_rows_read_back_whatever_the_filters(tmp_path, rng, dtype, options):
    shuffle = dtype == np.uint16 and "compression" in options
    pictures = rng.integers(0, np.iinfo(dtype).max + 1, (2, 70, 50, 3)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file, ThreadPoolExecutor(2) as threads:
        dataset = file.create_dataset("x", (2, 70, 50, 3), dtype, chunks=(1, 32, 32, 3), shuffle=shuffle, **options)
        for row, picture in enumerate(pictures):
            put_row(dataset, row, picture, threads)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["x"][:], pictures)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_file_written_by_threads_equals_one_written_without(tmp_path, make_pair, header, dtype):
    header = header.model_copy(update={"bit_depth": 8 * np.dtype(dtype).itemsize})
    stored = []
    for threads in (1, 3):
        with PairsWriter(tmp_path / f"{threads}.h5", header, threads=threads) as writer:
            for number in range(3):
                writer.add(make_pair(name=f"{number}", size=(300, 170), dtype=dtype), "train")
        assert find_damage(writer.path) == []
        with PairsFile(writer.path) as pairs:
            stored.append([pairs.read("s1", number) for number in range(3)])
    for one, other in zip(*stored, strict=True):
        np.testing.assert_array_equal(one.blurred, other.blurred)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.info == other.info

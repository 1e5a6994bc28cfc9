"""Frames written without a copy are the same files as tifffile's, and everybody reads them."""

import io
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile

from localblur.common.errors import LocalblurError
from localblur.datasets.recordings.frame_store import FrameStore
from localblur.datasets.recordings.tiff_frames import content_crc32, split_header, tiff_content, tiff_header

FRAMES = [
    ((12, 16), np.uint8),
    ((12, 16), np.uint16),
    ((3, 5), np.uint8),
    ((1, 1), np.uint16),
    ((11, 7, 3), np.uint8),
    ((40, 64, 3), np.uint16),
]


def by_tifffile(data, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, photometric="minisblack" if data.ndim == 2 else "rgb", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("options", "arrange"),
    [
        ({"compression": "zlib"}, lambda data: data),
        ({"byteorder": ">"}, lambda data: data),
        ({"planarconfig": "separate"}, lambda data: np.moveaxis(data, 2, 0)),
    ],
    ids=["compressed", "of the other byte order", "in planes"],
)
def test_a_file_that_does_not_hold_the_values_as_they_are_is_refused(rng, options, arrange):
    data = rng.integers(0, 4096, (16, 24, 3)).astype(np.uint16)
    content = by_tifffile(arrange(data), **options)
    with pytest.raises(LocalblurError, match=r"does not put the 2304 bytes of a frame of \(16, 24, 3\) uint16 at"):
        split_header(content, data)


@pytest.mark.parametrize("change", [lambda c: c + b"\0", lambda c: c[:-1], lambda c: c[-384:], lambda c: b""])
def test_a_file_that_does_not_end_with_the_values_is_refused(rng, change):
    data = rng.integers(0, 4096, (12, 16)).astype(np.uint16)
    content = by_tifffile(data)
    assert split_header(content, data) == content[:-384]
    with pytest.raises(LocalblurError, match="at the end of its"):
        split_header(change(content), data)


@pytest.mark.parametrize(("shape", "dtype"), FRAMES)
def test_files_are_those_of_tifffile_and_are_read_back_by_others(tmp_path, rng, shape, dtype):
    data = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    path = tmp_path / "frame.tif"
    FrameStore().write(path, tiff_content(data))
    assert path.read_bytes() == by_tifffile(data)
    np.testing.assert_array_equal(tifffile.imread(path), data)
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., ::-1], data)
    assert read.dtype == dtype


@pytest.mark.parametrize(("shape", "dtype"), FRAMES)
def test_the_values_are_the_memory_of_the_frame(shape, dtype):
    data = np.zeros(shape, dtype)
    _, values = tiff_content(data)
    assert np.shares_memory(np.frombuffer(values, dtype), data)
    data.flat[-1] = 7
    assert bytes(values).rstrip(b"\0")[-1] == 7


@pytest.mark.parametrize("cut", [np.s_[::2], np.s_[:, 3:], np.s_[::-1], np.s_[:, ::3]])
def test_slices_are_written_as_they_look(rng, cut):
    data = rng.integers(0, 4096, (24, 36)).astype(np.uint16)[cut]
    assert b"".join(tiff_content(data)) == by_tifffile(np.ascontiguousarray(data))


def test_the_checksum_is_that_of_the_file(rng):
    content = tiff_content(rng.integers(0, 256, (31, 17, 3)).astype(np.uint8))
    assert content_crc32(content) == zlib.crc32(b"".join(content))


def test_writing_a_frame_needs_no_memory_to_speak_of(tmp_path, rng):
    data = rng.integers(0, 4096, (1024, 1024)).astype(np.uint16)
    tiff_header(data.shape, data.dtype)
    store, path = FrameStore(), tmp_path / "frame.tif"
    tracemalloc.start()
    try:
        content = tiff_content(data)
        store.write(path, content)
        content_crc32(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.02 * data.nbytes
    np.testing.assert_array_equal(tifffile.imread(path), data)

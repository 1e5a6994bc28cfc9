"""Frames as uncompressed TIFF files whose pixels are never copied.

Such a file is a header and then the frame's values as they lie in memory. The header depends on shape and type alone:
tifffile writes it once, around a pattern, and that the values follow it untouched and end the file is checked then.
"""

import io
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from localblur.common.errors import LocalblurError

PATTERN_PERIOD = 251
"""A prime, so that no two rows, planes or strips of the pattern look alike."""


@lru_cache(maxsize=8)
def tiff_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What stands in an uncompressed TIFF file before the values of a frame.

    Args:
        shape: (H, W) for a mosaic, (H, W, 3) for RGB.
        dtype: uint8 or uint16.

    Raises:
        LocalblurError: if the installed tifffile lays a file out in another way.
    """
    pattern = np.resize(np.arange(PATTERN_PERIOD, dtype=dtype), shape)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pattern, photometric="minisblack" if len(shape) == 2 else "rgb")
    return split_header(buffer.getvalue(), pattern)


def split_header(content: bytes, values: npt.NDArray[Any]) -> bytes:
    """What stands before `values` in `content`.

    Raises:
        LocalblurError: if `content` does not end with the values, one after the other.
    """
    start = len(content) - values.nbytes
    if start <= 0 or not np.array_equal(
        np.frombuffer(content, np.uint8, offset=start), values.reshape(-1).view(np.uint8)
    ):
        raise LocalblurError(
            f"tifffile {tifffile.__version__} does not put the {values.nbytes} bytes of a frame of {values.shape}"
            f" {values.dtype} at the end of its {len(content)} byte file; install the version of constraints.txt"
        )
    return content[:start]


def tiff_content(data: npt.NDArray[Any]) -> tuple[memoryview, memoryview]:
    """The TIFF file of a frame as two buffers of bytes: header and values.

    The second one is the memory of `data` itself, so `data` must not change until it is written. Only an array with
    gaps, such as a slice, is copied.

    Args:
        data: uint8 or uint16 in the byte order of this machine, (H, W) or (H, W, 3).
    """
    header = tiff_header(data.shape, data.dtype)
    return memoryview(header), np.ascontiguousarray(data).data.cast("B")


def content_crc32(content: Iterable[memoryview]) -> int:
    """CRC-32 of buffers one after the other."""
    checksum = 0
    for buffer in content:
        checksum = zlib.crc32(buffer, checksum)
    return checksum

"""Pictures of a pairs file encoded for a browser."""

import functools
import threading
import zlib
from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import to_coded
from localblur.datasets.view.state import Curation, NoSuchPairError

Bytes = npt.NDArray[np.uint8]
Which = Literal["blurred", "sharp"]

JPEG_QUALITY = 94
THUMBNAIL_QUALITY = 85
WINDOW_LIMIT_PX = 4_000_000
CELLS_COLOUR = (255, 120, 40)


def picture(curation: Curation, number: int, which: str) -> bytes:
    """The whole blurred or sharp picture as JPEG with full colour resolution, sRGB-coded."""
    scene = curation.place(number).scene
    return _encode(".jpg", window_pixels(curation, number, which, (0, 0, scene.height, scene.width)))


def window(curation: Curation, number: int, which: str, box: tuple[int, int, int, int]) -> bytes:
    """A window (y, x, height, width) of the blurred or sharp picture as PNG: the stored pixels, sRGB-coded, 8 bit."""
    if box[2] * box[3] > WINDOW_LIMIT_PX:
        raise LocalblurError(f"a window has at most {WINDOW_LIMIT_PX} pixels, asked for {box[3]} x {box[2]}")
    return _encode(".png", window_pixels(curation, number, which, box))


def window_pixels(curation: Curation, number: int, which: str, box: tuple[int, int, int, int]) -> Bytes:
    """A window of the blurred or sharp picture, sRGB-coded, uint8 (height, width, 3).

    Raises:
        NoSuchPairError: if there is no such picture.
        LocalblurError: if the window leaves the picture.
    """
    if which not in ("blurred", "sharp"):
        raise NoSuchPairError(f"there is no picture {which!r}, only blurred and sharp")
    place = curation.place(number)
    pixels = curation.stored.read_picture(place.scene.name, place.index, which == "sharp", *box)
    return display_pixels(pixels, curation.stored.header.encoding)


def thumbnail(curation: Curation, number: int) -> bytes:
    """The small picture of the blurred image as JPEG."""
    place = curation.place(number)
    return _encode(".jpg", curation.stored.thumbnail(place.scene.name, place.index), THUMBNAIL_QUALITY)


def cells(curation: Curation, number: int) -> bytes:
    """The blurred share of every 16-px cell as a small, orange, more or less transparent PNG.

    Raises:
        NoSuchPairError: if the pair has no mask.
    """
    share = curation.cells(number)
    if share is None:
        raise NoSuchPairError(f"pair {number} has no mask")
    coloured = np.empty((*share.shape, 4), np.uint8)
    coloured[..., :3] = CELLS_COLOUR
    coloured[..., 3] = share // 5 * 3
    return _encode(".png", coloured)


def packed_mask(curation: Curation, number: int) -> bytes:
    """The soft mask, one byte per pixel, row by row, gzip compressed.

    Raises:
        NoSuchPairError: if the pair has no mask.
    """
    mask = curation.mask(number)
    if mask is None:
        raise NoSuchPairError(f"pair {number} has no mask")
    pack = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return pack.compress(np.ascontiguousarray(mask).data) + pack.flush()


def display_pixels(pixels: npt.NDArray[Any], encoding: str) -> Bytes:
    """Stored pixels, uint8 or uint16, as sRGB-coded uint8."""
    if pixels.dtype == np.uint8 and encoding == "srgb":
        return pixels
    return np.take(_display_table(pixels.dtype.str, encoding), pixels)


@functools.lru_cache(maxsize=4)
def _display_table(dtype: str, encoding: str) -> Bytes:
    kind = np.dtype(dtype)
    every = np.arange(np.iinfo(kind).max + 1, dtype=np.uint32).astype(kind)
    return np.rint(to_coded(every, encoding) * 255).astype(np.uint8)


def cached(keep_bytes: int, make: Callable[..., bytes]) -> Callable[..., bytes]:
    """`make` with its latest results kept, up to `keep_bytes` in all; usable from several threads."""
    results: dict[tuple[Any, ...], bytes] = {}
    mutex = threading.Lock()

    def get(*key: Any) -> bytes:
        with mutex:
            found = results.pop(key, None)
            if found is not None:
                results[key] = found
                return found
        found = make(*key)
        with mutex:
            results[key] = found
            size = sum(len(value) for value in results.values())
            while size > keep_bytes and len(results) > 1:
                size -= len(results.pop(next(iter(results))))
        return found

    return get


def _encode(suffix: str, image: npt.NDArray[Any], quality: int = JPEG_QUALITY) -> bytes:
    order = [2, 1, 0, 3][: image.shape[2]]
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if suffix == ".jpg":
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
        options.append(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(image[..., order]), options)
    if not done:
        raise LocalblurError(f"cannot encode a picture of {image.shape} {image.dtype} as {suffix}")
    return encoded.tobytes()

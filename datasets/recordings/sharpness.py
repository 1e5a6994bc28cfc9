"""How sharp a raw frame is: one number to turn a lens by, cheap enough for every frame while recording."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

DARKEST_MEAN_DN = 2.0
"""With less light than this above black there is nothing to normalise by."""
LARGEST_SIDE_PX = 768
"""The middle that is looked at is half the frame's sides, but no more than this: the cost is bounded."""
_SMALLEST_SIDE_PX = 16


def focus_measure(frame: npt.NDArray[Any], black_level: float) -> float:
    """Contrast of the finest detail in the middle of a frame, in percent of its mean brightness.

    The larger the sharper; values compare only for one camera before one scene. It is the energy of the Laplacian
    (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000) made blind to
    noise as Vollath's F4 is (J. Microscopy 147, 1987): instead of a square, the product of two values that share no
    pixel, here the Laplacians of one green plane of the mosaic and, interpolated to the same place, of the other.
    Noise adds nothing on average, and every spatial frequency counts with a weight of 0 or more.

    Args:
        frame: uint8 or uint16, DN; Bayer mosaic (H, W) of any pattern, or RGB (H, W, 3).
        black_level: DN without light.

    Returns:
        0 or more; 0 too for a frame without detail, with less than 2 DN of light, or below 32 px.
    """
    height, width = (min(side // 2, LARGEST_SIDE_PX) // 2 * 2 for side in frame.shape[:2])
    y, x = ((side - used) // 4 * 2 for side, used in zip(frame.shape[:2], (height, width), strict=True))
    if min(height, width) < _SMALLEST_SIDE_PX:
        return 0.0
    one, other = _green_planes(frame[y : y + height, x : x + width])
    mean = float(one.mean() + other.mean()) / 2 - black_level
    if mean < DARKEST_MEAN_DN:
        return 0.0
    detail = cv2.Laplacian(one, cv2.CV_32F, ksize=1)[1:-1, 1:-1]
    product = float(np.einsum("yx,yx->", detail, _between(cv2.Laplacian(other, cv2.CV_32F, ksize=1))))
    return 100 * float(np.sqrt(max(product / detail.size, 0.0))) / mean


def _green_planes(part: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Two green planes of half the size; the other's pixels lie half a pixel down and to the left of the one's."""
    if part.ndim == 3:
        return np.ascontiguousarray(part[0::2, 1::2, 1]), np.ascontiguousarray(part[1::2, 0::2, 1])
    # the diagonal with two pixels of one colour differs less than that of red and blue
    coarse = [[float(part[y::8, x::8].mean()) for x in (0, 1)] for y in (0, 1)]
    if abs(coarse[0][0] - coarse[1][1]) < abs(coarse[0][1] - coarse[1][0]):
        part = part[:, ::-1]
    return np.ascontiguousarray(part[0::2, 1::2]), np.ascontiguousarray(part[1::2, 0::2])


def _between(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Interpolate the other green plane to the pixels of the one, rim left out."""
    mean: npt.NDArray[np.float32] = cv2.boxFilter(plane, -1, (2, 2), anchor=(0, 1))
    return mean[1:-1, 1:-1]

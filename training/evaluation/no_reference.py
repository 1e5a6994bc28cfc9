"""How sharp a picture looks by itself, without a sharp one to compare with."""

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray

BLUR_PX = 11
"""Length of the blur a picture is compared with."""
_RIM_PX = (2, 1)
_FAINT = 1e-9


def sharpness(coded: FloatArray, where: npt.NDArray[np.bool_] | None = None) -> float:
    """One minus the blur effect: how much of a picture's variation a further blur takes away.

    A sharp picture loses much, a blurred one little. Noise and ringing count as sharpness, and flat surfaces tell
    nothing, so only pictures of one scene compare.

    Args:
        coded: sRGB-coded RGB in [0, 1], float32, shape (H, W, 3).
        where: bool (H, W), the pixels to look at; None for all.

    Returns:
        A number in [0, 1], of the direction (rows or columns) that is blurred more; NaN if there is no pixel to look
        at.

    Reference:
        Crété et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric",
        SPIE 6492, 2007.
    """
    # the weights of ITU-R BT.709 for luma, as scikit-image has them
    gray = np.ascontiguousarray(coded @ np.array([0.2125, 0.7154, 0.0721], np.float32))
    begin, end = _RIM_PX
    inner = (slice(begin, -end), slice(begin, -end))
    chosen = np.ones_like(gray, bool) if where is None else where
    if not chosen[inner].any():
        return float("nan")
    effects = []
    for vertical in (True, False):
        size = (1, BLUR_PX) if vertical else (BLUR_PX, 1)
        before = _variation(gray, vertical)
        after = _variation(cv2.blur(gray, size, borderType=cv2.BORDER_REFLECT), vertical)
        lost = np.maximum(0, before - after)
        total = float(before[inner][chosen[inner]].sum(dtype=np.float64))
        effects.append((total - float(lost[inner][chosen[inner]].sum(dtype=np.float64))) / total)
    return 1 - max(effects)


def _variation(gray: FloatArray, vertical: bool) -> FloatArray:
    x, y = (0, 1) if vertical else (1, 0)
    slope = cv2.Sobel(gray, cv2.CV_32F, x, y, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    variation: FloatArray = np.maximum(_FAINT, np.abs(slope))
    return variation

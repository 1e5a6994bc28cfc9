"""One gain per pair: exposure times and the light itself vary a few per cent from shot to shot."""

import numpy as np

from localblur.alignment.light.color import block_samples
from localblur.alignment.registration.displacement import BoolArray
from localblur.alignment.registration.static_region import moving_region
from localblur.datasets.images import FloatArray

_BLOCK_PX = 8
_MIN_BLOCKS = 50
_DARKEST = 0.01
_ROUNDS = 3


def match_brightness(
    sharp: FloatArray, blurred: FloatArray, offset: FloatArray, usable: BoolArray
) -> tuple[FloatArray, float, BoolArray]:
    """Bring `blurred` to the brightness of `sharp` by one robust gain above the common black.

    The gain and the region that moved depend on each other, so they are estimated in turns.

    Args:
        sharp, blurred: linear light on one grid and in one colour, shape (H, W, 3).
        offset: black of both, shape (3,); the gain leaves it in place.
        usable: True where both have unsaturated data, shape (H, W).

    Returns:
        The adjusted blurred image, the gain (1.0 if there is not enough to measure it), and the moving region.
    """
    total = 1.0
    adjusted = blurred
    still = usable
    for _ in range(_ROUNDS):
        step = exposure_gain(sharp - offset, adjusted - offset, still)
        total *= step
        adjusted = (blurred - offset) * np.float32(total) + offset
        still = usable & ~moving_region(sharp, adjusted, usable)
    return adjusted, total, usable & ~still


def exposure_gain(sharp: FloatArray, blurred: FloatArray, usable: BoolArray) -> float:
    """Weighted median of the brightness ratio sharp / blurred over blocks of 8 x 8 usable pixels; 1.0 without enough.

    Blocks weigh in proportion to their light: dark ones have noisy ratios.
    """
    samples = block_samples(sharp, blurred, usable, _BLOCK_PX)
    above, below = samples.sharp.mean(1), samples.blurred.mean(1)
    bright = (below > _DARKEST) & (above > 0)
    if bright.sum() < _MIN_BLOCKS:
        return 1.0
    ratio, weight = above[bright] / below[bright], below[bright]
    order = np.argsort(ratio)
    accumulated = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(accumulated, accumulated[-1] / 2)])

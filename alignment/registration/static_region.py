"""What stood still: pixels of an aligned pair whose difference is noise. The rest moved, or is badly aligned.

This is for alignment's own use (colour, gain, quality); blur masks for training are made in `blur_masks`.
"""

import cv2
import numpy as np

from localblur.alignment.registration.displacement import BoolArray
from localblur.alignment.registration.registration_level import stabilised
from localblur.datasets.images import FloatArray

_THRESHOLD = 7.5
"""In standard deviations of the smoothed difference: textured edges keep some residue even when perfectly aligned."""
_QUANTILE = 0.35
_QUANTILE_IN_SIGMA = 1.046
"""The 35 % quantile of the largest of three half-normal values: a noise estimate that survives 60 % of motion."""


def moving_region(sharp: FloatArray, blurred: FloatArray, valid: BoolArray) -> BoolArray:
    """Pixels that differ by more than noise, grown a little, shape (H, W).

    Args:
        sharp, blurred: linear light on one grid and in one colour, shape (H, W, 3).
        valid: pixels that have data in both; False elsewhere counts as not moving.
    """
    difference = stabilised(sharp) - stabilised(blurred)
    if not valid.any():
        return np.zeros(valid.shape, bool)
    difference -= np.median(difference[valid][::17], axis=0)
    difference[~valid] = 0
    change = np.abs(cv2.GaussianBlur(difference, (0, 0), 1.5)).max(-1)
    sigma = float(np.quantile(change[valid][::5], _QUANTILE)) / _QUANTILE_IN_SIGMA + 1e-6
    flagged = ((change > _THRESHOLD * sigma) & valid).astype(np.uint8)
    flagged = cv2.morphologyEx(flagged, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    flagged = cv2.dilate(flagged, np.ones((9, 9), np.uint8))
    return np.asarray(cv2.morphologyEx(flagged, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8)) > 0)


def grown(flags: BoolArray, size_px: int = 5) -> BoolArray:
    """Flags (H, W) dilated by a square of `size_px`."""
    return np.asarray(cv2.dilate(flags.astype(np.uint8), np.ones((size_px, size_px), np.uint8)) > 0)

"""Shaping binary masks: hysteresis, resolution-scaled morphology, soft confidence. Shared by all makers of masks."""

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.pair import MASK_THRESHOLD

BoolArray = npt.NDArray[np.bool_]

REFERENCE_WIDTH_PX = 640.0
"""Lengths in mask settings are pixels of an image this wide and scale with the width."""


def scaled(length_px: float, width: int, smallest: int = 1) -> int:
    """A length in pixels of a 640-px-wide image as whole pixels of an image `width` wide, at least `smallest`."""
    return max(smallest, round(length_px * width / REFERENCE_WIDTH_PX))


def hysteresis(score: npt.NDArray[np.float32], low: float, high: float) -> BoolArray:
    """True in every 8-connected region above `low` that somewhere exceeds `high`; score (H, W)."""
    count, labels = cv2.connectedComponents((score > low).astype(np.uint8), connectivity=8)
    keep = np.zeros(count, np.bool_)
    keep[labels[score > high]] = True
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def clean(
    binary: BoolArray, *, open_px: float, close_px: float, smallest_area: float, holes_filled: bool = True
) -> BoolArray:
    """Drop specks, close gaps, fill holes, drop tiny regions.

    Args:
        binary: (H, W).
        open_px, close_px: radii in pixels of a 640-px-wide image; 0 leaves that step out.
        smallest_area: regions below this share of the image are dropped.
        holes_filled: fill what is enclosed: the inside of a flat object shows no change.
    """
    width = binary.shape[1]
    mask = cv2.medianBlur(binary.astype(np.uint8), 5)
    for operation, length in ((cv2.MORPH_OPEN, open_px), (cv2.MORPH_CLOSE, close_px)):
        if length > 0:
            mask = cv2.morphologyEx(mask, operation, disc(scaled(length, width)))
    if holes_filled:
        mask = fill_holes(mask > 0).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = statistics[:, cv2.CC_STAT_AREA] >= smallest_area * mask.size
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def fill_holes(binary: BoolArray) -> BoolArray:
    """Fill every hole that does not reach the border of the image."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((~binary).astype(np.uint8), connectivity=4)
    left, top = statistics[:, cv2.CC_STAT_LEFT], statistics[:, cv2.CC_STAT_TOP]
    right, bottom = left + statistics[:, cv2.CC_STAT_WIDTH], top + statistics[:, cv2.CC_STAT_HEIGHT]
    enclosed = (left > 0) & (top > 0) & (right < binary.shape[1]) & (bottom < binary.shape[0])
    enclosed[0] = False
    return np.asarray(binary | enclosed[labels], np.bool_)


def soften(binary: BoolArray, log_odds: npt.NDArray[np.float32], radius_px: int) -> npt.NDArray[np.uint8]:
    """Turn a binary decision and its evidence into a confidence 0..255 that is 128 and above exactly where True.

    Half of the confidence is the evidence itself, half how far inside (or outside) the region a pixel lies.
    """
    posterior = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
    surroundings = cv2.GaussianBlur(binary.astype(np.float32), (0, 0), 1.0 + radius_px)
    confidence = np.rint(255 * 0.5 * (posterior + surroundings))
    limited = np.where(binary, np.maximum(confidence, MASK_THRESHOLD), np.minimum(confidence, MASK_THRESHOLD - 1))
    return np.asarray(limited, np.uint8)


def disc(radius_px: int) -> npt.NDArray[np.uint8]:
    """A round structuring element."""
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)

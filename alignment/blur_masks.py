"""Blur masks: which pixels of a blurred image belong to the extent of a moving object's blur."""

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.pair_evidence import BoolArray, FloatArray, gather_evidence
from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.pair import MASK_THRESHOLD

REFERENCE_WIDTH_PX = 640.0
"""Lengths in `MaskSettings` are pixels of an image this wide and scale with the width."""
MINIMUM_SIDE_PX = 16


class MaskSettings(Settings):
    """How blur masks are made.

    Attributes:
        method: `pair` looks at one blurred and sharp image.
        motion_contrast: share of the local variance of the sharp image that motion is expected to change.
        contrast_radius_px, window_radius_px: half sizes of the windows for local variance and for averaging evidence.
        low, high: evidence (log-likelihood ratio) that extends, and that starts, a blurred region.
        close_px, open_px: radii of the closing and opening of the binary mask.
        smallest_area: regions below this share of the image are dropped.
        fill_holes: whether enclosed holes are filled (the inside of a flat object shows no change).
    """

    method: Literal["pair"] = "pair"
    motion_contrast: float = Field(default=0.15, gt=0)
    contrast_radius_px: float = Field(default=7.0, gt=0)
    window_radius_px: float = Field(default=3.0, gt=0)
    low: float = 0.5
    high: float = 6.0
    close_px: float = Field(default=8.0, ge=0)
    open_px: float = Field(default=1.0, ge=0)
    smallest_area: float = Field(default=1e-4, ge=0, lt=1)
    fill_holes: bool = True


def pair_mask(
    blurred: npt.NDArray[Any],
    sharp: npt.NDArray[Any],
    settings: MaskSettings | None = None,
    valid: BoolArray | None = None,
) -> npt.NDArray[np.uint8]:
    """Soft mask of the blur's extent from one aligned pair.

    Args:
        blurred, sharp: (H, W, 3), sRGB-coded: uint8, uint16, or float in [0, 1]; aligned to about half a pixel.
        settings: defaults when None.
        valid: (H, W) bool; the mask is 0 outside it.

    Returns:
        uint8 (H, W): confidence that a pixel belongs to the extent; exactly the blurred pixels have 128 and above.

    Raises:
        LocalblurError: if shapes or types disagree, values are NaN, or too few pixels are usable.
    """
    settings = settings or MaskSettings()
    blurred_levels, sharp_levels = _levels(blurred, "blurred"), _levels(sharp, "sharp")
    usable = _check_pair(blurred_levels, sharp_levels, valid)
    # what lies outside the valid area must not reach into it through filters
    blurred_levels[~usable] = sharp_levels[~usable]
    scale = usable.shape[1] / REFERENCE_WIDTH_PX
    evidence = gather_evidence(blurred_levels, sharp_levels, usable)
    ratio = evidence.log_likelihood_ratio(max(2, round(settings.contrast_radius_px * scale)), settings.motion_contrast)
    ratio[~usable] = 0
    radius = max(1, round(settings.window_radius_px * scale))
    score = cv2.blur(ratio, (2 * radius + 1, 2 * radius + 1))
    blurred_pixels = _clean(hysteresis(score, settings.low, settings.high) & usable, settings, scale) & usable
    mask = soften(blurred_pixels, score, radius)
    mask[~usable] = 0
    return mask


METHODS: dict[str, Callable[..., npt.NDArray[np.uint8]]] = {"pair": pair_mask}
"""Mask methods that look at one pair, by their name in `MaskSettings.method`."""


def hysteresis(score: FloatArray, low: float, high: float) -> BoolArray:
    """True in every 8-connected region above `low` that somewhere exceeds `high`; score (H, W)."""
    count, labels = cv2.connectedComponents((score > low).astype(np.uint8), connectivity=8)
    keep = np.zeros(count, np.bool_)
    keep[labels[score > high]] = True
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def soften(binary: BoolArray, score: FloatArray, radius_px: int) -> npt.NDArray[np.uint8]:
    """Turn a binary decision and its evidence into a confidence 0..255 that is 128 and above exactly where True.

    Half of the confidence is the evidence itself, half how far inside (or outside) the region a pixel lies.
    """
    posterior = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    surroundings = cv2.GaussianBlur(binary.astype(np.float32), (0, 0), 1.0 + radius_px)
    confidence = np.rint(255 * 0.5 * (posterior + surroundings))
    limited = np.where(binary, np.maximum(confidence, MASK_THRESHOLD), np.minimum(confidence, MASK_THRESHOLD - 1))
    return np.asarray(limited, np.uint8)


def _clean(binary: BoolArray, settings: MaskSettings, scale: float) -> BoolArray:
    """Resolution-scaled morphology: drop specks, close gaps, fill holes, drop tiny regions."""
    mask = cv2.medianBlur(binary.astype(np.uint8), 5)
    for operation, length in ((cv2.MORPH_OPEN, settings.open_px), (cv2.MORPH_CLOSE, settings.close_px)):
        if length > 0:
            mask = cv2.morphologyEx(mask, operation, _disc(max(1, round(length * scale))))
    if settings.fill_holes:
        mask = _fill_holes(mask)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = statistics[:, cv2.CC_STAT_AREA] >= settings.smallest_area * mask.size
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def _fill_holes(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Fill every hole that does not reach the border of the image."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    left, top = statistics[:, cv2.CC_STAT_LEFT], statistics[:, cv2.CC_STAT_TOP]
    right, bottom = left + statistics[:, cv2.CC_STAT_WIDTH], top + statistics[:, cv2.CC_STAT_HEIGHT]
    enclosed = (left > 0) & (top > 0) & (right < mask.shape[1]) & (bottom < mask.shape[0])
    enclosed[0] = False
    return np.where(enclosed[labels], np.uint8(1), mask)


def _disc(radius_px: int) -> npt.NDArray[np.uint8]:
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _levels(image: npt.NDArray[Any], name: str) -> FloatArray:
    """Any accepted image as float32 levels 0..255."""
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < MINIMUM_SIDE_PX:
        raise LocalblurError(f"{name} must be (H, W, 3) with sides of at least {MINIMUM_SIDE_PX} px, got {image.shape}")
    if image.dtype == np.uint8:
        return image.astype(np.float32)
    if image.dtype == np.uint16:
        return image.astype(np.float32) * np.float32(255 / 65535)
    if image.dtype.kind != "f":
        raise LocalblurError(f"{name} must be uint8, uint16 or float in [0, 1], got {image.dtype}")
    if not np.isfinite(image).all():
        raise LocalblurError(f"{name} holds NaN or infinite values; no blur mask can be made from it")
    if image.min() < -0.5 or image.max() > 1.5:
        raise LocalblurError(
            f"{name} spans {image.min():.3g}..{image.max():.3g}; float images must be sRGB-coded in [0, 1]"
        )
    return image.astype(np.float32) * np.float32(255)


def _check_pair(blurred: FloatArray, sharp: FloatArray, valid: BoolArray | None) -> BoolArray:
    if blurred.shape != sharp.shape:
        raise LocalblurError(f"blurred is {blurred.shape} but sharp is {sharp.shape}; a pair has one size")
    if valid is None:
        return np.ones(blurred.shape[:2], np.bool_)
    if valid.shape != blurred.shape[:2] or valid.dtype != np.bool_:
        raise LocalblurError(f"valid must be {blurred.shape[:2]} bool, got {valid.shape} {valid.dtype}")
    return valid

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
from localblur.datasets.mask_shapes import clean, fill_flat_regions, hysteresis, scaled, soften

MINIMUM_SIDE_PX = 16


class MaskSettings(Settings):
    """How blur masks are made; lengths are pixels of a 640-px-wide image and scale with the width.

    Attributes:
        method: `pair` looks at one blurred and sharp image.
        motion_contrast: share of the local variance of the sharp image that motion is expected to change.
        contrast_radius_px, window_radius_px: half sizes of the windows for local variance and for averaging evidence.
        low, high: evidence (log-likelihood ratio) that extends, and that starts, a blurred region.
        close_px, open_px: radii of the closing and opening of the binary mask.
        smallest_area: regions below this share of the image are dropped.
        flat_visibility: where motion would stand out of the noise by less than this, the picture is flat.
        flat_coverage: a flat region belongs to the blur if more than this share of its rim does; 1 leaves it out.
        largest_flat_area: larger flat regions, as a share of the image, are background.
        fill_holes: whether enclosed holes are filled.
    """

    method: Literal["pair"] = "pair"
    motion_contrast: float = Field(default=0.1, gt=0)
    contrast_radius_px: float = Field(default=7.0, gt=0)
    window_radius_px: float = Field(default=3.0, gt=0)
    low: float = 0.5
    high: float = 12.0
    close_px: float = Field(default=8.0, ge=0)
    open_px: float = Field(default=1.0, ge=0)
    smallest_area: float = Field(default=1e-4, ge=0, lt=1)
    flat_visibility: float = Field(default=2.0, ge=0)
    flat_coverage: float = Field(default=0.5, gt=0, le=1)
    largest_flat_area: float = Field(default=0.1, ge=0, le=1)
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
    evidence = gather_evidence(blurred_levels, sharp_levels, usable)
    width = usable.shape[1]
    ratio = evidence.log_likelihood_ratio(scaled(settings.contrast_radius_px, width, 2), settings.motion_contrast)
    ratio[~usable] = 0
    radius = scaled(settings.window_radius_px, width)
    score = cv2.blur(ratio, (2 * radius + 1, 2 * radius + 1))
    flat = evidence.visibility(scaled(1.0, width), settings.motion_contrast) < settings.flat_visibility
    binary = _shape(hysteresis(score, settings.low, settings.high) & usable, flat & usable, settings)
    mask = soften(binary & usable, score, radius)
    mask[~usable] = 0
    return mask


METHODS: dict[str, Callable[..., npt.NDArray[np.uint8]]] = {"pair": pair_mask}
"""Mask methods that look at one pair, by their name in `MaskSettings.method`."""


def _shape(seen: BoolArray, flat: BoolArray, settings: MaskSettings) -> BoolArray:
    """From where motion is seen to the extent of the moving objects."""

    def tidy(binary: BoolArray) -> BoolArray:
        return clean(
            binary,
            open_px=settings.open_px,
            close_px=settings.close_px,
            smallest_area=settings.smallest_area,
            holes_filled=settings.fill_holes,
        )

    outlined = tidy(seen)
    completed = fill_flat_regions(
        outlined, flat, coverage=settings.flat_coverage, largest_area=settings.largest_flat_area
    )
    return tidy(completed)


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

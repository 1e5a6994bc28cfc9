"""Blur masks for pairs made from video: what changed between the frames of the exposure."""

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.common.settings import Settings
from localblur.datasets.masks.mask_regions import RimRule, fill_regions
from localblur.datasets.masks.mask_shapes import BoolArray, clean, hysteresis, scaled, soften


class MotionMaskSettings(Settings):
    """When a pixel counts as blurred; lengths are pixels of a 640-px-wide image where not said otherwise.

    Attributes:
        presmooth_px: Gaussian on the frames, in pixels of the frame, before their differences are taken.
        tolerance_px: motion, in pixels of the frame, that is no visible blur: cameras on tripods sway by less.
        noise_factor: how many times the usual swing of flat areas a change must exceed.
        noise_floor, noise_cap: bounds of that noise level in levels; the cap is for scenes that move as a whole.
        low, high: swing, in units of what noise and tolerance explain, that extends and that starts a region.
        close_px, open_px, smallest_area, fill_holes: shape of the mask, as for pairs.
        flat_coverage, largest_flat_area: which flat regions inside it are filled, as for pairs.
    """

    presmooth_px: float = Field(default=0.7, gt=0)
    tolerance_px: float = Field(default=1.0, ge=0)
    noise_factor: float = Field(default=2.0, gt=0)
    noise_floor: float = Field(default=4.0, gt=0)
    noise_cap: float = Field(default=12.0, gt=0)
    low: float = Field(default=1.0, gt=0)
    high: float = Field(default=2.0, gt=0)
    close_px: float = Field(default=5.0, ge=0)
    open_px: float = Field(default=1.0, ge=0)
    smallest_area: float = Field(default=2e-4, ge=0, lt=1)
    fill_holes: bool = True
    flat_coverage: float = Field(default=0.5, gt=0, le=1)
    largest_flat_area: float = Field(default=0.1, ge=0, le=1)


def motion_mask(
    swing: npt.NDArray[np.uint8], sharp: npt.NDArray[np.uint8], settings: MotionMaskSettings
) -> npt.NDArray[np.uint8]:
    """Soft mask of the blur's extent from how far every pixel swung during the exposure.

    A swing is motion when it exceeds both the noise (that of the quietest flat areas) and what a sway of
    `tolerance_px` would do to the sharp frame's edges.

    Args:
        swing: highest minus lowest presmoothed value, (H, W, 3) uint8, see `Exposure.swing`.
        sharp: the middle frame, (H, W, 3) uint8.

    Returns:
        uint8 (H, W): 128 and above is blurred.
    """
    smooth = cv2.GaussianBlur(sharp, (0, 0), settings.presmooth_px).astype(np.float32)
    slope = np.hypot(
        cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32), cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32)
    )
    # an edge that sways is seen on both of its sides
    steepest = cv2.dilate(slope, np.ones((3, 3), np.uint8))
    ratio = np.zeros(swing.shape[:2], np.float32)
    flat = np.ones(swing.shape[:2], np.bool_)
    for channel in range(3):
        values, edges = swing[..., channel].astype(np.float32), steepest[..., channel]
        noise = _noise_level(values, edges, settings)
        np.maximum(ratio, values / (noise + settings.tolerance_px * edges), out=ratio)
        flat &= edges < noise
    ratio = cv2.blur(ratio, (3, 3))
    outlined = _tidy(hysteresis(ratio, settings.low, settings.high), settings)
    rule = RimRule(settings.flat_coverage, imbalance=0.1, border=0.5, largest_area=settings.largest_flat_area)
    binary = _tidy(fill_regions(outlined, flat, rule), settings)
    log_odds = 3 * np.log(np.maximum(ratio, 1e-3) / settings.low)
    return soften(binary, log_odds.astype(np.float32), scaled(3.0, swing.shape[1]))


def _tidy(binary: BoolArray, settings: MotionMaskSettings) -> BoolArray:
    return clean(
        binary,
        open_px=settings.open_px,
        close_px=settings.close_px,
        smallest_area=settings.smallest_area,
        holes_filled=settings.fill_holes,
    )


def _noise_level(swing: npt.NDArray[np.float32], slope: npt.NDArray[np.float32], settings: MotionMaskSettings) -> float:
    """Swing in levels that noise alone may reach: a multiple of the lower quartile over the flatter half."""
    step = max(1, int(np.sqrt(swing.size / 60_000)))
    values, slopes = swing[::step, ::step].ravel(), slope[::step, ::step].ravel()
    quiet = float(np.quantile(values[slopes <= np.median(slopes)], 0.25))
    return float(np.clip(settings.noise_factor * quiet, settings.noise_floor, settings.noise_cap))

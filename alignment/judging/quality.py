"""Quality measures of an aligned pair, and the limits of the verdict."""

from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field

from localblur.alignment.judging.fidelity import compare_still
from localblur.alignment.judging.motion_check import MotionCheckSettings, check_motion
from localblur.alignment.judging.parallax import ParallaxSettings, find_parallax
from localblur.alignment.model.pair import REFINEMENTS, AlignedPair
from localblur.alignment.registration.registration_level import luma, stabilised
from localblur.alignment.registration.robust import Vector, correlation
from localblur.common.settings import Settings
from localblur.datasets.images import srgb_encode
from localblur.datasets.storage.mask_confidence import MASK_CONFIDENCE

_BEST_PSNR_DB = 42.0
"""Resampling and demosaicing leave as much between noise-free pictures; noise below that explains nothing."""


class QualitySettings(Settings):
    """Limits of the verdict. The starting values come from simulated pairs; look at the report before trusting them.

    Attributes:
        min_correlation: of the lumas over valid pixels; below, the two pictures do not show the same thing.
        min_usable_tiles: share of tiles that stood still and have texture; below, alignment cannot be checked.
        max_residual_p50_px, max_residual_p95_px: residual shift of the usable tiles.
        min_static_psnr_db: of the pixels that stood still, sRGB-coded.
        max_psnr_gap_db: how far that may lie below what noise explains (10 dB is ten times the error energy); above
            42 dB resampling and demosaicing count as noise.
        max_color_bias: mean size of the local colour differences that are left, levels of 255.
        min_sharpness, max_sharpness: contrast of the blurred picture's still detail over the sharp one's; beyond, one
            camera is out of focus (on simulated pairs: 0.96 to 1.04, camera B with a point spread of 1.2 instead of
            0.5 px 0.76 at most).
        max_saturated: share of clipped pixels.
        max_gain, and 1 / max_gain: brightness difference that counts as exposure jitter.
        max_moving: share of pixels that differ.
        max_drift_px: distance from the rig calibration; beyond, the rig was bumped and should be calibrated again.
        min_parallax_tiles, max_parallax: how many, and which share of the moving tiles may re-appear shifted.
        min_refinement: simplest acceptable refinement: affine, translation or none.
        max_rejected: share of rejected pairs above which the command ends with exit code 3.
    """

    min_correlation: float = Field(default=0.5, ge=-1, le=1)
    min_usable_tiles: float = Field(default=0.15, ge=0, le=1)
    max_residual_p50_px: float = Field(default=0.15, ge=0)
    max_residual_p95_px: float = Field(default=0.4, ge=0)
    min_static_psnr_db: float = Field(default=25.0, ge=0)
    max_psnr_gap_db: float = Field(default=10.0, ge=0)
    max_color_bias: float = Field(default=2.0, ge=0)
    min_sharpness: float = Field(default=0.8, ge=0, le=1)
    max_sharpness: float = Field(default=1.25, ge=1)
    max_saturated: float = Field(default=0.4, ge=0, le=1)
    max_gain: float = Field(default=2.0, ge=1)
    max_moving: float = Field(default=0.7, ge=0, le=1)
    max_drift_px: float = Field(default=15.0, ge=0)
    min_parallax_tiles: int = Field(default=5, ge=1)
    max_parallax: float = Field(default=0.1, ge=0, le=1)
    min_refinement: str = Field(default="translation", pattern="^(affine|translation|none)$")
    max_rejected: float = Field(default=0.5, ge=0, le=1)
    parallax: ParallaxSettings = ParallaxSettings()
    motion: MotionCheckSettings = MotionCheckSettings()


@dataclass(frozen=True)
class Measure:
    """What a quality measure is called in a report."""

    title: str
    unit: str
    explanation: str


MEASURES: dict[str, Measure] = {
    "usable_tiles": Measure("usable tiles", "share", "tiles that stood still and have enough texture to check"),
    "residual_p50_px": Measure("residual p50", "px", "median residual shift of the usable tiles"),
    "residual_p95_px": Measure("residual p95", "px", "95 % of the usable tiles have a smaller residual shift"),
    "residual_mean_px": Measure("common residual", "px", "length of the mean residual shift vector"),
    "static_psnr_db": Measure(
        "static PSNR", "dB", "of the pixels that stood still, sRGB-coded; badly aligned pixels count as moving"
    ),
    "psnr_gap_db": Measure(
        "below noise", "dB", "how far static PSNR lies below what the noise of both cameras explains"
    ),
    "noise_sharp": Measure("noise of sharp", "levels", "standard deviation in sRGB-coded levels of 255"),
    "noise_blurred": Measure("noise of blurred", "levels", "the same, after resampling and colour matching"),
    "noise_exponent": Measure(
        "noise exponent", "", "power of the light with which noise variance grows: about 1 if the encoding is right"
    ),
    "color_bias": Measure("colour bias", "levels", "mean size of local colour differences, in the worst channel"),
    "color_bias_red": Measure(
        "colour bias red", "levels", "median of blurred minus sharp where nothing moved, levels of 255"
    ),
    "color_bias_green": Measure(
        "colour bias green", "levels", "median of blurred minus sharp where nothing moved, levels of 255"
    ),
    "color_bias_blue": Measure(
        "colour bias blue", "levels", "median of blurred minus sharp where nothing moved, levels of 255"
    ),
    "sharpness": Measure(
        "sharpness", "x", "contrast of still detail, blurred over sharp; below 1 camera B is out of focus"
    ),
    "correlation": Measure("correlation", "", "of the lumas over valid pixels"),
    "saturated": Measure("saturated", "share", "pixels clipped in either image"),
    "moving": Measure("moving", "share", "pixels that differ by more than noise"),
    "gain": Measure("gain", "x", "brightness factor applied to the blurred image"),
    "drift_px": Measure("drift", "px", "mean distance of the pair's field from the rig calibration"),
    "refinement_degree": Measure(
        "refinement", "degree", "what the pair had texture for: 3 cubic, 2 quadratic, 1 affine, 0 translation, -1 none"
    ),
    "calibrated": Measure(
        "calibrated", "flag", "whether a rig calibration was used; otherwise fitted on the pair itself"
    ),
    "parallax": Measure("parallax", "share", "moving tiles that re-appear unblurred but shifted"),
    "parallax_tiles": Measure("parallax tiles", "tiles", "how many tiles that is"),
    "parallax_px": Measure("parallax shift", "px", "their median shift"),
    "unexplained": Measure("unexplained", "share", "of the difference, by motion blur of the sharp picture"),
    "unexplained_reverse": Measure("unexplained reverse", "share", "the same by motion blur of the blurred picture"),
    "own_detail": Measure("own detail", "share", "of the blurred picture where it differs, not in the sharp one"),
    "mirrored": Measure(
        "mirrored", "flag", "whether a mirrored blurred picture fits better (only asked when rejected)"
    ),
    "exchanged": Measure(
        "exchanged", "flag", "whether the exchanged pictures fit better (asked of pairs off the calibration)"
    ),
    "exposure_ratio": Measure("exposures", "x", "the long exposure time over the short one"),
    MASK_CONFIDENCE: Measure("mask confidence", "share", "share of the mask's area that is beyond doubt"),
}


def measure_quality(aligned: AlignedPair, settings: QualitySettings) -> dict[str, float]:
    """All measures of `MEASURES` for one pair; NaN where there is nothing to measure."""
    usable = aligned.valid & ~aligned.saturated
    lengths = aligned.tiles.lengths_px()
    considered = int(aligned.tiles.considered.sum())
    common = aligned.tiles.shift_px[aligned.tiles.usable].mean(0) if lengths.size else np.full(2, np.nan)
    parallax = find_parallax(aligned.sharp, aligned.blurred, aligned.moving, usable, settings.parallax)
    motion = check_motion(
        aligned.sharp, aligned.blurred, aligned.moving, aligned.valid, aligned.saturated, settings.motion
    )
    degree = REFINEMENTS[aligned.refinement]
    psnr_db = static_psnr(aligned)
    still = compare_still(aligned.sharp, aligned.blurred, usable & ~aligned.moving)
    red, green, blue = still.channel_bias
    return {
        "usable_tiles": lengths.size / considered if considered else 0.0,
        "residual_p50_px": _percentile(lengths, 50),
        "residual_p95_px": _percentile(lengths, 95),
        "residual_mean_px": float(np.hypot(*common)),
        "static_psnr_db": psnr_db,
        "psnr_gap_db": min(still.noise_psnr_db, _BEST_PSNR_DB) - psnr_db,
        "noise_sharp": still.noise_sharp,
        "noise_blurred": still.noise_blurred,
        "noise_exponent": still.noise_exponent,
        "color_bias": still.color_bias,
        "color_bias_red": red,
        "color_bias_green": green,
        "color_bias_blue": blue,
        "sharpness": still.sharpness,
        "correlation": _luma_correlation(aligned),
        "saturated": float(aligned.saturated[aligned.valid].mean()) if aligned.valid.any() else 1.0,
        "moving": float(aligned.moving[usable].mean()) if usable.any() else float("nan"),
        "gain": aligned.gain,
        "drift_px": aligned.drift_px,
        "refinement_degree": -1.0 if degree is None else float(degree),
        "calibrated": float(aligned.calibrated),
        "parallax": parallax.share,
        "parallax_tiles": float(parallax.shifted),
        "parallax_px": parallax.shift_px,
        "unexplained": motion.unexplained,
        "unexplained_reverse": motion.reverse,
        "own_detail": motion.own_detail,
        "mirrored": 0.0,
        "exchanged": 0.0,
        "exposure_ratio": float("nan"),
    }


def static_psnr(aligned: AlignedPair) -> float:
    """PSNR in dB of sRGB-coded values over valid, unsaturated pixels that stood still; NaN if there are none.

    It censors itself (badly aligned pixels count as moving), so it never decides alone.
    """
    static = aligned.valid & ~aligned.saturated & ~aligned.moving
    if not static.any():
        return float("nan")
    error = srgb_encode(aligned.blurred[static]) - srgb_encode(aligned.sharp[static])
    return float(-10 * np.log10(np.mean(error.astype(np.float64) ** 2) + 1e-12))


def _percentile(values: Vector, share: float) -> float:
    return float(np.percentile(values, share)) if values.size else float("nan")


def _luma_correlation(aligned: AlignedPair) -> float:
    if not aligned.valid.any():
        return 0.0
    # smoothed: noise, which differs, must not outweigh weak texture, which agrees
    sharp, blurred = (
        cv2.GaussianBlur(stabilised(luma(light)), (0, 0), 2.0) for light in (aligned.sharp, aligned.blurred)
    )
    return correlation(sharp[aligned.valid], blurred[aligned.valid])

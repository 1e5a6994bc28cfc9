"""Quality measures of an aligned pair, and the verdict with its reasons in words."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field

from localblur.alignment.pair import REFINEMENTS, AlignedPair
from localblur.alignment.parallax import ParallaxSettings, find_parallax
from localblur.alignment.registration_level import luma, stabilised
from localblur.alignment.robust import Vector, correlation
from localblur.common.settings import Settings
from localblur.datasets.images import srgb_encode
from localblur.datasets.pair import Verdict


class QualitySettings(Settings):
    """Limits of the verdict. The starting values come from simulated pairs; look at the report before trusting them.

    Attributes:
        min_correlation: of the lumas over valid pixels; below, the two pictures do not show the same thing.
        min_usable_tiles: share of tiles that stood still and have texture; below, alignment cannot be checked.
        max_residual_p50_px, max_residual_p95_px: residual shift of the usable tiles.
        min_static_psnr_db: of the pixels that stood still, sRGB-coded.
        max_saturated: share of clipped pixels.
        max_gain, and 1 / max_gain: brightness difference that counts as exposure jitter.
        max_moving: share of pixels that differ.
        max_drift_px: distance from the rig calibration; beyond, the rig was bumped and should be calibrated again.
        min_parallax_tiles, max_parallax: how many, and which share of the moving tiles may re-appear shifted.
        min_refinement: simplest acceptable refinement: affine, translation or none.
        max_rejected: share of rejected pairs above which the command ends with exit code 3.
    """

    min_correlation: float = 0.7
    min_usable_tiles: float = 0.08
    max_residual_p50_px: float = 0.15
    max_residual_p95_px: float = 0.4
    min_static_psnr_db: float = 25.0
    max_saturated: float = 0.4
    max_gain: float = 2.0
    max_moving: float = 0.7
    max_drift_px: float = 15.0
    min_parallax_tiles: int = 5
    max_parallax: float = 0.1
    min_refinement: str = Field(default="translation", pattern="^(affine|translation|none)$")
    max_rejected: float = Field(default=0.5, ge=0, le=1)
    parallax: ParallaxSettings = ParallaxSettings()


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
    "correlation": Measure("correlation", "", "of the lumas over valid pixels"),
    "saturated": Measure("saturated", "share", "pixels clipped in either image"),
    "moving": Measure("moving", "share", "pixels that differ by more than noise"),
    "gain": Measure("gain", "x", "brightness factor applied to the blurred image"),
    "drift_px": Measure("drift", "px", "mean distance of the pair's field from the rig calibration"),
    "refinement_degree": Measure("refinement", "degree", "3 cubic, 1 affine, 0 translation, -1 none"),
    "calibrated": Measure(
        "calibrated", "flag", "whether a rig calibration was used; otherwise fitted on the pair itself"
    ),
    "parallax": Measure("parallax", "share", "moving tiles that re-appear unblurred but shifted"),
    "parallax_tiles": Measure("parallax tiles", "tiles", "how many tiles that is"),
    "parallax_px": Measure("parallax shift", "px", "their median shift"),
}


def measure_quality(aligned: AlignedPair, settings: QualitySettings) -> dict[str, float]:
    """All measures of `MEASURES` for one pair; NaN where there is nothing to measure."""
    usable = aligned.valid & ~aligned.saturated
    lengths = aligned.tiles.lengths_px()
    considered = int(aligned.tiles.considered.sum())
    common = aligned.tiles.shift_px[aligned.tiles.usable].mean(0) if lengths.size else np.full(2, np.nan)
    parallax = find_parallax(aligned.sharp, aligned.blurred, aligned.moving, usable, settings.parallax)
    degree = REFINEMENTS[aligned.refinement]
    return {
        "usable_tiles": lengths.size / considered if considered else 0.0,
        "residual_p50_px": _percentile(lengths, 50),
        "residual_p95_px": _percentile(lengths, 95),
        "residual_mean_px": float(np.hypot(*common)),
        "static_psnr_db": static_psnr(aligned),
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


def decide(quality: Mapping[str, float], settings: QualitySettings) -> tuple[Verdict, str]:
    """Accept or reject; the reasons are words with the value, its limit, and what it means. A NaN rejects."""
    for rules in (FUNDAMENTAL_RULES, RULES):
        reasons = [reason for rule in rules if (reason := rule(quality, settings))]
        if reasons:
            return Verdict.REJECT, "; ".join(reasons)
    return Verdict.ACCEPT, ""


Rule = Callable[[Mapping[str, float], QualitySettings], str]


def _same_scene(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["correlation"]
    if value >= limits.min_correlation:
        return ""
    return (
        f"the two pictures do not match (correlation {value:.2f}, limit {limits.min_correlation}):"
        " different scenes, a mirrored camera, or no texture at all"
    )


def _parallax(quality: Mapping[str, float], limits: QualitySettings) -> str:
    share = quality["parallax"]
    if share <= limits.max_parallax or quality["parallax_tiles"] < limits.min_parallax_tiles:
        return ""
    return (
        f"parallax or late trigger: {share:.0%} of moving tiles re-appear shifted by {quality['parallax_px']:.1f} px"
        f" (limit {limits.max_parallax:.0%})"
    )


def _texture(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["usable_tiles"]
    if value >= limits.min_usable_tiles:
        return ""
    return (
        f"only {value:.0%} of the tiles stood still and have texture (limit {limits.min_usable_tiles:.0%}):"
        " the alignment cannot be checked"
    )


def _refinement(quality: Mapping[str, float], limits: QualitySettings) -> str:
    lowest = REFINEMENTS[limits.min_refinement]
    if quality["refinement_degree"] >= (-1 if lowest is None else lowest):
        return ""
    return f"too little texture to refine the alignment on this pair (required: {limits.min_refinement})"


def _residual(quality: Mapping[str, float], limits: QualitySettings) -> str:
    for name, limit in (
        ("residual_p50_px", limits.max_residual_p50_px),
        ("residual_p95_px", limits.max_residual_p95_px),
    ):
        if quality[name] > limit:
            return f"misaligned: {MEASURES[name].title} is {quality[name]:.2f} px (limit {limit} px)"
    return ""


def _drift(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["drift_px"]
    if value <= limits.max_drift_px:
        return ""
    return f"{value:.1f} px away from the calibration (limit {limits.max_drift_px} px): the rig was bumped, recalibrate"


def _saturated(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["saturated"]
    if value <= limits.max_saturated:
        return ""
    return f"{value:.0%} of the pixels are saturated (limit {limits.max_saturated:.0%}): expose less"


def _brightness(quality: Mapping[str, float], limits: QualitySettings) -> str:
    if not 1 / limits.max_gain <= quality["gain"] <= limits.max_gain:
        return f"brightness differs by a factor of {quality['gain']:.2f} (limit {limits.max_gain})"
    return ""


def _moving(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["moving"]
    if value <= limits.max_moving:
        return ""
    shown = "nothing is left to measure" if math.isnan(value) else f"{value:.0%} of the pixels differ"
    return f"{shown} (limit {limits.max_moving:.0%}): nearly all of the picture moved or is misaligned"


def _noise(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["static_psnr_db"]
    if not value < limits.min_static_psnr_db:
        return ""
    return f"static PSNR is {value:.1f} dB (limit {limits.min_static_psnr_db} dB)"


FUNDAMENTAL_RULES: tuple[Rule, ...] = (_saturated, _same_scene)
"""If one of these applies, the other measures mean nothing."""

RULES: tuple[Rule, ...] = (_parallax, _texture, _refinement, _residual, _drift, _brightness, _moving, _noise)


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

"""The verdict on an aligned pair: rules that read its quality measures and say in words what is wrong.

Rules come in stages: when one of a stage applies, the measures of later stages mean nothing and are not judged.
"""

import math
from collections.abc import Callable, Mapping

from localblur.alignment.judging.motion_check import MotionCheck
from localblur.alignment.judging.quality import MEASURES, QualitySettings
from localblur.alignment.model.pair import REFINEMENTS
from localblur.datasets.pair import Verdict

Rule = Callable[[Mapping[str, float], QualitySettings], str]


def decide(quality: Mapping[str, float], settings: QualitySettings) -> tuple[Verdict, str]:
    """Accept or reject; the reasons are words with the value, its limit, and what it means. A NaN rejects."""
    for stage in STAGES:
        reasons = [reason for rule in stage if (reason := rule(quality, settings))]
        if reasons:
            return Verdict.REJECT, "; ".join(reasons)
    return Verdict.ACCEPT, ""


def _mirrored(quality: Mapping[str, float], limits: QualitySettings) -> str:
    if not quality["mirrored"]:
        return ""
    return (
        f"mirrored: the pictures correlate by {quality['correlation']:.2f} only, better with one of them flipped"
        " (flip it in the camera, ReverseX or ReverseY, or before alignment)"
    )


def _exchanged(quality: Mapping[str, float], limits: QualitySettings) -> str:
    remedy = "(exchange the roles of the cameras, or blur and sharp in the file names)"
    if quality["exposure_ratio"] < 1:
        ratio = 1 / quality["exposure_ratio"]
        return f"cameras swapped: the sharp picture was exposed {ratio:.3g} times as long as the blurred one {remedy}"
    if quality["exchanged"]:
        return f"cameras swapped: only the exchanged pictures fit the rig's calibration {remedy}"
    motion = _motion(quality)
    if not motion.exchange >= limits.motion.min_exchange:
        return ""
    return (
        f"cameras swapped: motion blur of the sharp picture leaves {motion.exchange:.1f} times more of the difference"
        f" than motion blur of the blurred one, limit {limits.motion.min_exchange} {remedy}"
    )


def _same_scene(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["correlation"]
    if value >= limits.min_correlation:
        return ""
    return (
        f"the two pictures do not match (correlation {value:.2f}, limit {limits.min_correlation}):"
        " different scenes, or no texture at all"
    )


def _parallax(quality: Mapping[str, float], limits: QualitySettings) -> str:
    share = quality["parallax"]
    if share <= limits.max_parallax or quality["parallax_tiles"] < limits.min_parallax_tiles:
        return ""
    return (
        f"parallax: {share:.0%} of moving tiles re-appear unblurred but shifted by {quality['parallax_px']:.1f} px"
        f" (limit {limits.max_parallax:.0%})"
    )


def _late(quality: Mapping[str, float], limits: QualitySettings) -> str:
    motion = _motion(quality)
    if not motion.strangeness > limits.motion.max_strangeness:
        return ""
    return (
        f"late trigger: what differs is no motion blur (score {motion.strangeness:.2f}, limit"
        f" {limits.motion.max_strangeness}, {motion.own_detail:.0%} of the detail is the blurred picture's own):"
        " the two pictures show moving things at different places"
    )


def _motion(quality: Mapping[str, float]) -> MotionCheck:
    return MotionCheck(float("nan"), quality["unexplained"], quality["unexplained_reverse"], quality["own_detail"])


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
    return (
        f"rig bumped: the pair lies {value:.1f} px from the calibration (limit {limits.max_drift_px} px):"
        " record static pairs again"
    )


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


def _sharpness(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["sharpness"]
    if value < limits.min_sharpness:
        return (
            f"out of focus: still detail has {value:.0%} of its contrast in camera B"
            f" (limit {limits.min_sharpness:.0%}), compared with camera S: focus B, and see that it does not shake"
        )
    if value > limits.max_sharpness:
        return (
            f"out of focus: still detail has {1 / value:.0%} of its contrast in camera S (limit"
            f" {1 / limits.max_sharpness:.0%}), compared with camera B: focus S"
        )
    return ""


def _colors(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["color_bias"]
    if not value > limits.max_color_bias:
        return ""
    channels = ", ".join(f"{name} {quality[f'color_bias_{name}']:+.1f}" for name in ("red", "green", "blue"))
    return (
        f"wrong colours: they differ by {value:.1f} levels of 255 where nothing moved (limit"
        f" {limits.max_color_bias:g}, medians {channels}): record static pairs again, with manual white balance"
    )


def _gap(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["psnr_gap_db"]
    if not value > limits.max_psnr_gap_db:
        return ""
    return (
        f"more than noise: what stood still differs more than noise explains, static PSNR lies {value:.1f} dB"
        f" below it (limit {limits.max_psnr_gap_db:g} dB)"
    )


def _noise(quality: Mapping[str, float], limits: QualitySettings) -> str:
    value = quality["static_psnr_db"]
    if not value < limits.min_static_psnr_db:
        return ""
    return f"static PSNR is {value:.1f} dB (limit {limits.min_static_psnr_db} dB)"


STAGES: tuple[tuple[Rule, ...], ...] = (
    (_mirrored,),
    (_saturated, _same_scene),
    (_exchanged,),
    (_texture, _refinement),
    (_parallax, _residual, _drift, _brightness, _moving, _noise),
    (_sharpness,),
    (_colors,),
    (_gap,),
    (_late,),
)
"""A near layer seen from two points, and a misaligned picture, differ by no motion blur either: `_late` comes last.
Lack of focus is a difference at every edge, so it is asked before the colours, and both before the rest."""

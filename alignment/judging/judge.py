"""Aligning and judging one pair; one that does not fit is asked whether a known mistake explains that."""

from dataclasses import dataclass, replace

from localblur.alignment.judging.quality import QualitySettings, measure_quality
from localblur.alignment.judging.rules import decide
from localblur.alignment.model.calibration import RigCalibration, looks_mirrored
from localblur.alignment.model.pair import AlignedPair, align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.registration_level import stabilised_luma
from localblur.datasets.pair import Verdict

_CLEARLY_BETTER = 0.5


@dataclass(frozen=True)
class JudgedPair:
    """A pair with its quality measures, the verdict, and its reasons in words."""

    aligned: AlignedPair
    quality: dict[str, float]
    verdict: Verdict
    reasons: str


def judge_pair(
    captured: CapturedPair, calibration: RigCalibration | None, alignment: AlignmentSettings, quality: QualitySettings
) -> JudgedPair:
    """Align, measure and judge one pair.

    Args:
        captured: both images in linear light.
        calibration: of the rig; without, the pair is registered on its own.
        alignment: constants of the alignment.
        quality: limits of the verdict.

    Raises:
        LocalblurError: as `align_pair`.
    """
    aligned = align_pair(captured, calibration, alignment)
    measures = measure_quality(aligned, quality)
    measures["exposure_ratio"] = captured.exposure_long_ms / captured.exposure_short_ms
    measures["mirrored"] = float(_mirrored(captured, measures, quality))
    measures["exchanged"] = float(_exchanged(captured, calibration, alignment, measures, quality))
    verdict, reasons = decide(measures, quality)
    return JudgedPair(aligned, measures, verdict, reasons)


def _mirrored(captured: CapturedPair, measures: dict[str, float], limits: QualitySettings) -> bool:
    if measures["correlation"] >= limits.min_correlation:
        return False
    return looks_mirrored(
        *(stabilised_luma(image.light, image.saturated) for image in (captured.sharp, captured.blurred))
    )


def _exchanged(
    captured: CapturedPair,
    calibration: RigCalibration | None,
    alignment: AlignmentSettings,
    measures: dict[str, float],
    limits: QualitySettings,
) -> bool:
    """Whether the exchanged pictures fit the calibration where these do not."""
    if calibration is None or measures["correlation"] < limits.min_correlation:
        return False
    blur_in_place = measures["unexplained"] < _CLEARLY_BETTER * measures["unexplained_reverse"]
    if blur_in_place and measures["color_bias"] <= limits.max_color_bias:
        return False  # a bump just happens to lead towards the exchanged field

    def misfit(found: dict[str, float]) -> float:
        """Residual shifts and drift as multiples of their limits; NaN without texture."""
        return max(
            found["residual_p50_px"] / limits.max_residual_p50_px,
            found["residual_p95_px"] / limits.max_residual_p95_px,
            found["drift_px"] / alignment.bumped_px,
        )

    if not misfit(measures) > 1:
        return False
    other = align_pair(replace(captured, blurred=captured.sharp, sharp=captured.blurred), calibration, alignment)
    return misfit(measure_quality(other, limits)) < min(1, _CLEARLY_BETTER * misfit(measures))

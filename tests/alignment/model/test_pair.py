"""Calibrating a rig and aligning pairs: accuracy against the truth, and what happens when it cannot work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localblur.alignment.judging.judge import judge_pair
from localblur.alignment.judging.quality import MEASURES, QualitySettings, measure_quality
from localblur.alignment.judging.rules import decide
from localblur.alignment.light.radiometry import LinearImage
from localblur.alignment.model.calibration import calibrate, fit_static_pair, looks_mirrored
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.registration_level import stabilised_luma
from localblur.alignment.run.inputs import open_input
from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.mask_confidence import MASK_CONFIDENCE

SETTINGS = AlignmentSettings()
LIMITS = QualitySettings()


@pytest.fixture(scope="module")
def calibration(shots: dict[str, Any]) -> Any:
    return calibrate(
        [fit_static_pair(shots[name].captured(name), SETTINGS) for name in ("static0", "static1")], SETTINGS
    )


def uniform(value: float, size: tuple[int, int] = (240, 320)) -> LinearImage:
    return LinearImage(np.full((*size, 3), value, np.float32), np.full(size, value >= 0.97))


def mirrored(image: LinearImage) -> LinearImage:
    return LinearImage(np.ascontiguousarray(image.light[:, ::-1]), np.ascontiguousarray(image.saturated[:, ::-1]))


def judged(captured: CapturedPair, calibration: Any) -> tuple[Any, Verdict, str]:
    judged = judge_pair(captured, calibration, SETTINGS, LIMITS)
    return judged.aligned, judged.verdict, judged.reasons


def test_pictures_of_different_size_are_refused() -> None:
    with pytest.raises(LocalblurError, match="320x240 but sharp is 300x240"):
        align_pair(CapturedPair("a", uniform(0.2), uniform(0.2, (240, 300))), None, SETTINGS)


def test_tiny_pictures_are_refused() -> None:
    with pytest.raises(LocalblurError, match="too small"):
        align_pair(CapturedPair("a", uniform(0.2, (40, 50)), uniform(0.2, (40, 50))), None, SETTINGS)


def test_nan_is_refused() -> None:
    bad = uniform(0.2)
    bad.light[3, 4, 1] = np.nan
    with pytest.raises(LocalblurError, match="NaN"):
        align_pair(CapturedPair("a", bad, uniform(0.2)), None, SETTINGS)


def test_other_size_than_the_calibration_is_refused(calibration: Any) -> None:
    small = CapturedPair("a", uniform(0.2, (120, 160)), uniform(0.2, (120, 160)))
    with pytest.raises(LocalblurError, match="calibrated at 320x240"):
        align_pair(small, calibration, SETTINGS)


def test_static_pairs_of_different_size_are_refused(shots: dict[str, Any], small_rig: Any) -> None:
    fits = [fit_static_pair(shot.captured(), SETTINGS) for shot in (shots["static0"], small_rig.shot(1, moving=False))]
    with pytest.raises(LocalblurError, match="differ in size"):
        calibrate(fits, SETTINGS)


def test_mirrored_static_pairs_are_refused_with_the_remedy(shots: dict[str, Any]) -> None:
    captured = shots["static0"].captured()
    fit = fit_static_pair(replace(captured, blurred=mirrored(captured.blurred)), SETTINGS)
    assert fit.correlation < SETTINGS.min_static_correlation
    with pytest.raises(LocalblurError, match="mirrored: flip it"):
        calibrate([fit], SETTINGS)
    lumas = [stabilised_luma(image.light, image.saturated) for image in (captured.sharp, captured.blurred)]
    assert not looks_mirrored(*lumas)


def test_calibration_is_accurate_and_leaves_a_bad_pair_out(shots: dict[str, Any], rig: Any) -> None:
    good = [fit_static_pair(shots[name].captured(name), SETTINGS) for name in ("static0", "static1")]
    bad = CapturedPair("bad", shots["static0"].captured().blurred, rig.shot(77, moving=False).captured().sharp)
    found = calibrate([*good, fit_static_pair(bad, SETTINGS)], SETTINGS)
    assert found.labels == ("static0", "static1")
    assert shots["static0"].error_px(found.field.positions())[0] < 0.02
    np.testing.assert_allclose(found.color.matrix, rig.matrix, atol=0.004)
    np.testing.assert_allclose(found.color.vignetting, rig.vignetting, atol=0.003)
    assert max(found.spread_px) < 0.05
    assert found.content()["static_pairs"] == ["static0", "static1"]


def test_calibrated_pair_is_aligned_in_geometry_color_and_brightness(shots: dict[str, Any], calibration: Any) -> None:
    shot = shots["moving"]
    aligned, verdict, reasons = judged(shot.captured(), calibration)
    assert (verdict, reasons) == (Verdict.ACCEPT, "")
    assert aligned.refinement == "affine"
    mean, p95 = shot.error_px(aligned.positions)
    assert mean < 0.03
    assert p95 < 0.06
    assert aligned.gain == pytest.approx(1 / 1.03, rel=0.003)
    assert aligned.drift_px == pytest.approx(np.hypot(0.4, 0.3), rel=0.2)
    still = aligned.valid & ~aligned.moving
    assert np.abs(aligned.blurred - aligned.sharp)[still].mean() < 0.005
    assert aligned.moving[shot.moving].mean() > 0.6
    assert aligned.moving[~shot.moving].mean() < 0.05


def test_sharp_image_is_never_touched(shots: dict[str, Any], calibration: Any) -> None:
    captured = shots["moving"].captured()
    np.testing.assert_array_equal(align_pair(captured, calibration, SETTINGS).sharp, captured.sharp.light)


def test_without_calibration_the_pair_itself_is_fitted(shots: dict[str, Any]) -> None:
    aligned, verdict, _ = judged(shots["moving"].captured(), None)
    assert verdict is Verdict.ACCEPT
    assert aligned.refinement == "cubic"
    assert not aligned.calibrated
    assert shots["moving"].error_px(aligned.positions)[0] < 0.04


def test_weak_texture_falls_back_and_says_so(rig: Any, calibration: Any) -> None:
    shot = rig.shot(3, moving=False, contrast=0.004)
    aligned, verdict, reasons = judged(shot.captured(), calibration)
    assert aligned.refinement == "none"
    assert shot.error_px(aligned.positions)[0] < 0.1  # the rig's field is still right
    assert verdict is Verdict.REJECT
    assert "texture" in reasons


@pytest.mark.parametrize(
    ("textured", "refinement", "degree"),
    [((240, 320), "affine", 1.0), ((100, 100), "translation", 0.0), ((0, 0), "none", -1.0)],
)
def test_the_refinement_is_what_the_texture_is_enough_for(
    textured: tuple[int, int], refinement: str, degree: float, rig: Any, calibration: Any
) -> None:
    """Texture in one corner says how far the picture is shifted, but not how it is turned."""
    captured = rig.shot(3, moving=False, drift_px=(0.4, -0.3)).captured()
    bare = rig.shot(3, moving=False, drift_px=(0.4, -0.3), contrast=0.02).captured()
    rows, columns = (slice(0, size) for size in textured)
    for part, flat in ((captured.blurred, bare.blurred), (captured.sharp, bare.sharp)):
        flat.light[rows, columns] = part.light[rows, columns]
    aligned = align_pair(bare, calibration, SETTINGS)
    assert aligned.refinement == refinement
    assert measure_quality(aligned, LIMITS)["refinement_degree"] == degree
    truth = rig.shot(3, moving=False, drift_px=(0.4, -0.3))
    assert truth.error_px(aligned.positions)[0] < (0.1 if degree >= 0 else 0.6)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("value", [1.0, 0.0, 0.4])
def test_pictures_without_content_are_rejected(value: float, known: bool, calibration: Any) -> None:
    captured = CapturedPair("flat", uniform(value), uniform(value))
    aligned, verdict, reasons = judged(captured, calibration if known else None)
    assert np.isfinite(aligned.positions).all()
    assert aligned.drift_px < 1
    assert verdict is Verdict.REJECT
    assert ("saturated" if value == 1.0 else "texture") in reasons


@pytest.mark.parametrize("known", [True, False])
def test_mirrored_camera_is_rejected(known: bool, shots: dict[str, Any], calibration: Any) -> None:
    captured = shots["moving"].captured()
    captured = replace(captured, blurred=mirrored(captured.blurred))
    _, verdict, reasons = judged(captured, calibration if known else None)
    assert verdict is Verdict.REJECT
    assert reasons.startswith("mirrored: ")


def test_exposure_times_give_swapped_cameras_away(shots: dict[str, Any], calibration: Any) -> None:
    captured = replace(shots["moving"].captured(), exposure_long_ms=2.0, exposure_short_ms=20.0)
    _, verdict, reasons = judged(captured, calibration)
    assert verdict is Verdict.REJECT
    assert reasons.startswith("cameras swapped: the sharp picture was exposed 10 times as long")


def test_parallax_is_rejected_with_the_right_reason(rig: Any, calibration: Any) -> None:
    _, verdict, reasons = judged(rig.shot(4, moving=False, parallax_px=4.0).captured(), calibration)
    assert verdict is Verdict.REJECT
    assert reasons.startswith("parallax: ")
    assert " 4.0 px" in reasons or " 3.9 px" in reasons or " 4.1 px" in reasons


def test_every_measure_is_made_and_explained(shots: dict[str, Any], calibration: Any) -> None:
    aligned = align_pair(shots["moving"].captured(), calibration, SETTINGS)
    assert set(measure_quality(aligned, LIMITS)) == set(MEASURES) - {MASK_CONFIDENCE}  # added with the masks


@pytest.fixture(scope="module")
def good_measures(shots: dict[str, Any], calibration: Any) -> dict[str, float]:
    return measure_quality(align_pair(shots["moving"].captured(), calibration, SETTINGS), LIMITS)


@pytest.mark.parametrize(
    ("measure", "value", "reason"),
    [
        ("saturated", 0.6, "60% of the pixels are saturated"),
        ("correlation", 0.2, "do not match"),
        ("usable_tiles", 0.02, "only 2% of the tiles"),
        ("refinement_degree", -1.0, "too little texture to refine"),
        ("residual_p50_px", 0.5, "residual p50 is 0.50 px"),
        ("residual_p95_px", 0.9, "residual p95 is 0.90 px"),
        ("drift_px", 50.0, "rig bumped: the pair lies 50.0 px from the calibration"),
        ("gain", 3.0, "factor of 3.00"),
        ("gain", 0.3, "factor of 0.30"),
        ("moving", 0.95, "95% of the pixels differ"),
        ("moving", float("nan"), "nothing is left to measure"),
        ("static_psnr_db", 18.0, "static PSNR is 18.0 dB"),
        ("mirrored", 1.0, "mirrored: "),
        ("exchanged", 1.0, "cameras swapped: only the exchanged pictures fit"),
        ("exposure_ratio", 0.1, "cameras swapped: the sharp picture was exposed 10 times as long"),
        ("unexplained", 2.0, "cameras swapped: motion blur of the sharp picture leaves"),
        ("own_detail", 1.0, "late trigger: "),
        ("sharpness", 0.6, "out of focus: still detail has 60% of its contrast in camera B"),
        ("sharpness", 1.6, "out of focus: still detail has 62% of its contrast in camera S"),
        ("color_bias", 4.0, "wrong colours: they differ by 4.0 levels"),
        ("psnr_gap_db", 12.0, "more than noise: "),
    ],
)
def test_each_limit_has_its_reason(measure: str, value: float, reason: str, good_measures: dict[str, float]) -> None:
    assert decide(good_measures, LIMITS) == (Verdict.ACCEPT, "")
    verdict, reasons = decide(good_measures | {measure: value}, LIMITS)
    assert verdict is Verdict.REJECT
    assert reason in reasons
    assert ";" not in reasons


def test_limits_come_from_the_settings(good_measures: dict[str, float]) -> None:
    strict = QualitySettings(max_residual_p50_px=0.0)
    assert decide(good_measures, strict)[0] is Verdict.REJECT
    none = QualitySettings(min_refinement="none", min_usable_tiles=0)
    assert decide(good_measures | {"refinement_degree": -1.0, "usable_tiles": 0.0}, none)[0] is Verdict.ACCEPT


@pytest.mark.slow
@pytest.mark.parametrize(("rig_name", "encoding"), [("rig21", "srgb"), ("rig22", "linear")])
def test_reference_rigs(rig_name: str, encoding: Any, shared: Path) -> None:
    """Every acceptable pair is accepted and within 0.04 px; the pair with parallax is rejected for that."""
    source = open_input(shared / "cases" / "alignment" / rig_name, encoding, SETTINGS.radiometry)
    statics = source.pairs("calibration/static")
    rig = calibrate([fit_static_pair(source.read("calibration/static", pair), SETTINGS) for pair in statics], SETTINGS)
    for scene in source.scenes():
        aligned, verdict, reasons = judged(source.read(f"scenes/{scene}", "00"), rig)
        if scene == "reject_parallax":
            assert reasons.startswith("parallax")
            continue
        assert (verdict, reasons) == (Verdict.ACCEPT, "")
        truth = shared / "cases" / "alignment" / rig_name / "truth" / scene
        assert error_of_reference(truth, aligned.positions)[0] < 0.04
        assert error_of_reference(truth, aligned.positions)[1] < 0.08


def error_of_reference(truth: Path, positions: np.ndarray) -> tuple[float, float]:
    """Mean and 95 % quantile of the error on the coarse grid on which the truth is given, away from what moved."""
    cv2 = pytest.importorskip("cv2")
    stored = np.load(truth / "gt.npz")
    flags = cv2.imread(str(truth / "masks.png"), cv2.IMREAD_GRAYSCALE)
    rows, columns = np.rint(stored["ys"]).astype(int), np.rint(stored["xs"]).astype(int)
    inner = (rows >= 12) & (rows < flags.shape[0] - 12)
    across = (columns >= 12) & (columns < flags.shape[1] - 12)
    picked = np.ix_(rows[inner], columns[across])
    found, expected = positions[picked], stored["map_S2B"][np.ix_(inner, across)]
    still = (flags[picked] & 5) == 4
    error = np.hypot(*np.moveaxis(found - expected, -1, 0))[still]
    return float(error.mean()), float(np.percentile(error, 95))

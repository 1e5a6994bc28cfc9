"""What can go wrong at a rig: every pair is either aligned within the limits, or rejected with the right reason."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest

from localblur.acquisition.rig import optics
from localblur.acquisition.rig.settings import RigSettings, SceneSettings, resolve_rig
from localblur.alignment.judging.judge import judge_pair
from localblur.alignment.judging.quality import QualitySettings
from localblur.alignment.light.radiometry import LinearImage
from localblur.alignment.model.calibration import calibrate, fit_static_pair
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.datasets.pair import Verdict

SETTINGS, LIMITS = AlignmentSettings(), QualitySettings()
WIDTH, HEIGHT = 480, 360
MAX_MEAN_PX, MAX_P95_PX = 0.06, 0.15
SEEDS = range(6)
FIRST, *REST = SEEDS

Array = Any


@dataclass(frozen=True)
class Failure:
    """A pair to judge: the truth about its geometry, None where no alignment can be right."""

    captured: CapturedPair
    truth: Any = None


@lru_cache(maxsize=len(SEEDS))
def calibrated(tools: Any, seed: int) -> tuple[Any, Any]:
    """A rig and its calibration."""
    rig = tools.rig(resolve_rig(seed=seed, width=WIDTH, height=HEIGHT))
    return rig, rig.calibration()


def scene(seed: int, **options: Any) -> SceneSettings:
    return SceneSettings(seed=100 + seed, **options)


@lru_cache(maxsize=2)
def usual_shot(rig: Any, seed: int, step: int = 0) -> Any:
    """A shot of the scene that most cases share; the tests come seed by seed."""
    return rig.shot(scene(seed), seed % 4 + step)


def textureless(tools: Any, rig: Any, seed: int) -> Failure:
    """A bare wall in smooth light; only what moves has texture."""
    shot = usual_shot(rig, seed)
    near = cv2.dilate(shot.truth.motion_mask.astype(np.uint8), np.ones((31, 31), np.uint8)).astype(np.float32)
    near = cv2.GaussianBlur(near, (0, 0), 5)[..., None]
    lights = [near * light + (1 - near) * cv2.GaussianBlur(light, (0, 0), 40) for light in tools.light_of(shot)]
    return Failure(rig.reread(*lights, seed), shot.truth)


def parallax(shift_px: float) -> Any:
    """A near layer on a fifth of the frame that camera B sees from a point aside."""

    def make(tools: Any, rig: Any, seed: int) -> Failure:
        shot = usual_shot(rig, seed)
        blurred, sharp = tools.light_of(shot)
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        centre, radius = rng.uniform(0.3, 0.7, 2) * (WIDTH, HEIGHT), np.sqrt(0.2 * WIDTH * HEIGHT / np.pi)
        near = np.hypot((x - centre[0]) / 1.15, (y - centre[1]) / 0.87) < radius
        shift = cv2.GaussianBlur(near.astype(np.float32), (0, 0), 1.0)[..., None] * np.array([shift_px, 0])
        return Failure(rig.reread(tools.moved(blurred, shift), sharp, seed))

    return make


def other_scene(**options: Any) -> Any:
    def make(tools: Any, rig: Any, seed: int) -> Failure:
        shot = rig.shot(scene(seed, **options), seed % 4)
        return Failure(rig.captured(shot.raw_B, shot.raw_S), shot.truth)

    return make


def overexposed(tools: Any, rig: Any, seed: int) -> Failure:
    shot = usual_shot(rig, seed)
    blurred, sharp = tools.light_of(shot)
    return Failure(rig.reread(1.4 * blurred, sharp, seed), shot.truth)


def other_rig(change: Any) -> Any:
    """Calibrated as one rig, captured as another."""

    def make(tools: Any, rig: Any, seed: int) -> Failure:
        shot = tools.rig(change(rig.settings, seed)).shot(scene(seed), seed % 4)
        return Failure(rig.captured(shot.raw_B, shot.raw_S), shot.truth)

    return make


def defocused(rig: RigSettings, seed: int) -> RigSettings:
    return rig.model_copy(update={"camera_B": rig.camera_B.model_copy(update={"psf_px": 1.2})})


def bumped(shift_px: float, angle_deg: float) -> Any:
    def change(rig: RigSettings, seed: int) -> RigSettings:
        towards = np.random.default_rng(seed).uniform(0, 2 * np.pi)
        shift = (shift_px * np.cos(towards), shift_px * np.sin(towards))
        knock = optics.rigid(float(np.deg2rad(angle_deg)), shift, rig.height, rig.width)
        matrix = tuple((optics.homography(rig.camera_S) @ knock).ravel().tolist())
        return rig.model_copy(update={"camera_S": rig.camera_S.model_copy(update={"homography": matrix})})

    return change


bumped_by_3_px = other_rig(bumped(3, 0.05))


def with_exposures(alignment: str) -> Any:
    """The short exposure at an end of the long one: things are smeared to one side only."""
    return other_rig(lambda rig, seed: rig.model_copy(update={"alignment": alignment}))


def swapped(tools: Any, rig: Any, seed: int) -> Failure:
    shot = usual_shot(rig, seed)
    return Failure(rig.captured(shot.raw_S, shot.raw_B))


def mirrored(tools: Any, rig: Any, seed: int) -> Failure:
    shot = usual_shot(rig, seed)
    captured = rig.captured(shot.raw_B, shot.raw_S)
    flipped = LinearImage(*(np.ascontiguousarray(np.flip(plane, 1)) for plane in unpacked(captured.blurred)))
    return Failure(replace(captured, blurred=flipped))


def unpacked(image: LinearImage) -> tuple[Array, Array]:
    return image.light, image.saturated


def one_frame_late(tools: Any, rig: Any, seed: int) -> Failure:
    """The sharp frame of the next shot: the same scene, but things have moved on."""
    first, second = (usual_shot(rig, seed, step) for step in (0, 1))
    return Failure(rig.captured(first.raw_B, second.raw_S))


CASES: dict[str, tuple[Any, str]] = {
    "nothing wrong": (other_scene(), ""),
    "textureless": (textureless, "only .* of the tiles stood still and have texture"),
    "parallax of 1.5 px": (parallax(1.5), r"parallax: .* shifted by 1\.[456] px"),
    "parallax of 4 px": (parallax(4.0), r"parallax: .* shifted by (3\.9|4\.[01]) px"),
    "coverage of 60 %": (other_scene(coverage=0.6, objects=6), ""),
    "highlights": (other_scene(highlights=14), ""),
    "dark": (other_scene(brightness=0.85 / 4), ""),
    "exposure + 40 %": (overexposed, ""),
    "defocused B": (other_rig(defocused), "out of focus: still detail has .* in camera B"),
    "rig bumped by 3 px": (bumped_by_3_px, ""),
    "rig bumped by 12 px": (other_rig(bumped(12, 0.3)), "rig bumped: .* px from the calibration"),
    "rig bumped by 25 px": (other_rig(bumped(25, 0.3)), "rig bumped: .* px from the calibration"),
    "cameras swapped": (swapped, "cameras swapped: "),
    "mirrored camera": (mirrored, "mirrored: "),
    "one frame late": (one_frame_late, "late trigger: "),
    "short exposure at the start": (with_exposures("start"), ""),
    "short exposure at the end": (with_exposures("end"), ""),
}
"""How it goes wrong, and the reason that may be given; empty: the pair must be accepted."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [FIRST, *(pytest.param(seed, marks=pytest.mark.slow) for seed in REST)])
def test_aligned_within_the_limits_or_rejected_with_the_right_reason(seed: int, case: str, rig_tools: Any) -> None:
    make, reason = CASES[case]
    rig, calibration = calibrated(rig_tools, seed)
    failure = make(rig_tools, rig, seed)
    judged = judge_pair(failure.captured, calibration, SETTINGS, LIMITS)
    if judged.verdict is Verdict.REJECT:
        assert reason, f"rejected, although nothing is wrong: {judged.reasons}"
        assert re.match(reason, judged.reasons), judged.reasons
        return
    assert failure.truth is not None, "accepted, although no alignment can be right"
    mean, p95 = rig_tools.static_error_px(judged.aligned.positions, failure.truth)
    assert mean < MAX_MEAN_PX
    assert p95 < MAX_P95_PX


@pytest.mark.slow
def test_a_bump_towards_the_exchanged_field_is_no_exchange(rig_tools: Any) -> None:
    """Exchanged, the pictures of this bumped rig happen to fit the calibration better."""
    rig, calibration = calibrated(rig_tools, 308)
    failure = bumped_by_3_px(rig_tools, rig, 308)
    given = failure.captured
    exchanged = replace(given, blurred=given.sharp, sharp=given.blurred)
    apart = [align_pair(captured, calibration, SETTINGS).drift_px for captured in (given, exchanged)]
    assert 2 * apart[1] < apart[0]
    judged = judge_pair(given, calibration, SETTINGS, LIMITS)
    assert judged.verdict is Verdict.ACCEPT, judged.reasons
    assert judged.quality["exchanged"] == 0
    mean, p95 = rig_tools.static_error_px(judged.aligned.positions, failure.truth)
    assert mean < MAX_MEAN_PX
    assert p95 < MAX_P95_PX


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_cameras_swapped_during_calibration_too_are_noticed(seed: int, rig_tools: Any) -> None:
    """Then the geometry fits: only the blur is in the wrong picture."""
    rig, _ = calibrated(rig_tools, seed)
    statics = [replace(pair, blurred=pair.sharp, sharp=pair.blurred) for pair in rig.static_pairs()]
    calibration = calibrate([fit_static_pair(pair, SETTINGS) for pair in statics], SETTINGS)
    judged = judge_pair(swapped(rig_tools, rig, seed).captured, calibration, SETTINGS, LIMITS)
    assert judged.verdict is Verdict.REJECT
    assert re.match("cameras swapped: motion blur of the sharp picture", judged.reasons), judged.reasons

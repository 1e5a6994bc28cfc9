"""Accuracy on rigs that the cubic field cannot represent exactly, seen through Bayer sensors: the project's own limits.

Second radial and tangential terms in both lenses, and 0.2 px lateral chromatic shift at the corners between them.
"""

from typing import Any

import cv2
import numpy as np
import pytest

from localblur.acquisition.rig.settings import RigSettings, SceneSettings, resolve_rig
from localblur.alignment.judging.judge import judge_pair
from localblur.alignment.judging.quality import QualitySettings
from localblur.alignment.model.calibration import RigCalibration, calibrate, fit_static_pair
from localblur.alignment.model.chromatic import ChromaticShift, chromatic_samples, fit_chromatic
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.datasets.images import srgb_encode
from localblur.datasets.pair import Verdict

SETTINGS, LIMITS = AlignmentSettings(), QualitySettings()
WIDTH, HEIGHT = 480, 360
CHROMATIC_PX = 0.2
RIGS, SHOTS = 6, 2

Array = Any


def hard_rig(seed: int) -> RigSettings:
    """A rig whose lenses have a second radial term (0.3 to 0.9 px at the corners) and tangential ones."""
    rig, rng = resolve_rig(seed=seed, width=WIDTH, height=HEIGHT), np.random.default_rng([seed, 1])

    def lens(camera: Any) -> Any:
        signs, sizes = rng.choice([-1, 1], 3), rng.uniform((0.001, 0.0005, 0.0005), (0.003, 0.0015, 0.0015))
        k2, p1, p2 = (float(value) for value in signs * sizes)
        return camera.model_copy(update={"k2": k2, "p1": p1, "p2": p2})

    return rig.model_copy(update={"camera_B": lens(rig.camera_B), "camera_S": lens(rig.camera_S)})


class ChromaticRig:
    """A simulated rig whose camera B magnifies red less and blue more than green."""

    def __init__(self, tools: Any, seed: int, shift_px: float) -> None:
        self.tools, self.rig, self.seed = tools, tools.rig(hard_rig(seed)), seed
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        outwards = np.stack([x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2], -1) / (np.hypot(WIDTH, HEIGHT) / 2)
        self.shift = shift_px * outwards

    def captured(self, shot: Any, index: int) -> CapturedPair:
        blurred, sharp = self.tools.light_of(shot)
        seen = blurred.copy()
        for channel, sign in ((0, 1), (2, -1)):
            seen[..., channel] = self.tools.moved(blurred, sign * self.shift)[..., channel]
        return self.rig.reread(seen, sharp, 100 * self.seed + index)

    def calibrated(self) -> tuple[RigCalibration, ChromaticShift]:
        statics = [self.captured(shot, 50 + index) for index, shot in enumerate(self.rig.static_shots())]
        found = calibrate([fit_static_pair(pair, SETTINGS) for pair in statics], SETTINGS)
        samples = [chromatic_samples(align_pair(pair, found, SETTINGS), SETTINGS.tiles) for pair in statics]
        chromatic = fit_chromatic(samples, WIDTH, HEIGHT)
        assert chromatic is not None
        return found, chromatic


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(RIGS))
def test_pairs_of_hard_rigs_are_within_the_limits(seed: int, rig_tools: Any) -> None:
    """Twelve pairs: mean error below 0.06 px, 95 % below 0.15 px, colour bias below 0.8 levels, gap below 0.6 dB."""
    rig = ChromaticRig(rig_tools, seed, CHROMATIC_PX)
    calibration, chromatic = rig.calibrated()
    for channel in ("red", "blue"):
        assert chromatic.largest_px(channel) == pytest.approx(CHROMATIC_PX, abs=0.07)
    for index in range(SHOTS):
        shot = rig.rig.shot(SceneSettings(seed=100 + seed), index)
        judged = judge_pair(rig.captured(shot, index), calibration, SETTINGS, LIMITS)
        assert (judged.verdict, judged.reasons) == (Verdict.ACCEPT, "")
        mean, p95 = rig_tools.static_error_px(judged.aligned.positions, shot.truth)
        assert mean < 0.06
        assert p95 < 0.15
        assert color_bias(judged.aligned, shot.truth) < 0.8
        assert gap_db(rig, shot, index, judged.aligned) < 0.6


def counted(aligned: Any, truth: Any) -> Array:
    still = aligned.valid & truth.valid & ~truth.motion_mask & ~aligned.saturated
    still[:12], still[-12:], still[:, :12], still[:, -12:] = False, False, False, False
    return still


def color_bias(aligned: Any, truth: Any) -> float:
    """Mean distance of smoothed sRGB levels from what S would have seen without noise."""
    smooth = [
        cv2.GaussianBlur(srgb_encode(light), (0, 0), 4) for light in (aligned.blurred, truth.clean_blurred_on_sharp)
    ]
    return float(np.abs(smooth[0] - smooth[1])[counted(aligned, truth)].mean() * 255)


def gap_db(rig: ChromaticRig, shot: Any, index: int, aligned: Any) -> float:
    """Static PSNR below that of the true displacement and true colours on the same captured pair."""
    truth, captured = shot.truth, rig.captured(shot, index)
    warped = cv2.remap(
        captured.blurred.light, truth.displacement, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
    )
    oracle = (warped - truth.offset_B) @ truth.color_matrix.T * truth.vignetting_ratio[..., None] + truth.offset_S
    still = counted(aligned, truth)
    errors = [
        np.mean((srgb_encode(light.astype(np.float32)) - srgb_encode(aligned.sharp))[still] ** 2)
        for light in (aligned.blurred, oracle)
    ]
    return float(10 * np.log10(errors[0] / errors[1]))


@pytest.mark.slow
def test_no_chromatic_shift_is_reported_where_there_is_none(rig_tools: Any) -> None:
    _, chromatic = ChromaticRig(rig_tools, 0, 0.0).calibrated()
    assert max(chromatic.largest_px(channel) for channel in ("red", "blue")) < 0.04
    assert max(chromatic.uncertainty_px.values()) < 0.02


def test_too_few_tiles_tell_nothing() -> None:
    assert fit_chromatic([], WIDTH, HEIGHT) is None

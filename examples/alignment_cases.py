"""Pairs of the simulated rig that show what the alignment measures: a good one, and one for each thing gone wrong."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig import optics
from localblur.acquisition.rig.sensor import read_out
from localblur.acquisition.rig.settings import RigSettings, SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigShot, RigSimulator
from localblur.alignment.judging.judge import JudgedPair, judge_pair
from localblur.alignment.judging.quality import QualitySettings
from localblur.alignment.light.radiometry import LinearImage, raw_image
from localblur.alignment.model.calibration import RigCalibration, calibrate, fit_static_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.datasets.pair import Verdict

Array = npt.NDArray[Any]

SIZE = (480, 360)
RIG_SEED, SCENE_SEED = 1, 104
SETTINGS, LIMITS = AlignmentSettings(), QualitySettings()


@dataclass(frozen=True)
class Case:
    """A judged pair, what was captured, and the truth about its geometry if there is one."""

    captured: CapturedPair
    judged: JudgedPair
    truth: Any = None

    @property
    def title(self) -> str:
        """Verdict in one word."""
        return "accepted" if self.judged.verdict is Verdict.ACCEPT else "rejected"


class Cases:
    """Pairs of one rig with its calibration; each is made when asked for."""

    def __init__(self) -> None:
        self.rig = resolve_rig(seed=RIG_SEED, width=SIZE[0], height=SIZE[1])

    @cached_property
    def calibration(self) -> RigCalibration:
        """From three static pairs."""
        simulator = RigSimulator(self.rig, SceneSettings(seed=5))
        shots = [simulator.shot(index, "static") for index in range(3)]
        fits = [fit_static_pair(self.captured(shot.raw_B, shot.raw_S), SETTINGS) for shot in shots]
        return calibrate(fits, SETTINGS)

    @cached_property
    def good(self) -> Case:
        """Nothing is wrong."""
        return self._of(self.shot())

    @cached_property
    def uncalibrated(self) -> Case:
        """The same pair without static pairs."""
        return replace(self.good, judged=judge_pair(self.good.captured, None, SETTINGS, LIMITS))

    @cached_property
    def parallax(self) -> Case:
        """A near layer on a fifth of the frame that camera B sees from a point aside."""
        blurred, sharp = self._lights(self.shot())
        width, height = SIZE
        y, x = np.mgrid[0:height, 0:width]
        near = np.hypot((x - 0.36 * width) / 1.15, (y - 0.62 * height) / 0.87) < np.sqrt(0.2 * width * height / np.pi)
        shift = cv2.GaussianBlur(near.astype(np.float32), (0, 0), 1.0) * 4
        positions = (np.stack([x + shift, y], -1)).astype(np.float32)
        moved = cv2.remap(blurred, positions, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        return self._judged(self._reread(moved, sharp))

    @cached_property
    def late(self) -> Case:
        """The sharp frame of the next shot."""
        return self._judged(self.captured(self.shot().raw_B, self.shot(1).raw_S))

    @cached_property
    def swapped(self) -> Case:
        """The cameras have changed roles, during the calibration too, so that the geometry fits."""
        simulator = RigSimulator(self.rig, SceneSettings(seed=5))
        shots = [simulator.shot(index, "static") for index in range(3)]
        calibration = calibrate([fit_static_pair(self.captured(x.raw_S, x.raw_B), SETTINGS) for x in shots], SETTINGS)
        captured = self.captured(self.shot().raw_S, self.shot().raw_B)
        return Case(captured, judge_pair(captured, calibration, SETTINGS, LIMITS))

    @cached_property
    def mirrored(self) -> Case:
        """Camera B looks through a mirror, and nobody flipped its picture."""
        blurred = self.good.captured.blurred
        flipped = LinearImage(
            *(np.ascontiguousarray(np.flip(plane, 1)) for plane in (blurred.light, blurred.saturated))
        )
        return self._judged(replace(self.good.captured, blurred=flipped))

    @cached_property
    def textureless(self) -> Case:
        """A bare wall in smooth light; only what moves has texture."""
        shot = self.shot()
        near = cv2.dilate(shot.truth.motion_mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(np.float32)
        near = cv2.GaussianBlur(near, (0, 0), 5)[..., None]
        lights = [near * light + (1 - near) * cv2.GaussianBlur(light, (0, 0), 40) for light in self._lights(shot)]
        return self._judged(self._reread(*lights))

    @cached_property
    def bright(self) -> Case:
        """Glints four times brighter than full scale."""
        return self._of(self.shot(highlights=14))

    @cached_property
    def overexposed(self) -> Case:
        """Camera B exposed 40 % longer than during the calibration."""
        blurred, sharp = self._lights(self.shot())
        return self._judged(self._reread(1.4 * blurred, sharp), self.shot().truth)

    @cached_property
    def bumped(self) -> Case:
        """Camera S was knocked by 3 px and 0.05 degrees since the calibration."""
        knock = optics.rigid(float(np.deg2rad(0.05)), (2.6, 1.5), self.rig.height, self.rig.width)
        matrix = tuple((optics.homography(self.rig.camera_S) @ knock).ravel().tolist())
        camera = self.rig.camera_S.model_copy(update={"homography": matrix})
        return self._of(self._shot(self.rig.model_copy(update={"camera_S": camera})))

    @cached_property
    def defocused(self) -> Case:
        """Camera B is out of focus since the calibration."""
        camera = self.rig.camera_B.model_copy(update={"psf_px": 1.2})
        return self._of(self._shot(self.rig.model_copy(update={"camera_B": camera})))

    def shot(self, index: int = 0, **scene: Any) -> RigShot:
        """One shot of the scene."""
        return self._shot(self.rig, index, **scene)

    def captured(self, raw_blurred: Array, raw_sharp: Array) -> CapturedPair:
        """A pair of raw frames in linear light."""
        rig = self.rig
        images = [
            raw_image(raw, rig.bayer, rig.black_level, rig.white_level, SETTINGS.radiometry)
            for raw in (raw_blurred, raw_sharp)
        ]
        return CapturedPair("simulated", images[0], images[1])

    def _shot(self, rig: RigSettings, index: int = 0, **scene: Any) -> RigShot:
        return RigSimulator(rig, SceneSettings(seed=SCENE_SEED, **scene)).shot(index)

    def _of(self, shot: RigShot) -> Case:
        return self._judged(self.captured(shot.raw_B, shot.raw_S), shot.truth)

    def _judged(self, captured: CapturedPair, truth: Any = None) -> Case:
        return Case(captured, judge_pair(captured, self.calibration, SETTINGS, LIMITS), truth)

    def _reread(self, blurred: Array, sharp: Array) -> CapturedPair:
        """Read both sensors out anew for other light on them."""
        rng = np.random.default_rng(0)
        lights = [np.maximum(light, 0).astype(np.float32) for light in (blurred, sharp)]
        cameras = (self.rig.camera_B, self.rig.camera_S)
        raws = [read_out(light, camera, self.rig, rng) for light, camera in zip(lights, cameras, strict=True)]
        return self.captured(raws[0], raws[1])

    @staticmethod
    def _lights(shot: RigShot) -> tuple[Array, Array]:
        """The light on sensors B and S without noise and black offset."""
        truth = shot.truth
        offsets = [np.asarray(offset, np.float32) for offset in (truth.offset_B, truth.offset_S)]
        return shot.clean_blurred - offsets[0], truth.clean_sharp - offsets[1]

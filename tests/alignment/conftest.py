"""Two rigs to test alignment with.

The synthetic one is in closed form: textures are sums of waves, so both cameras see them exactly, not resampled. The
simulated one is the rig simulator of `acquisition`: photographs, lenses, Bayer sensors, noise.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from localblur.acquisition.rig.sensor import read_out
from localblur.acquisition.rig.settings import RigSettings, SceneSettings
from localblur.acquisition.rig.simulator import RigShot, RigSimulator, RigTruth
from localblur.alignment.light.radiometry import LinearImage, raw_image
from localblur.alignment.model.calibration import RigCalibration, calibrate, fit_static_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.displacement import PolynomialField, monomials
from localblur.datasets.images import from_unit, srgb_encode, write_image

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SyntheticShot:
    """What the two cameras saw, in linear light, and the truth about it."""

    blurred: Array
    sharp: Array
    positions: Array
    """For each sharp pixel, its place in the blurred image."""
    moving: Array
    """Where the object was at any time, in the sharp image."""

    def captured(self, label: str = "synthetic") -> CapturedPair:
        return CapturedPair(label, *(LinearImage(x, x.max(-1) >= 0.97) for x in (self.blurred, self.sharp)))

    def error_px(self, positions: Array, margin: int = 16) -> tuple[float, float]:
        """Mean and 95 % quantile of the displacement error where nothing moved, away from the border."""
        error = np.hypot(*np.moveaxis(positions - self.positions, -1, 0))
        still = ~self.moving
        still[:margin], still[-margin:], still[:, :margin], still[:, -margin:] = False, False, False, False
        return float(error[still].mean()), float(np.percentile(error[still], 95))


@dataclass(frozen=True)
class SyntheticRig:
    """Two cameras that differ by a cubic field, a colour matrix, an offset and vignetting.

    The field sends blurred pixels to scene coordinates (the sharp image's); its inverse is the truth.
    """

    width: int = 320
    height: int = 240
    matrix: Array = field(
        default_factory=lambda: np.array([[0.95, 0.04, 0.01], [0.02, 1.1, -0.03], [-0.01, 0.05, 0.9]])
    )
    offset: Array = field(default_factory=lambda: np.array([0.002, 0.0, 0.004]))
    vignetting: Array = field(default_factory=lambda: np.array([1.0, 0.02, -0.01, -0.06, 0.01, -0.05]))
    noise: float = 0.004

    def to_scene(self, drift_px: tuple[float, float] = (0.0, 0.0)) -> PolynomialField:
        coefficients = np.zeros((10, 2))
        coefficients[0] = (3.1 + drift_px[0], -2.2 + drift_px[1])
        coefficients[1:3] = [(0.6, 0.8), (-0.9, 0.5)]
        coefficients[3:6] = [(0.3, -0.1), (0.1, 0.2), (-0.2, 0.1)]
        coefficients[6:] = [(0.7, 0.1), (0.0, 0.6), (0.7, 0.0), (0.0, 0.6)]
        return PolynomialField(coefficients, self.width, self.height)

    def shot(
        self,
        seed: int,
        *,
        moving: bool = True,
        drift_px: tuple[float, float] = (0.0, 0.0),
        gain: float = 1.0,
        contrast: float = 1.0,
        light: float = 1.0,
        parallax_px: float = 0.0,
    ) -> SyntheticShot:
        """One shot; `gain` is the blurred camera's exposure, `parallax_px` shifts a near layer in it."""
        rng = np.random.default_rng(seed)
        waves = _waves(rng)
        x, y = np.meshgrid(np.arange(self.width, dtype=float), np.arange(self.height, dtype=float))
        seen = np.moveaxis(self.to_scene(drift_px).positions().astype(np.float64), -1, 0)
        near = (
            (seen[0] - 0.35 * self.width) ** 2 + (seen[1] - 0.6 * self.height) ** 2 < (0.3 * self.height) ** 2
        ) * 1.0
        sharp = _texture(waves, x, y, contrast) * light
        blurred = _texture(waves, seen[0] + parallax_px * near, seen[1], contrast) * light
        touched = np.zeros(x.shape, bool)
        if moving:
            path = [(t * 18.0, t * 6.0) for t in np.linspace(-0.5, 0.5, 13)]
            sharp = self._with_object(sharp, x, y, [(0.0, 0.0)], light)
            blurred = self._with_object(blurred, *seen, path, light)
            touched = np.any([self._inside(x, y, step, margin=4) for step in path], axis=0)
        ratio = (monomials(*seen, self.width, self.height, 2) @ self.vignetting)[..., None]
        blurred = ((blurred - self.offset) / ratio) @ np.linalg.inv(self.matrix).T * gain
        noisy = [
            (image + rng.normal(0, self.noise, image.shape) * np.sqrt(np.maximum(image, 0) + 0.01)).astype(np.float32)
            for image in (blurred, sharp)
        ]
        return SyntheticShot(
            np.clip(noisy[0], 0, 1), np.clip(noisy[1], 0, 1), self._truth(drift_px), touched & np.ones(x.shape, bool)
        )

    def folder(self, path: Path, scenes: dict[str, int], *, static: int = 2, bits: int = 8) -> Path:
        """Write a plain pair folder: `scenes` maps names to numbers of pairs. 16 bits are linear."""
        for index in range(static):
            self.write(path / "calibration" / "static", index, self.shot(900 + index, moving=False), bits)
        for number, (name, count) in enumerate(scenes.items()):
            for index in range(count):
                drift = (0.3 * ((index + number) % 3 - 1), 0.2)
                self.write(path / "scenes" / name, index, self.shot(100 * number + index, drift_px=drift), bits)
        return path

    @staticmethod
    def write(folder: Path, index: int, shot: SyntheticShot, bits: int = 8) -> None:
        for role, light in (("blur", shot.blurred), ("sharp", shot.sharp)):
            write_image(folder / f"{index:02d}_{role}.png", from_unit(srgb_encode(light) if bits == 8 else light, bits))

    def _truth(self, drift_px: tuple[float, float]) -> Array:
        """Invert the field on every sharp pixel by fixed-point iteration."""
        to_scene = self.to_scene(drift_px)
        grid = np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), -1).astype(np.float64)
        found = grid.copy()
        for _ in range(12):
            found = grid - to_scene.displacement(found[..., 0], found[..., 1])
        return found.astype(np.float32)

    def _inside(self, x: Array, y: Array, step: tuple[float, float], margin: float = 0) -> Array:
        cx, cy = 0.68 * self.width + step[0], 0.4 * self.height + step[1]
        return np.asarray((x - cx) ** 2 + (y - cy) ** 2 < (0.16 * self.height + margin) ** 2)

    def _with_object(self, image: Array, x: Array, y: Array, path: list[tuple[float, float]], light: float) -> Array:
        total = np.zeros_like(image)
        for step in path:
            inside = self._inside(x, y, step)[..., None]
            phase = 0.7 * (x - step[0]), 0.5 * (y - step[1])
            pattern = 0.35 + 0.25 * np.sin(phase[0]) * np.cos(phase[1])
            total += np.where(inside, pattern[..., None] * np.array([1.0, 0.7, 0.5]) * light, image)
        return total / len(path)


def _waves(rng: np.random.Generator, count: int = 48) -> tuple[Array, Array, Array]:
    length = np.exp(rng.uniform(np.log(6), np.log(90), count))
    angle = rng.uniform(0, np.pi, count)
    vectors = np.stack([np.cos(angle), np.sin(angle)]) * 2 * np.pi / length
    weights = (rng.normal(1, 0.35, (count, 3)) * (length[:, None] / 40) ** 0.3).astype(np.float32)
    return vectors, rng.uniform(0, 2 * np.pi, count), weights


def _texture(waves: tuple[Array, Array, Array], x: Array, y: Array, contrast: float) -> Array:
    vectors, phases, weights = waves
    angles = (x[..., None] * vectors[0] + y[..., None] * vectors[1] + phases).astype(np.float32)
    values = np.cos(angles) @ weights / 6
    return np.asarray(0.02 + 0.7 / (1 + np.exp(-1.2 * contrast * values)), np.float64)


@pytest.fixture(scope="session")
def rig() -> SyntheticRig:
    return SyntheticRig()


@pytest.fixture(scope="session")
def small_rig() -> SyntheticRig:
    """Small and fast, for tests of the plumbing."""
    return SyntheticRig(width=176, height=128)


@pytest.fixture(scope="session")
def shots(rig: SyntheticRig) -> dict[str, SyntheticShot]:
    """Two static shots and one with motion, shared by the tests because rendering costs time."""
    return {
        "static0": rig.shot(900, moving=False),
        "static1": rig.shot(901, moving=False),
        "moving": rig.shot(1, drift_px=(0.4, -0.3), gain=1.03),
    }


@dataclass(frozen=True)
class SimulatedRig:
    """A rig of the simulator, and what alignment sees of its shots."""

    settings: RigSettings

    def shot(self, scene: SceneSettings, index: int = 0) -> RigShot:
        """One shot of a scene in which objects move."""
        return RigSimulator(self.settings, scene).shot(index)

    def static_shots(self, count: int = 3) -> list[RigShot]:
        """Shots of a target, as `capture --calibrate static` takes them."""
        simulator = RigSimulator(self.settings, SceneSettings(seed=5))
        return [simulator.shot(index, "static") for index in range(count)]

    def static_pairs(self, count: int = 3) -> list[CapturedPair]:
        """What alignment sees of the static shots."""
        return [self.captured(shot.raw_B, shot.raw_S) for shot in self.static_shots(count)]

    def calibration(self, count: int = 3) -> RigCalibration:
        """The calibration from `count` static pairs."""
        settings = AlignmentSettings()
        return calibrate([fit_static_pair(pair, settings) for pair in self.static_pairs(count)], settings)

    def captured(self, raw_blurred: Array, raw_sharp: Array) -> CapturedPair:
        """A pair of raw frames in linear light."""
        rig, settings = self.settings, AlignmentSettings().radiometry
        images = [
            raw_image(raw, rig.bayer, rig.black_level, rig.white_level, settings) for raw in (raw_blurred, raw_sharp)
        ]
        return CapturedPair("simulated", images[0], images[1])

    def reread(self, blurred: Array, sharp: Array, seed: int) -> CapturedPair:
        """Read both sensors out anew for other light (H, W, 3) on them, black at 0."""
        rng = np.random.default_rng([seed, 77])
        lights = [np.maximum(light, 0).astype(np.float32) for light in (blurred, sharp)]
        return self.captured(
            read_out(lights[0], self.settings.camera_B, self.settings, rng),
            read_out(lights[1], self.settings.camera_S, self.settings, rng),
        )


def light_of(shot: RigShot) -> tuple[Array, Array]:
    """The light on sensors B and S without noise and black offset, (H, W, 3) each."""
    truth = shot.truth
    return shot.clean_blurred - truth.offset_B.astype(np.float32), truth.clean_sharp - truth.offset_S.astype(np.float32)


def moved(light: Array, shift_px: Array) -> Array:
    """Light (H, W, 3) looked at `shift_px` (H, W, 2) away."""
    height, width = light.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    positions = (grid + shift_px).astype(np.float32)
    return np.asarray(cv2.remap(light, positions, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE))


def static_error_px(positions: Array, truth: RigTruth) -> tuple[float, float]:
    """Mean and 95 % quantile of the displacement error over unsaturated pixels where nothing moved, off the border."""
    saturated = cv2.dilate((truth.clean_sharp.max(-1) > 0.97).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    counted = truth.valid & ~truth.motion_mask & ~saturated
    counted[:12], counted[-12:], counted[:, :12], counted[:, -12:] = False, False, False, False
    error = np.linalg.norm(positions - truth.displacement, axis=-1)[counted]
    return float(error.mean()), float(np.percentile(error, 95))


@dataclass(frozen=True)
class RigTools:
    """What tests on simulated rigs share."""

    rig: type[SimulatedRig] = SimulatedRig
    light_of: Any = staticmethod(light_of)
    moved: Any = staticmethod(moved)
    static_error_px: Any = staticmethod(static_error_px)


@pytest.fixture(scope="session")
def rig_tools() -> RigTools:
    """Simulated rigs and how to judge what was made of their pairs."""
    return RigTools()

"""RigSimulator: two cameras behind a beam splitter look at a scene; returns what they record, and the truth."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from localblur.acquisition.measuring.exposure import bracket_factor
from localblur.acquisition.rig import optics
from localblur.acquisition.rig.scenes import BRACKET_RADIANCE, FLAT_RADIANCE, Canvas
from localblur.acquisition.rig.sensor import RawArray, read_out
from localblur.acquisition.rig.settings import RigSettings, SceneSettings, resolve_rig
from localblur.acquisition.rig.truth import RigTruth
from localblur.acquisition.rig.views import Backdrop, Seen, chart_backdrop, look, scene_backdrop, static_backdrop
from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

__all__ = ["RigSettings", "RigShot", "RigSimulator", "RigTruth", "SceneSettings", "ShotKind", "resolve_rig"]

ShotKind = Literal["scene", "static", "dark", "flat", "chart", "bracket"]
_KIND_STREAM: dict[str, int] = {"scene": 1, "static": 2, "dark": 3, "flat": 4, "chart": 5, "bracket": 6}
_EVEN_RADIANCE: dict[ShotKind, float] = {"dark": 0.0, "flat": FLAT_RADIANCE, "bracket": BRACKET_RADIANCE}
"""Kinds of shots before an even field."""
TOUCHED = 0.01
"""A pixel of which a moving object covered at least this much belongs to the motion mask."""
_MARGIN_PX = 10
"""Canvas beyond the furthest pixel: room for drift and the point spread function."""


@dataclass(frozen=True)
class RigShot:
    """One simulated trigger.

    Attributes:
        raw_B, raw_S: Bayer mosaics, right-aligned DN, uint8 or uint16, shape (H, W).
        truth: what is known about the shot.
        clean_blurred: the long exposure as B saw it, without noise, in the units of `RigTruth`, float32 (H, W, 3).
    """

    raw_B: RawArray  # noqa: N815 - the two cameras are called B and S everywhere
    raw_S: RawArray  # noqa: N815
    truth: RigTruth
    clean_blurred: FloatArray


@dataclass(frozen=True)
class _Pose:
    """Where S looks in one shot: its homography with the drift, scene positions, and positions in B."""

    matrix_S: npt.NDArray[np.float64]  # noqa: N815
    look_S: optics.Points  # noqa: N815
    displacement: optics.Points


class RigSimulator:
    """A simulated rig before a scene. Every shot is a function of (rig.seed, scene.seed, kind, index) alone.

    Args:
        rig: a complete rig, from `resolve_rig` or a recording.
        scene: what it looks at.

    Raises:
        LocalblurError: if textures are missing, or the optics cannot be inverted.
    """

    def __init__(self, rig: RigSettings, scene: SceneSettings) -> None:
        self.rig, self.scene = rig, scene
        self.black_level = {"B": rig.black_level, "S": rig.black_level}
        self.white_level = {"B": rig.white_level, "S": rig.white_level}
        self._source = scene.source()
        self._size = rig.height, rig.width
        grid = optics.pixel_grid(*self._size)
        self._straight_S = optics.undistort(rig.camera_S, grid, *self._size)
        straight_b = optics.undistort(rig.camera_B, grid, *self._size)
        self._look_B = optics.project(optics.homography(rig.camera_B), straight_b)
        look_s = optics.project(optics.homography(rig.camera_S), self._straight_S)
        furthest = max(float(np.abs(points - grid).max()) for points in (self._look_B, look_s))
        turn = np.deg2rad(max(rig.drift_deg, rig.static_drift_deg)) * max(self._size)
        margin = math.ceil(furthest + 5 * (max(rig.drift_px, rig.static_drift_px) + turn)) + _MARGIN_PX
        self._canvas = Canvas.around(rig.height, rig.width, margin, rig.supersampling)
        self._vignetting_B = optics.vignetting(rig.camera_B, grid, *self._size)
        self._vignetting_S = optics.vignetting(rig.camera_S, grid, *self._size)
        self._cached: tuple[tuple[str, int], Backdrop] | None = None

    def shot(self, index: int, kind: ShotKind = "scene") -> RigShot:
        """Record both cameras once.

        Args:
            index: which shot, from 0: the same background in every scene shot, another one in every static shot.
            kind: `scene` (objects move), `static` (nothing does), `dark` (lens caps on), `flat` (an even white
                field), `chart` (colour chart), `bracket` (an even white field; both exposures are those of the rig
                times `bracket_factor(index)`).

        Raises:
            LocalblurError: if the index is negative or the kind unknown.
        """
        if kind not in _KIND_STREAM:
            raise LocalblurError(f"kind of shot must be one of {', '.join(_KIND_STREAM)}, got {kind!r}")
        if index < 0:
            raise LocalblurError(f"index of a shot must be 0 or more, got {index}")
        rig = self.rig
        rng = np.random.default_rng([rig.seed, self.scene.seed, _KIND_STREAM[kind], index])
        pose = self._pose(rng, still=kind != "scene")
        jitter = rig.exposure_jitter * float(np.clip(rng.standard_normal(), -3, 3)) if kind == "scene" else 0.0
        backdrop = self._backdrop(kind, index)
        seen = self._seen(backdrop, pose, kind, index)
        factor = bracket_factor(index) if kind == "bracket" else 1.0
        to_b = optics.response(rig.camera_B, rig.light_per_ms, rig.exposure_long_ms * factor) * (1 + jitter)
        to_s = optics.response(rig.camera_S, rig.light_per_ms, rig.exposure_short_ms * factor)
        light_b = _record(seen.blurred, to_b, self._vignetting_B)
        light_s = _record(seen.sharp, to_s, self._vignetting_S)
        truth = self._truth(pose, seen, backdrop, to_b, to_s)
        return RigShot(
            raw_B=read_out(light_b, rig.camera_B, rig, rng),
            raw_S=read_out(light_s, rig.camera_S, rig, rng),
            truth=truth,
            clean_blurred=_visible(light_b, truth.offset_B),
        )

    def _pose(self, rng: np.random.Generator, *, still: bool) -> _Pose:
        """Draw S's drift against B, and follow every S pixel to the scene and back into B."""
        rig = self.rig
        sigma_px, sigma_deg = (rig.static_drift_px, rig.static_drift_deg) if still else (rig.drift_px, rig.drift_deg)
        draw = np.clip(rng.standard_normal(3), -4, 4)
        shift = (sigma_px * float(draw[0]), sigma_px * float(draw[1]))
        drift = optics.rigid(float(np.deg2rad(sigma_deg * draw[2])), shift, *self._size)
        matrix = optics.homography(rig.camera_S) @ drift
        look_s = optics.project(matrix, self._straight_S)
        return _Pose(matrix, look_s, self._into_b(look_s))

    def _into_b(self, scene_points: optics.Points) -> optics.Points:
        camera = self.rig.camera_B
        back = np.linalg.inv(optics.homography(camera))
        return optics.distort(camera, optics.project(back, scene_points), *self._size)

    def _backdrop(self, kind: ShotKind, index: int) -> Backdrop | None:
        """The background of a shot; the last one is kept, because all shots of a scene share it."""
        if kind in _EVEN_RADIANCE:
            return None
        key = (kind, 0 if kind == "scene" else index)
        if self._cached is None or self._cached[0] != key:
            self._cached = None  # free the old one before the new one is built: at full size each takes 250 MB
            widths = {self.rig.camera_B.psf_px, self.rig.camera_S.psf_px}
            if kind == "scene":
                made = scene_backdrop(self._source, self.scene, self._canvas, widths, self.rig.exposure_long_ms)
            elif kind == "static":
                made = static_backdrop(self._source, self.scene, self._canvas, widths, index)
            else:
                made = chart_backdrop(self._source, self.scene, self._canvas, widths, index)
            self._cached = key, made
        return self._cached[1]

    def _seen(self, backdrop: Backdrop | None, pose: _Pose, kind: ShotKind, index: int) -> Seen:
        if backdrop is None:
            even = np.full((*self._size, 3), _EVEN_RADIANCE[kind], np.float32)
            return Seen(even, even, even, np.zeros(self._size, np.float32))
        rig = self.rig
        half = rig.exposure_long_ms / 2
        room = half - rig.exposure_short_ms / 2
        middle = {"start": -room, "centre": 0.0, "end": room}[rig.alignment]
        window = (middle - rig.exposure_short_ms / 2, middle + rig.exposure_short_ms / 2)
        return look(backdrop, index, (-half, half), window, (rig.camera_B, self._look_B), (rig.camera_S, pose.look_S))

    def _truth(
        self,
        pose: _Pose,
        seen: Seen,
        backdrop: Backdrop | None,
        to_b: npt.NDArray[np.float64],
        to_s: npt.NDArray[np.float64],
    ) -> RigTruth:
        rig = self.rig
        span = rig.white_level - rig.black_level
        offset_s = np.array(rig.camera_S.black_error_dn) / span
        x, y = pose.displacement[..., 0], pose.displacement[..., 1]
        ratio = self._vignetting_S / optics.vignetting(rig.camera_B, pose.displacement, *self._size)
        patches_s = patches_b = None
        if backdrop is not None and backdrop.patches is not None:
            straight = optics.project(np.linalg.inv(pose.matrix_S), backdrop.patches)
            patches_s = optics.distort(rig.camera_S, straight, *self._size)
            patches_b = self._into_b(backdrop.patches)
        return RigTruth(
            displacement=pose.displacement.astype(np.float32),
            motion_mask=seen.extent >= TOUCHED,
            soft_extent=seen.extent,
            valid=(x >= 0) & (x <= rig.width - 1) & (y >= 0) & (y <= rig.height - 1),
            color_matrix=to_s @ np.linalg.inv(to_b),
            offset_B=np.array(rig.camera_B.black_error_dn) / span,
            offset_S=offset_s,
            vignetting_ratio=ratio,
            clean_blurred_on_sharp=_visible(_record(seen.blurred_on_sharp, to_s, self._vignetting_S), offset_s),
            clean_sharp=_visible(_record(seen.sharp, to_s, self._vignetting_S), offset_s),
            patches_S=patches_s,
            patches_B=patches_b,
        )


def _record(radiance: FloatArray, matrix: npt.NDArray[np.float64], vignetting: FloatArray) -> FloatArray:
    """Radiance to light on the sensor: colour response and vignetting, 1 is full scale above black."""
    light: FloatArray = (radiance @ matrix.T.astype(np.float32)) * vignetting[..., None]
    return light


def _visible(light: FloatArray, offset: npt.NDArray[np.float64]) -> FloatArray:
    """Light as a noise-free camera would deliver it: with its black offset, saturated at white."""
    seen: FloatArray = np.minimum(light + offset.astype(np.float32), 1)
    return seen

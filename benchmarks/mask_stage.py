"""Staged sequences for judging blur masks: actors with one habit each, seen by two nearly aligned cameras, with truth.

The rig simulator's own lens blur, sampling, sensor and demosaicing are used; what differs from one of its scenes is
that every object has a habit (it crosses, creeps, stops, leaves, swings, stands), that shadows move with it, and that
the pairs come aligned up to a residual of half a pixel, as after `align-dataset`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.scenes import Canvas, Cast, scene_background
from localblur.acquisition.rig.sensor import read_out
from localblur.acquisition.rig.settings import CameraModel, RigSettings, SceneSettings, resolve_rig
from localblur.acquisition.rig.views import Backdrop, look
from localblur.alignment.light.radiometry import RadiometrySettings, raw_image
from localblur.datasets.images import FloatArray, from_unit, srgb_encode
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MovingObject
from localblur.datasets.scenes.photographs import Split
from localblur.datasets.scenes.scene_objects import Shape, Style, make_sprite
from localblur.datasets.scenes.textures import BackgroundKind, TextureSource

Habit = Literal["crosses", "creeps", "stops", "leaves", "swings", "stands", "wanders"]
HEIGHT, WIDTH = 320, 480
MARGIN_PX, SUPERSAMPLING = 8, 2
EXPOSURE_MS = 20.0
SHARP_MS = 2.0
SURE, TOUCHED = 0.5, 0.01
"""Covered by at least the first: blurred; by less than the second: not; between them (rims, shadows): not counted."""
_STILL_AT = (4, 9)
"""Pairs of every scene during whose exposure nothing moves."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One object: `size` is a share of the frame's width, `blur_px` the range of its travel during a long exposure."""

    habit: Habit = "crosses"
    size: float = 0.2
    style: Style = "textured"
    shape: Shape | None = None
    blur_px: tuple[float, float] = (6.0, 28.0)
    shadow: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StagedScene:
    """One sequence.

    Attributes:
        name, seed: the scene is a function of the seed and of what is below.
        actors: what moves, later ones in front.
        split: whose textures are used.
        background: kind of background, None to draw one.
        misalignment_px: length of the residual shift between the two pictures.
        flicker: standard deviation of the light's brightness between shots, 0..1.
        drift: change of brightness from the first to the last shot, 0..1.
        shake_px: how far the whole rig sways between shots.
        preset: `nd`, or `gain` with its noisier sharp camera.
        highlights: glints, saturated.
        count: number of pairs.
    """

    name: str
    seed: int
    actors: tuple[Actor, ...]
    split: Split = "train"
    background: BackgroundKind | None = None
    misalignment_px: float = 0.25
    flicker: float = 0.005
    drift: float = 0.0
    shake_px: float = 0.0
    preset: Literal["nd", "gain"] = "nd"
    highlights: int = 0
    count: int = 10


@dataclass(frozen=True, kw_only=True)
class StagedPair:
    """Pictures as `align-dataset` would store them, sRGB-coded uint8, and the truth, see `truth_of`."""

    blurred: Bytes
    sharp: Bytes
    truth: Bytes
    moving: bool


class StagedCast(Cast):
    """Actors with habits in place of the rig simulator's wanderers."""

    def __init__(self, source: TextureSource, scene: StagedScene, canvas: Canvas, background: FloatArray) -> None:
        self._staged, self._plane = scene, canvas
        self._looks: list[tuple[Actor, FloatArray, FloatArray | None]] = []
        for number, actor in enumerate(scene.actors):
            side = round(actor.size * WIDTH * canvas.factor)
            sprite = make_sprite(
                source,
                [scene.seed, 31, number],
                side,
                feature_px=float(canvas.factor),
                background=background,
                shape=actor.shape,
                style=actor.style,
            )
            self._looks.append((actor, sprite, _shadow(sprite, actor.shadow) if actor.shadow else None))

    def objects(self, index: int) -> list[MovingObject]:
        """Shadows first, then the actors."""
        shadows, bodies = [], []
        for number, (actor, sprite, shadow) in enumerate(self._looks):
            path = self._path(number, index, actor)
            bodies.append(MovingObject(sprite, path))
            if shadow is not None:
                shadows.append(MovingObject(shadow, _moved(path, 5.0 * self._plane.factor, 8.0 * self._plane.factor)))
        return shadows + bodies

    def _path(self, number: int, index: int, actor: Actor) -> ArcPath:
        scene, plane = self._staged, self._plane
        habits = np.random.default_rng([scene.seed, 32, number])
        now = np.random.default_rng([scene.seed, 33, number, index])
        frame = np.array([WIDTH, HEIGHT], float)
        progress = index / (scene.count - 1)
        middle = frame * habits.uniform((0.3, 0.35), (0.7, 0.65))
        heading = float(habits.uniform(0, 2 * np.pi))
        forward = np.array([math.cos(heading), math.sin(heading)])
        place, moves = _place(actor, progress, index, middle, forward, habits)
        if actor.habit == "swings":
            heading += math.pi * float(now.integers(2))
        moves = moves and index not in _STILL_AT
        length = float(now.uniform(*actor.blur_px)) if moves else 0.0
        turn = float(now.uniform(-1, 1)) if actor.habit != "creeps" else 0.0
        spin = turn * min(0.5, length / (actor.size * WIDTH)) if moves else 0.0
        centre = plane.from_scene(place[None])[0]
        return ArcPath(
            x=float(centre[0]),
            y=float(centre[1]),
            heading=heading + float(now.uniform(-0.3, 0.3)),
            speed=length * plane.factor / EXPOSURE_MS,
            acceleration=float(now.uniform(-0.4, 0.4)) * length * plane.factor / EXPOSURE_MS**2,
            curvature=float(now.uniform(-0.5, 0.5)) / max(length * plane.factor, 1e-6),
            angle=float(habits.uniform(0, 2 * np.pi)) + (0.0 if actor.habit in ("creeps", "stands") else 0.2 * turn),
            spin=spin / EXPOSURE_MS,
        )


def simulate(scene: StagedScene) -> Iterator[StagedPair]:
    """The pairs of a scene in order."""
    source = TextureSource(scene.split)
    rig = resolve_rig(seed=scene.seed, width=WIDTH, height=HEIGHT, preset=scene.preset)
    canvas = Canvas.around(HEIGHT, WIDTH, MARGIN_PX, SUPERSAMPLING)
    stage = SceneSettings(seed=scene.seed, background=scene.background, highlights=scene.highlights)
    radiance = scene_background(source, stage, canvas)
    cast = StagedCast(source, scene, canvas, radiance)
    factor, cameras = SUPERSAMPLING, (rig.camera_B, rig.camera_S)
    softened = {c.psf_px: cv2.GaussianBlur(radiance, (0, 0), c.psf_px * factor) for c in cameras}
    backdrop = Backdrop(canvas, radiance, softened, cast=cast)
    grid = np.stack(np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float)), -1)
    for index in range(scene.count):
        rng = np.random.default_rng([scene.seed, 34, index])
        seen_from = grid + scene.shake_px * np.clip(rng.standard_normal(2), -2, 2)
        long_ms, short_ms = ((-length / 2, length / 2) for length in (EXPOSURE_MS, SHARP_MS))
        elsewhere = seen_from + _residual_shift(scene, rng, grid)
        seen = look(backdrop, index, long_ms, short_ms, (cameras[0], elsewhere), (cameras[1], seen_from))
        light = 1 + scene.flicker * float(np.clip(rng.standard_normal(), -2, 2))
        light *= 1 + scene.drift * (index / (scene.count - 1) - 0.5)
        balance = 1 + rng.uniform(-0.007, 0.007, 3)
        yield StagedPair(
            blurred=_developed(seen.blurred * np.float32(light), cameras[0], rig, rng, balance),
            sharp=_developed(seen.sharp * np.float32(light), cameras[1], rig, rng, np.ones(3)),
            truth=truth_of(seen.extent),
            moving=index not in _STILL_AT,
        )


def truth_of(extent: FloatArray) -> Bytes:
    """255 blurred, 128 not counted, 0 not, from the largest share of each pixel that anything moving covered."""
    truth = np.where(extent >= TOUCHED, 128, 0)
    return np.where(extent >= SURE, 255, truth).astype(np.uint8)


def _place(
    actor: Actor,
    progress: float,
    index: int,
    middle: npt.NDArray[Any],
    forward: npt.NDArray[Any],
    habits: np.random.Generator,
) -> tuple[npt.NDArray[Any], bool]:
    """Where an actor is in the middle of a shot, and whether it moves."""
    reach = np.array([0.5 * WIDTH, 0.4 * HEIGHT])
    if actor.habit == "stands":
        return middle, False
    if actor.habit == "creeps":
        return middle + forward * (progress - 0.5) * 0.5 * actor.size * WIDTH, True
    if actor.habit == "swings":
        return middle + forward * 0.3 * actor.size * WIDTH * math.sin(1.7 * index), True
    if actor.habit == "stops":
        # arrives during the first third, stays, and drives off in the last pair
        return middle + forward * reach * (min(progress / 0.3, 1) - 1), progress < 0.3 or progress == 1
    if actor.habit == "leaves":
        edge = np.array([WIDTH if forward[0] > 0 else 0.0, middle[1]])
        return edge + np.array([math.copysign(1, forward[0]), 0.0]) * (progress - 0.75) * 0.4 * WIDTH, True
    if actor.habit == "wanders":
        rate, phase = habits.uniform(3, 8, 2), habits.uniform(0, 2 * np.pi, 2)
        return middle + 0.5 * reach * np.sin(rate * progress + phase), True
    return middle + forward * reach * 1.4 * (progress - 0.5), True


def _shadow(sprite: FloatArray, strength: float) -> FloatArray:
    """A soft dark copy of an outline: premultiplied black, `strength` opaque."""
    soft = cv2.GaussianBlur(sprite[..., 3], (0, 0), 5)
    shadow = np.zeros_like(sprite)
    shadow[..., 3] = strength * soft
    return shadow


def _moved(path: ArcPath, dx: float, dy: float) -> ArcPath:
    return ArcPath(**{**vars(path), "x": path.x + dx, "y": path.y + dy})


def _residual_shift(scene: StagedScene, rng: np.random.Generator, grid: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What alignment left over: a shift that varies slowly over the frame, nowhere above half a pixel."""
    direction, phase = rng.uniform(0, 2 * np.pi, 2)
    length = scene.misalignment_px * (0.8 + 0.2 * np.sin(2 * np.pi * grid[..., 0] / WIDTH + phase))
    shift = np.stack([length * math.cos(direction), length * math.sin(direction)], -1)
    return np.clip(shift, -0.5, 0.5)


def _developed(
    radiance: FloatArray, camera: CameraModel, rig: RigSettings, rng: np.random.Generator, balance: Sequence[float]
) -> Bytes:
    """Through the sensor and back to what alignment stores."""
    neutral = camera.model_copy(update={"black_error_dn": (0.0, 0.0, 0.0)})
    raw = read_out(radiance, neutral, rig, rng)
    light = raw_image(raw, rig.bayer, rig.black_level, rig.white_level, RadiometrySettings()).light
    return np.asarray(from_unit(srgb_encode(light * np.asarray(balance, np.float32)), 8), np.uint8)

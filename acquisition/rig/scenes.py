"""What a simulated rig looks at: backgrounds, moving objects, and the colour chart, on a supersampled canvas."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.optics import Points
from localblur.acquisition.rig.settings import SceneSettings
from localblur.datasets.images import FloatArray, srgb_decode
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MovingObject
from localblur.datasets.scenes.scene_objects import SMALLEST_SPRITE_PX, make_sprite
from localblur.datasets.scenes.textures import BackgroundKind, TextureSource

# sRGB values (D65, 8 bit) of the ColorChecker Classic, row by row from dark skin, as published by its maker (X-Rite)
COLORCHECKER_SRGB = (
    (115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170),
    (214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46),
    (56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161),
    (243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52),
)  # fmt: skip
CHART_LEVEL = 0.8
"""Radiance of a perfect white beside the chart."""
FLAT_RADIANCE = 0.6
BRACKET_RADIANCE = 0.8
"""The rig's exposures bring the average channel to 80 % of full scale; the longest of the bracket clips no channel."""


@dataclass(frozen=True)
class Canvas:
    """The supersampled scene plane.

    Attributes:
        height, width: size in canvas px. margin: scene px it reaches beyond the frame. factor: canvas px per scene px.
    """

    height: int
    width: int
    margin: int
    factor: int

    @classmethod
    def around(cls, height: int, width: int, margin: int, factor: int) -> "Canvas":
        """The canvas of a frame of `height` x `width` scene px."""
        return cls((height + 2 * margin) * factor, (width + 2 * margin) * factor, margin, factor)

    def from_scene(self, points: Points) -> Points:
        """Scene positions to canvas positions (pixel centres at integers in both)."""
        return (points + self.margin + 0.5) * self.factor - 0.5

    def to_scene(self, points: Points) -> Points:
        """The inverse of `from_scene`."""
        return (points + 0.5) / self.factor - 0.5 - self.margin


def scene_background(source: TextureSource, scene: SceneSettings, canvas: Canvas) -> FloatArray:
    """The background of a scene, radiance, float32 (H, W, 3): `brightness` at its 99.5th percentile, plus glints."""
    factor = float(canvas.factor)
    picture = source.background([scene.seed, 10], canvas.height, canvas.width, feature_px=factor, kind=scene.background)
    picture = lit(picture, scene.brightness)
    rng = source.generator([scene.seed, 11])
    for _ in range(scene.highlights):
        _add_glint(picture, rng, float(rng.uniform(4, 20)) * factor)
    return picture


def static_background(source: TextureSource, scene: SceneSettings, canvas: Canvas, index: int) -> FloatArray:
    """A target for calibration: collages and leaves in turn, so that texture is everywhere."""
    kind: BackgroundKind = "collage" if index % 2 == 0 else "procedural"
    key = [scene.seed, 12, index]
    picture = source.background(key, canvas.height, canvas.width, feature_px=float(canvas.factor), kind=kind)
    return lit(picture, scene.brightness)


def chart_background(
    source: TextureSource, scene: SceneSettings, canvas: Canvas, index: int
) -> tuple[FloatArray, Points]:
    """A 24-patch colour chart before a textured wall; the first in the middle, others askew anywhere.

    Returns:
        The radiance, float32 (H, W, 3), and the patch centres on the canvas, float64 (24, 2).
    """
    rng = source.generator([scene.seed, 13, index])
    wall = source.background([scene.seed, 14], canvas.height, canvas.width, feature_px=float(canvas.factor))
    picture = lit(wall, 0.5)
    inner_width, inner_height = canvas.width, canvas.height
    pitch = 0.46 * min(inner_width / 6.4, inner_height / 4.4 * 1.2)
    middle = np.array([(inner_width - 1) / 2, (inner_height - 1) / 2])
    angle = 0.0
    if index > 0:
        middle += rng.uniform(-0.2, 0.2, 2) * (inner_width, inner_height)
        angle = float(np.deg2rad(rng.uniform(-6, 6)))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    _fill(picture, middle + _corners(6.4 * pitch, 4.4 * pitch) @ turn, np.full(3, 0.03 * CHART_LEVEL, np.float32))
    grid = np.array([[column - 2.5, row - 1.5] for row in range(4) for column in range(6)])
    centres = middle + (grid * pitch) @ turn
    colours = CHART_LEVEL * srgb_decode(np.array(COLORCHECKER_SRGB, np.float32) / 255)
    for centre, colour in zip(centres, colours, strict=True):
        _fill(picture, centre + _corners(0.84 * pitch, 0.84 * pitch) @ turn, colour)
    return picture, centres


def lit(picture: FloatArray, level: float) -> FloatArray:
    """Scale a picture so that its 99.5th percentile (of a sub-sample) is `level`."""
    bright = float(np.percentile(picture[::4, ::4], 99.5))
    scaled: FloatArray = picture * np.float32(level / max(bright, 1e-3))
    return scaled


class Cast:
    """The moving objects of a scene: the same in every shot, somewhere else in each."""

    def __init__(
        self, source: TextureSource, scene: SceneSettings, canvas: Canvas, background: FloatArray, exposure_ms: float
    ) -> None:
        self._source, self._scene, self._canvas, self._exposure_ms = source, scene, canvas, exposure_ms
        self._sprites = [self._sprite(index, background) for index in range(scene.objects)]

    def _sprite(self, index: int, background: FloatArray) -> FloatArray:
        """An object of a size whose sweep covers its share of the frame."""
        rng = self._source.generator([self._scene.seed, 20, index])
        canvas = self._canvas
        frame = (canvas.height - 2 * canvas.margin * canvas.factor) * (canvas.width - 2 * canvas.margin * canvas.factor)
        share = self._scene.coverage * frame / self._scene.objects * rng.uniform(0.5, 1.5)
        length = canvas.factor * sum(self._scene.blur_px) / 2
        # an outline fills about half of its square, and sweeps about 0.75 of the square's side
        size = -0.75 * length + math.sqrt((0.75 * length) ** 2 + 2 * share)
        side = int(np.clip(size, 2 * SMALLEST_SPRITE_PX, 0.6 * min(canvas.height, canvas.width)))
        key = [self._scene.seed, 21, index]
        return make_sprite(self._source, key, side, feature_px=float(canvas.factor), background=background)

    def objects(self, index: int) -> list[MovingObject]:
        """All objects with their paths during shot `index`; time 0 is the middle of the long exposure."""
        return [MovingObject(sprite, self._path(number, index)) for number, sprite in enumerate(self._sprites)]

    def _path(self, number: int, index: int) -> ArcPath:
        """Between shots an object wanders on a closed curve; during one it follows an arc, or stands still."""
        scene, canvas = self._scene, self._canvas
        habits = self._source.generator([scene.seed, 22, number])
        middle = habits.uniform(0.35, 0.65, 2)
        reach, rate = habits.uniform(0.15, 0.34, 2), 2 * np.pi * habits.uniform(0.05, 0.16, 2)
        phase = rate * index + habits.uniform(0, 2 * np.pi, 2)
        now = self._source.generator([scene.seed, 23, number, index])
        frame = np.array([canvas.width, canvas.height]) - 2 * canvas.margin * canvas.factor
        position = canvas.margin * canvas.factor + frame * (middle + reach * np.sin(phase))
        forward = frame * reach * rate * np.cos(phase)
        heading = math.atan2(forward[1], forward[0]) + now.uniform(-0.5, 0.5)
        length = canvas.factor * now.uniform(*scene.blur_px)
        rests = now.random() < scene.pause and number != index % len(self._sprites)
        bend, change, turn = now.uniform(-0.8, 0.8), now.uniform(-0.6, 0.6), now.uniform(-1, 1)
        if scene.steady:
            bend = change = turn = 0.0
        size = self._sprites[number].shape[0]
        spin = turn * min(0.5, 0.5 * length / (0.35 * size))
        duration = self._exposure_ms
        speed = 0.0 if rests else length / duration
        return ArcPath(
            x=float(position[0]),
            y=float(position[1]),
            heading=heading,
            speed=speed,
            acceleration=change * speed / duration,
            curvature=bend / max(length, 1e-6),
            angle=float(habits.uniform(0, 2 * np.pi) + 0.25 * now.standard_normal()),
            spin=0.0 if rests else spin / duration,
        )


def _corners(width: float, height: float) -> Points:
    return np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2


def _fill(picture: FloatArray, corners: Points, colour: npt.NDArray[np.float32]) -> None:
    cv2.fillConvexPoly(picture, np.round(corners * 16).astype(np.int32), colour.tolist(), cv2.LINE_8, 4)


def _add_glint(picture: FloatArray, rng: np.random.Generator, sigma: float) -> None:
    height, width = picture.shape[:2]
    x, y, reach = rng.uniform(0, width), rng.uniform(0, height), 4 * sigma
    x0, x1 = max(0, int(x - reach)), min(width, int(x + reach))
    y0, y1 = max(0, int(y - reach)), min(height, int(y + reach))
    rows, columns = np.mgrid[y0:y1, x0:x1]
    glow = 4 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    picture[y0:y1, x0:x1] += glow[..., None].astype(np.float32) * np.array([1, 0.95, 0.85], np.float32)

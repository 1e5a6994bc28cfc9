"""Local motion blur without video: objects that move over a still picture during an exposure, in linear light.

Colour and alpha of every object are integrated along its path and laid over the background, so that the background is
revealed as it is by a real exposure; the sharp picture is the middle of the exposure, where every object lies on the
pixel grid and is not resampled. Times are exposures: it lasts from -0.5 to 0.5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MOVING_PX, MovingObject, integrate
from localblur.datasets.scenes.scene_objects import SHAPES, SMALLEST_SPRITE_PX, silhouette

Range = tuple[float, float]

START, MIDDLE, END = -0.5, 0.0, 0.5
SMALLEST_PICTURE_PX = 32
_MARGIN = 2


class LocalBlurSettings(Settings):
    """How many objects move, how large they are, and how they move; every range is drawn from.

    Attributes:
        objects: how many objects.
        size: long side of an object as a share of the picture's shorter side.
        blur_px: how far an object's centre travels, drawn evenly on a logarithmic scale.
        slow, slow_px: share of objects that move less, and how far.
        still: share of objects that stand still.
        negative: share of pictures in which nothing moves: blurred and sharp are the same, the mask is empty.
        bend_deg: largest change of direction on the way. acceleration: largest relative change of speed.
        turn_deg: largest rotation of an object. growth: largest relative change of its size.
        spacing_px: no point of an object moves further between two of the instants that are summed.
    """

    objects: tuple[int, int] = (1, 3)
    size: Range = (0.15, 0.55)
    blur_px: Range = (3.0, 40.0)
    slow: float = Field(default=0.15, ge=0, le=1)
    slow_px: Range = (0.5, 3.0)
    still: float = Field(default=0.1, ge=0, le=1)
    negative: float = Field(default=0.1, ge=0, le=1)
    bend_deg: float = Field(default=60.0, ge=0, le=180)
    acceleration: float = Field(default=0.4, ge=0, lt=1)
    turn_deg: float = Field(default=15.0, ge=0, le=180)
    growth: float = Field(default=0.08, ge=0, le=0.5)
    spacing_px: float = Field(default=0.5, gt=0, le=2)

    @model_validator(mode="after")
    def _check(self) -> "LocalBlurSettings":
        for name, (low, high), least, most in (
            ("objects", self.objects, 1, 50),
            ("size", self.size, 0.02, 2),
            ("blur_px", self.blur_px, 0.01, 1000),
            ("slow_px", self.slow_px, 0.01, 1000),
        ):
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must be a range within {least:g} to {most:g}, got {low:g} to {high:g}")
        return self


@dataclass(frozen=True)
class LocalBlur:
    """A pair in linear light.

    Attributes:
        blurred, sharp: float32, shape (H, W, 3), linear.
        mask: uint8, shape (H, W): what any moving object covers at any time, 255 times its alpha there.
        travel_px: how far the fastest point of every object travelled, 0 for those that stand still.
    """

    blurred: FloatArray
    sharp: FloatArray
    mask: npt.NDArray[np.uint8]
    travel_px: tuple[float, ...]


def blur_objects(
    background: FloatArray,
    objects: Sequence[MovingObject],
    *,
    spacing_px: float = 0.5,
    blurred_background: FloatArray | None = None,
) -> LocalBlur:
    """Expose a background and the objects that move over it (later ones in front).

    Args:
        background: linear, float32, shape (H, W, 3); not changed.
        objects: their paths are run through from -0.5 to 0.5.
        spacing_px: see `LocalBlurSettings`.
        blurred_background: the background as the exposure sees it, if it is blurred already.
    """
    height, width = background.shape[:2]
    instant = integrate(objects, height, width, MIDDLE, MIDDLE)
    travels = tuple(item.travel_px(START, END)[0] for item in objects)
    sharp = instant.over(background)
    if max(travels, default=0) <= MOVING_PX:
        blurred = sharp if blurred_background is None else instant.over(blurred_background)
        return LocalBlur(blurred, sharp, np.zeros((height, width), np.uint8), (0.0,) * len(objects))
    exposure = integrate(objects, height, width, START, END, spacing_px=spacing_px, ends_covered=True)
    # rounded up: where the mask is 0 both pictures are the same
    mask = np.ceil(255 * exposure.coverage(height, width)).astype(np.uint8)
    blurred = exposure.over(background if blurred_background is None else blurred_background)
    return LocalBlur(blurred, sharp, mask, tuple(t if t > MOVING_PX else 0.0 for t in travels))


def random_local_blur(
    sharp_linear: FloatArray,
    rng: np.random.Generator,
    settings: LocalBlurSettings,
    sprites: Sequence[FloatArray] = (),
    *,
    blurred_linear: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.uint8]]:
    """Blur augmentation: move objects over a sharp patch, or over both patches of a pair.

    Args:
        sharp_linear: linear light, float32, shape (H, W, 3), at least 32 px; not changed.
        rng: source of every choice.
        settings: what moves, and how.
        sprites: objects to choose from, premultiplied linear RGBA, float32, (h, w, 4); without any, outlines are drawn
            and filled with other parts of the patch.
        blurred_linear: the pair's own blurred patch, the shape of the sharp one; what is blurred in it stays so.

    Returns:
        (blurred, sharp, mask): linear float32 (H, W, 3) twice, and uint8 (H, W), 128 and above where an added object
        blurs; the pair's own mask is to be joined to it. The sharp picture is not the input: it shows the objects in
        the middle of their way.

    Raises:
        LocalblurError: if the patch is too small or of another shape.
    """
    height, width = sharp_linear.shape[:2]
    if sharp_linear.ndim != 3 or sharp_linear.shape[2] != 3 or min(height, width) < SMALLEST_PICTURE_PX:
        raise LocalblurError(
            f"local blur needs a patch (H, W, 3) of at least {SMALLEST_PICTURE_PX} px, got {sharp_linear.shape}"
        )
    if blurred_linear is not None and blurred_linear.shape != sharp_linear.shape:
        raise LocalblurError(f"the blurred patch is {blurred_linear.shape} but the sharp one is {sharp_linear.shape}")
    count = draw_count(rng, settings)
    if sprites:
        chosen = [sprites[int(rng.integers(len(sprites)))] for _ in range(count)]
    else:
        chosen = [patch_sprite(sharp_linear, rng, draw_size(rng, settings, height, width)) for _ in range(count)]
    objects = place_objects(chosen, height, width, rng, settings)
    made = blur_objects(sharp_linear, objects, spacing_px=settings.spacing_px, blurred_background=blurred_linear)
    return made.blurred, made.sharp, made.mask


def draw_count(rng: np.random.Generator, settings: LocalBlurSettings) -> int:
    """How many objects a picture gets."""
    return int(rng.integers(settings.objects[0], settings.objects[1] + 1))


def draw_size(rng: np.random.Generator, settings: LocalBlurSettings, height: int, width: int) -> int:
    """Long side of an object in a picture of this size, px."""
    return max(SMALLEST_SPRITE_PX, round(float(rng.uniform(*settings.size)) * min(height, width)))


def place_objects(
    sprites: Sequence[FloatArray], height: int, width: int, rng: np.random.Generator, settings: LocalBlurSettings
) -> list[MovingObject]:
    """Give every sprite a place and a motion; at least half of its width and height is in the picture at mid-exposure.

    In the middle of the exposure sprites lie on whole pixels, upright and at their own size.
    """
    nothing_moves = rng.random() < settings.negative
    objects = []
    for sprite in sprites:
        rows, columns = sprite.shape[:2]
        top, left = (
            round(float(rng.uniform(-0.5 * size, full - 0.5 * size))) if size < full else round(0.5 * (full - size))
            for size, full in ((rows, height), (columns, width))
        )
        path, growth = _draw_motion(rng, settings, left + (columns - 1) / 2, top + (rows - 1) / 2, nothing_moves)
        objects.append(MovingObject(sprite, path, growth))
    return objects


def patch_sprite(linear: FloatArray, rng: np.random.Generator, size_px: int) -> FloatArray:
    """An outline filled with a part of a picture, mirrored and brighter or darker: premultiplied RGBA, (h, w, 4)."""
    height, width = linear.shape[:2]
    size = min(max(size_px, SMALLEST_SPRITE_PX), height - 2 * _MARGIN, width - 2 * _MARGIN)
    alpha = silhouette(rng, size, SHAPES[int(rng.integers(len(SHAPES)))])
    y, x = int(rng.integers(0, height - size + 1)), int(rng.integers(0, width - size + 1))
    part = linear[y : y + size, x : x + size]
    turned = part[:: 1 - 2 * int(rng.integers(2)), :: 1 - 2 * int(rng.integers(2))]
    light = turned * rng.uniform(0.6, 1.3, (1, 1, 3)).astype(np.float32)
    sprite: FloatArray = np.dstack([np.minimum(light, 1) * alpha[..., None], alpha]).astype(np.float32)
    return sprite


def _draw_motion(
    rng: np.random.Generator, settings: LocalBlurSettings, x: float, y: float, nothing_moves: bool
) -> tuple[ArcPath, float]:
    """A path through (x, y) at mid-exposure, and a growth. The same numbers are drawn for objects that stand still."""
    kind, where = rng.random(2)
    low, high = settings.slow_px if kind < settings.slow else settings.blur_px
    length = float(low * (high / low) ** where)
    heading, change, bend, turn, growth = (
        float(rng.uniform(-most, most))
        for most in (math.pi, settings.acceleration, settings.bend_deg, settings.turn_deg, settings.growth)
    )
    if nothing_moves or kind > 1 - settings.still:
        return ArcPath(x=x, y=y), 0.0
    # what is slow hardly turns and grows, or it would not be slow
    pace = min(1.0, length / settings.blur_px[0]) if kind < settings.slow else 1.0
    path = ArcPath(
        x=x,
        y=y,
        heading=heading,
        speed=length,
        acceleration=2 * change * length,
        curvature=math.radians(bend) / length,
        spin=math.radians(turn) * pace * min(1.0, length / settings.blur_px[1] + 0.2),
    )
    return path, math.log1p(abs(growth)) * math.copysign(1.0, growth) * pace

"""What moves in simulated scenes: blobs, polygons, bars and ellipses; textured, flat or camouflaged."""

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray
from localblur.datasets.scenes.motion_paths import WanderPath
from localblur.datasets.scenes.object_motion import MovingObject
from localblur.datasets.scenes.procedural import DARKEST
from localblur.datasets.scenes.textures import TextureSource

Shape = Literal["blob", "polygon", "bar", "ellipse"]
Style = Literal["textured", "flat", "camouflaged"]

SHAPES: tuple[Shape, ...] = ("blob", "polygon", "bar", "ellipse")
STYLE_SHARES: dict[Style, float] = {"textured": 0.6, "flat": 0.2, "camouflaged": 0.2}
SMALLEST_SPRITE_PX = 12
_OUTLINE_POINTS = 360


def silhouette(rng: np.random.Generator, size: int, shape: Shape) -> FloatArray:
    """The alpha of an object: float32 in [0, 1], shape (size, size), soft over about two pixels at its outline."""
    factor = 4
    inner = size - 6
    angles = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    if shape == "polygon":
        corners = int(rng.integers(4, 9))
        angles = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
        radii = rng.uniform(0.55, 1.0, corners)
        points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    elif shape == "blob":
        radii = np.ones_like(angles)
        for order in range(2, 6):
            radii += rng.normal(0, 0.3 / order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
        radii = np.clip(radii, 0.4, None)
        points = np.stack([radii * np.cos(angles), rng.uniform(0.6, 1.0) * radii * np.sin(angles)], axis=1)
    else:
        # a superellipse: exponent 1 is an ellipse, small exponents approach a rectangle with round corners
        power = 1.0 if shape == "ellipse" else rng.uniform(0.2, 0.5)
        aspect = rng.uniform(0.5, 1.0) if shape == "ellipse" else rng.uniform(0.15, 0.45)
        x = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power
        y = aspect * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
        points = np.stack([x, y], axis=1)
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points = points / np.hypot(points[:, 0], points[:, 1]).max()
    fine = np.zeros((size * factor, size * factor), np.uint8)
    outline = np.round((points * inner / 2 + size / 2) * factor * 16).astype(np.int32)
    cv2.fillPoly(fine, [outline], 255, cv2.LINE_AA, 4)
    alpha = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    softened: FloatArray = cv2.GaussianBlur(alpha, (0, 0), 0.7)
    return softened


def make_sprite(
    source: TextureSource,
    key: Sequence[int],
    size: int,
    *,
    feature_px: float,
    background: FloatArray,
    shape: Shape | None = None,
    style: Style | None = None,
) -> FloatArray:
    """An object to move: premultiplied linear RGBA, float32, shape (size, size, 4).

    Args:
        source, key: where its looks come from.
        size: side of the square it fits in, canvas px.
        feature_px: size of the finest detail.
        background: the scene's background, linear (H, W, 3): gives a camouflaged object its looks, every object a
            brightness that fits.
        shape, style: None to draw one.

    Raises:
        LocalblurError: if `size` is too small to hold an outline.
    """
    if size < SMALLEST_SPRITE_PX:
        raise LocalblurError(f"an object must be at least {SMALLEST_SPRITE_PX} canvas px across, got {size}")
    rng = source.generator([*key, 2])
    shape = shape or SHAPES[int(rng.integers(len(SHAPES)))]
    styles = list(STYLE_SHARES)
    style = style or styles[int(rng.choice(len(styles), p=list(STYLE_SHARES.values())))]
    alpha = silhouette(rng, size, shape)
    height, width = background.shape[:2]
    if style == "camouflaged" and size < min(height, width):
        y, x = int(rng.integers(0, height - size)), int(rng.integers(0, width - size))
        colour = background[y : y + size, x : x + size] * np.float32(rng.uniform(0.8, 1.2))
    else:
        colour = source.texture([*key, 3], size, size, feature_px=feature_px)
        level = float(np.percentile(background, 98)) * rng.uniform(0.5, 1.05)
        colour = colour * np.float32(level / max(float(np.percentile(colour, 98)), 0.02))
        if style == "flat":
            colour = 0.1 * colour + 0.9 * colour.mean(axis=(0, 1))
    colour = np.clip(colour * _shading(rng, size), DARKEST, None)
    sprite: FloatArray = np.dstack([colour * alpha[..., None], alpha]).astype(np.float32)
    return sprite


def video_objects(
    source: TextureSource,
    key: Sequence[int],
    background: FloatArray,
    *,
    count: int = 3,
    speed_px_per_ms: tuple[float, float] = (0.1, 0.5),
    size_px: tuple[int, int] = (50, 150),
    feature_px: float = 1.0,
) -> list[MovingObject]:
    """Objects that wander about a background for ever, for `render_frames`: generated high-frame-rate video.

    Args:
        source, key: where looks and motion come from.
        background: linear (H, W, 3).
        count: number of objects.
        speed_px_per_ms: range of their largest speeds; 0.24 is one pixel per frame at 240 frames per second.
        size_px: range of their sizes.
        feature_px: size of the finest detail.
    """
    height, width = background.shape[:2]
    objects = []
    for index in range(count):
        rng = source.generator([*key, 4, index])
        size = min(int(rng.uniform(*size_px)), min(height, width))
        sprite = make_sprite(source, [*key, 5, index], size, feature_px=feature_px, background=background)
        path = _wander(rng, height, width, speed_px_per_ms)
        objects.append(MovingObject(sprite, path))
    return objects


def _wander(rng: np.random.Generator, height: int, width: int, speed_px_per_ms: tuple[float, float]) -> WanderPath:
    reach_x, reach_y = rng.uniform(0.1, 0.35) * width, rng.uniform(0.1, 0.35) * height
    speed = rng.uniform(*speed_px_per_ms)
    return WanderPath(
        x=rng.uniform(0.35, 0.65) * width,
        y=rng.uniform(0.35, 0.65) * height,
        reach_x=reach_x,
        reach_y=reach_y,
        rate_x=speed / reach_x,
        rate_y=speed * rng.uniform(0.3, 1.0) / reach_y,
        phase_x=rng.uniform(0, 2 * np.pi),
        phase_y=rng.uniform(0, 2 * np.pi),
        swing=rng.uniform(0, 0.4),
        swing_rate=rng.uniform(0.3, 1.0) * speed / reach_x,
    )


def _shading(rng: np.random.Generator, size: int) -> FloatArray:
    """Light from one side, so that an object does not look like a hole in the background: shape (size, size, 1)."""
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1 + np.float32(rng.uniform(0.1, 0.3)) * (
        np.float32(math.cos(angle)) * ramp[None, :] + np.float32(math.sin(angle)) * ramp[:, None]
    )
    shading: FloatArray = light[..., None].astype(np.float32)
    return shading

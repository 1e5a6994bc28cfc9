"""Procedural textures: dead leaves, 1/f noise, text, edges and shapes. Pure functions of a seeded generator.

All return linear light, float32, shape (height, width, 3), in [0.003, 1]. `feature_px` is the size in pixels of the
finest detail, so that a supersampled canvas shows the same scene as the picture made of it.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray
from localblur.datasets.scenes.photographs import decode_levels

DARKEST = 0.003
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_LETTERS = np.array(list("etaoinshrdlucmfwypvbgkETAOINSHRDLU0123456789"))


def fractal_field(rng: np.random.Generator, height: int, width: int, feature_px: float, slope: float) -> FloatArray:
    """A random field of unit variance whose amplitude falls as 1/f^slope, shape (height, width).

    Octave by octave from coarse to fine: what there is is brought to twice its size and finer noise is added.
    """
    cell = max(1.0, feature_px)
    octaves = max(1, math.ceil(math.log2(max(height, width) / cell)))
    field = np.zeros((3, 3), np.float32)
    for octave in reversed(range(octaves)):
        rows, columns = (math.ceil(size / (cell * 2**octave)) + 2 for size in (height, width))
        doubled = cv2.resize(field, (2 * field.shape[1], 2 * field.shape[0]), interpolation=cv2.INTER_CUBIC)
        field = doubled[:rows, :columns]
        # 1/f in two dimensions means the same variance in every octave
        field += np.float32(2 ** (octave * (slope - 1))) * rng.standard_normal(field.shape, dtype=np.float32)
    scaled = (math.ceil(field.shape[1] * cell), math.ceil(field.shape[0] * cell))
    total = cv2.resize(field, scaled, interpolation=cv2.INTER_CUBIC)[:height, :width]
    total = total - total.mean()
    normalised: FloatArray = total / np.float32(max(float(total.std()), 1e-6))
    return normalised


def fractal_noise(rng: np.random.Generator, height: int, width: int, feature_px: float) -> FloatArray:
    """Coloured 1/f noise (stone, cloth, foliage out of reach): one luminance field with a weaker chroma field each."""
    slope = rng.uniform(0.7, 1.3)
    luminance = rng.uniform(0.35, 0.8) * fractal_field(rng, height, width, feature_px, slope)
    tint = palette(rng, 1)[0]
    channels = [
        luminance + 0.15 * fractal_field(rng, height, width, 4 * feature_px, slope) + math.log(level)
        for level in decode_levels(tint)
    ]
    return _finish(np.exp(np.stack(channels, axis=2)))


def dead_leaves(rng: np.random.Generator, height: int, width: int, feature_px: float) -> FloatArray:
    """Occluding discs and rectangles with radii distributed as r^-3: the edge statistics of natural scenes.

    Source: A. Lee, D. Mumford, J. Huang, "Occlusion models for natural images", IJCV 2001.
    """
    smallest, largest = 2.5 * feature_px, max(0.13 * min(height, width), 8.0 * feature_px)
    mean_square = 2 * math.log(largest / smallest) / (smallest**-2 - largest**-2)
    count = int(2.5 * height * width / (math.pi * mean_square)) + 1
    radius = smallest / np.sqrt(1 - rng.random(count) * (1 - (smallest / largest) ** 2))
    centre = rng.uniform((-largest, -largest), (width + largest, height + largest), (count, 2))
    angle, aspect, is_disc = rng.uniform(0, np.pi, count), rng.uniform(0.5, 1, count), rng.random(count) < 0.6
    colours = _varied(rng, palette(rng, 9)[rng.integers(0, 9, count)])
    canvas = np.full((height, width, 3), palette(rng, 1)[0], np.uint8)
    for i in range(count):
        colour = colours[i].tolist()
        if is_disc[i]:
            point = (int(centre[i, 0] * 16), int(centre[i, 1] * 16))
            cv2.circle(canvas, point, int(radius[i] * 16), colour, -1, cv2.LINE_AA, 4)
        else:
            corners = _rectangle(centre[i], radius[i], radius[i] * aspect[i], angle[i])
            cv2.fillConvexPoly(canvas, corners, colour, cv2.LINE_AA, 4)
    return _finish(_grained(rng, decode_levels(canvas), feature_px))


def text(rng: np.random.Generator, height: int, width: int, feature_px: float) -> FloatArray:
    """Lines of made-up words in several sizes, on paper or on a dark board."""
    light, dark = rng.integers(175, 245, 3), rng.integers(5, 70, 3)
    paper, ink = (light, dark) if rng.random() < 0.7 else (dark, light)
    canvas = np.full((height, width, 3), paper, np.uint8)
    y = 0.0
    while y < height:
        size = rng.uniform(0.35, 1.1) * feature_px
        y += size * 34
        words = ["".join(rng.choice(_LETTERS, int(rng.integers(2, 9)))) for _ in range(4 + int(width / (size * 60)))]
        colour = ink if rng.random() < 0.8 else palette(rng, 1)[0]
        start = (int(rng.integers(-40, 20)), int(y))
        font, thickness = _FONTS[int(rng.integers(len(_FONTS)))], max(1, round(size * rng.uniform(0.8, 1.8)))
        cv2.putText(canvas, " ".join(words), start, font, size, colour.tolist(), thickness, cv2.LINE_AA)
    return _finish(_grained(rng, decode_levels(canvas), feature_px))


def shapes(rng: np.random.Generator, height: int, width: int, feature_px: float) -> FloatArray:
    """Stripes, checkerboards, polygons and lines over a gradient: clean edges in every direction."""
    corners = palette(rng, 4).reshape(2, 2, 3)
    canvas = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    reach = min(height, width)
    for _ in range(max(12, int(height * width / (110 * feature_px) ** 2))):
        centre = rng.uniform((0, 0), (width, height))
        length, angle = rng.uniform(0.05, 0.28) * reach, rng.uniform(0, np.pi)
        colour = palette(rng, 1)[0].tolist()
        choice = rng.integers(0, 4)
        if choice == 0:
            cv2.fillConvexPoly(canvas, _rectangle(centre, length, length * rng.uniform(0.2, 1), angle), colour, 16, 4)
        elif choice == 1:
            cv2.circle(canvas, _fixed(centre), int(length * 12), colour, -1, cv2.LINE_AA, 4)
        elif choice == 2:
            far = centre + 2 * length * np.array([np.cos(angle), np.sin(angle)])
            thickness = max(1, round(rng.uniform(1, 5) * feature_px))
            cv2.line(canvas, _fixed(centre), _fixed(far), colour, thickness, cv2.LINE_AA, 4)
        else:
            _stripes(rng, canvas, centre, length, angle, feature_px)
    return _finish(_grained(rng, decode_levels(canvas), feature_px))


def palette(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
    """Random sRGB-coded colours, uint8, shape (count, 3): mostly muted, dark to light, around a few hues."""
    hues = (rng.uniform(0, 180, 3)[rng.integers(0, 3, count)] + rng.normal(0, 8, count)) % 180
    hsv = np.stack([hues, 190 * rng.beta(1.4, 3.2, count), 255 * rng.uniform(0.2, 0.97, count)], axis=1)
    colours: npt.NDArray[np.uint8] = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    return colours


def _stripes(
    rng: np.random.Generator,
    canvas: npt.NDArray[np.uint8],
    centre: npt.NDArray[np.float64],
    length: float,
    angle: float,
    feature_px: float,
) -> None:
    pitch = rng.uniform(3, 12) * feature_px
    along = np.array([np.cos(angle), np.sin(angle)])
    colour = palette(rng, 1)[0].tolist()
    checkered, across = rng.random() < 0.5, np.array([-along[1], along[0]])
    for step in range(int(2 * length / (2 * pitch))):
        position = centre + along * (2 * pitch * step - length)
        if not checkered:
            cv2.fillConvexPoly(canvas, _rectangle(position, pitch / 2, length / 2, angle), colour, cv2.LINE_AA, 4)
            continue
        for row in range(int(length / pitch)):
            shifted = position + across * (pitch * row - length / 2) + along * pitch * (row % 2)
            cv2.fillConvexPoly(canvas, _rectangle(shifted, pitch / 2, pitch / 2, angle), colour, cv2.LINE_AA, 4)


def _rectangle(
    centre: npt.NDArray[np.float64], half_length: float, half_width: float, angle: float
) -> npt.NDArray[np.int32]:
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    corners = [
        centre + a * half_length * along + b * half_width * across for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return np.round(np.array(corners) * 16).astype(np.int32)


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0] * 16), int(point[1] * 16)


def _varied(rng: np.random.Generator, colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    varied = colours * rng.uniform(0.75, 1.2, (len(colours), 1)) + rng.normal(0, 5, colours.shape)
    return np.clip(varied, 0, 255).astype(np.uint8)


def _grained(rng: np.random.Generator, linear: FloatArray, feature_px: float) -> FloatArray:
    """Paint is never quite even: a few per cent of fine grain and a slow change of light."""
    height, width = linear.shape[:2]
    grain = fractal_field(rng, height, width, feature_px, 0.6) * np.float32(rng.uniform(0.03, 0.1))
    grained: FloatArray = linear * np.exp(grain)[..., None]
    return grained


def _finish(linear: FloatArray) -> FloatArray:
    return np.clip(linear, DARKEST, 1).astype(np.float32)

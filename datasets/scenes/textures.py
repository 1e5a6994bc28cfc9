"""Textures for simulated scenes: procedural ones and photographs, with training and test strictly apart.

A `TextureSource` belongs to one split. Every random choice comes from a generator seeded with the split and a key, so
procedural textures of the two splits come from disjoint streams, and photographs from disjoint lists.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray
from localblur.datasets.scenes import photographs, procedural
from localblur.datasets.scenes.photographs import Split

TextureKind = Literal["leaves", "noise", "text", "shapes", "photograph"]
BackgroundKind = Literal["photograph", "collage", "procedural"]

PROCEDURAL: dict[str, Callable[[np.random.Generator, int, int, float], FloatArray]] = {
    "leaves": procedural.dead_leaves,
    "noise": procedural.fractal_noise,
    "text": procedural.text,
    "shapes": procedural.shapes,
}
KIND_SHARES: dict[TextureKind, float] = {"photograph": 0.5, "leaves": 0.2, "shapes": 0.12, "noise": 0.1, "text": 0.08}
BACKGROUND_SHARES: dict[BackgroundKind, float] = {"photograph": 0.55, "collage": 0.33, "procedural": 0.12}
LARGEST_ENLARGEMENT = 1.45
"""A photograph's pixel may cover this many pixels of the finished picture before it looks soft."""
_SPLIT_STREAM: dict[Split, int] = {"train": 0x7261, "test": 0x7465}
_TRIES = 8

KeyType = TypeVar("KeyType", bound=str)


class TextureSource:
    """Linear-light textures of one split.

    Args:
        split: `train` or `test`.
        folder: photographs of one's own, used instead of the bundled ones; divided by a hash of the file name.

    Raises:
        LocalblurError: if the folder is missing or holds no photograph of this split.
    """

    def __init__(self, split: Split, folder: Path | None = None) -> None:
        if split not in _SPLIT_STREAM:
            raise LocalblurError(f"texture split must be train or test, got {split!r}")
        self.split: Split = split
        if folder is None:
            self.photographs = photographs.bundled_photographs(split, frame_filling=False)
            self.frame_photographs = photographs.bundled_photographs(split, frame_filling=True)
        else:
            self.photographs = self.frame_photographs = photographs.folder_photographs(folder, split)

    def generator(self, key: Sequence[int]) -> np.random.Generator:
        """The generator of this split for `key` (integers of 0 and above)."""
        return np.random.default_rng([_SPLIT_STREAM[self.split], *key])

    def texture(
        self, key: Sequence[int], height: int, width: int, *, feature_px: float = 1.0, kind: TextureKind | None = None
    ) -> FloatArray:
        """A texture, linear light, float32 in [0, 1], shape (height, width, 3); the same for the same arguments.

        Args:
            key: which texture.
            height, width: its size.
            feature_px: size of the finest detail in pixels (the supersampling factor of a canvas).
            kind: None to draw one.
        """
        rng = self.generator(key)
        chosen = kind or _draw(rng, KIND_SHARES)
        if chosen == "photograph" and self.photographs:
            return self._photograph(rng, height, width, feature_px)
        return PROCEDURAL[chosen if chosen != "photograph" else "leaves"](rng, height, width, feature_px)

    def background(
        self,
        key: Sequence[int],
        height: int,
        width: int,
        *,
        feature_px: float = 1.0,
        kind: BackgroundKind | None = None,
    ) -> FloatArray:
        """A picture that fills a frame, as `texture`; a photograph only if it does so without looking soft.

        A frame too large for the photographs at hand becomes a collage of them; none is ever tiled.
        """
        rng = self.generator([*key, 1])
        chosen = kind or _draw(rng, BACKGROUND_SHARES)
        if chosen == "photograph":
            limit = LARGEST_ENLARGEMENT * feature_px
            for index in rng.permutation(len(self.frame_photographs))[:_TRIES]:
                path = self.frame_photographs[int(index)]
                if _enlargement(photographs.load_coded(path).shape, height, width) <= limit:
                    return _crop(rng, path, height, width, feature_px)
            chosen = "collage"
        if chosen == "procedural":
            return procedural.dead_leaves(rng, height, width, feature_px)
        return self._collage(rng, height, width, feature_px)

    def _photograph(self, rng: np.random.Generator, height: int, width: int, feature_px: float) -> FloatArray:
        order = rng.permutation(len(self.photographs))
        for index in order[:_TRIES]:
            path = self.photographs[int(index)]
            if _enlargement(photographs.load_coded(path).shape, height, width) <= LARGEST_ENLARGEMENT * feature_px:
                return _crop(rng, path, height, width, feature_px)
        return self._collage(rng, height, width, feature_px)

    def _collage(self, rng: np.random.Generator, height: int, width: int, feature_px: float) -> FloatArray:
        """Pictures hung on a procedural wall, each near its own resolution and a little askew."""
        wall = _draw(rng, {"leaves": 0.6, "shapes": 0.2, "noise": 0.2})
        canvas = PROCEDURAL[wall](rng, height, width, feature_px)
        panels = min(2 * len(self.photographs), max(4, round(height * width / (330 * feature_px) ** 2)))
        turn = rng.permutation(len(self.photographs))
        for number in range(panels):
            path = self.photographs[int(turn[number % len(turn)])]
            scale = rng.uniform(0.8, LARGEST_ENLARGEMENT) * feature_px
            rows, columns = photographs.load_coded(path).shape[:2]
            panel_height = int(min(rows * scale, height * 0.6) * rng.uniform(0.6, 1))
            panel_width = int(min(columns * scale, width * 0.6) * rng.uniform(0.6, 1))
            panel = _crop(rng, path, panel_height, panel_width, feature_px)
            centre = rng.uniform((0, 0), (width, height))
            _hang(canvas, panel, (float(centre[0]), float(centre[1])), float(rng.uniform(-8, 8)))
        return canvas


def _enlargement(shape: tuple[int, ...], height: int, width: int) -> float:
    return max(height / shape[0], width / shape[1])


def _crop(rng: np.random.Generator, path: Path, height: int, width: int, feature_px: float) -> FloatArray:
    """A random part of a photograph at a random size near its own resolution, possibly mirrored."""
    coded = photographs.load_coded(path)
    smallest = _enlargement(coded.shape, height, width)
    scale = smallest * 1.001 if smallest >= feature_px else min(feature_px, smallest * rng.uniform(1.001, 2.0))
    rows, columns = min(math.ceil(height / scale), coded.shape[0]), min(math.ceil(width / scale), coded.shape[1])
    y, x = int(rng.integers(0, coded.shape[0] - rows + 1)), int(rng.integers(0, coded.shape[1] - columns + 1))
    part = coded[y : y + rows, x : x + columns]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    linear = photographs.decode_levels(part)
    if np.array_equal(part[..., 0], part[..., 2]) and np.array_equal(part[..., 0], part[..., 1]):
        # gray pictures get a colour, or colour calibration would see only gray
        linear = linear * rng.uniform(0.75, 1, 3).astype(np.float32)
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(linear, (width, height), interpolation=mode)
    filled: FloatArray = np.clip(resized, procedural.DARKEST, 1).astype(np.float32)
    return filled


def _hang(canvas: FloatArray, panel: FloatArray, centre: tuple[float, float], angle_deg: float) -> None:
    height, width = canvas.shape[:2]
    rows, columns = panel.shape[:2]
    matrix = cv2.getRotationMatrix2D((columns / 2 - 0.5, rows / 2 - 0.5), angle_deg, 1.0)
    reach = math.ceil(0.5 * math.hypot(rows, columns)) + 2
    x0, y0 = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    x1, y1 = min(width, int(centre[0]) + reach), min(height, int(centre[1]) + reach)
    if x1 <= x0 or y1 <= y0:
        return
    matrix[:, 2] += (centre[0] - columns / 2 - x0, centre[1] - rows / 2 - y0)
    solid = np.zeros((rows, columns, 1), np.float32)
    solid[2:-2, 2:-2] = 1
    layer = cv2.warpAffine(np.concatenate([panel * solid, solid], axis=2), matrix, (x1 - x0, y1 - y0))
    region = canvas[y0:y1, x0:x1]
    region *= 1 - layer[..., 3:]
    region += layer[..., :3]


def _draw(rng: np.random.Generator, shares: dict[KeyType, float]) -> KeyType:
    names = list(shares)
    return names[int(rng.choice(len(names), p=np.array(list(shares.values())) / sum(shares.values())))]

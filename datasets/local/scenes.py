"""Scenes for pairs without video: photographs, or procedural textures, and the backgrounds cut from them.

One photograph, or one procedural background, is one scene, so that none is in two splits.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.images import IMAGE_SUFFIXES, FloatArray, read_image
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.scenes.photographs import Split, load_coded
from localblur.datasets.scenes.procedural import DARKEST
from localblur.datasets.scenes.textures import PROCEDURAL, TextureSource
from localblur.datasets.storage.names import storable_name

_TEXTURES: dict[str, Split] = {"train": "train", "val": "test", "test": "test"}
_ROOM = 1.5
"""A procedural background is this many times as large as the pictures cut from it, and their margins larger."""


class ListedTextures(TextureSource):
    """Textures of one split, photographs among them only those listed; without any, all are procedural."""

    def __init__(self, split: str, photographs: Sequence[Path]) -> None:
        self.split: Split = _TEXTURES[split]
        self.photographs = list(photographs)
        self.frame_photographs = list(photographs)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One background and the pairs made of it.

    Attributes:
        name: in the pairs file. number: among all scenes.
        photograph: None: procedural.
        pairs: numbers of its pairs, among all pairs.
    """

    name: str
    number: int
    photograph: Path | None
    pairs: range


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder and its sub-folders, sorted; a single file is itself.

    Raises:
        LocalblurError: if there are none.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise LocalblurError(f"no folder {folder}; give a folder of photographs, or none for procedural textures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise LocalblurError(f"no picture in {folder}; it must hold {', '.join(sorted(IMAGE_SUFFIXES))} files")
    return found


def usable_photographs(paths: Sequence[Path], width: int, height: int) -> Iterator[tuple[Path, str | None]]:
    """Each photograph with what speaks against it: it cannot be read, or is smaller than the pictures wanted."""
    for path in paths:
        try:
            rows, columns = read_image(path).shape[:2]
        except LocalblurError as error:
            yield path, str(error)
            continue
        if rows < height or columns < width:
            yield path, f"{path} is {columns}x{rows}, smaller than --size {width}x{height}"
        else:
            yield path, None


def make_scenes(photographs: Sequence[Path], count: int, pairs_per_scene: int) -> list[Scene]:
    """Divide `count` pairs among the photographs, or among as many procedural backgrounds as they need."""
    total = min(count, len(photographs)) if photographs else math.ceil(count / pairs_per_scene)
    names: dict[str, None] = {}
    scenes, first = [], 0
    for number in range(total):
        photograph = photographs[number] if photographs else None
        base = f"procedural_{number:04d}" if photograph is None else photograph.stem
        name, again = storable_name(base), 2
        while name in names:
            name, again = storable_name(base, f"-{again}"), again + 1
        names[name] = None
        size = count // total + (number < count % total)
        scenes.append(Scene(name=name, number=number, photograph=photograph, pairs=range(first, first + size)))
        first += size
    return scenes


def photograph_background(path: Path, rng: np.random.Generator, width: int, height: int, margin: int) -> FloatArray:
    """A random part of a photograph at a random scale, never enlarged: linear, (height + 2 margin, ...), float32.

    Where the photograph does not reach, the margin is mirrored.
    """
    coded = load_coded(path)
    rows, columns = coded.shape[:2]
    smallest = max(height / rows, width / columns)
    scale = float(smallest ** rng.random())
    wanted = [
        min(full, max(1, round((size + 2 * margin) / scale))) for full, size in ((rows, height), (columns, width))
    ]
    y, x = (int(rng.integers(0, full - size + 1)) for full, size in ((rows, wanted[0]), (columns, wanted[1])))
    part = coded[y : y + wanted[0], x : x + wanted[1]]
    linear = CAMERA_RESPONSES["srgb"].decode(cv2.flip(part, 1) if rng.random() < 0.5 else part)
    covered = [
        min(size + 2 * margin, max(size, round(got * scale))) for got, size in ((wanted[0], height), (wanted[1], width))
    ]
    if covered != [*part.shape[:2]]:
        linear = np.clip(cv2.resize(linear, (covered[1], covered[0]), interpolation=cv2.INTER_AREA), 0, 1)
    top, left = (height + 2 * margin - covered[0]) // 2, (width + 2 * margin - covered[1]) // 2
    bottom, right = height + 2 * margin - covered[0] - top, width + 2 * margin - covered[1] - left
    if max(top, bottom, left, right) > 0:
        linear = cv2.copyMakeBorder(linear, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    background: FloatArray = np.maximum(linear, np.float32(DARKEST))
    return background


def procedural_background(
    split: str,
    scene: int,
    seed: int,
    rng: np.random.Generator,
    width: int,
    height: int,
    margin: int,
    largest_margin: int,
) -> FloatArray:
    """A random part of a scene's procedural background: linear, (height + 2 margin, width + 2 margin, 3), float32.

    The background depends on the size and on `largest_margin`, not on `margin`: all pairs of a scene are parts of one.
    """
    high, wide = height + 2 * margin, width + 2 * margin
    rows, columns = (math.ceil(_ROOM * side) + 2 * largest_margin for side in (height, width))
    whole = _texture(split, scene, seed, rows, columns)
    y, x = int(rng.integers(0, whole.shape[0] - high + 1)), int(rng.integers(0, whole.shape[1] - wide + 1))
    return whole[y : y + high, x : x + wide]


@lru_cache(maxsize=2)
def _texture(split: str, scene: int, seed: int, height: int, width: int) -> FloatArray:
    source = ListedTextures(split, ())
    kinds = sorted(PROCEDURAL)
    kind = kinds[int(source.generator([seed, scene, 7]).integers(len(kinds)))]
    texture = PROCEDURAL[kind](source.generator([seed, scene, 8]), height, width, 1.0)
    texture.flags.writeable = False
    return texture

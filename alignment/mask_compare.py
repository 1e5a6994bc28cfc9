"""Comparing two sets of masks: intersection over union per pair. A set is a pairs file or a folder of pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import IMAGE_SUFFIXES, read_plane
from localblur.datasets.pair import MASK_THRESHOLD
from localblur.datasets.store import PairsFile
from localblur.datasets.store_reader import natural_key

BoolArray = npt.NDArray[np.bool_]
Binary = Literal["half", "nonzero"]
Key = tuple[str, str]
"""Scene and pair."""

BINARY: Mapping[str, Callable[[npt.NDArray[Any]], BoolArray]] = MappingProxyType(
    {
        "half": lambda mask: mask >= (MASK_THRESHOLD if mask.dtype == np.uint8 else 2**15),
        "nonzero": lambda mask: mask > 0,
    }
)
"""How a stored mask becomes binary. `half` is the rule everywhere in this project; `nonzero` is what the code released
with the ReLoBlur data set does, and what masks stored as 0 and 1 need."""

_WRAPPERS = ("masks", "train", "test", "val", "scenes")
"""Folders that group scenes; no part of a scene's name."""
_OTHERS = ("_blur", "_blurred", "_sharp")
"""Ends of names of pictures that are no masks."""


@dataclass(frozen=True)
class ComparedMask:
    """One pair in both sets; `share`, `other_share` are blurred shares."""

    scene: str
    name: str
    iou: float
    share: float
    other_share: float

    @property
    def label(self) -> str:
        """What to call the pair in messages."""
        return f"{self.scene}/{self.name}"


@dataclass
class Comparison:
    """All pairs that both sets have, how many only one has, and what could not be compared, in words."""

    pairs: list[ComparedMask] = field(default_factory=list)
    only_first: int = 0
    only_second: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def mean_iou(self) -> float:
        """Mean over the pairs."""
        return float(np.mean([pair.iou for pair in self.pairs]))

    def by_scene(self) -> dict[str, list[ComparedMask]]:
        """The pairs of every scene."""
        scenes: dict[str, list[ComparedMask]] = {}
        for pair in self.pairs:
            scenes.setdefault(pair.scene, []).append(pair)
        return scenes

    def worst(self, count: int) -> list[ComparedMask]:
        """The pairs with the least agreement, worst first."""
        return sorted(self.pairs, key=lambda pair: pair.iou)[:count]


class MaskSet:
    """Masks by scene and pair.

    Of a folder, every picture is one mask: `<scene>/<pair>.png`, or `<scene>/<pair>/<pair>.png` as in the ReLoBlur and
    LMD-ViT downloads. Folders `masks`, `train`, `test`, `val` and `scenes` only group scenes; if there is a folder
    `masks`, only what is in it counts. `_mask` at the end of a name is dropped, pictures ending in `_blur` or `_sharp`
    are passed over. The scene of a pairs file is the last part of its name.

    Args:
        path: the pairs file or the folder.
        binary: key of `BINARY`.

    Raises:
        LocalblurError: if there are no masks, or two of one scene and pair.
    """

    def __init__(self, path: Path, binary: Binary = "half") -> None:
        self.path, self._binary = path, BINARY[binary]
        self._files: dict[Key, Path] = {}
        self._rows: dict[Key, tuple[str, int]] = {}
        self._pairs: PairsFile | None = None
        if path.is_dir():
            self._find_files()
        else:
            self._find_rows()
        if not self.keys:
            raise LocalblurError(f"{path} holds no masks; expected SCENE/PAIR.png, or a pairs file with masks")

    @property
    def keys(self) -> list[Key]:
        """Scene and pair of every mask, in order."""
        return sorted(self._files or self._rows, key=lambda key: (natural_key(key[0]), natural_key(key[1])))

    def read(self, key: Key) -> BoolArray:
        """One mask, True where blurred, (H, W)."""
        if key in self._files:
            return self._binary(read_plane(self._files[key]))
        scene, index = self._rows[key]
        pairs = self._pairs or PairsFile.open(self.path)
        mask = pairs.read(scene, index).mask
        if mask is None:
            raise LocalblurError(f"{self.path}: {scene} lost its mask while it was read; run again")
        return self._binary(mask)

    def valid_box(self, key: Key) -> tuple[int, int, int, int] | None:
        """The valid box of a pair of a pairs file; None for pictures."""
        if self._pairs is None:
            return None
        return self._pairs.valid_box(*self._rows[key])

    def _find_files(self) -> None:
        root = self.path / "masks" if (self.path / "masks").is_dir() else self.path
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
                continue
            name = path.stem.removesuffix("_mask")
            if path.stem.lower().endswith(_OTHERS):
                continue
            parts = [part for part in path.parent.relative_to(root).parts if part.lower() not in _WRAPPERS]
            if parts and parts[-1] == name:
                parts = parts[:-1]
            key = (parts[-1] if parts else root.name, name)
            if key in self._files:
                raise LocalblurError(
                    f"two masks of {'/'.join(key)}: {self._files[key]} and {path}; compare one of them"
                )
            self._files[key] = path

    def _find_rows(self) -> None:
        self._pairs = PairsFile.open(self.path)
        for entry in self._pairs.scenes:
            for index, name in enumerate(self._pairs.names(entry.name)):
                if self._pairs.has_mask(entry.name, index):
                    self._rows[entry.name.split("/")[-1], name] = entry.name, index


def compare_masks(first: MaskSet, second: MaskSet) -> Comparison:
    """Intersection over union of every pair that both sets have; 1 where both masks are empty.

    Only what lies in the valid box of a pairs file counts.

    Raises:
        LocalblurError: if no pair is in both.
    """
    common = set(second.keys)
    result = Comparison()
    for key in first.keys:
        if key not in common:
            result.only_first += 1
            continue
        try:
            result.pairs.append(_compare_pair(key, first, second))
        except LocalblurError as error:
            result.failures.append(f"{'/'.join(key)}: {' '.join(str(error).split())}")
    result.only_second = len(common - set(first.keys))
    if not result.pairs and not result.failures:
        raise LocalblurError(
            f"{first.path} and {second.path} have no pair in common; the first has {'/'.join(first.keys[0])},"
            f" the second {'/'.join(second.keys[0])}"
        )
    return result


def _compare_pair(key: Key, first: MaskSet, second: MaskSet) -> ComparedMask:
    a, b = first.read(key), second.read(key)
    if a.shape != b.shape:
        raise LocalblurError(f"the masks are {a.shape[1]}x{a.shape[0]} and {b.shape[1]}x{b.shape[0]}; use one size")
    for box in (first.valid_box(key), second.valid_box(key)):
        if box is not None:
            inside = np.zeros_like(a)
            inside[box[0] : box[2], box[1] : box[3]] = True
            a, b = a & inside, b & inside
    union = np.count_nonzero(a | b)
    iou = np.count_nonzero(a & b) / union if union else 1.0
    return ComparedMask(key[0], key[1], float(iou), float(a.mean()), float(b.mean()))

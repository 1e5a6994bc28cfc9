"""Comparing two sets of masks: intersection over union per pair. A set is a pairs file or a folder of pictures."""

from dataclasses import dataclass, field

import numpy as np

from localblur.alignment.masks.set import Key, MaskSet
from localblur.common.errors import LocalblurError
from localblur.datasets.pair import binary_mask


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
    a, b = binary_mask(first.read(key)), binary_mask(second.read(key))
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

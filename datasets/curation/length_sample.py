"""Blur lengths of a sample of the pairs of a file: quick enough to look at, whatever the size of the file."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from localblur.datasets.curation.blur_length import blur_length_px, recorded_length_px
from localblur.datasets.images import to_coded
from localblur.datasets.pair import PairInfo
from localblur.datasets.storage.reader import PairsFile

Place = tuple[str, int]
"""A scene and the number of a pair in it."""


@dataclass(frozen=True, kw_only=True)
class LengthSample:
    """Lengths in px of so many pairs, NaN where nothing is blurred, and how many were recorded, not estimated."""

    lengths_px: list[float]
    recorded: int


@dataclass(frozen=True, kw_only=True)
class LengthSampler:
    """Takes samples of the blur lengths of a file, and makes no estimate twice while a pair's mask stays.

    Attributes:
        most: pairs in a sample, unless every length was recorded: those cost nothing.
        known: estimates made so far.
        advance: called after every new estimate.
    """

    most: int
    known: dict[tuple[str, str, int], float] = field(default_factory=dict)
    advance: Callable[[str], None] = lambda _name: None

    def take(self, pairs: PairsFile, places: Sequence[Place]) -> LengthSample:
        """Lengths of a sample of `places`.

        It is chosen by the names of the pairs: a pair more or less changes little, and the sample of a whole lies in
        the samples of its parts.
        """
        infos = {scene: pairs.info(scene) for scene in {scene for scene, _ in places}}
        told = [recorded_length_px(infos[scene][index]) is not None for scene, index in places]
        chosen = places
        if not all(told):
            chosen = sorted(
                places, key=lambda place: zlib.crc32(f"{place[0]}/{infos[place[0]][place[1]].name}".encode())
            )
            chosen = chosen[: self.most]
        found = [self._length(pairs, place, infos[place[0]][place[1]]) for place in chosen]
        return LengthSample(
            lengths_px=[length for length, _ in found], recorded=sum(not estimated for _, estimated in found)
        )

    def _length(self, pairs: PairsFile, place: Place, info: PairInfo) -> tuple[float, bool]:
        recorded = recorded_length_px(info)
        if recorded is not None:
            return recorded, False
        key = (place[0], info.name, pairs.checksums(*place)["mask"])
        if key not in self.known:
            pair, encoding = pairs.read(*place), pairs.header.encoding
            mask = None if pair.mask is None else pair.mask > 127
            self.known[key] = blur_length_px(
                info, to_coded(pair.blurred, encoding), to_coded(pair.sharp, encoding), mask
            )[0]
            self.advance(f"{place[0]}/{info.name}")
        return self.known[key], True

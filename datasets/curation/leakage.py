"""Looking for scenes that two splits share: a test on pictures that were trained on measures memory, not skill.

Scenes are compared by difference hashes of their thumbnails (256 bits: is each cell of a 16 x 17 grid brighter than its
right neighbour?). Noise, compression, resizing, exposure and small shifts change few bits; another scene changes about
half of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.storage.reader import PairsFile

HASH_SIDE = 16
PAIRS_PER_SCENE = 8
MOST_DIFFERENT_BITS = 48
"""Of 256. Among 200 photographs of different things 2 of 19900 combinations differ in fewer; nine of ten photographs
that were shifted by 1 %, darkened by 20 %, blurred and made noisy differ from themselves in fewer."""
BLOCK = 512
FLAT = 2.0
"""Thumbnails whose grid spreads less than this (of 255) say nothing about their scene."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Two scenes of different splits that look like one; `bits` of 256 differ between their most similar pictures."""

    first: str
    first_split: str
    second: str
    second_split: str
    bits: int

    def __str__(self) -> str:
        return (
            f"scenes {self.first} ({self.first_split}) and {self.second} ({self.second_split}) look like one scene"
            f" ({self.bits} of {HASH_SIDE**2} bits differ); put them into one split"
        )


def find_leaks(pairs: PairsFile, most_bits: int = MOST_DIFFERENT_BITS) -> list[Leak]:
    """Scenes of different splits that look alike, the most alike first.

    Args:
        pairs: the pairs file; up to 8 thumbnails of every scene are read.
        most_bits: how many of 256 bits may differ.
    """
    owners, hashes = _hashes(pairs)
    if not len(hashes):
        return []
    splits = np.array([entry.split for entry in pairs.scenes])
    signs = np.where(hashes, 1, -1).astype(np.float32)
    fewest: dict[tuple[int, int], int] = {}
    starts = range(0, len(signs), BLOCK)
    for first, second in itertools.combinations_with_replacement(starts, 2):
        here, there = owners[first : first + BLOCK], owners[second : second + BLOCK]
        differing = (HASH_SIDE**2 - signs[first : first + BLOCK] @ signs[second : second + BLOCK].T) / 2
        alike = (differing <= most_bits) & (splits[here][:, None] != splits[there]) & (here[:, None] < there)
        for row, column in np.argwhere(alike):
            key = (int(here[row]), int(there[column]))
            fewest[key] = min(int(differing[row, column]), fewest.get(key, HASH_SIDE**2))
    entries = pairs.scenes
    leaks = [
        Leak(
            first=entries[first].name,
            first_split=entries[first].split,
            second=entries[second].name,
            second_split=entries[second].split,
            bits=bits,
        )
        for (first, second), bits in fewest.items()
    ]
    return sorted(leaks, key=lambda leak: leak.bits)


def leak_lines(leaks: Sequence[Leak], shown: int = 10) -> list[str]:
    """Warnings in words, at most `shown` and how many more there are."""
    more = [f"and {len(leaks) - shown} more"] if len(leaks) > shown else []
    return [*(str(leak) for leak in leaks[:shown]), *more]


def picture_hash(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_] | None:
    """The 256 bits of a picture, uint8 (H, W, 3); None if it is flat."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grid = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    if float(grid.std()) < FLAT:
        return None
    return np.asarray(grid[:, 1:] > grid[:, :-1]).ravel()


def _hashes(pairs: PairsFile) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Of every scene up to 8 pictures, evenly spaced: the numbers of their scenes, and their hashes (N, 256)."""
    owners, hashes = [], []
    for number, entry in enumerate(pairs.scenes):
        chosen = np.unique(np.linspace(0, entry.count - 1, min(PAIRS_PER_SCENE, entry.count)).astype(int))
        for index in chosen.tolist():
            found = picture_hash(pairs.thumbnail(entry.name, index))
            if found is not None:
                owners.append(number)
                hashes.append(found)
    return np.array(owners, np.int64), np.array(hashes, np.bool_).reshape(-1, HASH_SIDE**2)

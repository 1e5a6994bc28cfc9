"""Which successive frames become one blurred picture: windows that never cross a cut."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.names import storable_name
from localblur.datasets.video import Shot

Item = TypeVar("Item")


@dataclass(frozen=True)
class Window:
    """Frames `start` <= i < `stop` of a source: one pair of `scene`, whose sharp picture is frame `middle`."""

    scene: str
    name: str
    start: int
    length: int

    @property
    def middle(self) -> int:
        """Index of the sharp frame."""
        return self.start + self.length // 2

    @property
    def stop(self) -> int:
        """Index after the last frame."""
        return self.start + self.length


def odd_lengths(smallest: int, largest: int) -> list[int]:
    """The odd numbers from `smallest` to `largest`: only they have a middle frame.

    Raises:
        LocalblurError: if there is none, or the range makes no sense.
    """
    lengths = [length for length in range(smallest, largest + 1) if length % 2 == 1 and length >= 3]
    if not lengths:
        raise LocalblurError(
            f"--frames {smallest}..{largest} holds no odd number of at least 3; only an odd number of frames has a"
            " middle one, for example 11 or 7..13"
        )
    return lengths


def place_windows(
    title: str, shots: Sequence[Shot], lengths: Sequence[int], stride: int | None, seed: int
) -> list[Window]:
    """Windows of every shot, each shot a scene of its own.

    Args:
        title: name of the source; scenes are `title` or `title_shotN`, pairs the index of their first frame.
        shots: the shots of the source.
        lengths: numbers of frames to choose from, by a generator seeded with `seed`, title and shot.
        stride: frames from one window's start to the next; None: windows follow each other without overlap.
    """
    windows = []
    for number, shot in enumerate(shots, 1):
        suffix = f"_shot{number}" if len(shots) > 1 else ""
        scene = storable_name(title, suffix)
        rng = np.random.default_rng([seed, zlib.crc32(title.encode()), number])
        start = shot.start
        while start + min(lengths) <= shot.stop:
            length = int(rng.choice([length for length in lengths if start + length <= shot.stop]))
            windows.append(Window(scene, f"{start:06d}", start, length))
            start += stride or length
    return windows


def spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """At most `count` of the items, spread evenly over all of them."""
    if count is None or len(items) <= count:
        return list(items)
    chosen = np.linspace(0, len(items) - 1, count).round().astype(int)
    return [items[index] for index in sorted(set(chosen.tolist()))]


def titles(sources: Iterable[Path]) -> dict[Path, str]:
    """A different name for every source: its file or folder name without suffix, numbered where they are equal.

    Raises:
        LocalblurError: if a source is given twice.
    """
    named: dict[Path, str] = {}
    for source in sources:
        if source in named:
            raise LocalblurError(f"{source} is given twice; give every video once")
        base = (source.name if source.is_dir() else source.stem) or source.resolve().name or "frames"
        title, number = base, 2
        while title in named.values():
            title, number = f"{base}-{number}", number + 1
        named[source] = title
    return named

"""Which successive frames become one blurred picture: windows that never cross a cut, a repeated or a missing frame."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.films.scene_cuts import Shot
from localblur.datasets.storage.names import storable_name

Item = TypeVar("Item")

FEWEST_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames `start` <= i < `stop` of a source: one pair of `scene`, whose sharp picture is frame `middle`."""

    scene: str
    name: str
    start: int
    length: int

    @property
    def middle(self) -> int:
        """Index of the sharp frame; of an even number of frames the later of the two in the middle."""
        return self.start + self.length // 2

    @property
    def stop(self) -> int:
        """Index after the last frame."""
        return self.start + self.length

    @property
    def sharp_late_frames(self) -> float:
        """By how many frame intervals the sharp frame comes after the middle of the exposure: 0 or 0.5."""
        return 0.0 if self.length % 2 else 0.5


def numbers_of_frames(smallest: int, largest: int) -> list[int]:
    """The numbers of frames that `smallest..largest` stands for: one number is itself, of a range the odd ones.

    Only an odd number has a frame in its middle; the sharp picture of an even number is half a frame late.

    Raises:
        LocalblurError: if there is none, or the range makes no sense.
    """
    if smallest == largest >= FEWEST_FRAMES:
        return [smallest]
    lengths = [length for length in range(smallest, largest + 1) if length % 2 == 1 and length > FEWEST_FRAMES]
    if not lengths:
        raise LocalblurError(
            f"--frames {smallest}..{largest} holds no odd number of at least 3; give a number of frames like 11 or a"
            " range like 7..13"
        )
    return lengths


def frames_of_exposure(exposure_ms: float, interval_ms: float) -> int:
    """How many frames make an exposure of `exposure_ms`.

    Raises:
        LocalblurError: if the frame rate is unknown, or it is less than two frames.
    """
    if not np.isfinite(interval_ms) or interval_ms <= 0:
        raise LocalblurError("the frame rate is unknown, so --exposure cannot be frames; give --frame-rate")
    length = round(exposure_ms / interval_ms)
    if length < FEWEST_FRAMES:
        raise LocalblurError(
            f"an exposure of {exposure_ms:g} ms is {exposure_ms / interval_ms:.2f} frames of {interval_ms:.3g} ms, at"
            f" least {FEWEST_FRAMES} are needed; give a longer --exposure or film with a higher frame rate"
        )
    return length


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
        for start, stop in shot.runs:
            while start + min(lengths) <= stop:
                length = int(rng.choice([length for length in lengths if start + length <= stop]))
                windows.append(Window(scene=scene, name=f"{start:06d}", start=start, length=length))
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

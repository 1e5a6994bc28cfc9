"""Where the frames of a video do not follow each other: cuts, repeated frames, missing frames, changes of size.

A picture averaged across any of these shows something that no exposure would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.films.damaged_video import STRETCHES_TOLD, describe_damage
from localblur.datasets.films.video import glance_at_frames, picture_names

Repeated = Literal["break", "drop"]
"""What is done at a repeated frame: windows end there, or it is left out and the frames around it are joined."""

NEIGHBOURS = 4
CUT_LEVELS, CUT_RATIO = 12.0, 2.5
SMALL_CUT_LEVELS, SMALL_CUT_RATIO = 5.0, 5.0
"""A cut between similar pictures changes less, but stands out more."""
REPEATED_RATIO, LEAST_MOTION_LEVELS = 0.25, 0.15
INTERVAL_RATIO = 1.6
"""An interval this many times longer (or shorter) than those before is a missing frame or another frame rate."""
INTERVAL_TICKS = 1.5
"""Times are rounded to ticks: smaller differences are none."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Frames `start` <= i < `stop` without a cut between them, all of one size.

    Attributes:
        breaks: frames inside that do not follow the one before: it is repeated, or frames between are missing.
    """

    start: int
    stop: int
    height: int
    width: int
    breaks: tuple[int, ...] = ()

    @property
    def runs(self) -> list[tuple[int, int]]:
        """(start, stop) of the stretches without a break."""
        edges = [self.start, *self.breaks, self.stop]
        return list(zip(edges[:-1], edges[1:], strict=True))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a video found. Frames are counted without those left out.

    Attributes:
        shots: in order; together they cover every readable frame.
        times: (N,) of the frames: seconds in a video, numbers of pictures in a folder; NaN where unknown.
        left_out: indices in the source of repeated frames that are left out.
        damaged: indices in the source of frames that cannot be used; damage: what they are, in words.
        repeated, missing: how many frames were repeated, and how often frames are missing or the frame rate changes.
        problem: why reading stopped early, or None.
    """

    shots: list[Shot]
    times: list[float] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    damage: str = ""
    repeated: int = 0
    missing: int = 0
    problem: str | None = None

    @property
    def frame_count(self) -> int:
        """Number of readable frames that are not left out."""
        return self.shots[-1].stop if self.shots else 0

    @property
    def skipped(self) -> set[int]:
        """Indices in the source of the frames that are not counted."""
        return {*self.left_out, *self.damaged}

    def numbers_in_source(self) -> list[int]:
        """Index in the source of every frame that is counted."""
        skipped = self.skipped
        return [number for number in range(self.frame_count + len(skipped)) if number not in skipped]

    @property
    def longest_run(self) -> int:
        """Frames of the longest stretch without a cut or a break."""
        return max((stop - start for shot in self.shots for start, stop in shot.runs), default=0)


def survey(source: Path, repeated: Repeated = "break") -> Survey:
    """Read a video once and find its shots. Damaged frames are left out; an early end is told in `problem`.

    Raises:
        LocalblurError: if not a single frame can be read.
    """
    sizes: list[tuple[int, int]] = []
    changes: list[tuple[float, float]] = []
    times: list[float] = []
    damaged: list[int] = []
    stretches: list[int] = []
    previous: npt.NDArray[np.float32] | None = None
    tick, problem = 0.0, None
    try:
        for number, glance in enumerate(glance_at_frames(source)):
            if glance is None:
                damaged.append(number)
                continue
            changes.append(change_between(previous, glance.thumbnail) if previous is not None else (0.0, 0.0))
            sizes.append(glance.size)
            times.append(glance.time)
            stretches.append(len(damaged))
            previous, tick = glance.thumbnail, glance.tick
    except LocalblurError as error:
        if not sizes:
            raise
        problem = str(error)
    if not sizes:
        none = f"none of the {len(damaged)} frames of {source} can be decoded; they are damaged"
        raise LocalblurError(none if damaged else f"{source} holds no frames")
    found = judge_frames(np.array(changes), np.array(times), sizes, tick, repeated, stretches)
    return replace(
        found,
        left_out=_beside(found.left_out, damaged),
        damaged=damaged,
        damage=_damage_of(source, damaged, np.array(times)),
        problem=problem,
    )


def _beside(counted: Sequence[int], damaged: Sequence[int]) -> list[int]:
    """Indices in the source of frames counted without the damaged ones."""
    places = []
    for index in counted:
        number = index
        for other in damaged:
            if other > number:
                break
            number += 1
        places.append(number)
    return places


def _damage_of(source: Path, damaged: Sequence[int], times: npt.NDArray[np.float64]) -> str:
    if not source.is_dir() or not damaged:
        return describe_damage(damaged, times)
    names = picture_names(source, damaged)
    more = f" and {len(names) - STRETCHES_TOLD} more" if len(names) > STRETCHES_TOLD else ""
    return f"cannot read {', '.join(names[:STRETCHES_TOLD])}{more}"


def judge_frames(
    changes: npt.NDArray[np.float64],
    times: npt.NDArray[np.float64],
    sizes: Sequence[tuple[int, int]],
    tick: float,
    repeated: Repeated,
    stretches: Sequence[int] | None = None,
) -> Survey:
    """The survey of good frames, as if there were no others.

    Args:
        changes: (N, 2) of every frame to the one before, see `change_between`.
        times: (N,), see `Survey`.
        sizes: (H, W) of every frame.
        tick: the finest step of `times`.
        repeated: what is done at repeated frames.
        stretches: (N,) a number that changes where damaged frames lie between two; None: nowhere.
    """
    twice = find_repeated(changes[:, 0])
    intervals = np.diff(times, prepend=times[:1])
    undamaged = np.zeros(len(sizes), int) if stretches is None else np.array(stretches)
    left_out: list[int] = []
    if repeated == "drop" and twice:
        left_out = twice
        changes, times, intervals, undamaged = (
            np.delete(array, twice, axis=0) for array in (changes, times, intervals, undamaged)
        )
        sizes = [size for index, size in enumerate(sizes) if index not in set(twice)]
    resized = [index for index in range(1, len(sizes)) if sizes[index] != sizes[index - 1]]
    cuts = sorted({*find_cuts(changes[:, 1]), *resized})
    after_damage = (np.flatnonzero(np.diff(undamaged)) + 1).tolist()
    gaps = [index for index in find_gaps(intervals, tick) if index not in after_damage]
    breaks = {*gaps, *after_damage, *(() if left_out else twice)} - set(cuts)
    edges = [0, *cuts, len(sizes)]
    shots = [
        Shot(
            start=start,
            stop=stop,
            height=sizes[start][0],
            width=sizes[start][1],
            breaks=tuple(sorted(index for index in breaks if start < index < stop)),
        )
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]
    return Survey(shots=shots, times=times.tolist(), left_out=left_out, repeated=len(twice), missing=len(gaps))


def change_between(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Mean absolute difference of two thumbnails in levels: as they are, and what is left when a pan is undone.

    A fast pan over fine texture changes a picture as much as a cut; shifted back, it changes little.

    Args:
        before, after: float32 (h, w, 3).
    """
    plain = float(np.abs(after - before).mean())
    grays = [cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY) for thumbnail in (before, after)]
    (x, y), _ = cv2.phaseCorrelate(grays[0], grays[1], cv2.createHanningWindow(grays[0].shape[::-1], cv2.CV_32F))
    height, width = grays[0].shape
    if abs(x) > width / 2 or abs(y) > height / 2:
        return plain, plain
    shift = np.array([[1, 0, x], [0, 1, y]])
    back = cv2.warpAffine(after, shift, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    left, top = max(0, int(np.ceil(-x))), max(0, int(np.ceil(-y)))
    seen = (slice(top, height - max(0, int(np.ceil(y)))), slice(left, width - max(0, int(np.ceil(x)))))
    return plain, min(plain, float(np.abs(back[seen] - before[seen]).mean()))


def find_cuts(changes: npt.NDArray[np.float64]) -> list[int]:
    """Indices of the frames that begin a new shot.

    A hard cut changes the picture much more than its neighbours in time do; steady camera motion does not. Slow
    dissolves are not found.

    Args:
        changes: (N,) mean absolute difference in levels of every frame's thumbnail to the one before, pans undone.
    """
    usual = _usual_changes(changes)
    large = (changes > CUT_LEVELS) & (changes > CUT_RATIO * usual)
    small = (changes > SMALL_CUT_LEVELS) & (changes > SMALL_CUT_RATIO * usual)
    return [int(index) for index in np.flatnonzero(large | small) if index > 0]


def find_repeated(changes: npt.NDArray[np.float64]) -> list[int]:
    """Indices of the frames that repeat the one before: nothing changes, while it does before and after.

    Converting 24 frames a second to 25 or 30 repeats some; a scene in which nothing moves repeats none in this sense.
    """
    usual = _usual_changes(changes)
    still = (usual > LEAST_MOTION_LEVELS) & (changes < REPEATED_RATIO * usual)
    return [int(index) for index in np.flatnonzero(still) if index > 0]


def find_gaps(intervals: npt.NDArray[np.float64], tick: float) -> list[int]:
    """Indices of the frames that do not come as long after the one before as those did: frames are missing, or the
    frame rate changes.

    Args:
        intervals: (N,) time from the frame before, the first ignored; NaN is no gap.
        tick: the finest step of times.
    """
    gaps: list[int] = []
    recent: list[float] = []
    for index, interval in enumerate(intervals.tolist()):
        if index == 0 or not np.isfinite(interval):
            continue
        usual = float(np.median(recent[-NEIGHBOURS:])) if recent else interval
        unlike = interval > INTERVAL_RATIO * usual or interval * INTERVAL_RATIO < usual
        if unlike and abs(interval - usual) > INTERVAL_TICKS * tick:
            gaps.append(index)
            recent = []
        else:
            recent.append(interval)
    return gaps


def _usual_changes(changes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Median of the changes around each, itself and the meaningless first left out."""
    usual = np.zeros(len(changes))
    for index in range(1, len(changes)):
        around = np.r_[changes[max(1, index - NEIGHBOURS) : index], changes[index + 1 : index + 1 + NEIGHBOURS]]
        usual[index] = float(np.median(around)) if around.size else 0.0
    return usual


def faults_of(found: Survey) -> str:
    """Repeated and missing frames in words, each beginning with a comma; empty if there are none."""
    faults = ((found.repeated, "repeated frames"), (found.missing, "gaps in time"))
    return "".join(f", {what}: {number}" for number, what in faults if number)


def survey_to_plain(found: Survey) -> dict[str, Any]:
    """Plain JSON values; `survey_from_plain` turns them back."""
    shots = [[s.start, s.stop, s.height, s.width, list(s.breaks)] for s in found.shots]
    times = [time if np.isfinite(time) else None for time in found.times]
    return {**vars(found), "shots": shots, "times": times}


def survey_from_plain(plain: dict[str, Any]) -> Survey:
    """A survey from what `survey_to_plain` made.

    Raises:
        LocalblurError: if it is something else.
    """
    try:
        shots = [
            Shot(start=start, stop=stop, height=height, width=width, breaks=tuple(breaks))
            for start, stop, height, width, breaks in plain["shots"]
        ]
        times = [float("nan") if time is None else float(time) for time in plain["times"]]
        return Survey(**{**plain, "shots": shots, "times": times})
    except (KeyError, TypeError, ValueError) as error:
        raise LocalblurError(f"a stored survey makes no sense: {error}") from error

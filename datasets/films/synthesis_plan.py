"""Which windows of which videos become pairs: every video is read once and its windows are placed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress, run_tasks
from localblur.datasets.films.frame_windows import (
    FEWEST_FRAMES,
    Window,
    frames_of_exposure,
    numbers_of_frames,
    place_windows,
    spread,
    titles,
)
from localblur.datasets.films.scene_cuts import Survey, survey
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.films.video import frame_rate
from localblur.datasets.storage.splits import assign_splits

SURVEYS_AHEAD = 64
"""As many workers can be busy; a survey is a few numbers per frame."""
MOST_OPEN = 64
"""Windows that are averaged at the same time, about 1 GB of sums of 1280x720."""
PLANNING_VERSION = 2
"""To be raised when the same videos and settings give other windows or pictures: an unfinished run of an older version
of the program is not continued then."""


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """A source, what is known of it, and its windows.

    Attributes:
        interval_ms: between frames, NaN if unknown.
        timed: whether the frames' own times are those at which they were filmed.
    """

    source: Path
    title: str
    found: Survey
    windows: tuple[Window, ...]
    interval_ms: float
    timed: bool = True

    def breaks(self) -> set[int]:
        """Frames that do not follow the one before."""
        return {edge for shot in self.found.shots for edge in (shot.start, *shot.breaks)}

    def window_interval_ms(self, window: Window) -> float:
        """Mean interval between the frames of a window, by their own times where those are seconds."""
        if not self.timed:
            return self.interval_ms
        times = self.found.times[window.start : window.stop]
        measured = 1000 * (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else float("nan")
        usable = np.isfinite(self.interval_ms) and np.isfinite(measured) and measured > 0
        # damaged times lie far from the rate that the container states
        return measured if usable and 0.5 < measured / self.interval_ms < 2 else self.interval_ms


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Videos with windows, the split of every scene, and `problems` that name what cannot be used."""

    videos: list[PlannedVideo]
    splits: dict[str, str]
    problems: list[str]

    @property
    def count(self) -> int:
        """Number of windows."""
        return sum(len(video.windows) for video in self.videos)


def survey_videos(
    sources: Sequence[Path], settings: SynthesisSettings, executor: Executor | None = None
) -> dict[Path, Survey | LocalblurError]:
    """Read every source once, several at a time; what cannot be read is its error.

    Raises:
        OSError: and whatever else is not about one video.
    """
    found: dict[Path, Survey | LocalblurError] = {}
    with Progress(len(sources), "reading", "video", delay_s=2) as progress:
        tasks = run_tasks(partial(survey, repeated=settings.repeated), sources, executor, ahead=SURVEYS_AHEAD)
        for source, outcome in tasks:
            if isinstance(outcome, Exception) and not isinstance(outcome, LocalblurError):
                raise outcome
            found[source] = outcome
            progress.step(source.name)
    return found


def plan_synthesis(
    sources: Sequence[Path], surveys: Mapping[Path, Survey | LocalblurError], settings: SynthesisSettings
) -> Plan:
    """Place the windows of every source.

    Raises:
        LocalblurError: if there is no window at all, or settings make no sense.
    """
    problems: list[str] = []
    videos: list[PlannedVideo] = []
    taken: set[str] = set()
    fixed = _fixed_lengths(settings)
    for source, title in titles(sources).items():
        found = surveys[source]
        if isinstance(found, LocalblurError):
            problems.append(str(found))
            continue
        problems += [f"{source}: {found.damage}"] if found.damage else []
        problems += [f"{found.problem}; what comes before is used"] if found.problem else []
        try:
            videos.append(_plan_apart(source, title, found, fixed, settings, taken))
        except LocalblurError as error:
            problems.append(f"{source}: {error}")
    placed = [(video, window) for video in videos for window in video.windows]
    if not placed:
        raise LocalblurError("no pair can be made: " + "; ".join(problems))
    chosen = spread(placed, settings.max_pairs)
    kept = [
        PlannedVideo(**{**vars(video), "windows": tuple(window for other, window in chosen if other is video)})
        for video in videos
    ]
    return Plan(
        videos=[video for video in kept if video.windows],
        splits=assign_splits([window.scene for _, window in chosen], settings.split, settings.seed),
        problems=problems,
    )


def _fixed_lengths(settings: SynthesisSettings) -> list[int] | None:
    """Numbers of frames that do not depend on the video."""
    if settings.exposure_ms is not None:
        return None
    if settings.duty_cycle is not None and settings.stride is not None:
        length = round(settings.duty_cycle * settings.stride)
        if length < FEWEST_FRAMES:
            raise LocalblurError(
                f"--duty-cycle {settings.duty_cycle:g} of --stride {settings.stride} exposes {length} of the at least"
                f" {FEWEST_FRAMES} frames that are needed; give a larger --stride or --duty-cycle"
            )
        return numbers_of_frames(length, length)
    return numbers_of_frames(settings.shortest, settings.longest)


def _check_overlap(length: int, stride: int | None) -> None:
    """Every open window holds a sum as large as a frame: refuse what memory has no room for."""
    if stride is not None and length > MOST_OPEN * stride:
        raise LocalblurError(
            f"windows of {length} frames, one every {stride}, overlap {-(-length // stride)}-fold, at most {MOST_OPEN}"
            " are kept in memory; give a larger --stride or fewer --frames"
        )


def _plan_apart(
    source: Path,
    title: str,
    found: Survey,
    fixed: list[int] | None,
    settings: SynthesisSettings,
    taken: set[str],
) -> PlannedVideo:
    """The windows of a source in scenes that no other has, also where capitals make no difference; adds to `taken`.

    A shot of one video may have the name of another (`x_shot1`), and long names are cut.
    """
    video, number = _plan_video(source, title, found, fixed, settings), 2
    while _names(video) & taken:
        video, number = _plan_video(source, f"{number}-{title}", found, fixed, settings), number + 1
    taken |= _names(video)
    return video


def _names(video: PlannedVideo) -> set[str]:
    return {name.casefold() for name in (video.title, *(window.scene for window in video.windows))}


def _plan_video(
    source: Path, title: str, found: Survey, fixed: list[int] | None, settings: SynthesisSettings
) -> PlannedVideo:
    interval_ms = 1000 / (settings.frame_rate or frame_rate(source))
    lengths = fixed or [frames_of_exposure(settings.exposure_ms or 0, interval_ms)]
    _check_overlap(max(lengths), settings.stride)
    windows = place_windows(title, found.shots, lengths, settings.stride, settings.seed)
    if not windows:
        faults = f" ({found.repeated} frames are repeated, {found.missing} times some are missing)"
        broken = found.repeated > 0 or found.missing > 0
        raise LocalblurError(
            f"at most {found.longest_run} frames without a cut{faults if broken else ''}, {min(lengths)} are needed;"
            f" give fewer --frames{' or --repeated drop' if found.repeated and settings.repeated == 'break' else ''}"
        )
    timed = settings.frame_rate is None and not source.is_dir()
    return PlannedVideo(
        source=source, title=title, found=found, windows=tuple(windows), interval_ms=interval_ms, timed=timed
    )

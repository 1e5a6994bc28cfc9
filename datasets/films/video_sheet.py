"""The contact sheet of one video: its windows, and in words everything that is not in them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from localblur.datasets.films.contact_sheet import write_sheet
from localblur.datasets.films.scene_cuts import faults_of
from localblur.datasets.films.synthesis_plan import PlannedVideo

MOST_RANGES = 400
"""Of frames, per reason: about thirty lines."""


def write_video_sheet(
    path: Path, video: PlannedVideo, strips: Mapping[str, Path], dropped: Mapping[tuple[str, str], str]
) -> bool:
    """Write the sheet of a video; False if none of its strips exist.

    Args:
        path: of the sheet.
        video: the video and its windows.
        strips: of its windows by name; they need not exist.
        dropped: why a window was dropped, by (scene, name).
    """
    numbers = video.found.numbers_in_source()
    rows, shown = [], 0
    for window in video.windows:
        why = dropped.get((window.scene, window.name))
        first, middle, last = (numbers[index] for index in (window.start, window.middle, window.stop - 1))
        text = f"{window.scene} {window.name}: frames {first} to {last}, sharp {middle}"
        rows.append((strips[window.name], f"{text}   DROPPED: {why}" if why else text, why is not None))
        shown += strips[window.name].is_file()
    left = sum(1 for row in rows if row[2])
    title = f"{video.source.name}: windows {len(rows)}, dropped {left}, shots {len(video.found.shots)}, shown {shown}"
    return write_sheet(path, title, rows, left_out_lines(video, dropped))


def left_out_lines(video: PlannedVideo, dropped: Mapping[tuple[str, str], str]) -> list[str]:
    """What is in no pair, in words: every window that was dropped, by reason, and every fault of the video.

    Frames are numbered as in the video, from 0.
    """
    numbers, found = video.found.numbers_in_source(), video.found
    by_reason: dict[str, list[tuple[int, int]]] = {}
    for window in video.windows:
        reason = dropped.get((window.scene, window.name), "").partition(":")[0]
        if reason:
            by_reason.setdefault(reason, []).append((numbers[window.start], numbers[window.stop - 1]))
    lines = [
        f"dropped, {reason}, windows: {len(ranges)}, frames: {ranges_text(ranges)}"
        for reason, ranges in sorted(by_reason.items())
    ]
    cuts = [str(numbers[shot.start]) for shot in found.shots[1:]]
    short = _too_short(video, numbers)
    lines += [f"cuts at frames: {', '.join(cuts)}"] if cuts else []
    lines += [f"too short for a window between cuts, repeated, missing and damaged frames: {short}"] if short else []
    lines += [faults[2:]] if (faults := faults_of(found)) else []
    return [*lines, *(text for text in (found.damage, found.problem) if text)]


def ranges_text(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges of frames (first, last) as `0-6, 20-41`, those that touch joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    told = ", ".join(f"{first}-{last}" if first < last else str(first) for first, last in joined[:MOST_RANGES])
    return f"{told} and {len(joined) - MOST_RANGES} more ranges" if len(joined) > MOST_RANGES else told


def _too_short(video: PlannedVideo, numbers: Sequence[int]) -> str:
    """Stretches without a break that are shorter than the shortest window."""
    shortest = min(window.length for window in video.windows)
    runs = [run for shot in video.found.shots for run in shot.runs]
    return ranges_text((numbers[start], numbers[stop - 1]) for start, stop in runs if stop - start < shortest)

"""Decoding past damage: which frames are good, how much is lost, and whether a file ends before it should."""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError

DECODING_ERRORS = (av.FFmpegError, OSError, ValueError)
SHORTFALL_FRAMES = 6
"""Stated durations are rounded, and the last frames' times reordered: a video may end so many frames early."""
STRETCHES_TOLD = 6
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def decode_frames(container: Any, stream: Any, source: Path) -> Iterator[Any | None]:
    """Yield PyAV's frames of a stream, and None for one that is damaged, after which decoding goes on.

    A frame that is predicted from a damaged one is wrong although its own data are whole, and few decoders mark it; so
    everything from the damage to the next key frame counts as damaged. Damage that a decoder does not notice (VP9 and
    H.265 decode noise without complaint) is not found, nor where frames are lost without a gap in time (AVI counts only
    those it finds); there the end tells that some are.

    Raises:
        LocalblurError: after the last readable frame, if the file cannot be read further or is shorter than it says.
    """
    seen = SeenFrames()
    for packet in read_packets(container, stream, source):
        try:
            frames = packet.decode()
        except DECODING_ERRORS:
            seen.fail()
            yield None
            continue
        for frame in frames:
            yield frame if seen.add(frame) else None
    seen.check_end(container, stream, source)


class SeenFrames:
    """What came out of a decoder so far: what of it is damaged, and how long it is shown."""

    def __init__(self) -> None:
        self._damaged = False
        self._start, self._end = 0.0, float("nan")

    def fail(self) -> None:
        """A packet could not be decoded."""
        self._damaged = True

    def add(self, frame: Any) -> bool:
        """Another frame; returns whether it is sound."""
        self._damaged = frame.is_corrupt or (self._damaged and not frame.key_frame)
        if frame.time is not None:
            self._start = min(self._start, frame.time)  # some containers count from 0 though the first frame is later
            self._end = float(np.fmax(self._end, frame.time + _shown_s(frame)))
        return not self._damaged

    def check_end(self, container: Any, stream: Any, source: Path) -> None:
        """Raise a `LocalblurError` if the container states a longer video: demuxers do not complain of less."""
        span_s, rate = self._end - self._start, float(stream.average_rate or 0)
        stated_s = _stated_duration_s(container, stream, rate)
        # NaN: times are unknown
        if rate > 0 and stated_s is not None and (stated_s - span_s) * rate > SHORTFALL_FRAMES:
            told = f"frames for {span_s:.2f} of {stated_s:.2f} s are in it"
            raise LocalblurError(f"{source} is truncated or damaged: {told}")


def read_packets(container: Any, streams: Any, source: Path) -> Iterator[Any]:
    """Yield PyAV's packets of one stream or several.

    Raises:
        LocalblurError: where the file cannot be read further.
    """
    packets = container.demux(streams)
    for count in itertools.count():
        try:
            packet = next(packets, None)
        except DECODING_ERRORS as error:
            why = " ".join(str(error).split())
            raise LocalblurError(f"{source} is truncated or damaged after packet {count}: {why}") from error
        if packet is None:
            return
        yield packet


def describe_damage(damaged: Sequence[int], times: npt.NDArray[np.float64]) -> str:
    """Damaged frames in words, empty if there are none: how many and when, which is where a player can show them.

    Decoders swallow some of the frames they cannot make, so they are counted by the gap they leave.

    Args:
        damaged: indices in the source, increasing.
        times: (N,) of the good frames in seconds, NaN where unknown.
    """
    if not damaged:
        return ""
    interval = float(np.median(np.diff(times))) if len(times) > 1 else float("nan")
    count, told, earlier = 0, [], 0
    for first, last in _stretches(damaged):
        before, after = (
            float(times[index]) if 0 <= index < len(times) else float("nan")
            for index in (first - earlier - 1, first - earlier)
        )
        length = last - first + 1
        if np.isfinite(after - before) and interval > 0:
            length = max(length, round((after - before) / interval) - 1)
        told.append(_when(before + interval, after - interval, first, last))
        count += length
        earlier += last - first + 1
    what = "1 frame is damaged or predicted from a damaged one"
    if count > 1:
        what = f"{count} frames are damaged or predicted from damaged ones"
    more = f" and {len(told) - STRETCHES_TOLD} more times" if len(told) > STRETCHES_TOLD else ""
    return f"{what}, {', '.join(told[:STRETCHES_TOLD])}{more}"


def _shown_s(frame: Any) -> float:
    """How long a frame is shown, 0 where that is unknown; where the rate varies the last one may stay for seconds."""
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0


def _stated_duration_s(container: Any, stream: Any, rate: float) -> float | None:
    if "avi" in container.format.name.split(",") and stream.frames and rate > 0:
        return float(stream.frames / rate)  # its demuxer shortens the duration to what is there
    if stream.duration:
        return float(stream.duration * stream.time_base)
    stated = _CLOCK.match(stream.metadata.get("DURATION", ""))  # Matroska
    if stated:
        hours, minutes, seconds = (float(part) for part in stated.groups())
        return 3600 * hours + 60 * minutes + seconds
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None


def _stretches(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of every run of successive indices."""
    edges = [0, *(np.flatnonzero(np.diff(indices) > 1) + 1).tolist(), len(indices)]
    for start, stop in itertools.pairwise(edges):
        yield indices[start], indices[stop - 1]


def _when(start_s: float, end_s: float, first: int, last: int) -> str:
    if np.isfinite(start_s) and np.isfinite(end_s):
        one = end_s - start_s < 1e-3
        return f"{start_s:.4g} s" if one else f"{start_s:.4g} to {end_s:.4g} s"
    if np.isfinite(start_s):
        return f"from {start_s:.4g} s on"
    if np.isfinite(end_s):
        return f"up to {end_s:.4g} s"
    return f"number {first}" if first == last else f"number {first} to {last}"

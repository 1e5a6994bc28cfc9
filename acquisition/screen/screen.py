"""What the user sees while pairs are recorded: one live line on a terminal, now and then a plain line elsewhere."""

import contextlib
import io
import logging
import shutil
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from localblur.acquisition.screen import screen_text as text
from localblur.acquisition.screen.screen_warnings import pair_warnings
from localblur.common.parallel import PLAIN_INTERVAL_S
from localblur.datasets.recording import CameraRecord, PairRecord, Role

REDRAW_INTERVAL_S = 0.2
DISK_INTERVAL_S = 1.0
RATE_PAIRS = 20
GAP_PAIRS = 1000
LEVEL_PAIRS = 5
TEMPERATURE = "temperature_c"
"""End of the name of a status value that is a temperature."""


class StatusLine:
    """Shows how a recording is going, and warns once of each thing that goes wrong with it.

    On a terminal one line is redrawn in place, cut to the width by leaving out what matters least. Elsewhere (a file, a
    pipe) there is a line at most every ten seconds, one for each loss, and one at the end. Its methods may be called
    from any thread; nothing that goes wrong with the screen ends a recording.

    Args:
        group: `scenes/NAME` or `calibration/KIND`.
        asked: pairs to be committed now. held: pairs that were there before.
        cameras: records of the cameras.
        folder: on the disk that is written to.
        ring: pairs that can wait to be written.
        stream: where to write; None is standard error.
        clock: seconds from any moment.
    """

    def __init__(
        self,
        group: str,
        asked: int,
        held: int,
        cameras: Mapping[Role, CameraRecord],
        folder: Path,
        *,
        ring: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group, self._asked, self._held = group, asked, held
        self._cameras, self._folder, self._ring = cameras, folder, ring
        self._clock = clock
        self._scene = group.startswith("scenes/")
        self._out = _Output(stream if stream is not None else sys.stderr)
        self._lock = threading.RLock()
        self._committed, self._waiting, self._lost, self._reason = 0, 0, 0, ""
        self._times: deque[float] = deque(maxlen=RATE_PAIRS + 1)
        self._gaps_ms: deque[float] = deque(maxlen=GAP_PAIRS)
        self._largest_gap_ms = 0.0
        self._levels_stops: deque[float | None] = deque(maxlen=LEVEL_PAIRS)
        self._pair: PairRecord | None = None
        self._best_focus = 0.0
        self._status: dict[str, float] = {}
        self._warned: set[str] = set()
        self._loggers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._shown_at = clock()
        self._disk: tuple[float, int | None] = (float("-inf"), None)

    def __enter__(self) -> "StatusLine":
        with self._lock:
            if self._out.live:
                self._loggers = _diverted(self._out, self._lock)
                self._show()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._show()
            self._out.finish()
        for handler, stream in self._loggers:
            handler.setStream(stream)

    def committed(self, pair: PairRecord, waiting: int) -> None:
        """A pair is on the disk, and `waiting` more are in the ring."""
        with self._lock:
            self._committed, self._waiting, self._pair = self._committed + 1, waiting, pair
            self._times.append(self._clock())
            self._gaps_ms.append(abs(pair.gap_ms))
            self._largest_gap_ms = max(self._largest_gap_ms, abs(pair.gap_ms))
            self._best_focus = max(self._best_focus, pair.S.focus or 0.0)
            self._levels_stops.append(text.level_error_stops(pair, self._cameras))
            level_stops = self._usual_level()
            self._warn(pair_warnings(pair, level_stops=level_stops, best_focus=self._best_focus, moving=self._scene))
            self._update()

    def lost(self, reason: str, count: int = 1) -> None:
        """An attempt failed, or `count` triggers in a row for one reason."""
        with self._lock:
            self._lost, self._reason = self._lost + count, " ".join(reason.split())
            times = f" ({count} triggers)" if count > 1 else ""
            self._out.line(f"{self._group}: lost {self._lost}: {self._reason}{times}")
            if self._out.live:
                self._show()

    def status(self, values: dict[str, float]) -> None:
        """What the cameras say about themselves, by name, for example `B_temperature_c`."""
        with self._lock:
            self._status |= values
            self._update()

    def _update(self) -> None:
        interval_s = REDRAW_INTERVAL_S if self._out.live else PLAIN_INTERVAL_S
        if self._clock() - self._shown_at >= interval_s:
            self._show()

    def _show(self) -> None:
        self._shown_at = self._clock()
        self._out.status(self._fields())

    def _fields(self) -> list[text.Field]:
        held = f" ({self._held} held)" if self._held else ""
        count = f"{self._committed}/{self._asked}"
        fields = [text.Field(f"{self._group}: {count} pairs{held}", f"{self._group} {count}", 0)]
        rate = self._rate()
        if rate is not None:
            fields.append(text.Field(f"{rate:.1f} pairs/s", f"{rate:.1f}/s", 1))
        fields.append(text.lost_field(self._lost, self._reason))
        if self._pair is not None:
            fields += self._pair_fields(self._pair)
        fields.append(text.Field(f"queue {self._waiting}/{self._ring}", "", 8))
        free_bytes = self._free_bytes()
        if free_bytes is not None:
            fields.append(text.disk_field(free_bytes, sum(camera.frame_bytes for camera in self._cameras.values())))
        temperatures = [value for name, value in self._status.items() if name.endswith(TEMPERATURE)]
        if temperatures:
            fields.append(text.Field(f"{max(temperatures):.0f} C", "", 9))
        return fields

    def _pair_fields(self, pair: PairRecord) -> Iterator[text.Field]:
        limit_ms = text.gap_limit_ms(pair.S.exposure_ms)
        yield text.gap_field(statistics.median(self._gaps_ms), self._largest_gap_ms, limit_ms)
        yield text.saturation_field(pair.B.saturated, pair.S.saturated)
        yield text.level_field(text.level_error_stops(pair, self._cameras))
        if self._scene and pair.S.focus is not None and self._best_focus > 0:
            yield text.focus_field(pair.S.focus / self._best_focus)

    def _warn(self, found: Mapping[str, str]) -> None:
        for kind, warning in found.items():
            if kind not in self._warned:
                self._warned.add(kind)
                self._out.line(f"warning: {warning}")

    def _usual_level(self) -> float | None:
        """Median of the last pairs: a single one may have been taken while a lamp flickered."""
        known = [stops for stops in self._levels_stops if stops is not None]
        return statistics.median(known) if len(known) > LEVEL_PAIRS // 2 else None

    def _rate(self) -> float | None:
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _free_bytes(self) -> int | None:
        asked_at, free_bytes = self._disk
        if self._clock() - asked_at >= DISK_INTERVAL_S:
            free_bytes = None
            with contextlib.suppress(OSError):
                free_bytes = shutil.disk_usage(self._folder).free
            self._disk = self._clock(), free_bytes
        return free_bytes


def _diverted(out: "_Output", lock: threading.RLock) -> list[tuple[logging.StreamHandler[Any], Any]]:
    """Send what is logged to the same stream above the live line; returns the handlers and what they wrote to."""
    changed = []
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is out.stream:
            changed.append((handler, handler.stream))
            handler.setStream(_Above(out, lock))
    return changed


class _Above(io.TextIOBase):
    """A stream whose lines go above the live line."""

    def __init__(self, out: "_Output", lock: threading.RLock) -> None:
        self._out, self._lock, self._begun = out, lock, ""

    def write(self, content: str) -> int:
        *lines, self._begun = (self._begun + content).split("\n")
        with self._lock:
            for line in lines:
                self._out.line(line)
        return len(content)


class _Output:
    """A stream with, on a terminal, a last line that is redrawn; other lines go above it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self._drawn, self._content = 0, ""

    def status(self, fields: list[text.Field]) -> None:
        if self.live:
            self._draw(text.fit_line(fields, shutil.get_terminal_size().columns - 1))
        else:
            self.line(text.fit_line(fields, sys.maxsize))

    def line(self, content: str) -> None:
        if not self.live:
            self._write(f"{content}\n")
            return
        kept = self._content
        self._draw("")
        self._write(f"{content}\n")
        self._draw(kept)

    def finish(self) -> None:
        if self.live:
            self._write("\n")

    def _draw(self, content: str) -> None:
        # blanks instead of an escape sequence: every terminal understands them
        self._write(f"\r{content}{' ' * (self._drawn - len(content))}\r{content}")
        self._drawn, self._content = len(content), content

    def _write(self, content: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed terminal must not end a recording
            self.stream.write(content)
            self.stream.flush()

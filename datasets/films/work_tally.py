"""How far work in other processes has come: every task counts in a small file, and a thread adds them up.

Queues would need a server process and do not reach a cluster; the folder of unfinished work is there anyway.
"""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from localblur.common.parallel import Progress

WRITE_INTERVAL_S = 0.5
READ_INTERVAL_S = 0.5


STOP = "stop"
"""A file of this name beside the tallies asks all tasks to stop: a pool waits for those it has begun."""


class Tally:
    """Counts in a file, at most twice a second; a context manager.

    Attributes:
        count: so far.
        stopped: whether the task was asked to stop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.stopped = False
        self._written = time.monotonic()

    def __enter__(self) -> "Tally":
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def step(self) -> None:
        """Count one more."""
        self.count += 1
        if time.monotonic() - self._written >= WRITE_INTERVAL_S:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self.stopped = self.path.with_name(STOP).exists()
        try:
            self.path.write_text(str(self.count), encoding="ascii")
        except OSError:
            return  # a full disk is told by whoever writes something that matters


class TallyWatcher:
    """Shows the sum of tallies as progress, with the speed and the time left; a context manager.

    Args:
        tallies: what each file counts, by path.
        total: the sum that will be reached.
        description, unit: for the progress.
    """

    def __init__(self, tallies: Mapping[Path, str], total: int, description: str, unit: str) -> None:
        self.total, self.unit = total, unit
        self.seconds = 0.0
        self._tallies, self._description = tallies, description
        self._counts = dict.fromkeys(tallies, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    @property
    def count(self) -> int:
        """The sum so far."""
        return sum(self._counts.values())

    def __enter__(self) -> "TallyWatcher":
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._begun

    def _watch(self) -> None:
        with Progress(self.total, self._description, self.unit, delay_s=1) as progress:
            while not self._ended.wait(READ_INTERVAL_S):
                self._look(progress)
            self._look(progress)

    def _look(self, progress: Progress) -> None:
        moved = []
        before = self.count
        for path, name in self._tallies.items():
            count = _read(path)
            if count > self._counts[path]:
                self._counts[path] = count
                moved.append(name)
        if self.count > before:
            progress.step(self._note(moved), count=self.count - before)

    def _note(self, names: list[str]) -> str:
        if sys.stderr.isatty():  # the bar shows speed and time left itself
            return ", ".join(names[:3])
        speed = self.count / max(1e-3, time.monotonic() - self._begun)
        left_s = round((self.total - self.count) / speed)
        return f"{speed:.1f} {self.unit}s/s, {left_s // 60}:{left_s % 60:02d} left, {', '.join(names[:3])}"


def _read(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not begun, or being written
        return 0

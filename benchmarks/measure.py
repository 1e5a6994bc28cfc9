"""Measuring ways of doing the same thing side by side: each in a process of its own, called in alternation.

Machines drift: another job starts, the clock changes. Timing A, then B, would blame one of them. Here they take
turns, the ratio is formed round by round, and its median is reported with its range. A process each keeps their memory
apart.
"""

import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import psutil

from localblur.common.command import one_line

MIB = 1 << 20
START_TIMEOUT_S = 240
ROUND_TIMEOUT_S = 240


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of doing it.

    Attributes:
        name: for the table.
        prepare: top-level function, called once in the variant's process with `arguments`; returns the function that is
            timed. What that returns at its first, untimed call comes back as `Measured.result`.
        units: how many things one call does, to express a call's time per thing.
    """

    name: str
    prepare: Callable[..., Callable[[], Any]]
    arguments: tuple[Any, ...] = ()
    units: int = 1


@dataclass(kw_only=True)
class Measured:
    """Seconds per unit of every round; the peak memory of the first call above what the process held before it."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    result: Any = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: ours against the other way."""

    what: str
    ours: Measured
    other: Measured
    unit: str = "s"
    scale: float = 1.0
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours is, round by round."""
        return [other / ours for ours, other in zip(self.ours.seconds, self.other.seconds, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one benchmark file reports; `facts` are lines below the table."""

    title: str
    text: str
    rows: Sequence[Row]
    facts: Sequence[str] = ()


def side_by_side(*variants: Variant, rounds: int) -> tuple[Measured, ...]:
    """Time all variants in alternation, `rounds` times each, after one untimed call of each."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in variants]
    processes = [
        context.Process(target=_serve, args=(theirs, variant.prepare, variant.arguments), daemon=True)
        for variant, (_, theirs) in zip(variants, pipes, strict=True)
    ]
    measured = tuple(Measured(name=variant.name) for variant in variants)
    try:
        for process, (mine, _), values in zip(processes, pipes, measured, strict=True):
            process.start()
            values.result, values.peak_mib = _receive(process, mine, START_TIMEOUT_S)
        for _ in range(rounds):
            for process, (mine, _), values, variant in zip(processes, pipes, measured, variants, strict=True):
                mine.send(True)
                values.seconds.append(_receive(process, mine, ROUND_TIMEOUT_S) / variant.units)
        for process, (mine, _) in zip(processes, pipes, strict=True):
            mine.send(False)
            process.join(10)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
    return measured


def _receive(process: Any, connection: Connection, timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    while not connection.poll(0.2):
        if not process.is_alive() and not connection.poll(0):
            raise RuntimeError(f"a benchmark process died with exit code {process.exitcode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"a benchmark process took longer than {timeout_s} s")
    content = connection.recv()
    if isinstance(content, _Failure):
        raise RuntimeError(content.text)
    return content


@dataclass(frozen=True)
class _Failure:
    text: str


def _serve(connection: Connection, prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]) -> None:
    try:
        run = prepare(*arguments)
        with PeakMemory() as memory:
            result = run()
        connection.send((result, memory.peak_mib))
        while connection.recv():
            started = time.perf_counter()
            run()
            connection.send(time.perf_counter() - started)
    except Exception as error:  # told to the parent, which decides what it means
        connection.send(_Failure(f"{type(error).__name__}: {one_line(error)}"))


class PeakMemory:
    """Peak memory of this process inside a `with` block, above what it held at its beginning, sampled every 2 ms."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._process = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._before = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.002):
            now = self._process.memory_info().rss
            self.peak_mib = max(self.peak_mib, (now - self._before) / MIB)

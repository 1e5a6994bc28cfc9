"""How fast a network is and how much memory it takes, each measurement in a process of its own.

A process of its own begins with empty caches and allocators: its peak belongs to one network at one size, and one that
is killed for lack of memory takes nothing else with it.
"""

import math
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import psutil
import torch

from localblur.common.command import one_line
from localblur.training.inference.engine import Precision, TorchEngine, available_bytes, prepare
from localblur.training.inference.tiling import pad_to_multiple
from localblur.training.networks.table import network_entry
from localblur.training.runtime import resolve_device

RUNS, ENOUGH_S, SLOW_S = 5, 2.0, 5.0
"""At most so many timed runs, or as many as take so long; a first run slower than the last is not repeated."""

GROWTH = 1.3
"""Larger images take more time a pixel: they leave the caches."""

FIRST_GUESS_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """An image size by name."""

    name: str
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Its area."""
        return self.height * self.width


SIZES = (
    Size(name="128x128", height=128, width=128),
    Size(name="256x256", height=256, width=256),
    Size(name="512x512", height=512, width=512),
    Size(name="1280x720", height=720, width=1280),
    Size(name="2152x1436", height=1436, width=2152),
)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One network at one size.

    Attributes:
        seconds: median of a run; NaN if `skipped` says why there is none.
        peak_bytes: on a GPU what torch allocated, on a processor what the process grew by from before the first run.
    """

    network: str
    size: Size
    seconds: float = math.nan
    peak_bytes: float = math.nan
    skipped: str = ""

    @property
    def images_per_s(self) -> float:
        """The reciprocal of `seconds`."""
        return 1 / self.seconds


Measure = Callable[[str, Size, float], Speed]
"""Network's name, size, and the seconds it may take."""


def measure_all(
    networks: Sequence[str], sizes: Sequence[Size], measure: Measure, *, budget_s: float, memory_bytes: float
) -> Iterator[Speed]:
    """Measure every network at every size, small sizes first, within a time and a memory.

    What a larger size will take is estimated from the size before; one that does not fit is skipped and says so.
    """
    ends = time.monotonic() + budget_s
    latest: dict[str, Speed] = {}
    overhead_s: dict[str, float] = {}
    for size in sizes:
        for network in networks:
            left = ends - time.monotonic()
            before = latest.get(network)
            reason = _reason_to_skip(before, size, left - overhead_s.get(network, 0.0), memory_bytes)
            begun = time.monotonic()
            found = Speed(network=network, size=size, skipped=reason) if reason else measure(network, size, left)
            if not found.skipped:
                overhead_s[network] = max(0.0, time.monotonic() - begun - 2 * found.seconds)
            latest[network] = found
            yield found


def _reason_to_skip(before: Speed | None, size: Size, left_s: float, memory_bytes: float) -> str:
    if before is None:
        return "" if left_s > 0 else "time: the budget is used up"
    if before.skipped:
        return before.skipped.partition(":")[0] + f": {before.size.name} was skipped already"
    ratio = size.pixels / before.size.pixels
    seconds, needed = 2 * before.seconds * ratio * GROWTH, before.peak_bytes * ratio
    if seconds > left_s:
        return f"time: about {seconds:.0f} s wanted, {max(0, left_s):.0f} s of the budget left"
    if needed > memory_bytes:
        return f"memory: about {needed / 1e9:.1f} GB wanted, {memory_bytes / 1e9:.1f} GB free"
    return ""


def memory_limit(device: torch.device) -> float:
    """Memory a measurement may take: nine tenths of what is free."""
    return 0.9 * available_bytes(device)


def measure_apart(network: str, size: Size, left_s: float, *, precision: Precision, device: str) -> Speed:
    """Measure in a process of its own, which ends after `left_s` seconds at the latest."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, network, size, precision, device), daemon=True)
    process.start()
    theirs.close()
    try:
        if not mine.poll(max(0.0, left_s)):
            return Speed(network=network, size=size, skipped=f"time: not done after {left_s:.0f} s")
        answer: Speed = mine.recv()
        return answer
    except EOFError:
        process.join(10)
        return Speed(network=network, size=size, skipped=f"memory: its process was ended ({process.exitcode})")
    finally:
        if process.is_alive():
            process.terminate()
        process.join(10)
        mine.close()


def measure_here(network: str, size: Size, *, precision: Precision, device: str) -> Speed:
    """Measure in this process: random weights, a random image, the whole of it at once."""
    place = resolve_device(device)
    torch.manual_seed(0)
    module = prepare(network_entry(network)(), place)
    engine = TorchEngine(module, precision)
    # the image is on the device: copying it there belongs to the loader
    image = pad_to_multiple(torch.rand(1, 3, size.height, size.width), engine.size_multiple).to(place)
    with _Peak(place) as peak:
        first_s = _timed(engine, image, place)
        seconds = [first_s]
        if first_s < SLOW_S:
            seconds = []
            while len(seconds) < RUNS and sum(seconds) < ENOUGH_S:
                seconds.append(_timed(engine, image, place))
    return Speed(network=network, size=size, seconds=statistics.median(seconds), peak_bytes=peak.bytes)


def _timed(engine: TorchEngine, image: torch.Tensor, device: torch.device) -> float:
    _synchronise(device)
    begun = time.perf_counter()
    engine.run(image)
    _synchronise(device)
    return time.perf_counter() - begun


def _synchronise(device: torch.device) -> None:
    """Wait for a GPU: calls return before their work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Peak:
    """Peak memory inside a `with` block."""

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0.0
        self._device = device
        self._process = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Peak":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._before = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._device.type == "cuda":
            self.bytes = float(torch.cuda.max_memory_allocated(self._device))

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.bytes = max(self.bytes, float(self._process.memory_info().rss - self._before))


def _serve(connection: Connection, network: str, size: Size, precision: Precision, device: str) -> None:
    try:
        answer: Any = measure_here(network, size, precision=precision, device=device)
    except Exception as error:  # told to the parent
        cause = "memory" if "memory" in str(error).lower() else "error"
        answer = Speed(network=network, size=size, skipped=f"{cause}: {one_line(error)}")
    connection.send(answer)

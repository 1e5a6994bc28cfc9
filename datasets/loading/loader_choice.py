"""How many processes should load patches: measured, because it depends on disk, compression, processor and network."""

import math
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Protocol

from localblur.common.parallel import default_workers

WARM_UP = 4
LEAST_SAMPLES = 8
HEADROOM = 1.5
"""Loaders share their cores with everything else, and samples differ: plan for more than the mean asks for."""


class Samples(Sized, Protocol):
    """A data set of numbered samples."""

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class LoaderChoice:
    """Worker processes (0 loads in the process that trains), batches each of them keeps ready, and what was measured.

    Attributes:
        workers: of torch's DataLoader.
        prefetch: its `prefetch_factor`; None without workers.
        sample_ms: time to load one sample.
    """

    workers: int
    prefetch: int | None
    sample_ms: float


def measure_sample_ms(
    samples: Samples, *, budget_s: float = 1.0, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Milliseconds that one sample takes in one process, the mean of as many as fit into `budget_s`, at least 8.

    Sample numbers beyond the first epochs are used, so that a data set that keeps an order per epoch is not disturbed.
    """
    first = 7 * len(samples)
    for index in range(first, first + WARM_UP):
        samples[index]
    started, count = clock(), 0
    while count < LEAST_SAMPLES or clock() - started < budget_s:
        samples[first + WARM_UP + count]
        count += 1
    return 1000 * (clock() - started) / count


def choose_workers(sample_ms: float, batch: int, step_ms: float, *, cores: int | None = None) -> LoaderChoice:
    """How many workers keep a training step of `step_ms` fed with `batch` samples.

    Args:
        sample_ms: see `measure_sample_ms`.
        batch: samples per step of this process.
        step_ms: what a step takes when its batch is there; 0 for as fast as can be.
        cores: processor cores for this process; None for all.

    Returns:
        No workers if loading takes less than a twentieth of a step: a worker would cost more than it gains.
    """
    available = max(1, (default_workers() if cores is None else cores) - 1)
    load_ms = sample_ms * batch
    if step_ms > 0 and load_ms < step_ms / 20:
        return LoaderChoice(workers=0, prefetch=None, sample_ms=sample_ms)
    wanted = available if step_ms <= 0 else math.ceil(HEADROOM * load_ms / step_ms)
    workers = min(max(1, wanted), available)
    return LoaderChoice(workers=workers, prefetch=2 if workers > 1 else 4, sample_ms=sample_ms)

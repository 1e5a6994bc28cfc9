"""Batches from as many loader processes as a run needs, which its first steps show.

Which samples a step sees does not depend on who loads them, so the number of processes can change under way.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import torch

from localblur.common.parallel import default_workers
from localblur.datasets.loading.loader_choice import choose_workers

logger = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]

WARM_UP = 2
"""Steps that nobody times: the first ones open files and let a GPU choose its algorithms."""
MEASURED = 5


def measured_batches(
    load: Callable[[int, int, int | None], Iterable[Batch]],
    *,
    ranks: int = 1,
    cores: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Batch]:
    """Load the first batches in this process, time them and the steps between them, then go on with loader processes.

    Args:
        load: given how many batches to leave out, the number of loader processes, and how many batches each of them
            keeps ready (None without processes), the batches of the run.
        ranks: training processes, among which the cores of the machine are divided.
        cores: of this machine; None asks it.
        clock: seconds.

    Yields:
        Every batch once, in the order of `load(0, 0, None)`.
    """
    batches = iter(load(0, 0, None))
    load_s: list[float] = []
    step_s: list[float] = []
    samples = 1
    for number in range(WARM_UP + MEASURED):
        began = clock()
        batch = next(batches, None)
        if batch is None:
            return
        loaded, samples = clock(), len(batch["sharp"])
        yield batch
        if number >= WARM_UP:
            load_s.append(loaded - began)
            step_s.append(clock() - loaded)
    sample_ms, step_ms = 1000 * statistics.median(load_s) / samples, 1000 * statistics.median(step_s)
    share = max(1, (default_workers() if cores is None else cores) // ranks)
    choice = choose_workers(sample_ms, samples, step_ms, cores=share)
    logger.info(
        "loading a batch takes %.0f ms and a step %.0f ms: %s",
        sample_ms * samples,
        step_ms,
        f"{choice.workers} loader processes" if choice.workers else "batches are loaded by the process that trains",
    )
    yield from load(WARM_UP + MEASURED, choice.workers, choice.prefetch) if choice.workers else batches

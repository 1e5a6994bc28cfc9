"""Which samples a step sees: a function of the step alone, so that a resumed run sees what it would have seen."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from localblur.common.errors import LocalblurError


class StepSampler(Sampler[list[int]]):
    """Batch sampler over sample numbers, which count up from 0 over the whole run.

    Step `s` of a run with `batch` samples per step sees the numbers `s * batch ... s * batch + batch - 1`; with several
    processes each takes its own stretch of them, so that the number of processes does not change what a step sees. A
    data set turns (seed, sample number) into a pair, a patch and its augmentation.

    Args:
        batch: samples per step, over all processes.
        first_step: the step to begin with (the number of finished steps of a resumed run).
        steps: number of steps of the whole run.
        rank, ranks: this process, and how many there are.

    Raises:
        LocalblurError: if `batch` cannot be divided among the processes.
    """

    def __init__(self, *, batch: int, first_step: int, steps: int, rank: int = 0, ranks: int = 1) -> None:
        if batch % ranks:
            raise LocalblurError(
                f"data.batch is {batch}, which {ranks} processes cannot share evenly; use a multiple of {ranks}"
            )
        self.batch, self.first_step, self.steps = batch, first_step, steps
        self.share = batch // ranks
        self.offset = rank * self.share

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            start = step * self.batch + self.offset
            yield list(range(start, start + self.share))

    def __len__(self) -> int:
        return max(0, self.steps - self.first_step)

"""Which samples a step sees: a function of the step alone, so that a resumed run sees what it would have seen."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

from localblur.common.errors import LocalblurError


@dataclass(frozen=True)
class Stage:
    """Steps up to `end` (not included) have `batch` samples each, over all processes."""

    end: int
    batch: int


class StepSampler(Sampler[list[int]]):
    """Batch sampler over sample numbers, which count up from 0 over the whole run.

    Step `s` of a run with `batch` samples per step sees the numbers `s * batch ... s * batch + batch - 1`, and of one
    whose batches change from stage to stage, those that follow the ones before. With several processes each takes its
    own stretch of them, so that the number of processes does not change what a step sees. A data set turns (seed,
    sample number) into a pair, a patch and its augmentation.

    Args:
        stages: one after another; the last ends with the run.
        first_step: the step to begin with (the number of finished steps of a resumed run).
        rank, ranks: this process, and how many there are.

    Raises:
        LocalblurError: if a batch cannot be divided among the processes.
    """

    def __init__(self, stages: Sequence[Stage], *, first_step: int = 0, rank: int = 0, ranks: int = 1) -> None:
        for stage in stages:
            if stage.batch % ranks:
                raise LocalblurError(
                    f"data.batch is {stage.batch}, which {ranks} processes cannot share evenly; use a multiple of"
                    f" {ranks}"
                )
        self.stages, self.first_step, self.rank, self.ranks = tuple(stages), first_step, rank, ranks
        self.starts = stage_starts(stages)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.stages[-1].end):
            number = bisect.bisect_right([stage.end for stage in self.stages], step)
            begun = self.stages[number - 1].end if number else 0
            batch = self.stages[number].batch
            share = batch // self.ranks
            start = self.starts[number] + (step - begun) * batch + self.rank * share
            yield list(range(start, start + share))

    def __len__(self) -> int:
        return max(0, self.stages[-1].end - self.first_step)


def stage_starts(stages: Sequence[Stage]) -> list[int]:
    """The first sample number of every stage."""
    starts, begun = [0], 0
    for stage in stages:
        starts.append(starts[-1] + (stage.end - begun) * stage.batch)
        begun = stage.end
    return starts[:-1]

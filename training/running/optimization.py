"""How weights move: the learning rate of every step, the optimizer, and the averaged weights."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from localblur.training.running.config import OptimizerSettings, TrainingSettings
from localblur.training.running.muon import Muon

OPTIMIZERS: dict[str, type[torch.optim.Adam] | type[torch.optim.AdamW] | type[Muon]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "muon": Muon,
}


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The rate of the update that follows `step` finished steps."""
    schedule, base = settings.schedule, settings.optimizer.lr
    if step < schedule.warmup_steps:
        return base * (step + 1) / (schedule.warmup_steps + 1)
    if schedule.kind == "multistep":
        return base * schedule.factor ** sum(milestone <= step for milestone in schedule.milestones)
    before = schedule.warmup_steps + schedule.constant_steps
    done = min(1.0, max(0, step - before) / max(1, settings.steps - before))
    left = 1 - done if schedule.kind == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return base * (schedule.final_fraction + (1 - schedule.final_fraction) * left)


def make_optimizer(settings: OptimizerSettings, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over all weights of `module`."""
    return OPTIMIZERS[settings.name](
        module.parameters(), lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )


def averaging(decay: float) -> Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | int], None]:
    """Exponential averaging of weights, `multi_avg_fn` of `AveragedModel`.

    Its memory grows with the run, so that the first steps do not linger.
    """

    def average(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], count: torch.Tensor | int) -> None:
        seen = int(count)  # once for all weights: on a GPU it waits for the device
        share = 1 - min(decay, (1 + seen) / (10 + seen))
        for mean, value in zip(averaged, current, strict=True):
            mean.lerp_(value, share)

    return average

"""A run tried out: everything is built, two steps of its most demanding stage are made, nothing is written."""

import time
from dataclasses import dataclass
from pathlib import Path

from localblur.training.networks.base import parameter_count
from localblur.training.running.config import TrainingSettings
from localblur.training.running.data import TrainingData, stages
from localblur.training.running.loop import Trainer, next_batch
from localblur.training.running.validation import validate
from localblur.training.runtime import Runtime

STEPS = 2


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What two steps showed.

    Attributes:
        network, parameters: what would be trained.
        patch_px, batch: of the stage that was tried, the one with most pixels.
        device, precision: where and how it is computed.
        losses: of both steps; finite is not guaranteed.
        step_s: seconds of the second step, waiting for data included.
        memory_mib: see `Runtime.memory_mib`.
        steps: of the whole run.
        validated: whether there is a val split.
    """

    network: str
    parameters: int
    patch_px: int
    batch: int
    device: str
    precision: str
    losses: tuple[float, ...]
    step_s: float
    memory_mib: float
    steps: int
    validated: bool


def dry_run(settings: TrainingSettings, data: TrainingData, *, runtime: Runtime, workers: int = 0) -> DryRun:
    """Build all that `train` builds, make two steps and validate two patches.

    Raises:
        LocalblurError: if anything does not fit or cannot be read.
    """
    with runtime.isolated_random():
        trainer = Trainer(settings, data, runtime, Path())
        number, stage = max(
            enumerate(settings.data.all_stages()), key=lambda item: item[1].patch_px ** 2 * item[1].batch
        )
        trainer.step = stages(settings)[number - 1].end if number else 0
        losses, began = [], time.perf_counter()
        batches = iter(trainer.loader(workers))
        for _ in range(STEPS):
            began = time.perf_counter()
            outcome = trainer.updater.update(next_batch(batches), trainer.step)
            losses.append(float(outcome.values["loss"]))
            trainer.step += 1
            if trainer.step >= settings.steps:
                break
        seconds = time.perf_counter() - began
        if data.validation is not None:
            few = settings.validation.model_copy(update={"samples": max(2, runtime.ranks)})
            validate(trainer.updater.evaluated, data.validation, few, runtime, trainer.updater.precision)
        return DryRun(
            network=settings.network.name,
            parameters=parameter_count(trainer.updater.module),
            patch_px=stage.patch_px,
            batch=stage.batch,
            device=str(runtime.device) if runtime.ranks == 1 else f"{runtime.ranks} x {runtime.device.type}",
            precision=trainer.updater.precision,
            losses=tuple(losses),
            step_s=seconds,
            memory_mib=runtime.memory_mib(),
            steps=settings.steps,
            validated=data.validation is not None,
        )


def described(tried: DryRun) -> list[str]:
    """What a person wants to know before starting, a line each."""
    hours = tried.steps * tried.step_s / 3600
    length = f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.0f} days"
    return [
        f"{tried.network}: {tried.parameters:,} parameters",
        f"a step of {tried.batch} patches of {tried.patch_px} px: {tried.step_s:.2f} s, {tried.memory_mib:,.0f} MiB",
        f"on {tried.device} in {tried.precision}",
        f"{tried.steps:,} such steps take {length}",
        f"losses of the steps made: {', '.join(f'{loss:.4f}' for loss in tried.losses)}",
        "validation: works" if tried.validated else "validation: none, no scene to validate on",
        "dry run: nothing was written",
    ]

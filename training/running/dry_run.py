"""A run tried out: everything is built, two steps of its most demanding stage are made, nothing is written."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localblur.training.networks.base import parameter_count
from localblur.training.running.config import TrainingSettings
from localblur.training.running.data import TrainingData, stages
from localblur.training.running.loop import Trainer, next_batch
from localblur.training.running.validation import validate
from localblur.training.runtime import Runtime

logger = logging.getLogger(__name__)

STEPS = 2
_UNITS = (("years", 365.25 * 86400), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_FEWEST = 2.0
"""A duration is given in the largest unit of which it has so many."""


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
        whole_s: estimated seconds of them all; steps of other stages by their pixels. Validation is not in it.
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
    whole_s: float
    validated: bool


def dry_run(
    settings: TrainingSettings,
    data: TrainingData,
    *,
    runtime: Runtime,
    workers: int | None = 0,
    run: Path = Path(),
    state: dict[str, Any] | None = None,
    say: Callable[[str], None] = logger.info,
) -> DryRun:
    """Build all that `train` builds, make two steps and validate two patches.

    Args:
        settings, data, runtime, workers, run, state: as `train` takes them; nothing is written to `run`.
        say: is told what is done now; a step of a large network takes a minute on a processor.

    Raises:
        LocalblurError: if anything does not fit or cannot be read, or `state` is not to be continued with these.
    """
    with runtime.isolated_random():
        say(f"building {settings.network.name} and all it is trained with")
        trainer = Trainer(settings, data, runtime, run, fresh=state is None)
        if state is not None:
            trainer.restore(state)
        work = _work(settings)
        number = max((index for index, (count, _) in enumerate(work) if count), key=lambda index: work[index][1])
        stage = settings.data.all_stages()[number]
        trainer.step = sum(count for count, _ in work[:number])
        losses, seconds = _steps(trainer, workers, say)
        if data.validation is not None:
            say("validating two patches")
            few = settings.validation.model_copy(update={"samples": max(2, runtime.ranks)})
            validate(trainer.updater.evaluated, data.validation, few, runtime, trainer.updater.precision)
        return DryRun(
            network=settings.network.name,
            parameters=parameter_count(trainer.updater.module),
            patch_px=stage.patch_px,
            batch=stage.batch,
            device=str(runtime.device) if runtime.ranks == 1 else f"{runtime.ranks} x {runtime.device.type}",
            precision=trainer.updater.precision,
            losses=losses,
            step_s=seconds,
            memory_mib=runtime.memory_mib(),
            steps=settings.steps,
            whole_s=seconds * sum(count * pixels for count, pixels in work) / work[number][1],
            validated=data.validation is not None,
        )


def duration_words(seconds: float) -> str:
    """A duration in the unit a person would say it in, to two digits.

    Example:
        >>> duration_words(112_000), duration_words(5.4 * 86400)
        ('31 hours', '5.4 days')
    """
    name, unit = next((item for item in _UNITS if seconds >= _FEWEST * item[1]), _UNITS[-1])
    count = seconds / unit
    return f"{count:,.0f} {name}" if count >= 10 else f"{count:.1f} {name}"


def described(tried: DryRun) -> list[str]:
    """What a person wants to know before starting, a line each."""
    return [
        f"{tried.network}: {tried.parameters:,} parameters",
        f"a step of {tried.batch} patches of {tried.patch_px} px: {tried.step_s:.2f} s, {tried.memory_mib:,.0f} MiB",
        f"on {tried.device} in {tried.precision}",
        f"all {tried.steps:,} steps: about {duration_words(tried.whole_s)} on this machine, validation not counted",
        f"losses of the steps made: {', '.join(f'{loss:.4f}' for loss in tried.losses)}",
        "validation: works" if tried.validated else "validation: none, no scene to validate on",
        "dry run: nothing was written",
    ]


def _steps(trainer: Trainer, workers: int | None, say: Callable[[str], None]) -> tuple[tuple[float, ...], float]:
    """Make the steps; losses of all, and the seconds of the last: the first one also warms up."""
    losses: list[float] = []
    seconds, told = 0.0, ""
    batches = trainer.batches(workers)
    for number in range(1, 1 + min(STEPS, trainer.settings.steps - trainer.step)):
        say(f"step {number} of {STEPS}{told}")
        began = time.perf_counter()
        outcome = trainer.updater.update(next_batch(batches), trainer.step)
        losses.append(float(outcome.values["loss"]))
        seconds = time.perf_counter() - began
        told = f" (step {number} took {seconds:.1f} s)"
        trainer.step += 1
    return tuple(losses), seconds


def _work(settings: TrainingSettings) -> list[tuple[int, int]]:
    """Steps of each stage (none, of a short run), and the pixels a step of it sees."""
    ends = [stage.end for stage in stages(settings)]
    counts = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    pixels = [stage.patch_px**2 * stage.batch for stage in settings.data.all_stages()]
    return list(zip(counts, pixels, strict=True))

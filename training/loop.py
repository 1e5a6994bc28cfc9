"""The training loop: one run from its first or its resumed step to its end."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.training.checkpoint import fit_weights, save_model, save_state
from localblur.training.config import TrainingSettings, differences
from localblur.training.data import TrainingData
from localblur.training.meter import Meter
from localblur.training.networks.table import network_entry
from localblur.training.objectives import gated_objective
from localblur.training.optimization import averaging, learning_rate, make_optimizer
from localblur.training.run_log import RunLog
from localblur.training.runtime import (
    Precision,
    Runtime,
    StopRequest,
    fastest_precision,
    ignore_interrupts,
    stop_requests,
)
from localblur.training.sampler import StepSampler
from localblur.training.validation import score, validate

STATE_NAME = "checkpoint.pt"
STATE_KEYS = frozenset(
    ("step", "settings", "fingerprint", "module", "average", "optimizer", "random", "skipped", "skipped_in_row", "best")
    + ("figures",)
)
"""What a training state must hold; see `Trainer.state`."""
REASONS = ("finished", "out of time", "interrupted")
"""Why a call of `train` ends, from the weakest to the strongest."""

Batch = dict[str, torch.Tensor]

_ERROR_PREFIX = f"{LocalblurError.__module__}.{LocalblurError.__qualname__}: "


@dataclass(frozen=True)
class Summary:
    """How a call of `train` ended.

    Attributes:
        step, steps: finished steps, and those of the whole run.
        reason: one of `REASONS`.
        skipped: steps left out because their loss or gradient was not finite.
        figures: of the last validation; empty without a validation split.
        best_step: the step of the best model, None without a validation split.
        main: whether this process is the one that writes and reports.
    """

    step: int
    steps: int
    reason: str
    skipped: int
    figures: dict[str, float]
    best_step: int | None
    main: bool = True


def train(
    settings: TrainingSettings,
    data: TrainingData,
    run: Path,
    *,
    runtime: Runtime,
    workers: int = 0,
    state: dict[str, Any] | None = None,
) -> Summary:
    """Train, from the beginning or from `state`, and leave `checkpoint.pt`, `best/`, `last/` and the log in `run`.

    The weights after step n are a function of settings and data alone: a run that was interrupted and resumed any
    number of times ends with the same bits, on the same machine with the same number of threads.

    Args:
        settings: the resolved settings.
        data: patches, and what identifies them.
        run: the run's folder.
        runtime: the machine.
        workers: loader processes; 0 loads in this process.
        state: a training state to continue from, as `load_state` returns it.

    Raises:
        LocalblurError: if `state` is of another network, other settings or other data, or if the loss stays not finite.
    """
    run.mkdir(parents=True, exist_ok=True)
    with runtime.isolated_random(), stop_requests() as stop:
        trainer = Trainer(settings, data, runtime, run)
        if state is not None:
            trainer.restore(state)
        with RunLog(run, trainer.step, writing=runtime.main) as log:
            return trainer.run_steps(log, stop, workers)


class Trainer:
    """A network, its optimizer, and how far they are."""

    def __init__(self, settings: TrainingSettings, data: TrainingData, runtime: Runtime, run: Path) -> None:
        settings = settle(settings, runtime.device)
        precision: Precision = "bf16" if settings.precision == "bf16" else "fp32"
        self.settings, self.precision, self.data, self.runtime, self.run = settings, precision, data, runtime, run
        torch.manual_seed(settings.seed)
        entry = network_entry(settings.network.name)
        module: nn.Module = entry(settings.network.options)
        if settings.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module = module
        self.model = runtime.wrap(module)
        self.optimizer = make_optimizer(settings.optimizer, module)
        self.average = AveragedModel(module, avg_fn=averaging(settings.ema_decay)) if settings.ema_decay else None
        torch.manual_seed(settings.seed + 1 + runtime.rank)  # what dropout draws differs between processes
        self.step = 0
        self.skipped = self.skipped_in_row = 0
        self.best: dict[str, float] = {}
        self.figures: dict[str, float] = {}

    @property
    def evaluated(self) -> nn.Module:
        """The module that is validated and saved: the averaged one where there is one."""
        return self.module if self.average is None else self.average.module

    def run_steps(self, log: RunLog, stop: StopRequest, workers: int) -> Summary:
        """Steps from where the trainer stands to the end, or to the first reason to stop."""
        settings, started = self.settings, time.monotonic()
        batches = iter(self._loader(workers))
        if self.step == 0:
            self._save_state()  # before the first model: a run with models and without a checkpoint has lost it
            self._validate(log)
        meter = Meter(settings.data.batch)
        reason = REASONS[0]
        with self._progress() as advance:
            advance("", self.step)
            while self.step < settings.steps:
                with meter.waiting():
                    batch = next_batch(batches)
                meter.add(self._update(batch))
                advance(meter.note, 1)
                late = settings.max_minutes is not None and time.monotonic() - started > 60 * settings.max_minutes
                reason = REASONS[self.runtime.largest(2 if stop else int(late))]
                ending = reason != "finished" or self.step == settings.steps
                self._after_step(log, meter, ending=ending, validating=reason != "interrupted")
                if ending:
                    break
        best_step = int(self.best["step"]) if self.best else None
        return Summary(self.step, settings.steps, reason, self.skipped, self.figures, best_step, main=self.runtime.main)

    def state(self) -> dict[str, Any]:
        """Everything needed to continue with the same bits; all processes must ask."""
        return {
            "step": self.step,
            "settings": self.settings.model_dump(mode="json"),
            "fingerprint": self.data.fingerprint,
            "module": self.module.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.runtime.random_state(),
            "skipped": self.skipped,
            "skipped_in_row": self.skipped_in_row,
            "best": self.best,
            "figures": self.figures,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; a state of something else is a `LocalblurError`."""
        where = self.run / STATE_NAME
        missing = sorted(STATE_KEYS - state.keys())
        if missing:
            raise LocalblurError(f"{where} is damaged, it lacks {', '.join(missing)}; start again with --overwrite")
        changed = differences(TrainingSettings.model_validate(state["settings"]), self.settings)
        if changed:
            raise LocalblurError(
                f"{where} was trained with other settings ({'; '.join(changed)}); resume with the same ones,"
                " choose another --output, or start again with --overwrite"
            )
        if state["fingerprint"] != self.data.fingerprint:
            raise LocalblurError(
                f"{where} was trained on other pairs ({state['fingerprint']}, now {self.data.fingerprint}); resume with"
                " the same files in the same order, or start again with --overwrite"
            )
        fit_weights(self.module, state["module"], str(where))
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.runtime.set_random_state(state["random"])
        self.step, self.best, self.figures = state["step"], state["best"], state["figures"]
        self.skipped, self.skipped_in_row = state["skipped"], state["skipped_in_row"]

    def _update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step: forward, backward, update; returns the parts of the loss."""
        settings, device = self.settings, self.runtime.device
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        blurred = batch["blurred"]
        if settings.channels_last:
            blurred = blurred.contiguous(memory_format=torch.channels_last)
        rate = learning_rate(settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self.runtime.autocast(self.precision):
            restored = self.model(blurred)
        value = gated_objective(restored, batch["sharp"], batch["mask"], settings.objective, batch["has_mask"])
        self.runtime.backward(value.total)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), settings.optimizer.clip_norm or math.inf)
        self._apply(value.total.detach(), norm)
        self.step += 1
        return {"loss": value.total.detach(), **value.terms, "gradient_norm": norm, "lr": torch.tensor(rate)}

    def _apply(self, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """Update the weights, unless loss or gradient is not finite on any process.

        Such a step is skipped and counted; more than `nonfinite_limit` of them in a row end the run.
        """
        if self.runtime.everywhere(torch.isfinite(loss) & torch.isfinite(norm)):
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.module)
            self.skipped_in_row = 0
            return
        self.skipped += 1
        self.skipped_in_row += 1
        if self.skipped_in_row > self.settings.nonfinite_limit:
            raise LocalblurError(
                f"loss {float(loss):g} or gradient {float(norm):g} is not finite at step {self.step + 1}, the last of"
                f" {self.skipped_in_row} in a row (nonfinite_limit {self.settings.nonfinite_limit}); lower optimizer.lr"
                " or --set precision=fp32; the last checkpoint is kept"
            )

    def _after_step(self, log: RunLog, meter: Meter, *, ending: bool, validating: bool) -> None:
        settings = self.settings
        if self.step % settings.log_every_steps == 0 or ending:
            log.add("train", self.step, {**meter.flush(), "skipped": float(self.skipped)})
        if validating and (self.step % settings.validation.every_steps == 0 or ending):
            with meter.paused():
                self._validate(log)
                self._save_model("last")
        if self.step % settings.checkpoint_every_steps == 0 or ending:
            with meter.paused():
                self._save_state()

    def _validate(self, log: RunLog) -> None:
        if self.data.validation is None or not self.runtime.main:
            return
        settings = self.settings.validation
        self.figures = validate(self.evaluated, self.data.validation, settings, self.runtime, self.precision)
        log.add("validation", self.step, self.figures)
        if not self.best or score(self.figures) > self.best["score"]:
            self.best = {"score": score(self.figures), "step": float(self.step)}
            self._save_model("best")

    def _save_model(self, name: str) -> None:
        if self.runtime.main:
            network, recipe = self.settings.network, self.settings.model_dump(mode="json")
            figures = {**self.figures, "step": float(self.step)}
            save_model(
                self.run / name, network.name, network.options, self.evaluated, recipe, figures, self.data.fingerprint
            )

    def _save_state(self) -> None:
        state = self.state()
        if self.runtime.main:
            save_state(self.run / STATE_NAME, state)

    @contextmanager
    def _progress(self) -> Iterator[Callable[[str, int], None]]:
        if not self.runtime.main:
            yield lambda _note, _count: None
            return
        with Progress(self.settings.steps, "train-lbag", unit="step") as progress:
            yield progress.step

    def _loader(self, workers: int) -> DataLoader[Batch]:
        settings, runtime = self.settings, self.runtime
        sampler = StepSampler(
            batch=settings.data.batch,
            first_step=self.step,
            steps=settings.steps,
            rank=runtime.rank,
            ranks=runtime.ranks,
        )
        return DataLoader(
            self.data.training,
            batch_sampler=sampler,
            num_workers=workers,
            # a generator of its own: else making the iterator draws from the random state that dropout uses
            generator=torch.Generator().manual_seed(settings.seed),
            pin_memory=runtime.device.type == "cuda",
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=ignore_interrupts if workers else None,
        )


def next_batch(batches: Iterator[Batch]) -> Batch:
    """The next batch; what went wrong in a loader process is said in one line."""
    try:
        return next(batches)
    except LocalblurError as error:
        # from a loader process the message is a traceback, which ends with the error's own words
        raise LocalblurError(str(error).strip().splitlines()[-1].removeprefix(_ERROR_PREFIX)) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise LocalblurError(
            "a loader process died (out of memory?); continue with --resume and fewer --workers"
        ) from error


def settle(settings: TrainingSettings, device: torch.device) -> TrainingSettings:
    """Decide what is `auto`: a resumed run must go on with what it began with."""
    precision = fastest_precision(device) if settings.precision == "auto" else settings.precision
    channels_last = settings.channels_last
    if channels_last == "auto":
        # float32 convolutions on a processor are a third slower that way
        channels_last = device.type == "cuda" or precision == "bf16"
    return settings.model_copy(update={"precision": precision, "channels_last": channels_last})

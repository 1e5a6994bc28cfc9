"""The training loop: one run from its first or its resumed step to its end."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.training.checkpoint import save_model, save_state
from localblur.training.running.config import TrainingSettings, differences
from localblur.training.running.data import TrainingData, stages
from localblur.training.running.measured_batches import measured_batches
from localblur.training.running.meter import Meter
from localblur.training.running.run_log import RunLog
from localblur.training.running.sampler import StepSampler
from localblur.training.running.updater import Batch, Outcome, Updater
from localblur.training.running.validation import score, validate
from localblur.training.runtime import (
    Runtime,
    StopRequest,
    fastest_precision,
    ignore_interrupts,
    is_out_of_memory,
    stop_requests,
)

STATE_NAME = "checkpoint.pt"
DUMP_NAME = "not-finite.pt"
STATE_KEYS = frozenset(
    ("step", "settings", "fingerprint", "module", "average", "optimizer", "scaler", "adversary", "random", "skipped")
    + ("skipped_in_row", "best", "figures")
)
"""What a training state must hold; see `Trainer.state`."""
REASONS = ("finished", "out of time", "interrupted")
"""Why a call of `train` ends, from the weakest to the strongest."""

_ERROR_PREFIX = f"{LocalblurError.__module__}.{LocalblurError.__qualname__}: "


@dataclass(frozen=True)
class Summary:
    """How a call of `train` ended.

    Attributes:
        step, steps: finished steps, and those of the whole run.
        reason: one of `REASONS`.
        skipped: steps left out because their loss or gradient was not finite.
        figures: of the last validation, and its `step`; empty without a validation split.
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
    workers: int | None = 0,
    state: dict[str, Any] | None = None,
    ready: Callable[[], None] | None = None,
) -> Summary:
    """Train, from the beginning or from `state`, and leave `checkpoint.pt`, `best/`, `last/` and the log in `run`.

    The weights after step n are a function of settings and data alone: a run that was interrupted and resumed any
    number of times ends with the same bits, on the same machine with the same number of threads.

    Args:
        settings: the resolved settings.
        data: patches, and what identifies them.
        run: the run's folder.
        runtime: the machine.
        workers: loader processes; 0 loads in this process, None is as many as the first steps show to be needed.
        state: a training state to continue from, as `load_state` returns it.
        ready: called once nothing can be refused any more and before anything is written.

    Raises:
        LocalblurError: if `state` is of another network, other settings or other data, if memory runs out, or if the
            loss stays not finite.
    """
    with runtime.isolated_random(), stop_requests() as stop:
        trainer = Trainer(settings, data, runtime, run, fresh=state is None)
        if state is not None:
            trainer.restore(state)
        if ready is not None:
            ready()
        run.mkdir(parents=True, exist_ok=True)
        with RunLog(run, trainer.step, writing=runtime.main, wandb_project=settings.wandb_project) as log:
            return trainer.run_steps(log, stop, workers)


class Trainer:
    """A network in training and how far it is; reads data, validates, logs and saves."""

    def __init__(
        self, settings: TrainingSettings, data: TrainingData, runtime: Runtime, run: Path, *, fresh: bool = True
    ) -> None:
        self.settings, self.data, self.runtime, self.run = settle(settings, runtime.device), data, runtime, run
        self.updater = Updater(self.settings, runtime, fresh=fresh)
        self.step = 0
        self.skipped = self.skipped_in_row = 0
        self.best: dict[str, float] = {}
        self.figures: dict[str, float] = {}

    def run_steps(self, log: RunLog, stop: StopRequest, workers: int | None) -> Summary:
        """Steps from where the trainer stands to the end, or to the first reason to stop."""
        settings, started = self.settings, time.monotonic()
        batches = self.batches(workers)
        reason = REASONS[0]
        with self._progress() as advance:
            self._begin(log, advance)
            meter = Meter(self.runtime)
            while self.step < settings.steps:
                with meter.waiting():
                    batch = next_batch(batches)
                with self._enough_memory(batch):
                    outcome = self.updater.update(batch, self.step)
                self._count(outcome, batch)
                self.step += 1
                meter.add(outcome.values, len(batch["sharp"]) * self.runtime.ranks)
                advance(meter.note, 1)
                late = settings.max_minutes is not None and time.monotonic() - started > 60 * settings.max_minutes
                wanted = self.runtime.largest(2 if stop else int(late))
                # after the last step nothing is left to stop, and resuming would not write the last model
                reason = REASONS[0 if self.step == settings.steps else wanted]
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
            **self.updater.state(),
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
        before = TrainingSettings.model_validate(state["settings"])
        changed = differences(before, self.settings)
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
        # free to be named again, but what the weights began with is what it was
        began = {name: getattr(before, name) for name in ("initial_weights", "initial_weights_except")}
        self.settings = self.settings.model_copy(update=began)
        self.updater.restore(state, str(where))
        self.step, self.best, self.figures = state["step"], state["best"], state["figures"]
        self.skipped, self.skipped_in_row = state["skipped"], state["skipped_in_row"]

    def _begin(self, log: RunLog, advance: Callable[[str, int], None]) -> None:
        """What comes before the first step of a call."""
        if self.step == 0:
            self._save_state()  # before the first model: a run with models and without a checkpoint has lost it
            advance("validating what the network makes of it untrained", 0)
            self._validate(log)
        elif self.step % self.settings.validation.every_steps == 0 and self.figures.get("step") not in (
            None,
            self.step,
        ):
            # the call that made this step was interrupted, and left out what was due then
            self._validate(log)
            self._save_model("last")

    def _count(self, outcome: Outcome, batch: Batch) -> None:
        """Count steps that were skipped; more than `nonfinite_limit` of them in a row end the run."""
        if outcome.applied:
            self.skipped_in_row = 0
            return
        self.skipped += 1
        if outcome.overflow:
            return
        self.skipped_in_row += 1
        if self.skipped_in_row > self.settings.nonfinite_limit:
            values, row = self._dump(outcome, batch), self.skipped_in_row
            raise LocalblurError(
                f"loss {values['loss']:g} or gradient {values['gradient_norm']:g} is not finite at step {self.step + 1}"
                f", the last of {row} in a row (nonfinite_limit {self.settings.nonfinite_limit}); what was computed is"
                f" in {self.run / DUMP_NAME}; begin a new run with a lower optimizer.lr or --set precision=fp32, or go"
                f" on from its last model: --set initial_weights={self.run / 'last'}"
            )

    def _dump(self, outcome: Outcome, batch: Batch) -> dict[str, float]:
        """Leave what is needed to find out why: the batch, the weights, and which gradients were not finite.

        Of several processes it is the first whose own loss is not finite; that of an averaged gradient is all theirs.

        Returns:
            The values of that process.
        """
        values = {name: float(value) for name, value in outcome.values.items()}
        own = {"rank": self.runtime.rank, "values": values, "batch": {name: item.cpu() for name, item in batch.items()}}
        found = self.runtime.gathered([own])
        seen = next((each for each in found if not math.isfinite(each["values"]["loss"])), found[0])
        state = {
            "step": self.step,
            "settings": self.settings.model_dump(mode="json"),
            **seen,
            "gradients": self.updater.unusual_gradients(),
            "module": self.updater.module.state_dict(),
        }
        if self.runtime.main:
            save_state(self.run / DUMP_NAME, state)
        told: dict[str, float] = seen["values"]
        return told

    @contextmanager
    def _enough_memory(self, batch: Batch) -> Iterator[None]:
        """Say in one line what to do when a step does not fit into memory."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            count, parts = len(batch["sharp"]), self.settings.accumulate
            more = next((number for number in range(parts + 1, count + 1) if count % number == 0), None)
            if more is None or self.updater.adversary is not None:
                remedy = "begin a new run with a smaller data.batch, data.patch_px or network"
            else:
                remedy = f"continue with --resume --set accumulate={more}"
            raise LocalblurError(
                f"not enough memory for step {self.step + 1}: {count // parts} patches of {batch['sharp'].shape[-1]} px"
                f" at a time; {remedy}"
            ) from error

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
        if self.data.validation is None:
            return
        settings, updater = self.settings.validation, self.updater
        figures, pictures = validate(updater.evaluated, self.data.validation, settings, self.runtime, updater.precision)
        self.figures = {**figures, "step": float(self.step)}
        log.add("validation", self.step, figures)
        log.add_pictures(self.step, pictures)
        if not self.best or better(score(self.figures), self.best["score"]):
            self.best = {"score": score(self.figures), "step": float(self.step)}
            self._save_model("best")

    def _save_model(self, name: str) -> None:
        if self.runtime.main:
            network, recipe = self.settings.network, self.settings.model_dump(mode="json")
            figures = {**self.figures, "step": float(self.step)}
            save_model(
                self.run / name,
                network.name,
                network.options,
                self.updater.evaluated,
                recipe,
                figures,
                self.data.fingerprint,
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
        with Progress(self.settings.steps, "train-lbag", unit="step", done=self.step) as progress:
            yield progress.step

    def batches(self, workers: int | None) -> Iterator[Batch]:
        """Batches of this process from the next step on; `workers` as in `train`."""
        load = partial(self._loader, self.step)
        return iter(load(0, workers, None)) if workers is not None else measured_batches(load, ranks=self.runtime.ranks)

    def _loader(self, step: int, skipped: int, workers: int, prefetch: int | None) -> DataLoader[Batch]:
        """Batches from `skipped` steps after `step` on."""
        settings, runtime = self.settings, self.runtime
        sampler = StepSampler(stages(settings), first_step=step + skipped, rank=runtime.rank, ranks=runtime.ranks)
        return DataLoader(
            self.data.training,
            batch_sampler=sampler,
            num_workers=workers,
            prefetch_factor=prefetch,
            # a generator of its own: else making the iterator draws from the random state that dropout uses
            generator=torch.Generator().manual_seed(settings.seed),
            pin_memory=runtime.device.type == "cuda",
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=ignore_interrupts if workers else None,
        )


def better(value: float, best: float) -> bool:
    """Whether a score is higher than the best so far; any number is better than none (NaN)."""
    return value > best or (math.isnan(best) and not math.isnan(value))


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

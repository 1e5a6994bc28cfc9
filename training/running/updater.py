"""One parameter update, and everything that changes with it: weights, their average, optimizers, loss scale, critic."""

import logging
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import fit_weights
from localblur.training.networks.base import Restored
from localblur.training.networks.table import network_entry
from localblur.training.objectives.objective import ObjectiveValue, Target, objective
from localblur.training.objectives.objective_settings import ObjectiveSettings
from localblur.training.objectives.perceptual import PerceptualLoss
from localblur.training.published_weights import Start, origin, start_from
from localblur.training.running.adversarial import Adversary
from localblur.training.running.config import TrainingSettings
from localblur.training.running.optimization import averaging, learning_rate, make_optimizer
from localblur.training.runtime import Runtime, TrainingPrecision

logger = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]


class Outcome(NamedTuple):
    """What one update did.

    Attributes:
        values: loss, its parts, length of the gradient, learning rate.
        applied: False if loss or gradient was not finite on some process, so that the weights stayed.
        overflow: whether that was the scaled gradient of float16 alone, which is nothing unusual.
    """

    values: dict[str, torch.Tensor]
    applied: bool
    overflow: bool


class Updater:
    """A network in training.

    Args:
        settings: with `precision` and `channels_last` decided.
        runtime: the machine.
        fresh: whether a run begins; then `initial_weights` are read.

    Raises:
        LocalblurError: if processes cannot share the batches, or weights cannot be read.
    """

    def __init__(self, settings: TrainingSettings, runtime: Runtime, *, fresh: bool) -> None:
        self.settings, self.runtime = settings, runtime
        self.precision: TrainingPrecision = "fp32" if settings.precision == "auto" else settings.precision
        torch.manual_seed(settings.seed)
        network = network_entry(settings.network.name)(settings.network.options)
        check_shares(settings, runtime.ranks)
        if fresh and settings.initial_weights is not None:
            start = start_from(
                network, settings.network.name, settings.initial_weights, settings.initial_weights_except
            )
            if runtime.main:
                # a warning, so that it is shown: what is random without being meant to be is found here or never
                logger.warning(beginning(settings.network.name, origin(settings.initial_weights), network, start))
        module: nn.Module = network
        if settings.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module = module
        compiled: nn.Module = torch.compile(module) if settings.compile else module  # type: ignore[assignment]
        self.model = runtime.wrap(compiled)
        self.optimizer = make_optimizer(settings.optimizer, module)
        self.average = AveragedModel(module, multi_avg_fn=averaging(settings.ema_decay)) if settings.ema_decay else None
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=self.precision == "fp16")
        chosen = settings.objective
        self.adversary = Adversary(chosen.adversarial, settings.optimizer, runtime) if chosen.adversarial else None
        self.perceptual = PerceptualLoss(chosen.vgg_weights, runtime.device) if chosen.perceptual_weight else None
        torch.manual_seed(settings.seed + 1 + runtime.rank)  # what dropout draws differs between processes

    @property
    def evaluated(self) -> nn.Module:
        """The module that is validated and saved: the averaged one where there is one."""
        return self.module if self.average is None else self.average.module

    def update(self, batch: Batch, step: int) -> Outcome:
        """The update that follows `step` finished ones; `batch` is this process's share of it."""
        rate = learning_rate(self.settings, step)
        chosen = self.settings.objective.at(step / self.settings.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        statistics = [buffer.clone() for buffer in self.module.buffers()]
        parts = [dict(zip(batch, values, strict=True)) for values in zip(*self._parts(batch), strict=True)]
        values = []
        for part in parts[:-1]:
            with self.runtime.apart(self.model):
                values.append(self._gradients(part, len(parts), rate, chosen))
        values.append(self._gradients(parts[-1], len(parts), rate, chosen))
        self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        means = {name: torch.stack([part[name] for part in values]).mean() for name in values[0]}
        applied, overflow = self._apply(means["loss"], norm)
        if not applied:  # running statistics have seen the batch
            for buffer, before in zip(self.module.buffers(), statistics, strict=True):
                buffer.copy_(before)
        return Outcome({**means, "gradient_norm": norm, "lr": torch.tensor(rate)}, applied, overflow)

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs to continue with the same bits; all processes must ask."""
        return {
            "module": self.module.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state(),
            "random": self.runtime.random_state(),
        }

    def restore(self, state: dict[str, Any], where: str) -> None:
        """Continue from what `state` returned."""
        fit_weights(self.module, state["module"], where)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        if self.adversary is not None:
            self.adversary.restore(state["adversary"], where)
        self.runtime.set_random_state(state["random"])

    def unusual_gradients(self) -> list[str]:
        """Names of the parameters whose gradient holds a value that is not finite."""
        return [
            name
            for name, parameter in self.module.named_parameters()
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
        ]

    def _clip(self) -> torch.Tensor:
        """Shorten the gradient to its limit and return how long it was; one that is not finite stays for the dump."""
        norm = nn.utils.get_total_norm([w.grad for w in self.module.parameters() if w.grad is not None])
        limit = self.settings.optimizer.clip_norm
        if limit is not None and bool(torch.isfinite(norm)):
            nn.utils.clip_grads_with_norm_(self.module.parameters(), limit, norm)
        return norm

    def _parts(self, batch: Batch) -> list[tuple[torch.Tensor, ...]]:
        return [torch.chunk(values, self.settings.accumulate) for values in batch.values()]

    def _gradients(self, batch: Batch, parts: int, rate: float, chosen: ObjectiveSettings) -> dict[str, torch.Tensor]:
        """Forward and backward of one part of a step; returns loss and its parts."""
        # brings kornia, a second that commands which do not train should not spend
        from localblur.datasets.loading.patch_batches import on_device

        batch = on_device(batch, self.runtime.device)
        blurred = batch["blurred"]
        if self.settings.channels_last:
            blurred = blurred.contiguous(memory_format=torch.channels_last)
        with self.runtime.autocast(self.precision):
            restored = self.model(blurred)
        value = objective(restored, Target(**batch), chosen)
        total, terms = self._learned_terms(restored, batch["sharp"], value, rate)
        self.scaler.scale(total / parts).backward()  # type: ignore[no-untyped-call]
        return {"loss": total.detach(), **terms}

    def _learned_terms(
        self, restored: Restored, sharp: torch.Tensor, value: ObjectiveValue, rate: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Add what a critic or another network says about the restored picture."""
        chosen, total, terms = self.settings.objective, value.total, dict(value.terms)
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(restored.images[-1], sharp)
            total = total + chosen.perceptual_weight * terms["perceptual"]
        if self.adversary is not None and chosen.adversarial is not None:
            terms |= self.adversary.learn(restored.images[-1], sharp, rate / self.settings.optimizer.lr)
            terms["adversarial"] = self.adversary.judge(restored.images[-1])
            total = total + chosen.adversarial.weight * terms["adversarial"]
        return total, {name: term.detach() for name, term in terms.items()}

    def _apply(self, loss: torch.Tensor, norm: torch.Tensor) -> tuple[bool, bool]:
        """Move the weights, unless loss or gradient is not finite on any process."""
        finite_loss = torch.isfinite(loss)
        applied = self.runtime.everywhere(finite_loss & torch.isfinite(norm))
        overflow = False
        if applied:
            self.scaler.step(self.optimizer)
            if self.average is not None:
                self.average.update_parameters(self.module)
        elif self.scaler.is_enabled():
            overflow = self.runtime.everywhere(finite_loss) and self.scaler.get_scale() > 1
        self.scaler.update()
        return applied, overflow


def beginning(name: str, weights: str, network: nn.Module, start: Start) -> str:
    """One line on what came from a file of weights."""
    count = len(network.state_dict())
    if not any(start):
        return f"{name} begins with {weights}: all {count} tensors copied, none random"
    parts = [f"{count - len(start.expanded) - len(start.fresh)} tensors copied"]
    if start.expanded:
        said = f"{len(start.expanded)} expanded, their colours copied and their gates random"
        parts.append(f"{said}: {', '.join(start.expanded)}")
    if start.fresh:
        parts.append(f"{len(start.fresh)} random, as asked: {', '.join(start.fresh)}")
    if start.unused:
        parts.append(f"{len(start.unused)} of the file not used, as asked: {', '.join(start.unused)}")
    return f"{name} begins with {weights}: {'; '.join(parts)}"


def check_shares(settings: TrainingSettings, ranks: int) -> None:
    """Refuse batches that processes, and the parts they work them off in, cannot share evenly."""
    parts = ranks * settings.accumulate
    for stage in settings.data.all_stages():
        if stage.batch % parts:
            raise LocalblurError(
                f"a batch of {stage.batch} cannot be shared evenly by {ranks} processes in {settings.accumulate} parts"
                f" each; use a multiple of {parts}"
            )

"""A critic beside the network: it learns to tell restored from sharp pictures, the network learns to please it.

Vanilla: binary cross entropy, as DeepDeblur. WGAN-GP: Wasserstein distance with a gradient penalty, as DeblurGAN; the
penalty is per sample, with an interpolation of its own for each and the norm over all of its values, as Gulrajani
et al. define it. (DeblurGAN's code draws one interpolation for the batch and takes the norm per pixel.)

Everything is computed in float32. The critic is the same on all processes: their gradients are averaged by hand,
because the penalty differentiates through the critic inside of a step, which DistributedDataParallel does not support.

References: Nah et al., CVPR 2017; Kupyn et al., CVPR 2018; Gulrajani et al., "Improved Training of Wasserstein GANs",
NeurIPS 2017.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from localblur.training.checkpoint import fit_weights
from localblur.training.networks.deblurgan import PatchCritic
from localblur.training.networks.deepdeblur_discriminator import DeepDeblurDiscriminator
from localblur.training.objectives.objective_settings import AdversarialSettings
from localblur.training.running.config import OptimizerSettings
from localblur.training.running.optimization import make_optimizer
from localblur.training.runtime import Runtime

CRITICS: dict[str, Callable[[], nn.Module]] = {"deepdeblur": DeepDeblurDiscriminator, "patch": PatchCritic}
"""Modules that score (B, 3, H, W) pictures in [0, 1]; a higher score means sharper."""


class Adversary:
    """A critic, its optimizer, and what it says.

    Args:
        settings: which critic and loss.
        optimizer: the network's, whose kind, betas and (unless `settings` has one) learning rate the critic takes.
        runtime: the machine; the critic is placed on its device.
    """

    def __init__(self, settings: AdversarialSettings, optimizer: OptimizerSettings, runtime: Runtime) -> None:
        self.settings, self.runtime = settings, runtime
        self.critic = CRITICS[settings.critic]().to(runtime.device)
        self.rate = settings.lr or optimizer.lr
        self.optimizer = make_optimizer(optimizer.model_copy(update={"lr": self.rate}), self.critic)

    def learn(self, restored: torch.Tensor, sharp: torch.Tensor, rate_factor: float) -> dict[str, torch.Tensor]:
        """Update the critic `critic_steps` times; a step whose gradient is not finite anywhere is left out.

        Args:
            restored, sharp: (B, 3, H, W) in [0, 1]; no gradient flows into `restored`.
            rate_factor: of the learning rate, by the schedule.

        Returns:
            `critic`, the mean of its losses.
        """
        restored, sharp = restored.detach().float(), sharp.float()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * rate_factor
        self.critic.requires_grad_(True)
        losses = [self._update(restored, sharp) for _ in range(self.settings.critic_steps)]
        return {"critic": torch.stack(losses).mean()}

    def judge(self, restored: torch.Tensor) -> torch.Tensor:
        """What the network minimises: () with gradient into `restored` alone."""
        self.critic.requires_grad_(False)
        with torch.autocast(restored.device.type, enabled=False):
            return pleasing_loss(self.critic(restored.float()), self.settings.kind)

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any], where: str) -> None:
        """Continue from what `state` returned."""
        fit_weights(self.critic, state["critic"], where)
        self.optimizer.load_state_dict(state["optimizer"])

    def _update(self, restored: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(sharp.device.type, enabled=False):
            loss = critic_loss(self.critic(restored), self.critic(sharp), self.settings.kind)
            if self.settings.kind == "wgan-gp":
                shares = torch.rand(len(sharp), 1, 1, 1, device=sharp.device)
                loss = loss + self.settings.penalty_weight * gradient_penalty(self.critic, restored, sharp, shares)
        loss.backward()  # type: ignore[no-untyped-call]
        self.runtime.average_gradients(self.critic)
        length = nn.utils.clip_grad_norm_(self.critic.parameters(), math.inf)  # changes nothing
        if bool(torch.isfinite(length)):
            self.optimizer.step()
        return loss.detach()


def critic_loss(on_restored: torch.Tensor, on_sharp: torch.Tensor, kind: str) -> torch.Tensor:
    """What a critic minimises, from its scores of restored and of sharp pictures."""
    if kind == "wgan-gp":
        return on_restored.mean() - on_sharp.mean()
    fake = F.binary_cross_entropy_with_logits(on_restored, torch.zeros_like(on_restored))
    return fake + F.binary_cross_entropy_with_logits(on_sharp, torch.ones_like(on_sharp))


def pleasing_loss(on_restored: torch.Tensor, kind: str) -> torch.Tensor:
    """What the network minimises, from the critic's scores of its pictures."""
    if kind == "wgan-gp":
        return -on_restored.mean()
    return F.binary_cross_entropy_with_logits(on_restored, torch.ones_like(on_restored))


def gradient_penalty(
    critic: nn.Module, restored: torch.Tensor, sharp: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Mean over the samples of (|gradient| - 1)^2 between restored and sharp pictures.

    Args:
        critic: scores (B, 3, H, W) pictures in [0, 1].
        restored, sharp: (B, 3, H, W), without gradient.
        shares: (B, 1, 1, 1), how much of the sharp picture each interpolation holds.

    The gradient is that of each sample's mean score with respect to pictures in [-1, 1], as the paper's are.
    """
    between = (shares * sharp + (1 - shares) * restored).requires_grad_()
    scores = critic(between).flatten(1).mean(dim=1)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    norm = (gradient / 2).flatten(1).norm(dim=1)
    penalty: torch.Tensor = (norm - 1).square().mean()
    return penalty

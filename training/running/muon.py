"""Muon: the matrices of a network move along orthogonalised momentum, everything else as with AdamW.

A gradient's few large singular values hide the many small ones. Making the momentum of a matrix orthogonal, all its
singular values alike, lets every direction learn: fewer steps for about a tenth more time each.

Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
(kellerjordan.github.io/posts/muon); length of the moves as in Liu et al., "Muon is Scalable for LLM Training", 2025,
so that AdamW's learning rates hold.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST = 16
"""Thinner matrices have few directions; they move as with AdamW."""
_ADAMW_LENGTH = 0.2
"""Root mean square of what AdamW moves a weight by, of its learning rate."""


class Muon(torch.optim.Optimizer):
    """An optimizer of two kinds of parameters; see `is_matrix`.

    Args:
        parameters: all that learn; a convolution's kernel counts as a matrix of (out, everything else).
        lr: learning rate, as AdamW's.
        betas, eps: AdamW's, for what is no matrix.
        weight_decay: decoupled, for all.
        momentum: share of the momentum that a step keeps; Nesterov's form.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
        }
        super().__init__(parameters, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move all parameters that have a gradient."""
        if closure is not None:
            raise TypeError("Muon takes one gradient per step; it does not call a closure")
        for group in self.param_groups:
            moving = [weight for weight in group["params"] if weight.grad is not None]
            for weight in moving:
                weight.mul_(1 - group["lr"] * group["weight_decay"])
            self._move_matrices([weight for weight in moving if is_matrix(weight)], group)
            self._move_rest([weight for weight in moving if not is_matrix(weight)], group)
        return None

    def _move_matrices(self, weights: list[torch.Tensor], group: dict[str, Any]) -> None:
        alike: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
        for weight in weights:
            gradient, state = _gradient(weight), self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            ahead = torch.lerp(gradient, state["momentum"], group["momentum"]).flatten(1)
            alike[ahead.shape[0], ahead.shape[1]].append((weight, ahead))
        for shape, entries in alike.items():
            length = group["lr"] * _ADAMW_LENGTH * max(shape) ** 0.5
            moves = orthogonalised(torch.stack([ahead for _, ahead in entries]))
            for (weight, _), move in zip(entries, moves, strict=True):
                weight.sub_(move.view(weight.shape), alpha=length)

    def _move_rest(self, weights: list[torch.Tensor], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        for weight in weights:
            gradient, state = _gradient(weight), self.state[weight]
            if not state:
                state["mean"], state["square"], state["seen"] = torch.zeros_like(weight), torch.zeros_like(weight), 0
            state["seen"] += 1
            state["mean"].lerp_(gradient, 1 - first)
            state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
            spread = (state["square"] / (1 - second ** state["seen"])).sqrt_().add_(group["eps"])
            weight.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - first ** state["seen"]))


def is_matrix(weight: torch.Tensor) -> bool:
    """Whether a parameter moves as a matrix: kernels of dense layers, but for thin ones, as of colours."""
    return weight.ndim > 1 and min(weight.shape[0], weight[0].numel()) >= _SMALLEST


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """(N, R, C) with all singular values near 1, float32; by Newton and Schulz's iteration, in bfloat16."""
    tall = matrices.shape[1] > matrices.shape[2]
    values = (matrices.mT if tall else matrices).float()
    # before rounding to bfloat16, and not after: gradients may be as small as they like
    values = (values / values.norm(dim=(1, 2), keepdim=True).clamp_min(1e-30)).bfloat16()
    for _ in range(_ITERATIONS):
        gram = values @ values.mT
        values = _COEFFICIENTS[0] * values + (_COEFFICIENTS[1] * gram + _COEFFICIENTS[2] * gram @ gram) @ values
    result: torch.Tensor = (values.mT if tall else values).float()
    return result


def _gradient(weight: torch.Tensor) -> torch.Tensor:
    if weight.grad is None:
        raise ValueError("a parameter without a gradient cannot move")
    return weight.grad

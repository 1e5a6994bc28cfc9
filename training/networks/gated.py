"""What LBAG does with a head's prediction: its first channel becomes a gate, which multiplies the others."""

from collections.abc import Sequence

import torch

from localblur.training.networks.base import Restored


def gated(
    inputs: Sequence[torch.Tensor],
    predicted: Sequence[torch.Tensor],
    clamp: float,
    *,
    before_clamp: bool,
    every_scale: bool,
) -> Restored:
    """Add gated residuals to the pictures of all scales.

    Args:
        inputs: (B, 3, h, w), coarse to fine.
        predicted: (B, 4, h, w) of the same scales: the gate before its sigmoid, and the residual.
        clamp, before_clamp: as `apply_gate` takes them.
        every_scale: otherwise only the finest has a gate, and the others' first channel is not used.
    """
    images, gates = [], []
    for scale, (image, values) in enumerate(zip(inputs, predicted, strict=True), start=1):
        if every_scale or scale == len(inputs):
            gate, residual = apply_gate(values, clamp, before_clamp=before_clamp)
            gates.append(gate)
        else:
            residual = values[:, 1:]
        images.append(image + residual)
    return Restored(images, gates)


def apply_gate(predicted: torch.Tensor, clamp: float, *, before_clamp: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The gate to return, (B, 1, H, W) in [0, 1], and the gated residual, (B, 3, H, W).

    Args:
        predicted: (B, 4, H, W): the gate before its sigmoid, and the residual.
        clamp: smallest value by which the residual is multiplied.
        before_clamp: return the gate as it is before that.

    Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023.
    """
    gate = torch.sigmoid(predicted[:, :1].float())  # bfloat16 would round what is almost open to 1
    applied = gate.clamp_min(clamp) if clamp > 0 else gate
    return (gate if before_clamp else applied), predicted[:, 1:] * applied

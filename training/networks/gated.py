"""What LBAG does with a head's prediction: its first channel becomes a gate, which multiplies the others."""

import torch


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

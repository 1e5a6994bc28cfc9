"""What one training step minimises.

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field

from localblur.common.settings import Settings
from localblur.training import losses
from localblur.training.networks.base import Restored


class ObjectiveSettings(Settings):
    """The gated multi-scale objective: `sum over scales of l1 + ssim + fft`, plus the gates' error.

    Attributes:
        l1_weight, ssim_weight, fft_weight, gate_weight: the published 1, 1, 0.1 and 0.1.
        shift_invariant: compare with the best of nine one-pixel shifts of the target.
    """

    l1_weight: float = Field(default=1.0, ge=0)
    ssim_weight: float = Field(default=1.0, ge=0)
    fft_weight: float = Field(default=0.1, ge=0)
    gate_weight: float = Field(default=0.1, ge=0)
    shift_invariant: bool = True


class ObjectiveValue(NamedTuple):
    """The value to minimise, and its parts (without gradient, summed over scales, before weighting)."""

    total: torch.Tensor
    terms: dict[str, torch.Tensor]


def gated_objective(
    restored: Restored,
    sharp: torch.Tensor,
    mask: torch.Tensor,
    settings: ObjectiveSettings,
    has_mask: torch.Tensor | None = None,
) -> ObjectiveValue:
    """The objective of LBAG, averaged over the batch; computed in float32 also inside autocast.

    Args:
        restored: a network's images and gates, coarse to fine.
        sharp: (B, 3, H, W), sRGB-coded in [0, 1].
        mask: (B, 1, H, W), 1 where the picture is blurred, else 0.
        settings: weights of the parts.
        has_mask: bool (B,), False for pairs whose mask is unknown: they do not teach the gates. None: all are known.
    """
    # the SSIM windows are matrix products, which autocast would run in bfloat16
    with torch.autocast(sharp.device.type, enabled=False):
        image_terms = _image_terms(settings)
        parts = {name: torch.zeros((), device=sharp.device) for name in (*image_terms, "gate")}
        for image in restored.images:
            target = reduced(sharp.float(), image.shape[-2:])
            for name, (_, term) in image_terms.items():
                parts[name] = parts[name] + term(image, target).mean()
        for gate in restored.gates:
            reduced_mask = F.interpolate(mask.float(), size=gate.shape[-2:], mode="nearest")
            parts["gate"] = parts["gate"] + _mean_known(losses.gate_error(gate, reduced_mask), has_mask)
        total = settings.gate_weight * parts["gate"]
        for name, (weight, _) in image_terms.items():
            total = total + weight * parts[name]
    return ObjectiveValue(total, {name: part.detach() for name, part in parts.items()})


def reduced(sharp: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """The target at a coarser scale: bilinear between pixel centres, without smoothing, as published."""
    if sharp.shape[-2:] == size:
        return sharp
    return F.interpolate(sharp, size=size, mode="bilinear", align_corners=False)


def _mean_known(values: torch.Tensor, known: torch.Tensor | None) -> torch.Tensor:
    if known is None:
        return values.mean()
    return (values * known).sum() / known.sum().clamp_min(1)


def _image_terms(settings: ObjectiveSettings) -> dict[str, tuple[float, losses.Term]]:
    shift = settings.shift_invariant
    terms = {
        "l1": (settings.l1_weight, losses.shift_invariant_l1 if shift else losses.l1),
        "ssim": (settings.ssim_weight, losses.shift_invariant_negative_ssim if shift else losses.negative_ssim),
        "fft": (settings.fft_weight, losses.shift_invariant_fft_distance if shift else losses.fft_distance),
    }
    return {name: (weight, term) for name, (weight, term) in terms.items() if weight > 0}

"""What one training step minimises: terms that compare pictures, the gates' error, and a penalty outside the mask.

References: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023 (gated, shift-invariant); Cho et al., ICCV
2021 (multi-scale, spectra); Nah et al., CVPR 2017 (multi-scale); Chen et al., ECCV 2022 (PSNR).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from localblur.training.networks.base import Restored
from localblur.training.networks.pyramid import pyramid
from localblur.training.objectives import losses
from localblur.training.objectives.objective_settings import ObjectiveSettings

TERMS: dict[str, tuple[losses.Term, losses.Term]] = {
    "l1": (losses.l1, losses.shift_invariant(losses.l1)),
    "mse": (losses.mse, losses.shift_invariant(losses.mse)),
    "charbonnier": (losses.charbonnier, losses.shift_invariant(losses.charbonnier)),
    "psnr": (losses.negative_psnr, losses.shift_invariant(losses.negative_psnr)),
    "ssim": (losses.negative_ssim, losses.shift_invariant_negative_ssim),
    "fft": (losses.fft_distance, losses.shift_invariant_fft_distance),
    "fft_components": (losses.fft_components, losses.shift_invariant(losses.fft_components)),
}
"""Plain and shift-invariant form of every term, by the name of its weight."""


class ObjectiveValue(NamedTuple):
    """The value to minimise, and its parts (without gradient, summed over scales, before weighting)."""

    total: torch.Tensor
    terms: dict[str, torch.Tensor]


class Target(NamedTuple):
    """What a network was shown and should have made of it.

    Attributes:
        blurred, sharp: (B, 3, H, W), sRGB-coded in [0, 1].
        mask: (B, 1, H, W), 1 where the picture is blurred, else 0.
        has_mask: bool (B,), False for pairs whose mask is unknown: they do not teach the gates. None: all are known.
    """

    blurred: torch.Tensor
    sharp: torch.Tensor
    mask: torch.Tensor
    has_mask: torch.Tensor | None = None


def objective(restored: Restored, target: Target, settings: ObjectiveSettings) -> ObjectiveValue:
    """The weighted sum of all terms but the learned ones, averaged over the batch; in float32 also inside autocast.

    Args:
        restored: a network's images and gates, coarse to fine.
        target: what they should be.
        settings: which terms, how much.
    """
    # the SSIM windows are matrix products on an accelerator, which autocast would run in bfloat16
    with torch.autocast(target.sharp.device.type, enabled=False):
        parts = _image_parts(restored.images, target.sharp.float(), settings)
        weights = settings.image_weights()
        if restored.gates and settings.gate_weight:
            parts["gate"] = _gate_part(restored.gates, target, settings)
            weights["gate"] = settings.gate_weight
        if settings.outside_weight or settings.outside_ramp[1]:  # shown also while its weight is still 0
            values = losses.outside_residual(restored.images[-1], target.blurred, target.mask)
            parts["outside"] = _sample_mean(values, target.has_mask)
            weights["outside"] = settings.outside_weight
        total = torch.zeros((), device=target.sharp.device)
        for name, weight in weights.items():
            total = total + weight * parts[name]
        if settings.scales == "finest":
            # without weight, but with a gradient: several processes wait for that of every parameter
            total = total + 0 * sum(image.float().sum() for image in restored.images[:-1])
    return ObjectiveValue(total, {name: part.detach() for name, part in parts.items()})


def reduced(sharp: torch.Tensor, size: tuple[int, ...], way: str = "bilinear") -> torch.Tensor:
    """The target at a coarser scale; `way` as in `ObjectiveSettings.coarse_target`."""
    if sharp.shape[-2:] == size:
        return sharp
    if way == "gaussian":
        return pyramid(sharp, 1 + (sharp.shape[-2] // size[0]).bit_length() - 1)[-1]
    if way == "area":
        return F.interpolate(sharp, size=size, mode="area")
    return F.interpolate(sharp, size=size, mode="bilinear", align_corners=False)


def _image_parts(
    images: Sequence[torch.Tensor], sharp: torch.Tensor, settings: ObjectiveSettings
) -> dict[str, torch.Tensor]:
    chosen = images[-1:] if settings.scales == "finest" else images
    targets = [reduced(sharp, image.shape[-2:], settings.coarse_target) for image in chosen]
    parts: dict[str, torch.Tensor] = {}
    for name in settings.image_weights():
        term = TERMS[name][settings.shift_invariant]
        values = [term(image, target).mean() for image, target in zip(chosen, targets, strict=True)]
        parts[name] = torch.stack(values).sum()
    return parts


def _gate_part(gates: Sequence[torch.Tensor], target: Target, settings: ObjectiveSettings) -> torch.Tensor:
    error = losses.cross_entropy if settings.gate_error == "bce" else losses.mse
    values = []
    for gate in gates:
        # the mean over its area is what a coarse pixel shows; the published code takes one of its pixels
        mask = F.interpolate(target.mask.float(), size=gate.shape[-2:], mode=settings.gate_target)
        values.append(_sample_mean(error(gate, mask), target.has_mask))
    return torch.stack(values).sum()


def _sample_mean(values: torch.Tensor, known: torch.Tensor | None) -> torch.Tensor:
    """The mean over all samples, to which those without a mask add nothing.

    Not over those with one: how much each of them teaches would depend on how a batch is divided into parts.
    """
    return values.mean() if known is None else (values * known).mean()

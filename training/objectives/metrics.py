"""Image quality per image: PSNR and SSIM over the whole image, and weighted by a blur mask.

All functions take (B, C, H, W) tensors in [0, data_range] and return one float64 value per image, shape (B,).
`data_range` has no default: 1.0 for images in [0, 1]. The published deblurring numbers are taken after
`round_to_8_bit`; that is a separate function, so that a caller says whether it is done.

A weighted metric of an image whose mask is empty is NaN, and `nan_mean` says how many images its mean stands on.

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023 (weighted metrics).
"""

from dataclasses import dataclass

import torch

from localblur.training.objectives.ssim import BORDER_PX, ssim_map


@dataclass(frozen=True)
class Mean:
    """A mean and the number of values it stands on; NaN when there are none."""

    value: float
    count: int


def round_to_8_bit(image: torch.Tensor) -> torch.Tensor:
    """Clamp to [0, 1] and round to multiples of 1/255, half to even: what saving as an 8-bit file does."""
    return (image.clamp(0, 1) * 255).round() / 255


def psnr(image: torch.Tensor, reference: torch.Tensor, *, data_range: float) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, shape (B,); infinite for equal images."""
    _check(image, reference)
    return _decibel(_squared_error(image, reference).mean(dim=(1, 2, 3)), data_range)


def weighted_psnr(
    image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor, *, data_range: float
) -> torch.Tensor:
    """PSNR in dB over the pixels of `weight`, shape (B,); NaN where the weight is empty.

    Args:
        image, reference: (B, C, H, W).
        weight: (B, 1, H, W), non-negative; usually the binary blur mask.
        data_range: the largest possible value.
    """
    _check(image, reference, weight)
    weight = weight.double()
    channels = image.shape[1]
    weighted = (_squared_error(image, reference) * weight).sum(dim=(1, 2, 3))
    return _decibel(weighted / (weight.sum(dim=(1, 2, 3)) * channels), data_range)


def ssim(image: torch.Tensor, reference: torch.Tensor, *, data_range: float) -> torch.Tensor:
    """Structural similarity, shape (B,): Gaussian window 11 x 11, sigma 1.5, valid region, mean over channels."""
    _check(image, reference)
    return ssim_map(image.float(), reference.float(), data_range).double().mean(dim=(1, 2, 3))


def weighted_ssim(
    image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor, *, data_range: float
) -> torch.Tensor:
    """SSIM averaged over the pixels of `weight` whose window fits, shape (B,); NaN where there are none.

    The arguments are those of `weighted_psnr`.
    """
    _check(image, reference, weight)
    inner = weight[..., BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].double()
    similarity = ssim_map(image.float(), reference.float(), data_range).double()
    return (similarity * inner).sum(dim=(1, 2, 3)) / (inner.sum(dim=(1, 2, 3)) * image.shape[1])


def mean_change(image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference over the pixels of `weight`, shape (B,), in the units of the images; NaN where empty.

    The arguments are those of `weighted_psnr`.
    """
    _check(image, reference, weight)
    weight = weight.double()
    difference = (image.double() - reference.double()).abs() * weight
    return difference.sum(dim=(1, 2, 3)) / (weight.sum(dim=(1, 2, 3)) * image.shape[1])


def gate_iou(gate: torch.Tensor, mask: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Intersection over union of an open gate and a blur mask, shape (B,); NaN where both are empty.

    Args:
        gate, mask: (B, 1, H, W) in [0, 1].
        threshold: from here on the gate is open; the mask counts above 0.5.
    """
    if gate.ndim != 4 or gate.shape[1] != 1 or gate.shape != mask.shape:
        raise ValueError(f"gate and mask must be (B, 1, H, W), got {tuple(gate.shape)} and {tuple(mask.shape)}")
    is_open, blurred = gate >= threshold, mask > 0.5
    common = (is_open & blurred).sum(dim=(1, 2, 3), dtype=torch.float64)
    return common / (is_open | blurred).sum(dim=(1, 2, 3), dtype=torch.float64)


def nan_mean(values: torch.Tensor) -> Mean:
    """Mean of the values that are numbers, and how many there are; infinite values count."""
    numbers = values[~torch.isnan(values)]
    return Mean(float(numbers.mean()) if numbers.numel() else float("nan"), int(numbers.numel()))


def _squared_error(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (image.double() - reference.double()).square()


def _decibel(error: torch.Tensor, data_range: float) -> torch.Tensor:
    return 10 * torch.log10(data_range**2 / error)


def _check(image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor | None = None) -> None:
    if image.ndim != 4 or image.shape != reference.shape:
        raise ValueError(
            f"image and reference must be (B, C, H, W) of one shape, got {tuple(image.shape)} and"
            f" {tuple(reference.shape)}"
        )
    expected = (image.shape[0], 1, *image.shape[2:])
    if weight is not None and weight.shape != expected:
        raise ValueError(f"weight must be {expected}, got {tuple(weight.shape)}")

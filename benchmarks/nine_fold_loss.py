"""LBAG's objective as published, written plainly: the peer of the fast form in `training/objectives/objective.py`.

The prediction is compared with all nine shifts of the target, with gradient, and the smallest value is taken: for each
sample, term and scale. SSIM uses an 11 x 11 window in one depthwise convolution, its moments computed for every shift.

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023, and the behaviour of its published code.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

SHIFTS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
FFT_WEIGHT, GATE_WEIGHT = 0.1, 0.1


def nine_fold_objective(
    images: Sequence[torch.Tensor], gates: Sequence[torch.Tensor], sharp: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The whole objective; images and gates coarse to fine, sharp (B, 3, H, W), mask (B, 1, H, W)."""
    total = torch.zeros(())
    for image, gate in zip(images, gates, strict=True):
        image, size = image.float(), image.shape[-2:]
        target = F.interpolate(sharp, size=size, mode="bilinear", align_corners=False)
        targets = shifted(target)
        repeated = image.repeat(len(SHIFTS), 1, 1, 1)
        for weight, values in (
            (1.0, (repeated - targets).abs().flatten(1).mean(1)),
            (1.0, -ssim(repeated, targets)),
            (FFT_WEIGHT, (torch.fft.rfft2(repeated) - torch.fft.rfft2(targets)).abs().flatten(1).mean(1)),
        ):
            total = total + weight * values.reshape(len(SHIFTS), -1).min(dim=0).values.mean()
        small_mask = F.interpolate(mask, size=size, mode="nearest")
        total = total + GATE_WEIGHT * F.mse_loss(gate.float(), small_mask)
    return total


def shifted(target: torch.Tensor) -> torch.Tensor:
    """All nine shifts of the target, one after another: (9 B, 3, H, W)."""
    return torch.cat([F.pad(target, [dx, -dx, dy, -dy], mode="reflect") for dy, dx in SHIFTS])


def ssim(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of each sample, shape (B,)."""
    offsets = torch.arange(11, dtype=torch.float32) - 5
    row = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(row, row)
    kernel = (window / window.sum()).expand(3, 1, 11, 11).contiguous()

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.conv2d(values, kernel, groups=3)

    mean_a, mean_b = mean(image), mean(reference)
    variance_a = mean(image * image) - mean_a.square()
    variance_b = mean(reference * reference) - mean_b.square()
    covariance = mean(image * reference) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2))
    return similarity.flatten(1).mean(1)

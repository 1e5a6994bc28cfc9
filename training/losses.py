"""Loss terms per sample, plain and shift-invariant.

A shift-invariant term is the smallest of nine: the prediction against the target moved by -1, 0 or 1 pixel in each
direction. It forgives the residual misalignment of real pairs. The smallest is found without gradient; then one
differentiable pass runs against the chosen target: the value and the gradient of the nine-fold formulation, at a
fraction of its time and memory. Each sample, and each term, chooses on its own, as in the published objective.

All terms are computed in float32 whatever the prediction's type. Images are (B, C, H, W) in [0, 1].

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from localblur.training.ssim import similarity, ssim_map, window_mean

SHIFTS_PX: tuple[tuple[int, int], ...] = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
"""(dy, dx) in the order of the published code; entry 4 is no shift."""

Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def l1(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of each sample, shape (B,)."""
    return _per_sample((prediction.float() - target.float()).abs())


def negative_ssim(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Minus the mean SSIM of each sample, shape (B,), in [-1, 1]; -1 for equal images."""
    return -_per_sample(ssim_map(prediction.float(), target.float(), 1.0))


def fft_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean modulus of the difference of the (unnormalised, half) spectra of each sample, shape (B,).

    It grows with the square root of the number of pixels: the patch size changes its balance against other terms.
    """
    return _per_sample((_spectrum(prediction) - _spectrum(target)).abs())


def shift_invariant_l1(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`l1` against the best of nine shifts, shape (B,)."""
    prediction, padded = prediction.float(), pad_for_shifts(target)
    best = _best_shift(padded, lambda moved: l1(prediction, moved))
    return l1(prediction, _moved_each(padded, best))


def shift_invariant_negative_ssim(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`negative_ssim` against the best of nine shifts, shape (B,).

    Moments of the target are computed once: those of a moved target are a window into those of the padded one.
    """
    prediction, padded = prediction.float(), pad_for_shifts(target)
    mean, square = window_mean(prediction), window_mean(prediction * prediction)
    target_mean, target_square = window_mean(padded), window_mean(padded * padded)

    def cost(moved: torch.Tensor, moved_mean: torch.Tensor, moved_square: torch.Tensor) -> torch.Tensor:
        product = window_mean(prediction * moved)
        return -_per_sample(similarity(mean, moved_mean, square, moved_square, product, 1.0))

    with torch.no_grad():
        costs = [
            cost(*(moved_by(moment, shift) for moment in (padded, target_mean, target_square))) for shift in SHIFTS_PX
        ]
        best = torch.stack(costs).argmin(dim=0)
    return cost(*(_moved_each(moment, best) for moment in (padded, target_mean, target_square)))


def shift_invariant_fft_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`fft_distance` against the best of nine shifts, shape (B,)."""
    spectrum, padded = _spectrum(prediction), pad_for_shifts(target)
    detached = spectrum.detach()
    best = _best_shift(padded, lambda moved: _per_sample((detached - _spectrum(moved)).abs()))
    return _per_sample((spectrum - _spectrum(_moved_each(padded, best))).abs())


def gate_error(gate: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of gate and binary blur mask, both (B, 1, H, W), of each sample, shape (B,)."""
    return _per_sample((gate.float() - mask.float()).square())


def pad_for_shifts(target: torch.Tensor) -> torch.Tensor:
    """The float32 target with one reflected pixel on every side, which `moved_by` looks into."""
    return F.pad(target.float(), [1, 1, 1, 1], mode="reflect")


def moved_by(padded: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    """The padded image's content moved down by `dy` and right by `dx` pixels (a view without the padding)."""
    dy, dx = shift
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return padded[..., 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]


def _best_shift(padded: torch.Tensor, cost: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([cost(moved_by(padded, shift)) for shift in SHIFTS_PX]).argmin(dim=0)


def _moved_each(padded: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Every sample moved by its own shift; indices stay on the device, so that nothing waits for them."""
    batch, channels, height, width = padded.shape
    device = padded.device
    rows = torch.arange(height - 2, device=device) + (2 - torch.div(best, 3, rounding_mode="floor"))[:, None]
    columns = torch.arange(width - 2, device=device) + (2 - best % 3)[:, None]
    samples = torch.arange(batch, device=device)[:, None, None, None]
    planes = torch.arange(channels, device=device)[None, :, None, None]
    return padded[samples, planes, rows[:, None, :, None], columns[:, None, None, :]]


def _per_sample(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).mean(dim=1)


def _spectrum(image: torch.Tensor) -> torch.Tensor:
    spectrum: torch.Tensor = torch.fft.rfft2(image.float())
    return spectrum

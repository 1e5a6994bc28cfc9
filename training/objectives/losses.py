"""Loss terms per sample, shape (B,), plain and shift-invariant.

A shift-invariant term is the smallest of nine: the prediction against the target moved by -1, 0 or 1 pixel in each
direction. It forgives the residual misalignment of real pairs. The smallest is found without gradient; then one
differentiable pass runs against the chosen target: the value and the gradient of the nine-fold formulation, at a
fraction of its time and memory. Each sample, and each term, chooses on its own, as in the published objective.

All terms are computed in float32 whatever the prediction's type. Images are (B, C, H, W) in [0, 1].

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from localblur.training.objectives.ssim import similarity, ssim_map, window_mean

SHIFTS_PX: tuple[tuple[int, int], ...] = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
"""(dy, dx) in the order of the published code; entry 4 is no shift."""

CHARBONNIER_EPS = 1e-3

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


def mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of each sample, shape (B,)."""
    return _per_sample((prediction.float() - target.float()).square())


def charbonnier(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean of sqrt(difference^2 + 0.001^2) of each sample, shape (B,): L1 with a smooth minimum.

    Reference: Charbonnier et al., "Two Deterministic Half-Quadratic Regularization Algorithms", ICIP 1994.
    """
    return _per_sample(((prediction.float() - target.float()).square() + CHARBONNIER_EPS**2).sqrt())


def negative_psnr(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Minus the PSNR in dB of each sample, shape (B,); at most 80 dB (mean square + 1e-8), as NAFNet's."""
    return 10 / math.log(10) * torch.log(mse(prediction, target) + 1e-8)


def fft_components(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute real and imaginary part of the difference of the full spectra, shape (B,), as MIMO-UNet's.

    Computed from the half spectrum: every column but the first and, of an even width, the last counts twice.
    """
    width = prediction.shape[-1]
    parts = torch.view_as_real(_spectrum(prediction) - _spectrum(target)).abs()
    columns = parts.shape[-2]
    counts = torch.full((columns, 1), 2.0, device=parts.device)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    return (parts * counts).flatten(1).sum(dim=1) / (2 * prediction[0].numel())


def shift_invariant(term: Term) -> Term:
    """`term` against the best of nine shifts of the target."""

    def best_of_nine(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        prediction, padded = prediction.float(), pad_for_shifts(target)
        best = _best_shift(padded, lambda moved: term(prediction, moved))
        return term(prediction, _moved_each(padded, best))

    return best_of_nine


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


def cross_entropy(gate: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of a gate and a mask, both (B, 1, H, W) in [0, 1], of each sample, shape (B,).

    Taken from the gate's logit, limited to +-13.8: unlike that of a squared error, its gradient with respect to what
    the gate's sigmoid was given does not fade where the gate is wrong and sure of it.
    """
    logits = torch.logit(gate.float(), eps=1e-6)
    return _per_sample(F.binary_cross_entropy_with_logits(logits, mask.float(), reduction="none"))


def outside_residual(restored: torch.Tensor, blurred: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean absolute change of each sample outside its mask, (B, 1, H, W), shape (B,); 0 where all is blurred."""
    outside = 1 - mask.float()
    change = ((restored.float() - blurred.float()).abs() * outside).flatten(1).sum(dim=1)
    return change / (restored.shape[1] * outside.flatten(1).sum(dim=1)).clamp_min(1)


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

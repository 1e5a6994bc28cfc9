"""The numbers of a restored picture: what each is called, and how all of them are taken.

Conventions: both pictures are sRGB-coded, cropped to the pair's valid box, clamped and rounded to 8 bit; PSNR over all
pixels and channels; SSIM with an 11 x 11 Gaussian window, sigma 1.5, valid region, per channel (the MATLAB convention).
Weighted numbers count only the pixels of the blur mask. `docs/evaluation.md` explains each number and its pitfalls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch

from localblur.alignment.judging.aligned_psnr import aligned_psnr
from localblur.datasets.images import to_array
from localblur.training.evaluation.no_reference import sharpness
from localblur.training.evaluation.scoring import EvaluationPair
from localblur.training.objectives import metrics

CONVENTIONS = (
    "sRGB-coded, inside the valid box, clamped and rounded to 8 bit; PSNR over all pixels and channels, peak 1;"
    " SSIM with an 11x11 Gaussian window, sigma 1.5, valid region, mean over RGB (MATLAB's convention); weighted:"
    " inside the blur mask only; means are of the pairs' numbers"
)
GATE_OPEN = 0.5
_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a number is.

    Attributes:
        title, unit: as it is printed.
        digits: after the point.
        better: which direction is good; None for facts that are neither.
        headline: belongs to the first table.
    """

    title: str
    unit: str = ""
    digits: int
    better: Literal["higher", "lower"] | None = "higher"
    headline: bool = False


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "psnr": Measure(title="PSNR", unit="dB", digits=2, headline=True),
        "ssim": Measure(title="SSIM", digits=4, headline=True),
        "weighted_psnr": Measure(title="weighted PSNR", unit="dB", digits=2, headline=True),
        "weighted_ssim": Measure(title="weighted SSIM", digits=4, headline=True),
        "outside_psnr": Measure(title="PSNR outside the mask", unit="dB", digits=2),
        "outside_change": Measure(title="change outside", unit="levels", digits=3, better="lower"),
        "gate_iou": Measure(title="gate IoU", digits=3),
        "sharpness": Measure(title="sharpness", digits=3, better=None),
        "weighted_sharpness": Measure(title="sharpness inside", digits=3, better=None),
        "aligned_psnr": Measure(title="aligned PSNR (ReLoBlur)", unit="dB", digits=2),
        "realblur_psnr": Measure(title="aligned PSNR (RealBlur)", unit="dB", digits=2),
        "aligned_shift": Measure(title="shift of the alignment", unit="px", digits=2, better=None),
    }
)
"""All numbers by name, in the order of scores.csv."""
HEADLINE = tuple(name for name, measure in MEASURES.items() if measure.headline)
ALIGNED = ("aligned_psnr", "realblur_psnr", "aligned_shift")
WITHOUT_REFERENCE = ("sharpness", "weighted_sharpness")


def take_measures(
    image: torch.Tensor, pair: EvaluationPair, *, gate: torch.Tensor | None = None, aligned: bool = False
) -> dict[str, float]:
    """All of `MEASURES` for one picture; NaN for those that do not exist.

    Args:
        image: (1, 3, h, w) in [0, 1], the size of the pair.
        pair: with what it is compared.
        gate: (1, 1, h, w) in [0, 1], where the method saw blur; None if it has no gate.
        aligned: also align the picture to the sharp one, which takes longer than everything else together.
    """
    rounded, sharp = metrics.round_to_8_bit(image), metrics.round_to_8_bit(pair.sharp)
    values = dict.fromkeys(MEASURES, _NAN)
    values["psnr"] = float(metrics.psnr(rounded, sharp, data_range=1.0))
    values["ssim"] = float(metrics.ssim(rounded, sharp, data_range=1.0))
    values["sharpness"] = sharpness(to_array(rounded))
    if pair.mask is not None:
        values |= _weighted(rounded, sharp, pair, pair.mask)
        if gate is not None:
            values["gate_iou"] = float(metrics.gate_iou(gate, pair.mask, GATE_OPEN))
    return values | _aligned(rounded, sharp) if aligned else values


def reference_measures(pair: EvaluationPair) -> dict[str, float]:
    """The numbers that need no reference, of the sharp picture itself."""
    return take_measures(pair.sharp, pair)


def _weighted(rounded: torch.Tensor, sharp: torch.Tensor, pair: EvaluationPair, mask: torch.Tensor) -> dict[str, float]:
    outside = 1 - mask
    blurred = metrics.round_to_8_bit(pair.blurred)
    return {
        "weighted_psnr": float(metrics.weighted_psnr(rounded, sharp, mask, data_range=1.0)),
        "weighted_ssim": float(metrics.weighted_ssim(rounded, sharp, mask, data_range=1.0)),
        "outside_psnr": float(metrics.weighted_psnr(rounded, sharp, outside, data_range=1.0)),
        "outside_change": 255 * float(metrics.mean_change(rounded, blurred, outside)),
        "weighted_sharpness": sharpness(to_array(rounded), to_array(mask)[..., 0] > 0.5),
    }


def _aligned(rounded: torch.Tensor, sharp: torch.Tensor) -> dict[str, float]:
    found = aligned_psnr(to_array(rounded), to_array(sharp))
    if not found.converged:
        return dict.fromkeys(ALIGNED, _NAN)
    return dict(zip(ALIGNED, (found.frame_db, found.masked_db, found.shift_px), strict=True))

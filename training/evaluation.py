"""What a restored picture is worth: the four numbers per pair, their means, and confidence intervals of the gain.

Conventions: both pictures are sRGB-coded, cropped to the pair's valid box, clamped and rounded to 8 bit; PSNR over all
pixels and channels; SSIM with an 11 x 11 Gaussian window, sigma 1.5, valid region, per channel (the MATLAB convention).
Weighted numbers count only the pixels of the blur mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import to_coded, to_tensor
from localblur.datasets.pair import Pair, binary_mask
from localblur.training import metrics

MEASURES = ("psnr", "ssim", "weighted_psnr", "weighted_ssim")
CONVENTIONS = (
    "sRGB-coded, inside the valid box, clamped and rounded to 8 bit; PSNR over all pixels and channels, peak 1;"
    " SSIM with an 11x11 Gaussian window, sigma 1.5, valid region, mean over RGB; weighted: inside the blur mask only"
)
SSIM_WINDOW_PX = 11
RESAMPLES = 10_000
CONFIDENCE = 0.95
BLURRED = "blurred"
"""The method that leaves the picture as it is."""

_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class EvaluationPair:
    """One pair, ready to be measured.

    Attributes:
        blurred, sharp: (1, 3, h, w) float32, sRGB-coded in [0, 1], cropped to the valid box.
        mask: (1, 1, h, w) float32, 1 where blurred; None if the pair has none.
    """

    blurred: torch.Tensor
    sharp: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """The numbers of one method on one pair; NaN where a weighted number does not exist.

    Attributes:
        data, scene, pair: which pair: the file's name, the scene's, the pair's.
        method: "blurred" or a model's label.
        psnr, weighted_psnr: in dB, infinite for equal pictures.
        ssim, weighted_ssim: at most 1.
        blurred_share: share of the valid box that is inside the mask; NaN without a mask.
    """

    data: str
    scene: str
    pair: str
    method: str
    psnr: float
    ssim: float
    weighted_psnr: float
    weighted_ssim: float
    blurred_share: float

    def value(self, measure: str) -> float:
        """The number called `measure`, one of `MEASURES`."""
        return dict(zip(MEASURES, (self.psnr, self.ssim, self.weighted_psnr, self.weighted_ssim), strict=True))[measure]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over the pairs that have a finite value, and how many have.

    Attributes:
        value: None if there is no such pair.
        count: pairs in the mean.
        infinite: pairs left out because the pictures are equal (infinite PSNR).
    """

    value: float | None
    count: int
    infinite: int


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Mean paired gain over the blurred picture with bootstrap confidence intervals.

    Pairs of one scene resemble each other, so `over_scenes`, which draws whole scenes, is the honest interval for
    another scene; `over_pairs` holds for more pairs of the same scenes. None where there are fewer than two to draw.
    """

    mean: float | None
    count: int
    scenes: int
    over_scenes: tuple[float, float] | None
    over_pairs: tuple[float, float] | None


def prepare_pair(pair: Pair, encoding: str) -> EvaluationPair:
    """Crop a stored pair to its valid box and bring it into the form metrics and networks take.

    Raises:
        LocalblurError: if the valid box is smaller than the SSIM window.
    """
    y0, x0, y1, x1 = pair.valid_box
    if min(y1 - y0, x1 - x0) < SSIM_WINDOW_PX:
        raise LocalblurError(
            f"pair {pair.scene}/{pair.info.name}: its valid box is {x1 - x0}x{y1 - y0} px, SSIM needs at least"
            f" {SSIM_WINDOW_PX}x{SSIM_WINDOW_PX}; reject the pair or align it again"
        )
    blurred, sharp = (to_tensor(to_coded(image[y0:y1, x0:x1], encoding))[None] for image in (pair.blurred, pair.sharp))
    mask = None
    if pair.mask is not None:
        mask = to_tensor(binary_mask(pair.mask[y0:y1, x0:x1]).astype(np.float32))[None]
    return EvaluationPair(blurred=blurred, sharp=sharp, mask=mask)


def measure(image: torch.Tensor, pair: EvaluationPair, *, data: str, scene: str, name: str, method: str) -> Score:
    """Compare `image`, (1, 3, h, w) in [0, 1], with the pair's sharp picture."""
    rounded, sharp = metrics.round_to_8_bit(image), metrics.round_to_8_bit(pair.sharp)
    weighted_psnr = weighted_ssim = share = float("nan")
    if pair.mask is not None:
        share = float(pair.mask.mean())
        weighted_psnr = float(metrics.weighted_psnr(rounded, sharp, pair.mask, data_range=1.0))
        weighted_ssim = float(metrics.weighted_ssim(rounded, sharp, pair.mask, data_range=1.0))
    return Score(
        data=data,
        scene=scene,
        pair=name,
        method=method,
        psnr=float(metrics.psnr(rounded, sharp, data_range=1.0)),
        ssim=float(metrics.ssim(rounded, sharp, data_range=1.0)),
        weighted_psnr=weighted_psnr,
        weighted_ssim=weighted_ssim,
        blurred_share=share,
    )


def finite_mean(values: Sequence[float]) -> Mean:
    """Mean of the finite values, with counts."""
    finite = [value for value in values if math.isfinite(value)]
    return Mean(
        value=math.fsum(finite) / len(finite) if finite else None,
        count=len(finite),
        infinite=sum(math.isinf(value) for value in values),
    )


def paired_gain(before: Sequence[Score], after: Sequence[Score], measure_name: str, seed: int) -> Gain:
    """Mean gain in `measure_name` of `after` over `before`, which hold the same pairs in the same order.

    Pairs without a finite value on both sides are left out.
    """
    gains: list[float] = []
    scenes: list[tuple[str, str]] = []
    for old, new in zip(before, after, strict=True):
        gain = new.value(measure_name) - old.value(measure_name)
        if math.isfinite(gain):
            gains.append(gain)
            scenes.append((old.data, old.scene))
    values = np.array(gains, np.float64)
    own = np.arange(len(gains))
    names = {scene: number for number, scene in enumerate(dict.fromkeys(scenes))}
    numbers = np.array([names[scene] for scene in scenes], np.int64)
    return Gain(
        mean=float(values.mean()) if gains else None,
        count=len(gains),
        scenes=len(names),
        over_scenes=bootstrap_interval(values, numbers, np.random.default_rng(seed)),
        over_pairs=bootstrap_interval(values, own, np.random.default_rng(seed)),
    )


def bootstrap_interval(
    values: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    random: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean, drawing whole groups with replacement.

    Args:
        values: shape (N,).
        groups: the group 0..G-1 of each value, shape (N,).
        random: the source of randomness.
        resamples: number of draws.

    Returns:
        (low, high); None with fewer than two groups.

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    count = int(groups.max()) + 1 if groups.size else 0
    if count < 2:
        return None
    sums, sizes = np.bincount(groups, values, count), np.bincount(groups, minlength=count)
    means: list[npt.NDArray[np.float64]] = []
    per_draw = max(1, _CHUNK // count)  # bounds the memory on data sets of any size
    for begin in range(0, resamples, per_draw):
        drawn = random.integers(count, size=(min(per_draw, resamples - begin), count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def leading_measure(scores: Sequence[Score]) -> str:
    """What pictures are ranked by: weighted PSNR, or PSNR where no pair has a weighted one."""
    return "weighted_psnr" if any(math.isfinite(score.weighted_psnr) for score in scores) else "psnr"


SHOWCASE = ("best", "median", "worst")
"""The names `showcase` gives."""


def showcase(before: Sequence[Score], after: Sequence[Score], measure_name: str) -> dict[str, int]:
    """Indices of the pairs with the best, the median and the worst gain; fewer names where there are fewer pairs."""
    gains = [new.value(measure_name) - old.value(measure_name) for old, new in zip(before, after, strict=True)]
    order = sorted((index for index, gain in enumerate(gains) if math.isfinite(gain)), key=lambda index: gains[index])
    if not order:
        return {}
    chosen = dict(zip(SHOWCASE, (order[-1], order[len(order) // 2], order[0]), strict=True))
    seen: dict[int, str] = {}
    for name, index in chosen.items():
        seen.setdefault(index, name)
    return {name: index for index, name in seen.items()}

"""One pair ready to be measured, the score of a method on it, and what can be said of many scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import to_coded, to_tensor
from localblur.datasets.pair import Pair, PairInfo, binary_mask

SSIM_WINDOW_PX = 11
BLURRED = "blurred"
"""The method that leaves the picture as it is."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPair:
    """One pair, ready to be measured.

    Attributes:
        info: everything known about it except pixels.
        blurred, sharp: (1, 3, h, w) float32, sRGB-coded in [0, 1], cropped to the valid box.
        mask: (1, 1, h, w) float32, 1 where blurred; None if the pair has none.
    """

    info: PairInfo
    blurred: torch.Tensor
    sharp: torch.Tensor
    mask: torch.Tensor | None

    @property
    def blurred_share(self) -> float:
        """Share of the valid box that is inside the mask; NaN without a mask."""
        return float("nan") if self.mask is None else float(self.mask.mean())


@dataclass(frozen=True, kw_only=True)
class Score:
    """The numbers of one method on one pair.

    Attributes:
        data, scene, pair: which pair: the file's label, the scene's name, the pair's.
        method: "blurred" or the label of a model or baseline.
        values: by their names in `evaluation_measures.MEASURES`; NaN where a number does not exist, infinite for the
            PSNR of equal pictures.
        blurred_share: share of the valid box that is inside the mask; NaN without a mask.
        blur_px: length of the blur, see `localblur.datasets.curation.blur_length`; NaN where nothing is blurred.
        blur_estimated: whether that was estimated.
    """

    data: str
    scene: str
    pair: str
    method: str
    values: Mapping[str, float]
    blurred_share: float
    blur_px: float
    blur_estimated: bool

    def value(self, measure: str) -> float:
        """The number called `measure`."""
        return self.values[measure]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over the pairs that have a finite value, and how many have.

    Attributes:
        value: None if there is no such pair.
        count: pairs in the mean.
        infinite: pairs left out because the pictures are equal (infinite PSNR).
        missing: pairs left out because the number does not exist.
    """

    value: float | None
    count: int
    infinite: int
    missing: int


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
    return EvaluationPair(info=pair.info, blurred=blurred, sharp=sharp, mask=mask)


def finite_mean(values: Sequence[float]) -> Mean:
    """Mean of the finite values, with counts."""
    finite = [value for value in values if math.isfinite(value)]
    return Mean(
        value=math.fsum(finite) / len(finite) if finite else None,
        count=len(finite),
        infinite=sum(math.isinf(value) for value in values),
        missing=sum(math.isnan(value) for value in values),
    )


def comparable_mean(before: Sequence[Score], scores: Sequence[Score], name: str) -> Mean:
    """Mean over the pairs whose blurred picture is not equal to the sharp one already.

    Else a method that changes such pictures would have finite, very high values in its mean that the blurred pictures
    have not, and would seem the better for it.
    """
    return finite_mean(
        [
            old.value(name) if math.isinf(old.value(name)) else new.value(name)
            for old, new in zip(before, scores, strict=True)
        ]
    )


def leading_measure(scores: Sequence[Score]) -> str:
    """What pictures are ranked by: weighted PSNR, or PSNR where no pair has a weighted one."""
    return "weighted_psnr" if any(math.isfinite(score.value("weighted_psnr")) for score in scores) else "psnr"


def showcase(before: Sequence[Score], after: Sequence[Score], measure_name: str, count: int = 1) -> dict[str, int]:
    """Indices of the pairs with the `count` best, the median and the `count` worst gains, by their names.

    No pair is named twice, so there are fewer names where there are fewer pairs.
    """
    gains = [new.value(measure_name) - old.value(measure_name) for old, new in zip(before, after, strict=True)]
    order = sorted((index for index, gain in enumerate(gains) if math.isfinite(gain)), key=lambda index: gains[index])
    if not order:
        return {}
    chosen = {f"best{number + 1}": index for number, index in enumerate(order[::-1][:count])}
    chosen["median"] = order[len(order) // 2]
    chosen |= {f"worst{number + 1}": index for number, index in enumerate(order[:count])}
    seen: dict[int, str] = {}
    for name, index in chosen.items():
        seen.setdefault(index, name)
    return {name: index for index, name in seen.items()}

"""Whether a detector finds in a blurred or restored picture what it finds in the sharp one.

The detections on the sharp picture stand for the truth: what the detector misses or invents there counts as right. So
the numbers say how much a restoration helps this detector, not how good the detector is.

Reference: Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR 2018,
section 5.4 (YOLO on restored pictures, precision, recall, F1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from localblur.training.evaluation.bootstrap import Vector, number_groups, percentile_interval, resampled_sums
from localblur.training.evaluation.detection import Detections

MATCH = 0.5
"""Boxes of one class match from this intersection over union on."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Counts of one method on one pair.

    Attributes:
        both: found here and in the sharp picture.
        only_here, only_sharp: found in one of them.
    """

    both: int
    only_here: int
    only_sharp: int


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Counts over all pairs and what follows from them; rates are None where they are 0 / 0.

    Attributes:
        both, only_here, only_sharp: summed counts.
        precision: share of the detections here that the sharp picture has too.
        recall: share of the sharp picture's detections that are found here.
        f1: harmonic mean of both.
        f1_interval: 95 % bootstrap interval, drawing scenes; None with fewer than two.
    """

    both: int
    only_here: int
    only_sharp: int
    precision: float | None
    recall: float | None
    f1: float | None
    f1_interval: tuple[float, float] | None


def agree(found: Detections, reference: Detections) -> Agreement:
    """Match detections one to one, the most confident first, each with the best box of its class that is left."""
    overlaps = box_iou(found.boxes, reference.boxes)
    overlaps[found.classes[:, None] != reference.classes[None]] = 0
    both = 0
    for row in np.argsort(-found.scores, kind="stable"):
        best = int(overlaps[row].argmax()) if reference.boxes.size else 0
        if reference.boxes.size and overlaps[row, best] >= MATCH:
            both += 1
            overlaps[:, best] = 0
    return Agreement(both=both, only_here=len(found.boxes) - both, only_sharp=len(reference.boxes) - both)


def box_iou(boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) and (M, 4), corners x0, y0, x1, y1: shape (N, M)."""
    first, second = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    size = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    common = size.prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (first, second)]
    overlap: npt.NDArray[np.float64] = common / np.maximum(areas[0] + areas[1] - common, 1e-12)
    return overlap


def rates(agreements: Sequence[Agreement], scenes: Sequence[tuple[str, str]], seed: int) -> Rates:
    """Precision, recall and F1 over all pairs; `scenes[i]` is that of `agreements[i]`."""
    counts = np.array([[one.both, one.only_here, one.only_sharp] for one in agreements], np.float64).reshape(-1, 3)
    both, only_here, only_sharp = (int(total) for total in counts.sum(axis=0))
    draws = resampled_sums(counts, number_groups(scenes), np.random.default_rng(seed))
    return Rates(
        both=both,
        only_here=only_here,
        only_sharp=only_sharp,
        precision=_ratio(both, both + only_here),
        recall=_ratio(both, both + only_sharp),
        f1=_ratio(2 * both, 2 * both + only_here + only_sharp),
        f1_interval=None if draws is None else percentile_interval(_f1(draws)),
    )


def _f1(counts: Vector) -> Vector:
    total = 2 * counts[:, 0] + counts[:, 1] + counts[:, 2]
    f1: Vector = np.divide(2 * counts[:, 0], total, out=np.full(len(counts), np.nan), where=total > 0)
    return f1


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None

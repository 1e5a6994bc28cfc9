"""Whether anything moved between shots of one camera: small pictures compared with their common median."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray

BoolArray = npt.NDArray[np.bool_]

_SAME_VIEW = 0.5
"""Correlation of two pictures, shifted onto each other, above which they show the same."""
_NOISE_SIGMAS = 6.0
_LEVEL_SHARE = 0.004
"""Light of several lamps flickers unevenly; so much of a bin's level may change."""
_SLIP_BINS = 0.06
"""So far a bin may lie off after the common shift is taken out, times its gradient."""
_GROUPS = 8
_LEAST_BINS = 4
_LEAST_SHARE = 0.0005
_ROUNDS = 4
_LINEAR_BINS = 0.25
_TUKEY = 4.7


@dataclass(frozen=True)
class Change:
    """How one picture differs from the others.

    Attributes:
        shift: (x, y) of the whole picture in bins, positive to the right and down.
        share: share of the bins in which something changed; 0 if only noise did.
        place: (x, y) of the middle of what changed, in bins; None if nothing did.
        gain: brightness relative to the others.
    """

    shift: tuple[float, float]
    share: float
    place: tuple[float, float] | None
    gain: float


@dataclass(frozen=True)
class _Fit:
    """A reference laid over a picture.

    Attributes:
        moved: the reference, shifted by `coarse` bins. slip: how far the picture lies off that, in bins.
        inner: bins that were compared. residual: the picture minus the fitted reference there.
        gain: brightness of the picture relative to the reference.
    """

    moved: FloatArray
    inner: BoolArray
    residual: npt.NDArray[np.float64]
    gain: float
    coarse: tuple[float, float]
    slip: tuple[float, float]


def view_shift(first: FloatArray, second: FloatArray) -> tuple[float, float] | None:
    """How far the second picture lies off the first, (x, y) in whole bins; None if they do not show the same."""
    one, other = _detail(first), _detail(second)
    shift = _coarse_shift(first, second)
    same = max(_correlation(one, other), _correlation(_shifted(one, shift), other)) >= _SAME_VIEW
    return shift if same else None


def find_changes(pictures: Sequence[FloatArray], clear: Sequence[BoolArray]) -> list[Change]:
    """Compare each picture with the median of all; of two, the second with the first.

    Noise is measured in the comparison itself, by brightness, so that a moving object must cover less than half of the
    bins of like brightness. Common shifts (vibration, drift) and gains (flicker) are fitted and taken out first.

    Args:
        pictures: binned grey pictures of one view, DN above black, shape (H, W).
        clear: bins without saturated pixels, shape (H, W).
    """
    usable = np.logical_and.reduce(list(clear))
    if len(pictures) < 2 or usable.sum() < _LEAST_BINS * _GROUPS:
        return [Change((0.0, 0.0), 0.0, None, 1.0) for _ in pictures]
    levels = np.array([max(float(np.median(picture[usable])), 1e-6) for picture in pictures])
    scaled = [picture / np.float32(level) for picture, level in zip(pictures, levels, strict=True)]
    if len(pictures) == 2:
        return [Change((0.0, 0.0), 0.0, None, 1.0), _change(_fit(scaled[1], scaled[0], usable), levels[1] / levels[0])]
    # laid over each other first: the median of pictures that lie here and there is none of them
    laid = [scaled[0], *(_laid_back(picture, _fit(picture, scaled[0], usable)) for picture in scaled[1:])]
    reference = np.asarray(np.median(np.stack(laid), 0), np.float32)
    gains = levels / np.median(levels)
    found = [_change(_fit(picture, reference, usable), gain) for picture, gain in zip(scaled, gains, strict=True)]
    x, y = np.median([change.shift for change in found], axis=0)
    return [replace(change, shift=(change.shift[0] - float(x), change.shift[1] - float(y))) for change in found]


def largest_patch(flagged: npt.NDArray[np.uint8], fewest: int) -> tuple[float, tuple[float, float] | None]:
    """Share of the flagged bins that lie together, `fewest` or more, and the middle (x, y) of the largest patch.

    Single flagged bins are chance; None if there is nothing else.
    """
    count, _, stats, middles = cv2.connectedComponentsWithStats(flagged, connectivity=8)
    sizes = stats[1:count, cv2.CC_STAT_AREA]
    total = int(sizes[sizes >= fewest].sum())
    if total == 0:
        return 0.0, None
    largest = 1 + int(np.argmax(sizes))
    return total / flagged.size, (float(middles[largest][0]), float(middles[largest][1]))


def _fit(picture: FloatArray, reference: FloatArray, usable: BoolArray) -> _Fit:
    """Lay the reference over the picture: a shift of whole bins, then robustly a fraction, a gain and an offset."""
    fit = _fit_from(_coarse_shift(reference, picture), picture, reference, usable)
    if max(abs(fit.slip[0]), abs(fit.slip[1])) <= _LINEAR_BINS:
        return fit
    start = fit.coarse[0] + fit.slip[0], fit.coarse[1] + fit.slip[1]
    return _fit_from(start, picture, reference, usable)


def _fit_from(start: tuple[float, float], picture: FloatArray, reference: FloatArray, usable: BoolArray) -> _Fit:
    moved = _shifted(reference, start)
    slope_x, slope_y = (np.gradient(moved, axis=axis).astype(np.float32) for axis in (1, 0))
    inner = usable.copy()
    rim = 2 + int(max(abs(start[0]), abs(start[1])))
    inner[:rim], inner[-rim:], inner[:, :rim], inner[:, -rim:] = False, False, False, False
    if start != (0.0, 0.0) and inner.sum() < _LEAST_BINS:
        # an even field correlates anywhere: a shift that leaves nothing to compare is none
        return _fit_from((0.0, 0.0), picture, reference, usable)
    terms = np.stack([moved, np.ones_like(moved), -slope_x, -slope_y], -1)[inner].astype(np.float64)
    values = picture[inner].astype(np.float64)
    weight = np.ones(len(values))
    for _ in range(_ROUNDS):
        weighted = terms * weight[:, None]
        solution = np.linalg.lstsq(weighted.T @ terms, weighted.T @ values, rcond=None)[0]
        residual = values - terms @ solution
        sigma = 1.4826 * float(np.median(np.abs(residual))) + 1e-9
        weight = np.clip(1 - (residual / (_TUKEY * sigma)) ** 2, 0, None) ** 2
    gain = max(float(solution[0]), 1e-3)
    slip = float(solution[2]) / gain, float(solution[3]) / gain
    return _Fit(moved, inner, residual, gain, start, slip)


def _laid_back(picture: FloatArray, fit: _Fit) -> FloatArray:
    """The picture where the reference of its fit lies, with that one's brightness."""
    back = _shifted(picture, (-fit.coarse[0], -fit.coarse[1]))
    slope_x, slope_y = (np.gradient(back, axis=axis) for axis in (1, 0))
    return np.asarray((back + fit.slip[0] * slope_x + fit.slip[1] * slope_y) / fit.gain, np.float32)


def _change(fit: _Fit, gain: float) -> Change:
    """What is left over beyond noise, a slip of a small part of a bin, and flicker."""
    level = fit.moved[fit.inner]
    # between a bin's smallest and largest neighbour lies what a slip within a bin can make of it
    spread = (cv2.dilate(fit.moved, np.ones((3, 3))) - cv2.erode(fit.moved, np.ones((3, 3))))[fit.inner]
    allowed = _NOISE_SIGMAS * _noise(level, fit.residual) + _SLIP_BINS * spread + _LEVEL_SHARE * level
    flagged = np.zeros(fit.moved.shape, np.uint8)
    flagged[fit.inner] = np.abs(fit.residual) > allowed
    share, place = largest_patch(flagged, _LEAST_BINS)
    if share < _LEAST_SHARE:
        share, place = 0.0, None
    shift = fit.coarse[0] + fit.slip[0], fit.coarse[1] + fit.slip[1]
    return Change(shift, share, place, float(gain) * fit.gain)


def _noise(level: FloatArray, residual: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Robust standard deviation of the residual of bins of like brightness."""
    sigma = np.empty(len(residual))
    for group in np.array_split(np.argsort(level), _GROUPS):
        sigma[group] = 1.4826 * float(np.median(np.abs(residual[group])))
    return sigma


def _coarse_shift(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """How far the second picture lies off the first, in whole bins, where that makes them clearly more alike."""
    one, other = _detail(first), _detail(second)
    window = cv2.createHanningWindow((one.shape[1], one.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(one, other, window)
    found = float(round(x)), float(round(y))
    better = _correlation(_shifted(one, found), other) > _correlation(one, other) + 0.02
    return found if better else (0.0, 0.0)


def _detail(picture: FloatArray) -> FloatArray:
    """The picture without its large-scale brightness, so that vignetting does not make everything alike."""
    root = np.sqrt(np.maximum(picture, 0))
    return np.asarray(root - cv2.GaussianBlur(root, (0, 0), max(2.0, picture.shape[1] / 24)), np.float32)


def _shifted(picture: FloatArray, shift: tuple[float, float]) -> FloatArray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    size = picture.shape[1], picture.shape[0]
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _correlation(first: FloatArray, second: FloatArray) -> float:
    one, other = first - first.mean(), second - second.mean()
    return float((one * other).mean() / max(float(one.std() * other.std()), 1e-12))

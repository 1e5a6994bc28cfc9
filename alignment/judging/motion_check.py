"""Is what differs in an aligned pair motion blur? Telling late triggers and exchanged cameras from moving things.

Two properties hold wherever something moved during the long exposure, and nowhere else:

- The blurred picture is a local motion blur of the sharp one: some line kernel turns the sharp picture, in a small
  neighbourhood, into the blurred one, and no kernel does the reverse. If the reverse works better, the two pictures
  are exchanged. If neither does, they show the thing at different places: one of them came too late.
- Motion blur takes detail away and adds none: where the pictures differ, what detail the blurred one has is the sharp
  one's. Where a thing is missing it shows what is behind in full detail, and the thing itself elsewhere.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.registration.displacement import BoolArray
from localblur.alignment.registration.registration_level import reduce, stabilised
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray

_LENGTHS_PX = (3, 6, 10, 16)
_DIRECTIONS = 6
_BOX = (5, 5)
_DETAIL_BOX = (15, 15)
_DETAIL_WEIGHT = 2.0
"""Of the two signs of a late trigger; a discriminant analysis of 600 simulated pairs gives about as much."""
_NOISE_QUANTILE = 0.79
"""The median of a chi-square with three degrees of freedom, over its mean."""
_MAX_CLIPPED = 0.1
_AROUND_CLIPPED = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
_MARGIN_PX = 20
_OVERSAMPLING = 8


class MotionCheckSettings(Settings):
    """When the differences of a pair are not motion blur.

    Attributes:
        width_px: the pictures are reduced to about this width; smaller things are not looked at.
        min_share: of the picture must differ by motion for a judgement.
        max_strangeness: largest weighted sum of the two signs of a late trigger: the difference that no motion blur
            explains, as a multiple of what the reverse leaves, and twice the detail of the blurred picture's own
            (on simulated rigs: short exposures in the middle of the long one 0.58 at most, late ones 0.96 at least,
            those at an end 0.88 but for one in a hundred pairs).
        min_exchange: from this many times the difference left by the reverse on, the cameras are exchanged (2.4 at
            least on exchanged pairs, 1.15 at most on late ones).
    """

    width_px: int = Field(default=240, ge=64)
    min_share: float = Field(default=0.003, ge=0, le=1)
    max_strangeness: float = Field(default=0.92, gt=0)
    min_exchange: float = Field(default=1.6, gt=0)


@dataclass(frozen=True)
class MotionCheck:
    """What a motion check found; NaN without enough motion to judge.

    Attributes:
        share: of the picture that was examined.
        unexplained: share of the difference's energy that no local motion blur of the sharp picture explains.
        reverse: the same for motion blur of the blurred picture.
        own_detail: gradient energy of the blurred picture that it does not share with the sharp one, over the mean
            gradient energy of both.
    """

    share: float
    unexplained: float
    reverse: float
    own_detail: float

    @property
    def exchange(self) -> float:
        """How many times more of the difference blur of the sharp picture leaves than blur of the blurred one."""
        return self.unexplained / max(self.reverse, 1e-6)

    @property
    def strangeness(self) -> float:
        """Weighted sum of the two signs of a late trigger."""
        return self.exchange + _DETAIL_WEIGHT * self.own_detail


def check_motion(
    sharp: FloatArray,
    blurred: FloatArray,
    moving: BoolArray,
    valid: BoolArray,
    saturated: BoolArray,
    settings: MotionCheckSettings,
) -> MotionCheck:
    """Examine where an aligned pair differs.

    Args:
        sharp, blurred: linear light on one grid and in one colour, shape (H, W, 3).
        moving: pixels that differ by more than noise, (H, W).
        valid, saturated: pixels with data, and clipped ones; their surroundings are left out, because the difference
            there is cut off.
        settings: limits.
    """
    reduction = max(1, sharp.shape[1] // settings.width_px)
    first, second = (stabilised(reduce(light, reduction)) for light in (sharp, blurred))
    differs = reduce(moving.astype(np.float32), reduction) > 0.3
    clipped = reduce(saturated.astype(np.float32), reduction) > 0
    near_clipped = cv2.dilate(clipped.astype(np.uint8), _AROUND_CLIPPED) > 0
    known = (reduce(valid.astype(np.float32), reduction) > 0.99) & ~near_clipped
    examined = _mostly_clear(differs, clipped) & known
    share = float(examined.mean())
    still = known & ~differs
    if share < settings.min_share or not still.any():
        return MotionCheck(share, float("nan"), float("nan"), float("nan"))
    noise = float(np.median(((first - second) ** 2).sum(-1)[still])) / _NOISE_QUANTILE
    # in the gradients of the difference there is nothing but noise, that of both pictures
    rough = float(np.median(_products(_gradients(first - second))[still])) / 2
    rows, columns = _bounds(examined)
    first, second, examined = first[rows, columns], second[rows, columns], examined[rows, columns]
    return MotionCheck(
        share,
        _unexplained(first, second, examined, noise),
        _unexplained(second, first, examined, noise),
        _own_detail(first, second, examined, rough),
    )


def _mostly_clear(differs: BoolArray, clipped: BoolArray) -> BoolArray:
    """Regions of `differs` of which clipping takes away little."""
    count, labels = cv2.connectedComponents((differs | clipped).astype(np.uint8))
    lost = np.bincount(labels.ravel(), clipped.ravel(), count)
    size = np.bincount(labels.ravel(), minlength=count)
    return np.asarray(differs & (lost <= _MAX_CLIPPED * size)[labels])


def _bounds(region: BoolArray) -> tuple[slice, slice]:
    """The part of the picture that holds `region`, with some room around it."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return (
        slice(max(0, rows[0] - _MARGIN_PX), rows[-1] + _MARGIN_PX + 1),
        slice(max(0, columns[0] - _MARGIN_PX), columns[-1] + _MARGIN_PX + 1),
    )


def _unexplained(source: FloatArray, target: FloatArray, region: BoolArray, noise: float) -> float:
    """Share of the energy of `target - source` left after, in each neighbourhood, the best motion blur of `source`.

    A blur may be mixed with the picture itself in any proportion (a thing that slows down, background that shows
    through); the best proportion has a closed form.
    """
    height, width = region.shape
    difference = target - source
    before = cv2.blur((difference**2).sum(-1), _BOX)
    left = before.copy()
    reach = max(_LENGTHS_PX) // 2 + 2
    padded = cv2.copyMakeBorder(source, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    for length in _LENGTHS_PX:
        for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
            smeared = cv2.filter2D(padded, -1, line_kernel(length, float(angle)))
            step = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
            for phase in (-1, 0, 1):  # the short exposure may lie at the end, in the middle, or at the start
                x, y = (reach + np.rint(phase * step)).astype(int)
                change = smeared[y : y + height, x : x + width] - source
                power = cv2.blur((change**2).sum(-1), _BOX)
                common = cv2.blur((change * difference).sum(-1), _BOX)
                part = np.clip(common / (power + 1e-12), 0, 1)
                np.minimum(left, before - part * (2 * common - part * power), out=left)
    rest, whole = (np.maximum(energy[region] - noise, 0).sum(dtype=np.float64) for energy in (left, before))
    return float(rest / max(whole, 1e-12))


def _own_detail(sharp: FloatArray, blurred: FloatArray, region: BoolArray, noise: float) -> float:
    """Gradient energy of `blurred` beyond what it has in common with `sharp`, over the mean energy of both."""
    slopes = [_gradients(image) for image in (sharp, blurred)]
    first, second = (np.maximum(cv2.blur(_products(found), _DETAIL_BOX) - noise, 0) for found in slopes)
    common = np.maximum(cv2.blur(_products(*slopes), _DETAIL_BOX), 0)
    own = np.maximum(second - common, 0)[region].sum(dtype=np.float64)
    return float(2 * own / max((first + second)[region].sum(dtype=np.float64), 1e-12))


def _gradients(image: FloatArray) -> FloatArray:
    """Slopes in x and y of every channel, (H, W, 6)."""
    slopes = [cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (1, 0)]
    return np.concatenate(slopes, -1)


def _products(first: FloatArray, second: FloatArray | None = None) -> FloatArray:
    """Sum over the slopes of `first` times `second` (itself if not given), (H, W)."""
    return np.asarray((first * (first if second is None else second)).sum(-1))


def line_kernel(length_px: int, angle_rad: float) -> npt.NDArray[np.float32]:
    """Uniform motion along a line of `length_px` through the middle of the kernel; its values add up to 1."""
    middle = length_px // 2 + 1
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
    steps = (np.arange(length_px * _OVERSAMPLING + 1) / _OVERSAMPLING - length_px / 2)[:, None]
    x, y = (middle + steps * [np.cos(angle_rad), np.sin(angle_rad)]).T
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = np.floor(x).astype(int) + dx, np.floor(y).astype(int) + dy
            weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            inside = (weight > 0) & (column < kernel.shape[1]) & (row < kernel.shape[0])
            np.add.at(kernel, (row[inside], column[inside]), weight[inside].astype(np.float32))
    return np.asarray(kernel / kernel.sum(), np.float32)

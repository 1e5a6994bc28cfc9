"""Telling parallax and late triggers from motion blur: sharp content that re-appears, unblurred, somewhere else.

An aligned pair may hold moving things, but what moved during the long exposure is blurred in it. Content that shows up
in the blurred image just as sharp but shifted did not move: the two cameras saw it from different points (parallax of a
near layer), or at different times (a trigger that came late). No smooth field can align that.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.registration.displacement import BoolArray
from localblur.alignment.registration.registration_level import luma, stabilised
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray


class ParallaxSettings(Settings):
    """When a moving tile counts as re-appearing.

    Attributes:
        tile_px, step_px, reach_px: size of the tiles, their spacing, and how far around they are looked for.
        min_moving: smallest share of moving pixels for a tile to be examined.
        min_contrast: smallest standard deviation of the stabilised luma: flat tiles match anywhere.
        min_match: smallest normalised cross-correlation at the best shift.
        min_detail: smallest gradient energy of the copy over that of the tile: a smeared copy has moved.
        min_gain: by how much that must exceed the correlation without a shift.
        min_shift_px, max_shift_share: shifts below are blur's own, shifts beyond this share of the reach are chance.
    """

    tile_px: int = Field(default=48, ge=8)
    step_px: int = Field(default=24, ge=1)
    reach_px: int = Field(default=12, ge=1)
    min_moving: float = Field(default=0.3, ge=0, le=1)
    min_contrast: float = Field(default=0.02, ge=0)
    min_match: float = Field(default=0.95, ge=0, le=1)
    min_detail: float = Field(default=0.75, ge=0)
    min_gain: float = Field(default=0.03, ge=0)
    min_shift_px: float = Field(default=1.0, ge=0)
    max_shift_share: float = Field(default=0.8, gt=0, le=1)


@dataclass(frozen=True)
class Parallax:
    """How many moving tiles were examined, how many of them re-appear shifted, and by how much (median, px)."""

    examined: int
    shifted: int
    shift_px: float

    @property
    def share(self) -> float:
        """Share of the examined tiles that re-appear shifted."""
        return self.shifted / self.examined if self.examined else 0.0


def find_parallax(
    sharp: FloatArray, blurred: FloatArray, moving: BoolArray, usable: BoolArray, settings: ParallaxSettings
) -> Parallax:
    """Look for shifted copies of sharp tiles in the blurred image where the pair disagrees.

    Args:
        sharp, blurred: aligned pair in linear light, shape (H, W, 3).
        moving: pixels that disagree; only tiles with enough of them are examined.
        usable: valid, unsaturated pixels; a tile with its surroundings must be (nearly) all usable.
        settings: limits.
    """
    first, second = _luma(sharp), _luma(blurred)
    tile, reach = settings.tile_px, settings.reach_px
    examined, shifts = 0, list[float]()
    for y in range(reach, sharp.shape[0] - tile - reach + 1, settings.step_px):
        for x in range(reach, sharp.shape[1] - tile - reach + 1, settings.step_px):
            around = slice(y - reach, y + tile + reach), slice(x - reach, x + tile + reach)
            if moving[y : y + tile, x : x + tile].mean() < settings.min_moving or usable[around].mean() < 0.9:
                continue
            content = first[y : y + tile, x : x + tile]
            if content.std() < settings.min_contrast:
                continue
            examined += 1
            shift_px = _shift_of_copy(content, second[around], settings)
            if shift_px is not None:
                shifts.append(shift_px)
    return Parallax(examined, len(shifts), float(np.median(shifts)) if shifts else 0.0)


def _shift_of_copy(content: FloatArray, around: FloatArray, settings: ParallaxSettings) -> float | None:
    """Length of the shift at which `content` re-appears, or None if it does not."""
    reach = settings.reach_px
    match = cv2.matchTemplate(around, content, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(match)
    length = float(np.hypot(column - reach + _peak(match[row, :], column), row - reach + _peak(match[:, column], row)))
    possible = settings.min_shift_px <= length <= settings.max_shift_share * reach
    clear = best >= settings.min_match and best - match[reach, reach] >= settings.min_gain
    if not possible or not clear:
        return None
    height, width = content.shape
    detail = _gradient_energy(around[row : row + height, column : column + width])
    return length if detail >= settings.min_detail * _gradient_energy(content) else None


def _gradient_energy(image: FloatArray) -> float:
    return float(sum((np.diff(image, axis=axis) ** 2).mean() for axis in (0, 1)))


def _peak(profile: npt.NDArray[np.float32], index: int) -> float:
    """Offset of the maximum from `index` by a parabola through its neighbours, in [-0.5, 0.5]."""
    if not 0 < index < len(profile) - 1:
        return 0.0
    before, top, after = (float(value) for value in profile[index - 1 : index + 2])
    curvature = before - 2 * top + after
    return 0.5 * (before - after) / curvature if curvature < -1e-9 else 0.0


def _luma(light: FloatArray) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(stabilised(luma(light)), (0, 0), 1.0), np.float32)

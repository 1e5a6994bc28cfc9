"""Dark and flat frames of a recording: the black of every pixel, and the fall-off of each lens.

Dark frames: few of them are noisier than what they should correct, so a black is taken only from what many pixels
share (the offset of each colour, the profile of columns and of rows) and from single pixels that stand out clearly.

Flat frames: both cameras see one even field through the splitter. The ratio of their brightness is the vignetting ratio
without any texture or noise in the way; how evenly the field was lit cancels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.light.radiometry import LinearImage
from localblur.alignment.registration.displacement import PolynomialField, monomials
from localblur.alignment.registration.robust import Vector, robust_sigma, robust_solve
from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

_OUTSTANDING = 6.0
"""A single pixel's black counts from this many standard deviations of the mean frame: 1 in 500 million by chance."""
_MAX_DARK = 0.05
"""Of the range between black and white: more is no dark frame."""
FLAT_DEGREE = 4
_BLOCK_PX = 16
_MIN_FLAT, _MIN_BLOCKS = 0.05, 100


@dataclass(frozen=True)
class BlackFrame:
    """The black of a camera.

    Attributes:
        level_dn: digital numbers of no light, float32, the shape of a raw frame.
        frames: how many dark frames it comes from.
        offset_dn: mean distance from the nominal black level.
        column_dn, row_dn: standard deviation of the profiles.
        outstanding: number of single pixels with a black of their own.
    """

    level_dn: FloatArray
    frames: int
    offset_dn: float
    column_dn: float
    row_dn: float
    outstanding: int

    def content(self) -> dict[str, float]:
        """As stored under /calibration of a pairs file."""
        return {
            "frames": self.frames,
            "offset_dn": self.offset_dn,
            "column_dn": self.column_dn,
            "row_dn": self.row_dn,
            "outstanding_pixels": self.outstanding,
        }


def black_frame(darks: Iterable[npt.NDArray[Any]], mosaic: bool, black_level: float, white_level: float) -> BlackFrame:
    """The black of a camera from its dark frames.

    Args:
        darks: raw frames, (H, W) with a Bayer mosaic or (H, W, 3).
        mosaic: whether neighbouring pixels have different colours.
        black_level, white_level: nominal digital numbers.

    Raises:
        LocalblurError: if there is none, or they are not dark.
    """
    total, count = None, 0
    for dark in darks:
        total = dark.astype(np.float64) if total is None else total + dark
        count += 1
    if total is None:
        raise LocalblurError("there is no dark frame")
    mean = total / count
    offset = float(mean.mean()) - black_level
    if abs(offset) > _MAX_DARK * (white_level - black_level):
        raise LocalblurError(
            f"the dark frames lie {offset:.0f} DN from the black level {black_level:.0f}, at most"
            f" {_MAX_DARK * (white_level - black_level):.0f} DN are plausible; record them with caps on the lenses"
        )
    level = np.empty(mean.shape)
    columns, rows, outstanding = list[Vector](), list[Vector](), 0
    for site in _sites(mean.ndim, mosaic):
        level[site], profile_x, profile_y, own = _site_black(mean[site])
        columns.append(profile_x)
        rows.append(profile_y)
        outstanding += own
    return BlackFrame(
        level.astype(np.float32),
        count,
        offset,
        float(np.concatenate(columns).std()),
        float(np.concatenate(rows).std()),
        outstanding,
    )


def _sites(dimensions: int, mosaic: bool) -> Sequence[tuple[Any, ...]]:
    """Index of each colour's pixels."""
    if mosaic:
        return [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]
    return [(Ellipsis, channel) for channel in range(3)] if dimensions == 3 else [(Ellipsis,)]


def _site_black(mean: Vector) -> tuple[Vector, Vector, Vector, int]:
    """Offset + column profile + row profile + outstanding pixels of one colour's plane; the profiles; how many."""
    offset = float(np.median(mean))
    # a median of whole numbers is a whole number: refine it, leaving outstanding pixels out
    sigma = robust_sigma(mean - mean.mean())
    offset = float(mean[np.abs(mean - offset) <= _OUTSTANDING * sigma].mean())
    left = np.clip(mean - offset, -_OUTSTANDING * sigma, _OUTSTANDING * sigma)
    columns = left.mean(0)
    rows = (left - columns).mean(1)
    smooth = offset + columns + rows[:, None]
    own = mean - smooth
    outstanding = np.abs(own) > _OUTSTANDING * max(float((left - columns - rows[:, None]).std()), 1e-6)
    return smooth + np.where(outstanding, own, 0), columns, rows, int(outstanding.sum())


@dataclass(frozen=True)
class FlatField:
    """How bright one camera sees an even field.

    Attributes:
        coefficients: of a polynomial of `displacement.monomials`, 1 in the middle of the frame.
        width, height: of the camera's picture.
        residual: robust standard deviation of what the polynomial leaves.
    """

    coefficients: Vector
    width: int
    height: int
    residual: float

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Vector:
        """Relative brightness at pixel coordinates."""
        degree_terms = monomials(x, y, self.width, self.height, FLAT_DEGREE)
        return np.asarray(degree_terms @ self.coefficients)


class FlatMean:
    """Mean of one camera's flat frames over blocks, fed with one picture after another."""

    def __init__(self) -> None:
        self._total: Vector | None = None
        self._clear: npt.NDArray[np.bool_] | None = None
        self._size = 0, 0
        self.frames = 0

    def add(self, flat: LinearImage) -> None:
        """Take one more flat frame into account."""
        height, width = self._size = flat.saturated.shape[0], flat.saturated.shape[1]
        blocks = width // _BLOCK_PX, height // _BLOCK_PX
        cut = slice(0, blocks[1] * _BLOCK_PX), slice(0, blocks[0] * _BLOCK_PX)
        light = cv2.resize(flat.light[cut], blocks, interpolation=cv2.INTER_AREA).astype(np.float64)
        clear = cv2.resize(flat.saturated[cut].astype(np.float32), blocks, interpolation=cv2.INTER_AREA) == 0
        self._total = light if self._total is None else self._total + light
        self._clear = clear if self._clear is None else self._clear & clear
        self.frames += 1

    def field(self) -> FlatField:
        """The fall-off of the lens and of the field's light, common to all channels.

        Raises:
            LocalblurError: if there was no frame, or they are too dark or saturated.
        """
        if self._total is None or self._clear is None:
            raise LocalblurError("there is no flat frame")
        light = self._total / self.frames
        usable = self._clear & (light.min(-1) >= _MIN_FLAT)
        if usable.sum() < max(_MIN_BLOCKS, usable.size // 2):
            raise LocalblurError(
                f"only {usable.mean():.0%} of the flat frames is neither saturated nor darker than {_MIN_FLAT:.0%} of"
                " full scale, half is needed; expose them to about half of full scale"
            )
        height, width = self._size
        relative = (light / np.median(light[usable], axis=0)).mean(-1)[usable]
        rows, columns = np.nonzero(usable)
        centre = (_BLOCK_PX - 1) / 2
        terms = monomials(columns * _BLOCK_PX + centre, rows * _BLOCK_PX + centre, width, height, FLAT_DEGREE)
        solution = robust_solve(terms, relative, np.ones(len(relative)), 4.0)
        residual = robust_sigma(relative - terms @ solution) / solution[0]
        return FlatField(solution / solution[0], width, height, float(residual))


def vignetting_ratio(sharp: FlatField, blurred: FlatField, field: PolynomialField) -> Vector:
    """Coefficients of the brightness of S over that of B at corresponding places, on the grid of S, 1 in the middle."""
    x, y = (
        grid.ravel() for grid in np.meshgrid(np.linspace(0, sharp.width - 1, 40), np.linspace(0, sharp.height - 1, 30))
    )
    there = np.stack([x, y], -1) + field.displacement(x, y)
    ratio = sharp.at(x, y) / blurred.at(there[:, 0], there[:, 1])
    solution = np.linalg.lstsq(monomials(x, y, sharp.width, sharp.height, FLAT_DEGREE), ratio, rcond=None)[0]
    return np.asarray(solution / solution[0])

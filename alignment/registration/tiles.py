"""What is left of misalignment, tile by tile, and whether the tiles carry enough information to fit a field."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.registration.displacement import BoolArray, monomials
from localblur.alignment.registration.registration_level import luma, stabilised
from localblur.alignment.registration.robust import Vector
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray

SMOOTHING_PX = 1.0
_NOISE_CORRELATION = 6.0
"""Smoothing makes neighbouring residuals alike; this many of them are worth one at `SMOOTHING_PX` (calibrated on
simulated pairs)."""
_PARTS = 2
"""Along a side of a tile: its size is a multiple."""
_LEAST_NOISE = 1e-3
"""Of the stabilised luma: rounding alone makes as much."""


class TileSettings(Settings):
    """Size of a tile, and when a tile's measurement counts."""

    size_px: int = Field(default=48, ge=8, multiple_of=2)
    min_static: float = Field(default=0.5, gt=0, le=1)
    """Smallest share of static, valid, unsaturated pixels."""
    max_uncertainty_px: float = Field(default=0.08, gt=0)
    """Largest predicted standard deviation of a tile's shift: beyond it the tile has too little texture."""
    max_disagreement_px: float = Field(default=0.12, gt=0)
    """Largest standard deviation of a tile's shift by the jackknife over its quarters: beyond it one part says
    something else than the rest, or is all there is (the rim of a moving thing before a bare wall)."""


@dataclass(frozen=True)
class TileResiduals:
    """Residual shift per tile.

    Attributes:
        shift_px: (rows, columns, 2), how far in x and y the blurred image still lies off.
        uncertainty_px: (rows, columns), its predicted standard deviation.
        usable: (rows, columns), static, textured enough, and of one mind.
        considered: (rows, columns), tiles that have data at all.
        size_px: side of a tile; tile (i, j) covers pixels i*size ... (i+1)*size.
    """

    shift_px: npt.NDArray[np.float32]
    uncertainty_px: npt.NDArray[np.float32]
    usable: BoolArray
    considered: BoolArray
    size_px: int

    def lengths_px(self) -> npt.NDArray[np.float64]:
        """Lengths of the residual shifts of the usable tiles."""
        shift_px = self.shift_px[self.usable].astype(np.float64)
        return np.asarray(np.hypot(shift_px[:, 0], shift_px[:, 1]))

    def field_uncertainty_px(self, degree: int, width: int, height: int) -> float:
        """How well a polynomial of `degree` is determined by the usable tiles: its largest standard deviation in px.

        Infinite if there are fewer usable tiles than terms. This is the information test of the refinement: tiles all
        in one corner, or hardly any, leave a field undetermined elsewhere however well they fit.
        """
        rows, columns = np.nonzero(self.usable)
        centre = (self.size_px - 1) / 2
        terms = monomials(columns * self.size_px + centre, rows * self.size_px + centre, width, height, degree)
        if len(terms) < 2 * terms.shape[1]:
            return float("inf")
        sigma = np.maximum(self.uncertainty_px[self.usable], 0.01)
        information = (terms / sigma[:, None] ** 2).T @ terms
        if np.linalg.cond(information) > 1e10:
            return float("inf")
        corners = monomials([0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], width, height, degree)
        variance = np.einsum("ij,jk,ik->i", corners, np.linalg.inv(information), corners)
        return float(np.sqrt(variance.max()))


def measure_tiles(
    sharp: FloatArray,
    blurred: FloatArray,
    static: BoolArray,
    valid: BoolArray,
    settings: TileSettings,
    smoothing_px: float = SMOOTHING_PX,
) -> TileResiduals:
    """One Lucas-Kanade step per tile between an aligned pair, on variance-stabilised luma.

    Args:
        sharp, blurred: linear light on one grid and in one colour, shape (H, W, 3).
        static: pixels to measure with, shape (H, W).
        valid: pixels with data in both; tiles mostly outside are not considered.
        settings: tile size and limits.
        smoothing_px: standard deviation of the blur before.
    """
    first, second = (_smoothed(light, smoothing_px) for light in (sharp, blurred))
    mean = 0.5 * (first + second)
    slope_x = cv2.Sobel(mean, cv2.CV_32F, 1, 0, ksize=3) / 8
    slope_y = cv2.Sobel(mean, cv2.CV_32F, 0, 1, ksize=3) / 8
    size = settings.size_px
    rows, columns = static.shape[0] // size, static.shape[1] // size
    weight = static.astype(np.float32)

    def quarter_sums(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        cut = (values * weight)[: rows * size, : columns * size].astype(np.float64)
        sums = cut.reshape(rows, _PARTS, size // _PARTS, columns, _PARTS, size // _PARTS).sum((2, 5))
        return np.asarray(sums.transpose(1, 3, 0, 2).reshape(_PARTS**2, rows, columns))

    static_px = quarter_sums(np.ones_like(weight)).sum(0)
    count = np.maximum(static_px, 1)
    difference = first - second
    level = (quarter_sums(difference).sum(0) / count).astype(np.float32)
    difference[: rows * size, : columns * size] -= np.kron(level, np.ones((size, size), np.float32))
    quarters = [
        quarter_sums(product)
        for product in (slope_x**2, slope_x * slope_y, slope_y**2, slope_x * difference, slope_y * difference)
    ]
    xx, xy, yy, dx, dy = (sums.sum(0) for sums in quarters)
    shift = _solved(xx, xy, yy, dx, dy)
    energy = quarter_sums(difference**2).sum(0)
    left = np.maximum(energy - shift[..., 0] * dx - shift[..., 1] * dy, 0) / count
    # along the direction of least texture; a flat tile without any noise is uncertain too
    weakest = 0.5 * (xx + yy) - np.hypot(0.5 * (xx - yy), xy)
    uncertainty = np.sqrt(
        (left + _LEAST_NOISE**2) * _NOISE_CORRELATION * (smoothing_px / SMOOTHING_PX) ** 2 / np.maximum(weakest, 1e-12)
    )
    cut = valid[: rows * size, : columns * size].reshape(rows, size, columns, size)
    considered = cut.mean((1, 3)) >= settings.min_static
    known = (static_px >= settings.min_static * size * size) & considered
    agreeing = _jackknife_px(*quarters) <= settings.max_disagreement_px
    usable = known & agreeing & (uncertainty <= settings.max_uncertainty_px)
    return TileResiduals(shift.astype(np.float32), uncertainty.astype(np.float32), usable, considered, size)


def _solved(xx: Vector, xy: Vector, yy: Vector, dx: Vector, dy: Vector) -> Vector:
    """Shifts (..., 2) from the sums of a Lucas-Kanade step."""
    determinant = xx * yy - xy**2 + 1e-12
    return np.asarray(np.stack([yy * dx - xy * dy, xx * dy - xy * dx], -1) / determinant[..., None])


def _jackknife_px(*quarters: Vector) -> Vector:
    """Standard deviation of a tile's shift from solving it without each of its parts, (rows, columns).

    The predicted uncertainty supposes that what differs is noise. Where a moving thing shows through, that is wrong,
    but then the parts of a tile disagree. B. Efron, "The Jackknife, the Bootstrap and Other
    Resampling Plans", SIAM 1982.
    """
    without = _solved(*(sums.sum(0) - sums for sums in quarters))
    parts = len(without)
    return np.asarray(np.sqrt((parts - 1) / parts * ((without - without.mean(0)) ** 2).sum((0, -1))))


def _smoothed(light: FloatArray, smoothing_px: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(stabilised(luma(light)), (0, 0), smoothing_px), np.float32)

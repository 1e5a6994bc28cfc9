"""Displacement fields: for each pixel of the sharp image, where the same scene point lies in the blurred image.

A field is a polynomial in the normalised pixel coordinates. A cubic holds what a beam-splitter rig does: two lenses
that differ in shift, rotation, scale, perspective (to second order) and radial distortion.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray
from localblur.datasets.pair import ValidBox

BoolArray = npt.NDArray[np.bool_]

LANCZOS_SUPPORT_PX = 4
"""Half width of the Lanczos4 kernel: closer than this to the border a warped pixel has no full support."""


def term_count(degree: int) -> int:
    """Number of monomials up to `degree`: 1, 3, 6, 10 for degree 0 to 3."""
    return (degree + 1) * (degree + 2) // 2


def monomials(x: npt.ArrayLike, y: npt.ArrayLike, width: int, height: int, degree: int) -> npt.NDArray[np.float64]:
    """Monomials of the normalised coordinates, shape (..., term_count(degree)); lower degrees come first.

    Both axes are divided by half the width, so that a rotation has equal coefficients.
    """
    u = (np.asarray(x, np.float64) - (width - 1) / 2) / (width / 2)
    v = (np.asarray(y, np.float64) - (height - 1) / 2) / (width / 2)
    return np.stack([u ** (total - power) * v**power for total in range(degree + 1) for power in range(total + 1)], -1)


def evaluate_on_grid(coefficients: npt.NDArray[np.floating[Any]], width: int, height: int) -> npt.NDArray[np.float64]:
    """Evaluate a polynomial of `monomials` on every pixel, shape (height, width); separable, so it costs little."""
    return evaluate_on_lines(coefficients, np.arange(width), np.arange(height), width, height)


def evaluate_on_lines(
    coefficients: npt.NDArray[np.floating[Any]],
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    width: int,
    height: int,
) -> npt.NDArray[np.float64]:
    """Evaluate a polynomial of `monomials` where columns `x` (w) meet rows `y` (h), shape (h, w)."""
    table = _coefficient_table(coefficients)
    degree = len(table) - 1
    u = (x - (width - 1) / 2) / (width / 2)
    v = (y - (height - 1) / 2) / (width / 2)
    values: npt.NDArray[np.float64] = np.polynomial.polynomial.polyvander(v, degree) @ (
        table @ np.polynomial.polynomial.polyvander(u, degree).T
    )
    return values


def evaluate_at(
    coefficients: npt.NDArray[np.floating[Any]], positions: FloatArray, width: int, height: int
) -> FloatArray:
    """Evaluate a polynomial of `monomials` at `positions` (..., 2) as x, y, in single precision; shape (...)."""
    table = _coefficient_table(coefficients).astype(np.float32)
    u = (positions[..., 0] - np.float32((width - 1) / 2)) / np.float32(width / 2)
    v = (positions[..., 1] - np.float32((height - 1) / 2)) / np.float32(width / 2)
    return np.asarray(np.polynomial.polynomial.polyval2d(v, u, table), np.float32)


def _coefficient_table(coefficients: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Coefficients by the power of the second coordinate (rows) and of the first (columns)."""
    degree = degree_of(len(coefficients))
    table = np.zeros((degree + 1, degree + 1))
    index = 0
    for total in range(degree + 1):
        for power in range(total + 1):
            table[power, total - power] = coefficients[index]
            index += 1
    return table


def degree_of(terms: int) -> int:
    """The degree whose polynomial has `terms` monomials."""
    for degree in range(12):
        if term_count(degree) == terms:
            return degree
    raise ValueError(f"no polynomial in two variables has {terms} terms")


@dataclass(frozen=True)
class PolynomialField:
    """Position in the blurred image = pixel of the sharp image + polynomial displacement.

    Attributes:
        coefficients: float64, shape (terms, 2): displacement in x and y in pixels, in the order of `monomials`.
        width, height: size of the sharp image the coefficients belong to.
    """

    coefficients: npt.NDArray[np.float64]
    width: int
    height: int

    @classmethod
    def identity(cls, width: int, height: int, degree: int = 0) -> "PolynomialField":
        """The field that moves nothing."""
        return cls(np.zeros((term_count(degree), 2)), width, height)

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return degree_of(len(self.coefficients))

    def displacement(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Displacement in pixels at pixel coordinates, shape (..., 2)."""
        return monomials(x, y, self.width, self.height, self.degree) @ self.coefficients

    def positions(self) -> FloatArray:
        """Absolute (x, y) position in the blurred image of every sharp pixel, float32, shape (height, width, 2)."""
        return self.positions_on(np.arange(self.width), np.arange(self.height))

    def positions_on(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
        """The same where columns `x` (w) meet rows `y` (h), which need be no whole pixels; shape (h, w, 2)."""
        shift_px = [evaluate_on_lines(self.coefficients[:, axis], x, y, self.width, self.height) for axis in (0, 1)]
        shift_px[0] += x
        shift_px[1] += y[:, None]
        return np.stack(shift_px, -1).astype(np.float32)

    def plus(self, delta: npt.NDArray[np.float64]) -> "PolynomialField":
        """The field with `delta` (terms, 2), possibly of another degree, added to its coefficients."""
        terms = max(len(self.coefficients), len(delta))
        total = np.zeros((terms, 2))
        total[: len(self.coefficients)] += self.coefficients
        total[: len(delta)] += delta
        return PolynomialField(total, self.width, self.height)

    def distance_px(self, other: "PolynomialField") -> float:
        """Mean length in pixels of the difference of two fields over the frame."""
        x, y = np.meshgrid(np.linspace(0, self.width - 1, 17), np.linspace(0, self.height - 1, 13))
        return float(np.hypot(*np.moveaxis(self.displacement(x, y) - other.displacement(x, y), -1, 0)).mean())


def warp(image: FloatArray, positions: FloatArray) -> FloatArray:
    """Resample `image` (H, W[, C]) at `positions` (h, w, 2) with Lanczos4: the one resampling a blurred image gets.

    Outside the image its border is repeated; `valid_area` says where that happened.
    """
    return np.asarray(
        cv2.remap(image, positions, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def warp_flags(flags: BoolArray, positions: FloatArray) -> BoolArray:
    """Carry boolean flags (H, W) along: True wherever a flagged pixel is among the bilinear neighbours."""
    return np.asarray(cv2.remap(flags.astype(np.float32), positions, None, cv2.INTER_LINEAR) > 1e-3)


def valid_area(positions: FloatArray, width: int, height: int, margin_px: float = LANCZOS_SUPPORT_PX) -> BoolArray:
    """True where a warp found data: `positions` at least `margin_px` inside an image of `width` x `height`."""
    x, y = positions[..., 0], positions[..., 1]
    return np.asarray(
        (x >= margin_px - 1) & (y >= margin_px - 1) & (x <= width - margin_px) & (y <= height - margin_px)
    )


def valid_box(valid: BoolArray) -> ValidBox:
    """A large rectangle (y0, x0, y1, x1), half open, inside which every pixel is valid; (0, 0, 0, 0) if there is none.

    The border with the largest share of invalid pixels is moved inwards until all are valid: exact enough for the
    gently curved border of a warp.
    """
    y0, x0, y1, x1 = 0, 0, *valid.shape
    while y1 > y0 and x1 > x0:
        invalid = {
            "top": 1 - valid[y0, x0:x1].mean(),
            "bottom": 1 - valid[y1 - 1, x0:x1].mean(),
            "left": 1 - valid[y0:y1, x0].mean(),
            "right": 1 - valid[y0:y1, x1 - 1].mean(),
        }
        worst = max(invalid, key=lambda side: invalid[side])
        if invalid[worst] == 0:
            return (y0, x0, y1, x1) if valid[y0:y1, x0:x1].all() else (0, 0, 0, 0)
        y0, y1 = y0 + (worst == "top"), y1 - (worst == "bottom")
        x0, x1 = x0 + (worst == "left"), x1 - (worst == "right")
    return 0, 0, 0, 0

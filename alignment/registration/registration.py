"""Robust Gauss-Newton registration of two pictures of one scene by a polynomial displacement field.

The two images differ by more than geometry: brightness, vignetting, and things that moved during the long exposure. So
the luma is variance-stabilised (square root: shot noise becomes uniform), a quadratic gain and an offset are fitted
along with the field, every pixel is weighted by Tukey's biweight of its residual, and cells whose mean residual is too
large (moving objects) are left out as a whole.

Reference: Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004; Tukey's biweight as in Huber, "Robust Statistics".
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.registration.displacement import BoolArray, PolynomialField, degree_of, monomials, term_count
from localblur.alignment.registration.registration_level import (
    Level,
    Luma,
    RegistrationSettings,
    level_positions,
    prepare_level,
    reduce,
)
from localblur.alignment.registration.robust import Vector, correlation, gram, robust_sigma, robust_solve, tukey_weight

_MIN_POINTS = 200
_NOISE_AREA_PX = 12.6
"""Pixels over which the smoothing before registration (sigma 1) correlates the noise: 4 pi sigma^2."""


@dataclass(frozen=True)
class Registration:
    """Result of a fit: the field, the robust standard deviation of the residual, and how many points took part."""

    field: PolynomialField
    noise: float
    points: int


def register(
    sharp: Luma, blurred: Luma, start: PolynomialField, degree: int, settings: RegistrationSettings, finest: int = 1
) -> Registration:
    """Fit a polynomial of `degree` on top of `start`, from coarse to fine.

    Args:
        sharp, blurred: the two images; the field lives on the grid of `sharp`.
        start: where to begin; its higher terms are kept as they are.
        degree: degree of the polynomial that is fitted.
        settings: constants of the fit.
        finest: reduction of the last pyramid level (1 is full resolution).

    Returns:
        The fit. Without enough unsaturated pixels the start comes back with noise NaN and 0 points.
    """
    delta = np.zeros((term_count(degree), 2))
    noise, points = float("nan"), 0
    reduction = finest
    while sharp.values.shape[1] / (reduction * 2) >= settings.coarsest_width_px:
        reduction *= 2
    delta[0] = coarse_shift(sharp, blurred, start, reduction)
    while reduction >= finest:
        level = prepare_level(sharp, blurred, reduction, settings)
        points = len(level.x)
        if points < _MIN_POINTS:
            return Registration(start, float("nan"), 0)
        delta, noise = _fit_level(level, start, delta, settings)
        reduction //= 2
    return Registration(start.plus(delta), noise, points)


def coarse_shift(sharp: Luma, blurred: Luma, start: PolynomialField, reduction: int) -> npt.NDArray[np.float64]:
    """Overall shift (x, y) in pixels beyond `start` by phase correlation; zero unless it clearly improves the match."""
    small_sharp, small_blurred = reduce(sharp.values, reduction), reduce(blurred.values, reduction)
    height, width = small_sharp.shape
    positions = level_positions(start, reduction, width, height)
    moved = cv2.remap(small_blurred, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    shift, _ = cv2.phaseCorrelate(small_sharp - small_sharp.mean(), moved - moved.mean(), window)
    shifted = cv2.remap(
        small_blurred,
        positions + np.array(shift, np.float32),
        None,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    better = correlation(small_sharp, shifted) > correlation(small_sharp, moved) + 0.02
    return np.array(shift, np.float64) * reduction if better else np.zeros(2)


def _fit_level(
    level: Level, start: PolynomialField, delta: npt.NDArray[np.float64], settings: RegistrationSettings
) -> tuple[npt.NDArray[np.float64], float]:
    """Gauss-Newton on one level; returns the coefficients to add to `start` and the robust residual."""
    terms = monomials(level.x, level.y, start.width, start.height, degree_of(len(delta)))
    points = np.stack([level.x, level.y], -1) + start.displacement(level.x, level.y)
    photometric: Vector | None = None
    noise = float("nan")
    for step in range(settings.iterations):
        values, slope_x, slope_y, clear = level.sample(points + terms @ delta)
        brightness = np.concatenate([values[:, None] * level.gain_terms, np.ones((len(values), 1))], 1)
        if photometric is None:
            photometric = robust_solve(brightness, level.sharp[:, 0], clear.astype(np.float64), 1.5 * settings.tukey)
        residual = level.sharp[:, 0] - brightness @ photometric
        weight, noise = _weights(level, residual, clear, settings, reject_cells=step > 0)
        gain = level.gain_terms @ photometric[:-1]
        # the mean of both slopes halves the bias of the linearisation
        slope_x = 0.5 * (level.sharp[:, 1] + gain * slope_x) / level.reduction
        slope_y = 0.5 * (level.sharp[:, 2] + gain * slope_y) / level.reduction
        jacobian = np.concatenate([terms * slope_x[:, None], terms * slope_y[:, None], brightness], 1)
        change = _damped_step(jacobian, residual, weight, delta, noise, settings)
        moved = change[: delta.size].reshape(2, -1).T
        delta = delta + moved
        photometric = photometric + change[delta.size :]
        if step > 0 and np.abs(moved).max() < settings.tolerance_px * level.reduction:
            break
    return delta, noise


def _weights(
    level: Level, residual: Vector, clear: BoolArray, settings: RegistrationSettings, *, reject_cells: bool
) -> tuple[Vector, float]:
    """Tukey weights of the residuals, zero in cells that moved; and the robust standard deviation."""
    noise = robust_sigma(residual[clear])
    weight = tukey_weight(residual, settings.tukey * noise) * clear
    if reject_cells:
        size = level.cell_shape[0] * level.cell_shape[1]
        sums = np.bincount(level.cell, np.minimum(np.abs(residual) / noise, 6) * clear, size)
        counts = np.bincount(level.cell, clear, size)
        total, count = (cv2.blur(plane.reshape(level.cell_shape), (3, 3)).ravel() for plane in (sums, counts))
        weight = weight * (total <= settings.cell_limit * np.maximum(count, 1e-9))[level.cell]
    return weight, noise


def _damped_step(
    jacobian: Vector,
    residual: Vector,
    weight: Vector,
    delta: npt.NDArray[np.float64],
    noise: float,
    settings: RegistrationSettings,
) -> npt.NDArray[np.float64]:
    """Gauss-Newton step with the weak prior and a limit on its length (a fit without texture must not run away)."""
    scaled = np.concatenate([jacobian, residual[:, None]], 1, dtype=np.float32)
    scaled *= np.sqrt(weight)[:, None].astype(np.float32)
    product = gram(scaled)
    normal, right = product[:-1, :-1].copy(), product[:-1, -1].copy()
    sigma = np.full(len(delta), settings.prior_slope_px)
    sigma[0] = settings.prior_shift_px
    # smoothing made neighbouring residuals alike: they are worth fewer independent ones
    precision = noise**2 * _NOISE_AREA_PX / np.concatenate([sigma, sigma]) ** 2
    diagonal = np.arange(delta.size)
    normal[diagonal, diagonal] += precision
    right[diagonal] -= precision * delta.T.ravel()
    # single precision is enough: a step need not be exact, the residual it starts from is
    normal[np.diag_indices_from(normal)] = normal.diagonal() * (1 + 1e-6) + 1e-9
    step = np.asarray(np.linalg.solve(normal, right))
    longest = float(np.abs(step[: delta.size]).max())
    return step * min(1.0, settings.prior_shift_px / max(longest, 1e-12))

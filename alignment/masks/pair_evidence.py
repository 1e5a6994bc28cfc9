"""How surprising each pixel of a blurred image is, given the sharp one: a robust model of "nothing moved here".

Where nothing moved, the blurred image is the sharp one seen through another lens: another gain and offset per channel,
a remaining sub-pixel shift, another point spread. That model is fitted to the pair itself, robustly, because movers are
outliers; what is left over is compared with a noise model taken from the residual itself. Values are sRGB-coded
levels, 0..255, as float32; channels are kept as separate planes, which halves the time at full size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.masks.noise_model import NoiseModel, image_noise, sampling_step
from localblur.common.errors import LocalblurError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

PRESMOOTH_PX = 0.7
MINIMUM_SAMPLES = 200
MAX_SHIFT_PX = 1.0
"""A pair further apart than this is not aligned; a larger fitted shift is motion, not registration."""
MAX_SOFTENING_PX2 = 0.5
"""Largest second-order coefficient (half the variance of a blur of one pixel): more softness is motion blur."""
CLIPPED_SURPRISE = 60.0
"""Largest squared standardised residual that counts: one hot pixel must not outvote its window."""

_BORDER_PX = 4


def _outer(column: Sequence[float], row: Sequence[float]) -> FloatArray:
    return np.outer(np.array(column, np.float32), np.array(row, np.float32))


_SLOPE, _SMOOTH, _BEND = (-1, 0, 1), (1, 2, 1), (1, -2, 1)
_KERNELS = np.stack(
    [
        _outer((0, 1, 0), (0, 1, 0)),
        _outer(_SMOOTH, _SLOPE) / 8,
        _outer(_SLOPE, _SMOOTH) / 8,
        _outer(_SMOOTH, _BEND) / 4,
        _outer(_BEND, _SMOOTH) / 4,
        _outer(_SLOPE, _SLOPE) / 4,
    ]
).astype(np.float32)
"""The image itself, its first derivatives (a shift) and its second (a point spread), each a 3x3 filter."""


@dataclass(frozen=True)
class Evidence:
    """Residual of the motionless model and what it should be worth; three planes (H, W) each, in levels.

    Attributes:
        residual: blurred minus predicted.
        variance: expected variance of the residual where nothing moved.
        predicted: the sharp image as the blurred camera would have seen it, presmoothed.
    """

    residual: tuple[FloatArray, ...]
    variance: tuple[FloatArray, ...]
    predicted: tuple[FloatArray, ...]

    def chi_square(self) -> FloatArray:
        """Sum of squared standardised residuals over the channels, (H, W); its mean is 3 where nothing moved."""
        total = np.zeros_like(self.residual[0])
        for residual, variance in zip(self.residual, self.variance, strict=True):
            total += residual * residual / variance
        return total

    def log_likelihood_ratio(self, radius_px: int, motion_contrast: float) -> FloatArray:
        """Log-likelihood of "moved" against "did not move", summed over the channels, (H, W).

        A mover replaces a pixel by a mixture of its surroundings, so that its residual has `motion_contrast` times the
        local variance of the sharp picture on top of the noise. Flat surroundings therefore say nothing either way,
        while a textured one that did not change speaks against motion.
        """
        surprise = np.zeros_like(self.residual[0])
        penalty = np.ones_like(surprise)
        for residual, variance, predicted in zip(self.residual, self.variance, self.predicted, strict=True):
            ratio = _local_variance(predicted, radius_px)
            ratio *= np.float32(motion_contrast)
            ratio += variance
            np.divide(variance, ratio, out=ratio)
            squared = residual * residual
            squared /= variance
            np.minimum(squared, np.float32(CLIPPED_SURPRISE), out=squared)
            penalty *= ratio
            np.subtract(1, ratio, out=ratio)
            squared *= ratio
            surprise += squared
        np.log(penalty, out=penalty)
        surprise += penalty
        surprise *= np.float32(0.5)
        return surprise

    def visibility(self, radius_px: int, motion_contrast: float) -> FloatArray:
        """How far a blur of half length `radius_px` would stand out of the noise, summed over the channels, (H, W).

        What counts is what a blur changes: an even slope of brightness stays as it is.
        """
        window = (2 * radius_px + 1, 2 * radius_px + 1)
        total = np.zeros_like(self.residual[0])
        for variance, predicted in zip(self.variance, self.predicted, strict=True):
            change = cv2.blur(predicted, window)
            change -= predicted
            change *= change
            change = cv2.blur(change, (3, 3))
            change /= variance
            total += change
        total *= np.float32(motion_contrast)
        return total


def _local_variance(plane: FloatArray, radius_px: int) -> FloatArray:
    window = (2 * radius_px + 1, 2 * radius_px + 1)
    mean = cv2.blur(plane, window)
    mean *= mean
    spread = cv2.sqrBoxFilter(plane, cv2.CV_32F, window)
    spread -= mean
    return np.asarray(np.maximum(spread, 0, out=spread), np.float32)


def gather_evidence(blurred: FloatArray, sharp: FloatArray, usable: BoolArray) -> Evidence:
    """Fit the motionless model to a pair and estimate its noise.

    Args:
        blurred, sharp: (H, W, 3) float32 levels 0..255, aligned to within about half a pixel.
        usable: (H, W) bool; False where there is no data (such pixels are never fitted).

    Raises:
        LocalblurError: if too few usable pixels are left to fit anything.
    """
    sample = _sample(usable)
    residuals, variances, predictions = [], [], []
    for channel in range(3):
        planes = [cv2.extractChannel(image, channel) for image in (blurred, sharp)]
        noise = [image_noise(plane, usable, PRESMOOTH_PX) for plane in planes]
        smooth = [cv2.GaussianBlur(plane, (0, 0), PRESMOOTH_PX) for plane in planes]
        predicted = _predict(smooth[0], smooth[1], sample)
        residual = np.subtract(smooth[0], predicted, out=smooth[0])
        gradient = _squared_gradient(predicted)
        model = NoiseModel.fit(residual[sample], predicted[sample], gradient[sample], sum(noise))
        residuals.append(residual)
        variances.append(model.variance(predicted, gradient))
        predictions.append(predicted)
    return Evidence(tuple(residuals), tuple(variances), tuple(predictions))


def _sample(usable: BoolArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of a regular subset of the usable pixels, away from the border."""
    inner = cv2.erode(usable.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    for side in (slice(None, _BORDER_PX), slice(-_BORDER_PX, None)):
        inner[side] = False
        inner[:, side] = False
    step = sampling_step(usable.size)
    rows, columns = np.nonzero(inner[::step, ::step])
    if rows.size < MINIMUM_SAMPLES:
        raise LocalblurError(
            f"a pair of {usable.shape[1]}x{usable.shape[0]} px has only {rows.size} usable pixels for a blur mask, at"
            f" least {MINIMUM_SAMPLES} are needed; use larger images or a larger valid area"
        )
    return rows * step, columns * step


def _predict(
    blurred: FloatArray, sharp: FloatArray, sample: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
) -> FloatArray:
    """Robust fit of one channel of the blurred image by the sharp one and its first and second derivatives."""
    rows, columns = sample
    around = [sharp[rows + dy, columns + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    derived = np.stack(around, axis=1) @ _KERNELS.reshape(len(_KERNELS), 9).T
    design = np.column_stack([derived[:, 0], np.ones(len(rows)), derived[:, 1:]]).astype(np.float64)
    target = blurred[sample].astype(np.float64)
    coefficients = _clip_optics(robust_fit(design, target))
    optics = design[:, 2:] @ coefficients[2:]
    # gain and offset once more, in case the clipped part had leaned on them
    coefficients[:2] = robust_fit(design[:, :2], target - optics)
    kernel = np.tensordot(np.delete(coefficients, 1), _KERNELS.astype(np.float64), axes=1)
    return np.asarray(cv2.filter2D(sharp, cv2.CV_32F, kernel, delta=coefficients[1]), np.float32)


def robust_fit(
    design: npt.NDArray[np.float64], target: npt.NDArray[np.float64], iterations: int = 6
) -> npt.NDArray[np.float64]:
    """Iteratively reweighted least squares around "gain one, all else zero", where a weak ridge holds flat pictures."""
    start = np.zeros(design.shape[1])
    start[0] = 1.0
    ridge = 1e-6 * len(target) * np.eye(design.shape[1])
    coefficients = start
    for _ in range(iterations):
        residual = target - design @ coefficients
        scale = 1.4826 * np.median(np.abs(residual)) + 0.1
        weight = 1 / (1 + (residual / (2 * scale)) ** 2) ** 2
        weighted = design * weight[:, None]
        coefficients = start + np.linalg.solve(weighted.T @ design + ridge, weighted.T @ (target - design @ start))
    return coefficients


def _clip_optics(coefficients: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keep the shift and softening to what optics and registration can explain; the rest is motion."""
    clipped = coefficients.copy()
    gain = max(abs(clipped[0]), 1e-3)
    length = float(np.hypot(clipped[2], clipped[3])) / gain
    if length > MAX_SHIFT_PX:
        clipped[2:4] *= MAX_SHIFT_PX / length
    clipped[4:] = np.clip(clipped[4:], -MAX_SOFTENING_PX2 * gain, MAX_SOFTENING_PX2 * gain)
    return clipped


def _squared_gradient(plane: FloatArray) -> FloatArray:
    """Squared length of the gradient in levels per pixel, averaged over 3x3."""
    dx = cv2.Scharr(plane, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(plane, cv2.CV_32F, 0, 1, scale=1 / 32)
    dx *= dx
    dy *= dy
    dx += dy
    return np.asarray(cv2.blur(dx, (3, 3)), np.float32)

"""How surprising each pixel of a blurred image is, given the sharp one: a robust model of "nothing moved here".

Where nothing moved, the blurred image is the sharp one seen through another lens: another gain and offset per channel,
a remaining sub-pixel shift, another point spread. That model is fitted to the pair itself, robustly, because movers are
outliers; what is left over is compared with a noise model taken from the residual itself. Values are sRGB-coded
levels, 0..255, as float32.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

PRESMOOTH_PX = 0.7
FIT_SAMPLES = 60_000
MINIMUM_SAMPLES = 200
MAX_SHIFT_PX = 1.0
"""A pair further apart than this is not aligned; a larger fitted shift is motion, not registration."""
MAX_SOFTENING_PX2 = 0.5
"""Largest second-order coefficient (half the variance of a blur of one pixel): more softness is motion blur."""
MAX_RESIDUAL_SHIFT_PX = 0.35
"""Upper bound of the noise model's gradient term: more misregistration than this is motion."""
QUANTISATION_FLOOR = 0.15
"""Variance in levels squared that two 8-bit roundings leave after presmoothing, with some margin."""
NOISE_CAP = 9.0
"""The residual's noise may exceed the noise measured in the two images alone at most by this factor in variance."""

_BORDER_PX = 4


@dataclass(frozen=True)
class Evidence:
    """Residual of the motionless model and what it should be worth.

    Attributes:
        residual: blurred minus predicted, (H, W, 3), levels.
        variance: expected variance of the residual where nothing moved, (H, W, 3).
        predicted: the sharp image as the blurred camera would have seen it, presmoothed, (H, W, 3).
        usable: (H, W), False where there is no data.
    """

    residual: FloatArray
    variance: FloatArray
    predicted: FloatArray
    usable: BoolArray

    def chi_square(self) -> FloatArray:
        """Sum of squared standardised residuals over the channels, (H, W); its mean is 3 where nothing moved."""
        return np.asarray((self.residual**2 / self.variance).sum(axis=2), np.float32)

    def log_likelihood_ratio(self, radius_px: int, motion_contrast: float) -> FloatArray:
        """Log-likelihood of "moved" against "did not move", summed over the channels, (H, W).

        A mover replaces a pixel by a mixture of its surroundings, so that its residual has `motion_contrast` times the
        local variance of the sharp picture on top of the noise. Flat surroundings therefore say nothing either way,
        while a textured one that did not change speaks against motion.
        """
        moved = self.variance + motion_contrast * self._local_variance(radius_px)
        # clipped: one hot pixel must not outvote its window
        squared = np.minimum(self.residual**2 / self.variance, 60.0)
        ratio = self.variance / moved
        return np.asarray(0.5 * (squared * (1 - ratio) + np.log(ratio)).sum(axis=2), np.float32)

    def visibility(self, radius_px: int, motion_contrast: float) -> FloatArray:
        """How far motion would stand out of the noise: expected over noise variance, channels summed, (H, W)."""
        expected = motion_contrast * self._local_variance(radius_px)
        return np.asarray((expected / self.variance).sum(axis=2), np.float32)

    def _local_variance(self, radius_px: int) -> FloatArray:
        window = (2 * radius_px + 1, 2 * radius_px + 1)
        mean = cv2.blur(self.predicted, window)
        return np.asarray(np.maximum(cv2.blur(self.predicted**2, window) - mean**2, 0), np.float32)


def gather_evidence(blurred: FloatArray, sharp: FloatArray, usable: BoolArray) -> Evidence:
    """Fit the motionless model to a pair and estimate its noise.

    Args:
        blurred, sharp: (H, W, 3) float32 levels 0..255, aligned to within about half a pixel.
        usable: (H, W) bool; False where there is no data (such pixels are never fitted).

    Raises:
        LocalblurError: if too few usable pixels are left to fit anything.
    """
    sample = _sample(usable)
    noise = [_image_noise(image, usable) for image in (blurred, sharp)]
    blurred, sharp = (cv2.GaussianBlur(image, (0, 0), PRESMOOTH_PX) for image in (blurred, sharp))
    predicted = np.empty_like(sharp)
    for channel in range(3):
        predicted[..., channel] = _predict_channel(blurred[..., channel], sharp[..., channel], sample)
    residual = blurred - predicted
    gradient = cv2.blur(_squared_gradient(predicted), (3, 3))
    variance = np.empty_like(residual)
    for channel in range(3):
        cap = NOISE_CAP * (noise[0][channel] + noise[1][channel]) + 1.0
        planes = (residual[..., channel], predicted[..., channel], gradient[..., channel])
        variance[..., channel] = _noise_variance(*planes, sample, cap)
    return Evidence(residual, variance, predicted, usable)


def _sample(usable: BoolArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of a regular subset of the usable pixels, away from the border."""
    inner = cv2.erode(usable.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    for side in (slice(None, _BORDER_PX), slice(-_BORDER_PX, None)):
        inner[side] = False
        inner[:, side] = False
    step = _stride(usable)
    rows, columns = np.nonzero(inner[::step, ::step])
    if rows.size < MINIMUM_SAMPLES:
        raise LocalblurError(
            f"a pair of {usable.shape[1]}x{usable.shape[0]} px has only {rows.size} usable pixels for a blur mask, at"
            f" least {MINIMUM_SAMPLES} are needed; use larger images or a larger valid area"
        )
    return rows * step, columns * step


def _stride(usable: BoolArray) -> int:
    return max(1, int(np.ceil(np.sqrt(usable.size / FIT_SAMPLES))))


def _image_noise(image: FloatArray, usable: BoolArray) -> npt.NDArray[np.float64]:
    """Noise variance per channel that is left after presmoothing, from the finest detail of the image's flat half.

    J. Immerkær, "Fast Noise Variance Estimation", CVIU 1996, with a median instead of a mean.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    detail = np.abs(cv2.filter2D(image, cv2.CV_32F, kernel))
    step = _stride(usable)
    flatness = cv2.blur(detail.sum(axis=2), (5, 5))[::step, ::step][usable[::step, ::step]]
    values = detail[::step, ::step][usable[::step, ::step]]
    flat = values[flatness <= np.median(flatness)]
    smoothed_share = 1 / (4 * np.pi * PRESMOOTH_PX**2)
    return np.asarray((1.4826 * np.median(flat, axis=0)) ** 2 * smoothed_share, np.float64)


def _predict_channel(
    blurred: FloatArray, sharp: FloatArray, sample: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
) -> FloatArray:
    """Robust fit of one channel of the blurred image by the sharp one and its first and second derivatives."""
    kernels = [(1, 0, 1 / 8), (0, 1, 1 / 8), (2, 0, 1 / 4), (0, 2, 1 / 4), (1, 1, 1 / 4)]
    planes = [sharp, np.ones_like(sharp)]
    planes += [cv2.Sobel(sharp, cv2.CV_32F, dx, dy, ksize=3, scale=scale) for dx, dy, scale in kernels]
    design = np.stack([plane[sample] for plane in planes], axis=1).astype(np.float64)
    target = blurred[sample].astype(np.float64)
    coefficients = _clip_optics(_robust_fit(design, target))
    optics = design[:, 2:] @ coefficients[2:]
    # gain and offset once more, in case the clipped part had leaned on them
    coefficients[:2] = _robust_fit(design[:, :2], target - optics)
    return np.asarray(sum(np.float32(c) * plane for c, plane in zip(coefficients, planes, strict=True)), np.float32)


def _robust_fit(
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


def _squared_gradient(image: FloatArray) -> FloatArray:
    dx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(dx * dx + dy * dy, np.float32)


def _noise_variance(
    residual: FloatArray,
    predicted: FloatArray,
    squared_gradient: FloatArray,
    sample: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    cap: float,
) -> FloatArray:
    """Variance = f(intensity) + k |gradient|^2, both from medians of the residual: most pixels do not move.

    When most of them do move, the cap and the bound on k keep the movers from being taken for noise.
    """
    errors, levels, gradients = residual[sample], predicted[sample], squared_gradient[sample]
    edges = np.unique(np.quantile(levels, np.linspace(0, 1, 9)))
    centres, variances = [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (levels >= low) & (levels <= high)
        # the flattest of each level, not of all: in sRGB codes shadows are noisier, and often nothing dark is flat
        flat = inside & (gradients <= np.quantile(gradients[inside], 0.4))
        if flat.sum() > 50:
            centres.append((low + high) / 2)
            variances.append((1.4826 * np.median(np.abs(errors[flat]))) ** 2)
    if not centres:
        centres, variances = [0.0], [(1.4826 * np.median(np.abs(errors))) ** 2]
    limited = np.clip(variances, QUANTISATION_FLOOR, max(cap, QUANTISATION_FLOOR))
    table = np.interp(np.arange(-64, 320), centres, limited).astype(np.float32)
    intensity_part = table[np.clip(predicted, -64, 319).astype(np.int16) + 64]
    textured = gradients > np.quantile(gradients, 0.7)
    if not textured.any() or not gradients[textured].all():
        return np.asarray(intensity_part, np.float32)
    excess = np.maximum((1.4826 * errors[textured]) ** 2 - np.interp(levels[textured], centres, limited), 0)
    per_gradient = min(float(np.median(excess / gradients[textured])), MAX_RESIDUAL_SHIFT_PX**2)
    return np.asarray(intensity_part + np.float32(1.5 * per_gradient) * squared_gradient, np.float32)

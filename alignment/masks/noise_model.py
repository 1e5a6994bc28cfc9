"""Noise of a residual between two aligned pictures: a function of brightness plus a share of the squared gradient.

Values are sRGB-coded levels, 0..255.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

FIT_SAMPLES = 60_000
MAX_RESIDUAL_SHIFT_PX = 0.35
"""Upper bound of the gradient term: more misregistration than this is motion."""
QUANTISATION_FLOOR = 0.15
"""Variance in levels squared that two 8-bit roundings leave after presmoothing, with some margin."""
NOISE_CAP = 9.0
"""The residual's noise may exceed the noise measured in the two images alone at most by this factor in variance."""

_LOWEST_LEVEL, _HIGHEST_LEVEL = -64, 319
_FLAT_SHARE, _TEXTURED_SHARE = 0.4, 0.7
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a residual where nothing moved: `table[brightness] + per_gradient * |gradient|^2`.

    Attributes:
        table: variance by level, from -64 to 319, float32 (384,).
        per_gradient: variance of the remaining shift, squared pixels.
    """

    table: FloatArray
    per_gradient: float

    @classmethod
    def fit(cls, errors: FloatArray, levels: FloatArray, gradients: FloatArray, image_variance: float) -> "NoiseModel":
        """From medians over samples, because most pixels do not move.

        Where most of them do move, the cap and the bound on the gradient term keep movers from being taken for noise.

        Args:
            errors, levels, gradients: residual, brightness and squared gradient of some pixels, (N,) each.
            image_variance: noise variance of the two pictures together, see `image_noise`.
        """
        cap = NOISE_CAP * image_variance + 1.0
        centres, variances = _by_level(errors, levels, gradients)
        limited = np.clip(variances, QUANTISATION_FLOOR, max(cap, QUANTISATION_FLOOR))
        table = np.interp(np.arange(_LOWEST_LEVEL, _HIGHEST_LEVEL + 1), centres, limited).astype(np.float32)
        textured = gradients > np.quantile(gradients, _TEXTURED_SHARE)
        if not textured.any() or not gradients[textured].all():
            return cls(table, 0.0)
        excess = np.maximum((1.4826 * errors[textured]) ** 2 - np.interp(levels[textured], centres, limited), 0)
        return cls(table, 1.5 * min(float(np.median(excess / gradients[textured])), MAX_RESIDUAL_SHIFT_PX**2))

    def variance(self, levels: FloatArray, squared_gradient: FloatArray) -> FloatArray:
        """Expected variance of every pixel, in the shape of `levels`."""
        numbers = np.clip(levels, _LOWEST_LEVEL, _HIGHEST_LEVEL).astype(np.int16)
        numbers -= _LOWEST_LEVEL
        expected = self.table[numbers]
        expected += np.float32(self.per_gradient) * squared_gradient
        return np.asarray(expected, np.float32)


def sampling_step(size: int) -> int:
    """Distance between samples, in both directions, so that about `FIT_SAMPLES` of `size` pixels are taken."""
    return max(1, int(np.ceil(np.sqrt(size / FIT_SAMPLES))))


def image_noise(plane: FloatArray, usable: BoolArray, presmooth_px: float) -> float:
    """Noise variance that is left after a Gaussian of `presmooth_px`, from the finest detail of the flatter half.

    J. Immerkær, "Fast Noise Variance Estimation", CVIU 1996, with a median instead of a mean.
    """
    detail = np.abs(cv2.filter2D(plane, cv2.CV_32F, _IMMERKAER))
    step = sampling_step(usable.size)
    taken = usable[::step, ::step]
    flatness = cv2.blur(detail, (5, 5))[::step, ::step][taken]
    flat = detail[::step, ::step][taken][flatness <= np.median(flatness)]
    return float((1.4826 * np.median(flat)) ** 2 / (4 * np.pi * presmooth_px**2))


def _by_level(errors: FloatArray, levels: FloatArray, gradients: FloatArray) -> tuple[list[float], list[float]]:
    """Levels, and the variance in the flat parts of the picture about each of them."""
    edges = np.unique(np.quantile(levels, np.linspace(0, 1, 9)))
    centres, variances = [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (levels >= low) & (levels <= high)
        # the flattest of each level, not of all: in sRGB codes shadows are noisier, and often nothing dark is flat
        flat = inside & (gradients <= np.quantile(gradients[inside], _FLAT_SHARE))
        if flat.sum() > 50:
            centres.append(float(low + high) / 2)
            variances.append(float(1.4826 * np.median(np.abs(errors[flat]))) ** 2)
    if not centres:
        return [0.0], [float(1.4826 * np.median(np.abs(errors))) ** 2]
    return centres, variances

"""The colours of the blurred camera turned into those of the sharp camera: a 3x4 matrix times a vignetting ratio.

In linear light, `sharp = vignetting(x, y) * (matrix @ blurred) + offset`. Both cameras are linear and look at the same
scene through the same splitter, so this is physics, not a fit of curves: crosstalk and white balance are the matrix,
black-level differences the offset, the two lenses' fall-off the ratio. Full black and white stay what they are.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.registration.displacement import BoolArray, degree_of, evaluate_on_grid, monomials, term_count
from localblur.alignment.registration.robust import Vector, robust_sigma, tukey_weight, weighted_least_squares
from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray

VIGNETTING_DEGREE = 2
_ROUNDS = 4
_MIN_BLOCKS = 60
_NOISE_FLOOR = 0.01


class ColorSettings(Settings):
    """How colour samples are taken and fitted."""

    block_px: int = Field(default=4, ge=1)
    """Samples are means of blocks: less noise, and less harm from what misalignment is left."""
    max_blocks: int = Field(default=120000, ge=1000)
    tukey: float = Field(default=4.0, gt=0)


@dataclass(frozen=True)
class ColorSamples:
    """Corresponding linear colours, float64: sharp and blurred (n, 3), and where in the sharp image, (n, 2) as x, y."""

    sharp: Vector
    blurred: Vector
    position: Vector

    @staticmethod
    def joined(parts: "list[ColorSamples]") -> "ColorSamples":
        """Samples of several pairs as one."""
        return ColorSamples(
            np.concatenate([part.sharp for part in parts]),
            np.concatenate([part.blurred for part in parts]),
            np.concatenate([part.position for part in parts]),
        )


@dataclass(frozen=True)
class ColorModel:
    """Maps linear colours of the blurred camera to those of the sharp camera.

    Attributes:
        matrix: float64, shape (3, 3).
        offset: float64, shape (3,), linear light.
        vignetting: coefficients of a polynomial of `displacement.monomials`; 1 in the centre. Quadratic if fitted on
            pictures, of degree 4 from flat frames.
        residual: robust standard deviation of what is left, relative to the square root of the light.
    """

    matrix: Vector
    offset: Vector
    vignetting: Vector
    residual: float

    @classmethod
    def identity(cls) -> "ColorModel":
        """The model that changes nothing."""
        return cls(np.eye(3), np.zeros(3), np.eye(1, term_count(VIGNETTING_DEGREE))[0], float("nan"))

    def apply(self, light: FloatArray) -> FloatArray:
        """Map an image (H, W, 3) that lies on the grid of the sharp camera."""
        height, width = light.shape[:2]
        ratio = evaluate_on_grid(self.vignetting, width, height).astype(np.float32)
        mapped = np.asarray(cv2.transform(light, self.matrix), np.float32)
        mapped *= ratio[..., None]
        mapped += self.offset.astype(np.float32)
        return mapped


def block_samples(sharp: FloatArray, blurred: FloatArray, usable: BoolArray, block_px: int) -> ColorSamples:
    """Means over blocks of `block_px` squared pixels; only blocks whose every pixel is `usable`."""
    height, width = usable.shape[0] // block_px, usable.shape[1] // block_px

    def means(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        cut = image[: height * block_px, : width * block_px]
        return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.float32)

    if min(height, width) < 1:
        raise LocalblurError(f"image of {usable.shape[1]} x {usable.shape[0]} is smaller than a block of {block_px} px")
    whole = means(usable.astype(np.float32)) > 0.999
    rows, columns = np.nonzero(whole)
    position = np.stack([columns, rows], -1) * block_px + (block_px - 1) / 2
    return ColorSamples(
        means(sharp)[whole].astype(np.float64), means(blurred)[whole].astype(np.float64), position.astype(np.float64)
    )


def fit_color(
    samples: ColorSamples,
    width: int,
    height: int,
    settings: ColorSettings,
    rng: np.random.Generator,
    vignetting: Vector | None = None,
) -> ColorModel:
    """Fit matrix, offset and vignetting ratio in turns, each with Tukey weights.

    Residuals are divided by the square root of the light: shot noise becomes uniform, and dark tones, where the eye
    and sRGB are most sensitive, count as much as bright ones.

    Args:
        samples: corresponding colours; what moved or is saturated should be missing, some of it is tolerated.
        width, height: size of the sharp image.
        settings: robustness and limits.
        rng: which samples to keep when there are more than `max_blocks`.
        vignetting: the ratio's coefficients if they are known (from flat frames); otherwise they are fitted.

    Raises:
        LocalblurError: if there are too few samples to fit 12 numbers.
    """
    count = len(samples.sharp)
    if count < _MIN_BLOCKS:
        raise LocalblurError(
            f"only {count} unsaturated colour blocks, {_MIN_BLOCKS} are needed to match colours; use less exposure or"
            " more texture"
        )
    keep = rng.permutation(count)[: settings.max_blocks] if count > settings.max_blocks else np.arange(count)
    sharp, blurred, position = samples.sharp[keep], samples.blurred[keep], samples.position[keep]
    certainty = 1 / np.sqrt(np.maximum(sharp.mean(1), 0) + _NOISE_FLOOR)
    if vignetting is not None:
        terms = monomials(position[:, 0], position[:, 1], width, height, degree_of(len(vignetting)))
        design = np.concatenate([blurred * (terms @ vignetting)[:, None], np.ones((len(keep), 1))], 1)
        known, _, left = _robust_matrix(design, sharp, certainty, settings.tukey)
        return ColorModel(known[:3].T.copy(), known[3].copy(), vignetting, left)
    terms = monomials(position[:, 0], position[:, 1], width, height, VIGNETTING_DEGREE)
    vignetting = np.zeros(terms.shape[1])
    vignetting[0] = 1.0
    solution: Vector = np.zeros((4, 3))
    weight, ratio, residual = certainty**2, vignetting, 0.0
    for _ in range(_ROUNDS):
        design = np.concatenate([blurred * (terms @ vignetting)[:, None], np.ones((len(keep), 1))], 1)
        solution, weight, residual = _robust_matrix(design, sharp, certainty, settings.tukey)
        predicted = (blurred @ solution[:3]).mean(1)
        target = (sharp - solution[3]).mean(1)
        ratio = weighted_least_squares(terms * predicted[:, None], target, weight)
        if ratio[0] > 0:
            vignetting = ratio / ratio[0]
    # the last ratio belongs to the last matrix up to its scale, which the matrix takes over
    scale = ratio[0] if ratio[0] > 0 else 1.0
    return ColorModel(solution[:3].T * scale, solution[3].copy(), vignetting, residual)


def _robust_matrix(design: Vector, target: Vector, certainty: Vector, tukey: float) -> tuple[Vector, Vector, float]:
    """Weighted least squares for all three channels with common Tukey weights; solution (4, 3), weights, residual."""
    weight, sigma = certainty**2, 0.0
    solution: Vector = np.zeros((design.shape[1], 3))
    for _ in range(8):
        solution = weighted_least_squares(design, target, weight)
        residual = np.abs(target - design @ solution).max(1) * certainty
        sigma = robust_sigma(residual)
        weight = certainty**2 * tukey_weight(residual, tukey * sigma)
    return solution, weight, sigma

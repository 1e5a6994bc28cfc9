"""One pyramid level of a registration: which points take part, and sampling the blurred image at shifted places."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.registration.displacement import BoolArray, PolynomialField, monomials
from localblur.alignment.registration.robust import Vector
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray

LUMA_WEIGHTS = np.array([0.25, 0.5, 0.25], np.float32)
STABILISER_OFFSET = 0.002

_BORDER_PX = 12
_GAIN_DEGREE = 2


class RegistrationSettings(Settings):
    """Constants of the Gauss-Newton fit; lengths in pixels of the full image unless said.

    Attributes:
        max_points: most pixels that take part on a level.
        smoothing_px: sigma of the blur on every pyramid level, in pixels of that level.
        coarsest_width_px: the pyramid ends before it gets narrower than this.
        tukey: residuals beyond this many robust standard deviations count nothing.
        cell_px, cell_limit: a 3x3 block of cells with a larger mean |residual| / sigma is moving (0.8 is noise alone).
        iterations, tolerance_px: when a level is finished; the tolerance is in pixels of the level.
        prior_shift_px, prior_slope_px: weak prior on how far a fit departs from its start; it only matters where there
            is no texture.
    """

    max_points: int = Field(default=60000, ge=1000)
    smoothing_px: float = Field(default=1.0, gt=0)
    coarsest_width_px: int = Field(default=150, ge=32)
    tukey: float = Field(default=4.0, gt=0)
    cell_px: int = Field(default=8, ge=2)
    cell_limit: float = Field(default=1.6, gt=0)
    iterations: int = Field(default=10, ge=1)
    tolerance_px: float = Field(default=0.002, gt=0)
    prior_shift_px: float = Field(default=20.0, gt=0)
    prior_slope_px: float = Field(default=5.0, gt=0)


@dataclass(frozen=True)
class Luma:
    """What registration looks at: variance-stabilised luma, float32 (H, W), and which pixels are saturated, (H, W)."""

    values: FloatArray
    saturated: BoolArray


def stabilised(light: FloatArray) -> FloatArray:
    """Square root of linear light of any shape: shot noise becomes uniform."""
    return np.asarray(np.sqrt(np.maximum(light, 0) + np.float32(STABILISER_OFFSET)), np.float32)


def luma(light: FloatArray) -> FloatArray:
    """Weighted mean of the channels of linear RGB, (H, W, 3) to (H, W)."""
    return np.asarray(cv2.transform(light, LUMA_WEIGHTS[None]), np.float32)


def stabilised_luma(light: FloatArray, saturated: BoolArray) -> Luma:
    """Stabilised luma of linear RGB `light`, shape (H, W, 3)."""
    return Luma(stabilised(luma(light)), saturated)


@dataclass(frozen=True)
class Level:
    """One pyramid level.

    Attributes:
        reduction: pixels of the full image per pixel of the level, along a side.
        x, y: full-resolution coordinates of the points that take part, (n,).
        sharp: value, x slope and y slope of the sharp image at the points, (n, 3); slopes per pixel of the level.
        blurred: value, x slope, y slope and saturation of the blurred image, (h, w, 4).
        gain_terms: monomials of the brightness ratio at the points.
        cell, cell_shape: which rejection cell a point belongs to, and how many there are.
    """

    reduction: int
    x: Vector
    y: Vector
    sharp: Vector
    blurred: FloatArray
    gain_terms: Vector
    cell: npt.NDArray[np.intp]
    cell_shape: tuple[int, int]

    def sample(self, positions: Vector) -> tuple[Vector, Vector, Vector, BoolArray]:
        """Blurred value, both slopes and a "usable" flag at full-resolution `positions` (n, 2)."""
        height, width = self.blurred.shape[:2]
        local = ((positions + 0.5) / self.reduction - 0.5).astype(np.float32)
        # cv2.remap wants an image-shaped map with no side above 32767
        columns = 256
        rows = -(-len(local) // columns)
        padded = np.zeros((rows * columns, 2), np.float32)
        padded[: len(local)] = local
        # linear, because OpenCV's cubic does not reproduce ramps: it moves the image by up to 0.05 px, depending on the
        # phase; on smoothed images linear sampling has half the registration error (measured on simulated rigs)
        planes = cv2.remap(
            self.blurred, padded.reshape(rows, columns, 2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        sampled = np.asarray(planes, np.float32).reshape(-1, 4)[: len(local)]
        inside = (local >= 2).all(1) & (local[:, 0] <= width - 3) & (local[:, 1] <= height - 3)
        return sampled[:, 0], sampled[:, 1], sampled[:, 2], np.asarray(inside & (sampled[:, 3] < 0.05))


def prepare_level(sharp: Luma, blurred: Luma, reduction: int, settings: RegistrationSettings) -> Level:
    """Build one level: reduce both images, take slopes, and choose the points."""
    planes = _planes(sharp, reduction, settings.smoothing_px)
    usable = planes[..., 3] <= 1e-3
    border = max(4, _BORDER_PX // reduction)
    usable[:border], usable[-border:], usable[:, :border], usable[:, -border:] = False, False, False, False
    chosen = _choose_points(planes[..., 1:3], usable, settings.max_points)
    rows, columns = np.unravel_index(chosen, usable.shape)
    x, y = (columns + 0.5) * reduction - 0.5, (rows + 0.5) * reduction - 0.5
    height, width = sharp.values.shape
    cell_px = max(settings.cell_px, 4 * reduction)
    cell_shape = (height // cell_px + 1, width // cell_px + 1)
    return Level(
        reduction=reduction,
        x=x,
        y=y,
        sharp=planes.reshape(-1, 4)[chosen, :3],
        blurred=_planes(blurred, reduction, settings.smoothing_px),
        gain_terms=monomials(x, y, width, height, _GAIN_DEGREE),
        cell=(y // cell_px).astype(np.intp) * cell_shape[1] + (x // cell_px).astype(np.intp),
        cell_shape=cell_shape,
    )


def reduce(image: FloatArray, reduction: int) -> FloatArray:
    """Reduce by an integer factor: rows and columns that do not fill a pixel are cut, so the scale is exact."""
    if reduction == 1:
        return image
    height, width = image.shape[0] // reduction, image.shape[1] // reduction
    cut = image[: height * reduction, : width * reduction]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def level_positions(field: PolynomialField, reduction: int, width: int, height: int) -> FloatArray:
    """Where `field` sends the pixels of a reduced image, in pixels of the reduced blurred image, (height, width, 2)."""
    x, y = np.meshgrid((np.arange(width) + 0.5) * reduction - 0.5, (np.arange(height) + 0.5) * reduction - 0.5)
    full = np.stack([x, y], -1) + field.displacement(x, y)
    return ((full + 0.5) / reduction - 0.5).astype(np.float32)


def _planes(luma: Luma, reduction: int, smoothing_px: float) -> FloatArray:
    """Value, x slope, y slope and saturation of one pyramid level, shape (h, w, 4); slopes per pixel of the level."""
    values = cv2.GaussianBlur(reduce(luma.values, reduction), (0, 0), smoothing_px)
    saturated = cv2.dilate(reduce(luma.saturated.astype(np.float32), reduction), np.ones((5, 5), np.uint8))
    slopes = [cv2.Sobel(values, cv2.CV_32F, dx, 1 - dx, ksize=3) / 8 for dx in (1, 0)]
    return np.ascontiguousarray(np.stack([values, *slopes, saturated], -1), np.float32)


def _choose_points(slopes: FloatArray, usable: BoolArray, limit: int) -> npt.NDArray[np.intp]:
    """Flat indices of the pixels with the most texture relative to their surroundings: spread over the whole frame."""
    strength = cv2.GaussianBlur((slopes**2).sum(-1), (0, 0), 1.0)
    side = 2 * (usable.shape[1] // 16) + 1
    score = strength / (cv2.blur(strength, (side, side)) + 0.25 * strength.mean() + 1e-12)
    score[~usable] = -1
    count = min(limit, int(usable.sum()) // 2)
    chosen = np.argpartition(score.ravel(), -count)[-count:] if count else np.empty(0, np.intp)
    return np.sort(chosen)

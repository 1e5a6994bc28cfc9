"""From camera colours to sRGB: white balance and a 3x3 matrix, applied alike to both images of a pair.

Captured RGB is no photograph: the sensor's channels have their own sensitivities. A colour chart tells white balance
and matrix; without one, given gains or the grey-world assumption at least balance the channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from skimage.color import deltaE_ciede2000, rgb2lab

from localblur.alignment.light.radiometry import LinearImage
from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray, srgb_decode, srgb_encode
from localblur.datasets.recordings.color_chart import CHART_SRGB, NEUTRAL_PATCHES, find_chart, read_patches

Vector = npt.NDArray[np.float64]
RenderMethod = Literal["auto", "chart", "gains", "grey-world", "none"]

_MIN_PATCHES = 15


class RenderSettings(Settings):
    """How camera colours become sRGB.

    Attributes:
        method: auto is, for recordings, the chart if one was recorded, else `gains` if given, else grey-world; plain
            folders keep their colours.
        gains: white balance of red, green and blue.
        matrix: rows of the 3x3 from balanced camera RGB to linear sRGB, used with `gains`; each should add up to 1.
    """

    method: RenderMethod = "auto"
    gains: tuple[float, float, float] | None = None
    matrix: tuple[tuple[float, float, float], ...] = Field(
        default=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), min_length=3, max_length=3
    )


@dataclass(frozen=True)
class Rendering:
    """White balance and matrix.

    Attributes:
        method: where they come from; `none` changes nothing.
        gains: float64 (3,), the smallest is 1, so that what is clipped white stays white.
        matrix: float64 (3, 3), rows add up to 1, so that neutral stays neutral.
        delta_e: mean CIEDE2000 of the chart's patches after rendering, NaN without a chart.
    """

    method: str
    gains: Vector
    matrix: Vector
    delta_e: float = float("nan")

    @classmethod
    def none(cls) -> "Rendering":
        """The rendering that changes nothing."""
        return cls("none", np.ones(3), np.eye(3))

    def apply(self, light: FloatArray) -> FloatArray:
        """Render linear camera RGB (H, W, 3) to linear sRGB in [0, 1]."""
        if self.method == "none":
            return np.clip(light, 0, 1)
        # clipped before the matrix: a saturated pixel is white, whatever the matrix does to its channels
        balanced = np.clip(light * self.gains.astype(np.float32), 0, 1)
        return np.asarray(np.clip(cv2.transform(balanced, self.matrix), 0, 1), np.float32)

    def limit(self, light: FloatArray) -> FloatArray:
        """Clip linear camera RGB (H, W, 3), in place, where `apply` would clip it before the matrix.

        Means of what `apply` is given later then stay those of white: a clipped pixel has no colour of its own.
        """
        highest = 1 / self.gains.astype(np.float32)
        for channel in range(3):
            np.clip(light[..., channel], 0, highest[channel], out=light[..., channel])
        return light

    def content(self) -> dict[str, Any]:
        """As stored under /calibration of a pairs file."""
        return {
            "method": self.method,
            "gains": self.gains,
            "matrix": self.matrix,
            "delta_e2000": None if np.isnan(self.delta_e) else self.delta_e,
        }


def given_rendering(settings: RenderSettings) -> Rendering:
    """Rendering from the settings' gains and matrix.

    Raises:
        LocalblurError: if there are no gains or they are not positive.
    """
    if settings.gains is None or min(settings.gains) <= 0:
        raise LocalblurError(
            f"render.gains must be three positive numbers, got {settings.gains}; --set render.gains=[2,1,2]"
        )
    gains = np.array(settings.gains, np.float64)
    return Rendering("gains", gains / gains.min(), np.array(settings.matrix, np.float64))


def grey_world(images: Iterable[LinearImage]) -> Rendering:
    """Gains that make the mean of all unsaturated pixels neutral.

    Raises:
        LocalblurError: if a channel has no light or everything is saturated.
    """
    total, count = np.zeros(3), 0
    for image in images:
        clear = image.light[~image.saturated]
        total += clear.sum(0, dtype=np.float64)
        count += len(clear)
    if count == 0 or total.min() <= 0:
        raise LocalblurError(
            "grey-world white balance needs unsaturated pixels with light in every channel; give render.gains or"
            " --render none"
        )
    gains = total[1] / total
    return Rendering("grey-world", gains / gains.min(), np.eye(3))


def chart_rendering(chart: LinearImage) -> Rendering:
    """White balance and matrix from a picture of a ColorChecker Classic.

    Raises:
        LocalblurError: if no chart is found or too many of its patches are saturated.
    """
    colors, clear = read_chart(chart)
    reference = srgb_decode(CHART_SRGB / 255).astype(np.float64)
    neutral = np.zeros(24, bool)
    neutral[NEUTRAL_PATCHES] = True
    neutral &= clear
    if clear.sum() < _MIN_PATCHES or neutral.sum() < 2:
        raise LocalblurError(
            f"only {clear.sum()} of the chart's 24 patches are neither saturated nor black, {_MIN_PATCHES} are needed,"
            " two of them grey; expose the chart well"
        )
    level = (colors[neutral] * reference[neutral]).sum(0) / (reference[neutral] ** 2).sum(0)
    balanced = colors / level
    matrix = _neutral_matrix(balanced[clear], reference[clear])
    rendered = srgb_encode(balanced @ matrix.T)
    difference = deltaE_ciede2000(rgb2lab(rendered[clear]), rgb2lab(CHART_SRGB[clear] / 255))
    gains = level[1] / level
    return Rendering("chart", gains / gains.min(), matrix, float(np.mean(difference)))


def read_chart(chart: LinearImage) -> tuple[Vector, npt.NDArray[np.bool_]]:
    """Mean linear colours of the 24 patches (24, 3), and which of them are neither saturated nor black, (24,)."""
    corners = find_chart(chart.light)
    if corners is None:
        raise LocalblurError(
            "no colour chart was found in the chart pair; show the whole chart, sharp and not too small, or use"
            " --render grey-world"
        )
    return read_patches(chart.light, chart.saturated, corners)


def _neutral_matrix(balanced: Vector, reference: Vector) -> Vector:
    """Least-squares matrix whose rows add up to 1; errors count relative to the square root of the light."""
    weight = 1 / np.sqrt(reference.mean(1) + 0.02)
    matrix = np.zeros((3, 3))
    free = balanced[:, :2] - balanced[:, 2:]
    for row in range(3):
        solution = np.linalg.lstsq(free * weight[:, None], (reference[:, row] - balanced[:, 2]) * weight, rcond=None)[0]
        matrix[row] = (*solution, 1 - solution.sum())
    return matrix

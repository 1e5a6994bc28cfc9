"""The colour chart in a picture: its 24 patches, where they are, and what colours they have there."""

import itertools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray, from_unit, srgb_decode, srgb_encode

BoolArray = npt.NDArray[np.bool_]

CHART_SRGB = np.array(
    [
        *[(115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170)],
        *[(214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46)],
        *[(56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161)],
        *[(243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52)],
    ]
)
"""The 24 patches of the ColorChecker Classic, sRGB-coded, row by row (McCamy 1976; published by its maker)."""

NEUTRAL_PATCHES = slice(18, 23)
"""The grey patches, without the black one: it says more about stray light than about colour."""
_PATCH_SHARE = 0.6
_SCALES = (1.0, 0.75, 1.5)
"""The detector misses one chart in fifty or so, at another scale another one."""
_MEDIANS_PX = (5, 7)
"""Lines of a wall end in the chart's patches and hide them from it; a median of so many pixels takes them away."""
_PARTS, _PART_SHARE = 3, 0.7
"""Last, so many times so many overlapping parts of the picture, each of that share of its sides."""
_LARGEST_PX = 1024
"""Those last attempts see no more pixels a side."""
_LEAST_AGREEMENT = 0.6
"""It looks at shapes alone: one textured wall in five passes for a chart, its colours correlating by 0.15 at most."""


def find_chart(light: FloatArray) -> FloatArray | None:
    """Look for a ColorChecker Classic.

    Args:
        light: linear RGB of any white balance and exposure, shape (H, W, 3); 0 is black.

    Returns:
        Corners of the 24 patches as (x, y), float32, shape (24, 4, 2), in the order of `CHART_SRGB`; None without a
        chart.
    """
    for picture, scale, start in _attempts(_ordinary_picture(light)):
        found = _detect(picture)
        if found is not None:
            corners: FloatArray = found * np.float32(1 / scale) + np.array(start, np.float32)
            if _agreement(light, corners) >= _LEAST_AGREEMENT:
                return corners
    return None


def _attempts(picture: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], float, tuple[float, float]]]:
    """Ways to show the picture to the detector: pixels, their scale, and where (x, y) of the picture they begin."""
    for scale in _SCALES:
        yield _resized(picture, scale), scale, (0, 0)
    scale = min(1.0, _LARGEST_PX / max(picture.shape[:2]))
    small = _resized(picture, scale)
    for size in _MEDIANS_PX:
        yield cv2.medianBlur(small, size), scale, (0, 0)
    height, width = (round(_PART_SHARE * side) for side in small.shape[:2])
    for y, x in itertools.product(range(_PARTS), repeat=2):
        top = (small.shape[0] - height) * y // (_PARTS - 1)
        left = (small.shape[1] - width) * x // (_PARTS - 1)
        part = np.ascontiguousarray(small[top : top + height, left : left + width])
        yield part, scale, (left / scale, top / scale)


def _resized(picture: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    size = max(1, round(scale * picture.shape[1])), max(1, round(scale * picture.shape[0]))
    return picture if scale == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def read_patches(
    light: FloatArray, saturated: BoolArray, corners: FloatArray
) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Mean linear colours of the patches (24, 3), and which of them are neither saturated nor black, (24,).

    Args:
        light: linear RGB, shape (H, W, 3).
        saturated: where any channel is clipped, shape (H, W).
        corners: from `find_chart`; the rim of each patch is left out.
    """
    colors, clear = np.zeros((len(corners), 3)), np.zeros(len(corners), bool)
    for index, quad in enumerate(corners):
        centre = quad.mean(0)
        inner = centre + _PATCH_SHARE * (quad - centre)
        mask = np.zeros(saturated.shape, np.uint8)
        cv2.fillConvexPoly(mask, np.rint(inner).astype(np.int32), 1)
        inside = mask > 0
        if inside.any():
            colors[index] = light[inside].mean(0)
            clear[index] = not saturated[inside].any() and colors[index].min() > 0
    return colors, clear


def _agreement(light: FloatArray, corners: FloatArray) -> float:
    """Correlation of the patches with a chart's, in the worst channel and regardless of white balance."""
    colors, _ = read_patches(light, np.zeros(light.shape[:2], bool), corners)
    found, expected = np.sqrt(np.maximum(colors, 0)), np.sqrt(srgb_decode(CHART_SRGB / 255))
    if (found.std(0) == 0).any():
        return 0.0
    return min(float(np.corrcoef(found[:, channel], expected[:, channel])[0, 1]) for channel in range(3))


def _ordinary_picture(light: FloatArray) -> npt.NDArray[Any]:
    """What the detector wants: a balanced, well exposed 8-bit picture, blue first."""
    means = np.maximum(light.mean((0, 1)), 1e-6)
    balanced = light * (means.mean() / means)
    bright = balanced * (0.9 / max(float(np.percentile(balanced, 99)), 1e-6))
    return np.ascontiguousarray(from_unit(srgb_encode(bright), 8)[..., ::-1])


def _detect(picture: npt.NDArray[Any]) -> FloatArray | None:
    detector: Any = cv2.mcc.CCheckerDetector.create()
    if hasattr(detector, "setColorChartType"):  # OpenCV 5, https://github.com/opencv/opencv/issues/29705
        detector.setColorChartType(cv2.mcc.MCC24)
        found = detector.process(picture, 1)
    else:
        found = detector.process(picture, cv2.mcc.MCC24, 1)
    if not found:
        return None
    return np.asarray(detector.getBestColorChecker().getColorCharts(), np.float32).reshape(24, 4, 2)

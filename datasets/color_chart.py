"""The colour chart in a picture: its 24 patches, where they are, and what colours they have there."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray, from_unit, srgb_encode

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


def find_chart(light: FloatArray) -> FloatArray | None:
    """Look for a ColorChecker Classic.

    Args:
        light: linear RGB of any white balance and exposure, shape (H, W, 3); 0 is black.

    Returns:
        Corners of the 24 patches as (x, y), float32, shape (24, 4, 2), in the order of `CHART_SRGB`; None without a
        chart.
    """
    detector: Any = cv2.mcc.CCheckerDetector.create()
    picture = _ordinary_picture(light)
    if hasattr(detector, "setColorChartType"):  # OpenCV 5, https://github.com/opencv/opencv/issues/29705
        detector.setColorChartType(cv2.mcc.MCC24)
        found = detector.process(picture, 1)
    else:
        found = detector.process(picture, cv2.mcc.MCC24, 1)
    if not found:
        return None
    return np.asarray(detector.getBestColorChecker().getColorCharts(), np.float32).reshape(24, 4, 2)


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


def _ordinary_picture(light: FloatArray) -> npt.NDArray[Any]:
    """What the detector wants: a balanced, well exposed 8-bit picture, blue first."""
    means = np.maximum(light.mean((0, 1)), 1e-6)
    balanced = light * (means.mean() / means)
    bright = balanced * (0.9 / max(float(np.percentile(balanced, 99)), 1e-6))
    return np.ascontiguousarray(from_unit(srgb_encode(bright), 8)[..., ::-1])

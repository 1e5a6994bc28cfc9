"""Bayer mosaic of a linear picture, and the linear interpolation that undoes it as far as it can be undone."""

import cv2
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

BAYER_ORIGINS = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}
"""Row and column of the first red pixel of each pattern."""

_Weights = list[list[float]]

_GREEN: _Weights = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_ALONG: _Weights = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
_CROSS: _Weights = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]


def mosaic(image: FloatArray, bayer: str) -> FloatArray:
    """Keep of each pixel the colour its filter lets through: (H, W, 3) to (H, W), float32.

    Raises:
        LocalblurError: if the pattern is not a key of `BAYER_ORIGINS`.
    """
    row, column = _origin(bayer)
    plane = np.ascontiguousarray(image[..., 1])
    plane[row::2, column::2] = image[row::2, column::2, 0]
    plane[1 - row :: 2, 1 - column :: 2] = image[1 - row :: 2, 1 - column :: 2, 2]
    return plane


def demosaic_linear(plane: FloatArray, bayer: str) -> FloatArray:
    """Interpolate a mosaic, (H, W) to (H, W, 3), float32; measured values are kept.

    Fast, linear, and what published blur synthesis uses; recordings are interpolated with more care elsewhere.

    Raises:
        LocalblurError: if the pattern is not a key of `BAYER_ORIGINS`.

    Reference: Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color
    images", ICASSP 2004.
    """
    row, column = _origin(bayer)
    green, along, cross = _filter(plane, _GREEN), _filter(plane, _ALONG), _filter(plane, _CROSS)
    across = _filter(plane, np.transpose(_ALONG).tolist())
    image = np.empty((*plane.shape, 3), np.float32)
    red_rows, blue_rows = slice(row, None, 2), slice(1 - row, None, 2)
    red_columns, blue_columns = slice(column, None, 2), slice(1 - column, None, 2)
    for rows, columns, ways in (
        (red_rows, red_columns, (plane, green, cross)),
        (red_rows, blue_columns, (along, plane, across)),
        (blue_rows, red_columns, (across, plane, along)),
        (blue_rows, blue_columns, (cross, green, plane)),
    ):
        for channel, way in enumerate(ways):
            image[rows, columns, channel] = way[rows, columns]
    return image


def _origin(bayer: str) -> tuple[int, int]:
    if bayer not in BAYER_ORIGINS:
        raise LocalblurError(f"unknown Bayer pattern {bayer!r}; known: {', '.join(BAYER_ORIGINS)}")
    return BAYER_ORIGINS[bayer]


def _filter(plane: FloatArray, weights: _Weights) -> FloatArray:
    kernel = np.array(weights, np.float32) / np.float32(8)
    return np.asarray(cv2.filter2D(plane, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)

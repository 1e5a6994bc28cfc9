"""Bayer mosaic of a linear picture, and the interpolation along edges that undoes it as far as it can be undone."""

import cv2
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

BAYER_ORIGINS = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}
"""Row and column of the first red pixel of each pattern."""

_ROOT_OFFSET = np.float32(0.002)
_ACROSS = np.array([[-1, 0, 2, 0, -1]], np.float32)
_MEAN = np.array([[0.5, 0, 0.5]], np.float32)
_SLOPE = np.array([[1, 0, -1]], np.float32)
_SPREAD = np.array([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]], np.float32)


def mosaic(image: FloatArray, bayer: str) -> FloatArray:
    """Keep of each pixel the colour its filter lets through: (H, W, 3) to (H, W), float32.

    Raises:
        LocalblurError: if the pattern is not a key of `BAYER_ORIGINS`.
    """
    row, column = red_origin(bayer)
    plane = np.ascontiguousarray(image[..., 1])
    plane[row::2, column::2] = image[row::2, column::2, 0]
    plane[1 - row :: 2, 1 - column :: 2] = image[1 - row :: 2, 1 - column :: 2, 2]
    return plane


def demosaic_edges(plane: FloatArray, bayer: str) -> FloatArray:
    """Interpolate a white-balanced mosaic, (H, W) to (H, W, 3), float32, along edges; measured values are kept.

    Hamilton and Adams' green and bilinear colour differences, on the square root of light, where noise is uniform and
    colour differences are smooth: what does not move is sharp, and linear interpolation would fringe it with colours
    that no camera shows.

    Raises:
        LocalblurError: if the pattern is not a key of `BAYER_ORIGINS`.

    Reference: Hamilton and Adams, US patent 5,629,734 (1997, expired).
    """
    row, column = red_origin(bayer)
    red = (slice(row, None, 2), slice(column, None, 2))
    blue = (slice(1 - row, None, 2), slice(1 - column, None, 2))
    root = np.sqrt(np.maximum(plane, 0) + _ROOT_OFFSET)
    green = root.copy()
    directed = directed_green(root)
    green[red], green[blue] = directed[red], directed[blue]
    planes = []
    for sites in (red, blue):
        difference = np.zeros_like(root)
        difference[sites] = root[sites] - green[sites]
        colour = _light(green + spread(difference))
        colour[sites] = plane[sites]
        planes.append(colour)
    middle = plane.copy()
    middle[red], middle[blue] = _light(green[red]), _light(green[blue])
    return np.asarray(cv2.merge([planes[0], middle, planes[1]]), np.float32)


def red_origin(bayer: str) -> tuple[int, int]:
    """Row and column of the first red pixel.

    Raises:
        LocalblurError: if the pattern is not a key of `BAYER_ORIGINS`.
    """
    if bayer not in BAYER_ORIGINS:
        raise LocalblurError(f"unknown Bayer pattern {bayer!r}; known: {', '.join(BAYER_ORIGINS)}")
    return BAYER_ORIGINS[bayer]


def _light(root: FloatArray) -> FloatArray:
    light: FloatArray = np.square(np.maximum(root, 0)) - _ROOT_OFFSET
    return light


def spread(difference: FloatArray) -> FloatArray:
    """Bilinear interpolation, (H, W), of values known at every second pixel of every second row (0 elsewhere)."""
    return _filter(difference, _SPREAD)


def directed_green(root: FloatArray) -> FloatArray:
    """Green, (H, W), at red and blue pixels: along rows and columns, the direction of less change counting more."""
    estimates, weights = [], []
    for turned in (False, True):
        mean, across, slope = (_filter(root, np.transpose(k) if turned else k) for k in (_MEAN, _ACROSS, _SLOPE))
        change = cv2.blur(np.abs(slope) + np.abs(across), (3, 3)) + np.float32(1e-4)
        estimates.append(mean + np.float32(0.25) * across)
        weights.append(1 / np.square(change))
    mixed = weights[0] * estimates[0] + weights[1] * estimates[1]
    return np.asarray(mixed / (weights[0] + weights[1]), np.float32)


def _filter(plane: FloatArray, kernel: FloatArray) -> FloatArray:
    # reflecting without repeating the border pixel keeps the phase of the pattern
    return np.asarray(cv2.filter2D(plane, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)

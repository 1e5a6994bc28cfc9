"""Reducing a picture while it is warped: a low pass on its own grid, then one resampling on the smaller one.

Both pictures of a pair get the same low pass and the same resampling, so that neither is sharper than the other. Pixel
centres lie at integers and a picture reaches half a pixel beyond them: with a scale s, pixel X of the output lies at
(X + 0.5) / s - 0.5 of the input.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.registration.displacement import LANCZOS_SUPPORT_PX, warp
from localblur.datasets.images import FloatArray

Size = tuple[int, int]
"""Width and height in pixels."""

_LOBES = 3


def output_lines(full: Size, size: Size) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where the columns (w) and rows (h) of a picture of `size` lie in one of `full` size, in pixels of that."""
    x, y = ((np.arange(count) + 0.5) * whole / count - 0.5 for whole, count in zip(full, size, strict=True))
    return x, y


def low_pass(full_px: int, size_px: int) -> npt.NDArray[np.float32]:
    """Lanczos kernel of three lobes that keeps what `size_px` samples of `full_px` can hold; odd length, sum 1."""
    scale = size_px / full_px
    reach = reach_px(full_px, size_px)
    x = np.arange(-reach, reach + 1) * scale
    kernel = np.where(np.abs(x) < _LOBES, np.sinc(x) * np.sinc(x / _LOBES), 0)
    return np.asarray(kernel / kernel.sum(), np.float32)


def reach_px(full_px: int, size_px: int) -> int:
    """Half width of `low_pass` in pixels of the full size."""
    return math.ceil(_LOBES * full_px / size_px) - 1


def support_px(full: Size, size: Size) -> int:
    """How close to the border, in pixels of the full size, a reduced pixel has no full support."""
    return LANCZOS_SUPPORT_PX + max(reach_px(whole, count) for whole, count in zip(full, size, strict=True))


def reduced(image: FloatArray, positions: FloatArray, size: Size) -> FloatArray:
    """Resample `image` (H, W, C), linear light, at `positions` (h, w, 2) for a picture of `size`.

    Positions that differ from `output_lines` by a displacement whose scale is nearly one get the same low pass.
    """
    height, width = image.shape[:2]
    kernels = (low_pass(width, size[0]), low_pass(height, size[1]))
    smooth = cv2.sepFilter2D(image, cv2.CV_32F, *kernels, borderType=cv2.BORDER_REPLICATE)
    return warp(np.asarray(smooth, np.float32), positions)

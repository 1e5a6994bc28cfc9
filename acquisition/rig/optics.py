"""Where a simulated camera's pixels look: distortion, homography, drift, vignetting. Pure array functions.

A pixel position (x, y) is undistorted (radial and tangential), moved by the drift, and taken to the scene plane by the
homography. The scene plane is the pixel grid of an ideal camera. All geometry is float64.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.settings import CameraModel
from localblur.common.errors import LocalblurError

Points = npt.NDArray[np.float64]
"""Positions (x, y), shape (..., 2)."""

_TOLERANCE_PX = 1e-6
_ROUNDS = 12


def pixel_grid(height: int, width: int) -> Points:
    """Positions of all pixel centres, shape (height, width, 2)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return np.stack([x, y], axis=2)


def undistort(camera: CameraModel, points: Points, height: int, width: int) -> Points:
    """Sensor positions to where they would lie without lens distortion."""
    middle, half = _frame(height, width)
    moved, _ = _distortion(camera, (points - middle) / half, with_slope=False)
    return moved * half + middle


def distort(camera: CameraModel, points: Points, height: int, width: int) -> Points:
    """The inverse of `undistort`, by Newton's method, to 1e-6 px.

    Raises:
        LocalblurError: if the distortion is so strong that it cannot be inverted inside the frame.
    """
    middle, half = _frame(height, width)
    target = (points - middle) / half
    guess = target.copy()
    for _ in range(_ROUNDS):
        value, slope = _distortion(camera, guess, with_slope=True)
        error = value - target
        if float(np.abs(error).max()) * half < _TOLERANCE_PX:
            return guess * half + middle
        determinant = slope[0] * slope[3] - slope[1] * slope[2]
        guess[..., 0] -= (slope[3] * error[..., 0] - slope[1] * error[..., 1]) / determinant
        guess[..., 1] -= (slope[0] * error[..., 1] - slope[2] * error[..., 0]) / determinant
    raise LocalblurError(f"the distortion k1={camera.k1} k2={camera.k2} cannot be inverted; use smaller values")


def project(matrix: npt.NDArray[np.floating[Any]], points: Points) -> Points:
    """Positions through a 3x3 homography."""
    x, y = points[..., 0], points[..., 1]
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    return np.stack(
        [
            (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / depth,
            (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / depth,
        ],
        axis=-1,
    )


def homography(camera: CameraModel) -> npt.NDArray[np.float64]:
    """The camera's homography as an array, undistorted px -> scene px."""
    return np.array(camera.homography, np.float64).reshape(3, 3)


def rigid(angle_rad: float, shift: tuple[float, float], height: int, width: int) -> npt.NDArray[np.float64]:
    """A turn about the middle of the frame followed by a shift, 3x3."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]], [0, 0, 1.0]])
    middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1.0]])
    return np.asarray(middle @ turn @ np.linalg.inv(middle))


def vignetting(camera: CameraModel, points: Points, height: int, width: int) -> npt.NDArray[np.float32]:
    """Relative brightness at sensor positions, float32, shape (...)."""
    middle, half = _frame(height, width)
    strength, x, y = camera.vignetting
    offset = (points - middle) / half - (x, y)
    brightness: npt.NDArray[np.float32] = (1 + strength * (offset**2).sum(axis=-1)).astype(np.float32)
    return brightness


def response(camera: CameraModel, light_per_ms: float, exposure_ms: float) -> npt.NDArray[np.float64]:
    """3x3: scene radiance RGB to what the camera records, in full scales above black."""
    level = light_per_ms * exposure_ms * camera.transmittance * camera.amplification
    return np.asarray(
        level * np.diag(camera.channel_gain) @ np.array(camera.crosstalk, np.float64).reshape(3, 3), np.float64
    )


def _frame(height: int, width: int) -> tuple[npt.NDArray[np.float64], float]:
    return np.array([(width - 1) / 2, (height - 1) / 2]), float(np.hypot(width, height) / 2)


def _distortion(
    camera: CameraModel, points: Points, *, with_slope: bool
) -> tuple[Points, tuple[npt.NDArray[np.float64], ...]]:
    """Brown-Conrady in normalised coordinates, and its derivatives (dx/dx, dx/dy, dy/dx, dy/dy)."""
    x, y = points[..., 0], points[..., 1]
    square = x * x + y * y
    radial = 1 + square * (camera.k1 + camera.k2 * square)
    moved = np.stack(
        [
            x * radial + 2 * camera.p1 * x * y + camera.p2 * (square + 2 * x * x),
            y * radial + camera.p1 * (square + 2 * y * y) + 2 * camera.p2 * x * y,
        ],
        axis=-1,
    )
    if not with_slope:
        return moved, ()
    growth = 2 * camera.k1 + 4 * camera.k2 * square
    mixed = growth * x * y + 2 * camera.p1 * x + 2 * camera.p2 * y
    return moved, (
        radial + growth * x * x + 2 * camera.p1 * y + 6 * camera.p2 * x,
        mixed,
        mixed,
        radial + growth * y * y + 6 * camera.p1 * y + 2 * camera.p2 * x,
    )

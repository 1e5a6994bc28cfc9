"""PSNR after aligning a restored picture to its sharp one, as some benchmarks report it: for comparison only.

Two habits of the literature. With a homography: one gain for the brightness, OpenCV's ECC with 100 iterations on grey
values, one cubic warp, and the error over the pixels for which the warp had data (RealBlur), or over the whole frame
with the others counted as right (ReLoBlur's script). With a translation: the same after a shift by phase correlation,
the habit of benchmarks whose pairs differ by a shift only.

Aligning hides what a network did to geometry and brightness, so the estimated shift and gain stand beside the number.

Reference: Rim et al., "Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms", ECCV 2020;
Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", PAMI 2008.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

AlignmentModel = Literal["homography", "translation"]

_ITERATIONS, _EPSILON, _FILTER_PX = 100, 0, 5


@dataclass(frozen=True)
class AlignedPsnr:
    """PSNR in dB of values in [0, 1], before and after alignment.

    Attributes:
        plain_db: without any alignment.
        masked_db: aligned, over the pixels with data (the RealBlur way).
        frame_db: aligned, over all pixels, those without data counted as right (the ReLoBlur way).
        shift_px: mean distance by which the alignment moved the picture.
        gain: brightness factor it applied.
        converged: False if no alignment was found; then only the gain was applied.
    """

    plain_db: float
    masked_db: float
    frame_db: float
    shift_px: float
    gain: float
    converged: bool


def aligned_psnr(restored: FloatArray, sharp: FloatArray, model: AlignmentModel = "homography") -> AlignedPsnr:
    """Align `restored` to `sharp` and compare.

    Args:
        restored, sharp: sRGB-coded RGB in [0, 1], float32, shape (H, W, 3).
        model: how the restored picture may be moved.

    Raises:
        LocalblurError: if the shapes differ or are no RGB pictures.
    """
    if restored.shape != sharp.shape or restored.ndim != 3 or restored.shape[2] != 3:
        raise LocalblurError(f"aligned PSNR compares RGB pictures of one size, got {restored.shape} and {sharp.shape}")
    restored, sharp = (np.ascontiguousarray(image, np.float32) for image in (restored, sharp))
    power = float(np.vdot(restored, restored))
    gain = float(np.vdot(sharp, restored)) / power if power > 0 else 1.0
    matched = np.float32(gain) * restored
    estimate = _homography if model == "homography" else _translation
    matrix = estimate(sharp, matched)
    converged = matrix is not None
    if matrix is None:
        matrix = np.eye(3)
    size = sharp.shape[1], sharp.shape[0]
    moved = cv2.warpPerspective(
        matched, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    whole = np.ones(sharp.shape[:2], np.uint8)
    known = cv2.warpPerspective(whole, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    error = (moved - sharp)[known].astype(np.float64) ** 2
    return AlignedPsnr(
        plain_db=_decibel(float(np.mean((restored - sharp).astype(np.float64) ** 2))),
        masked_db=_decibel(float(error.mean())) if known.any() else float("nan"),
        frame_db=_decibel(float(error.sum()) / sharp.size) if known.any() else float("nan"),
        shift_px=_mean_shift_px(matrix, *size),
        gain=gain,
        converged=converged,
    )


def _homography(sharp: FloatArray, restored: FloatArray) -> npt.NDArray[np.float64] | None:
    """Positions in `restored` of the pixels of `sharp`, 3x3; None if ECC finds none."""
    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (sharp, restored))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, _EPSILON)
    start = np.eye(3, dtype=np.float32)
    try:
        _, matrix = cv2.findTransformECC(first, second, start, cv2.MOTION_HOMOGRAPHY, criteria, None, _FILTER_PX)
    except cv2.error:  # "iterations do not converge", and pictures without any contrast
        return None
    return np.asarray(matrix, np.float64) if np.isfinite(matrix).all() else None


def _translation(sharp: FloatArray, restored: FloatArray) -> npt.NDArray[np.float64] | None:
    """The same as a shift, by phase correlation."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (sharp, restored)]
    if min(image.std() for image in grey) < 1e-6:
        return None
    window = cv2.createHanningWindow((sharp.shape[1], sharp.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(grey[0] - grey[0].mean(), grey[1] - grey[1].mean(), window)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) if np.isfinite([x, y]).all() else None


def _mean_shift_px(matrix: npt.NDArray[np.float64], width: int, height: int) -> float:
    x, y = np.meshgrid(np.linspace(0, width - 1, 17), np.linspace(0, height - 1, 13))
    points = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
    return float(np.hypot(points[..., 0] / points[..., 2] - x, points[..., 1] / points[..., 2] - y).mean())


def _decibel(error: float) -> float:
    return float(-10 * np.log10(error)) if error > 0 else float("inf")

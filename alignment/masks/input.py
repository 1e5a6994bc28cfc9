"""What mask methods are given: pictures of any accepted type as levels, and the frames of a scene one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

MINIMUM_SIDE_PX = 16
WORK_WIDTH_PX = 1100
"""Shapes are worked out on masks at most this wide: their edges are blurred over more than a pixel there."""


@dataclass(frozen=True)
class PairLevels:
    """One pair as float32 levels 0..255, sRGB-coded, (H, W, 3), and where there is data, (H, W)."""

    blurred: FloatArray
    sharp: FloatArray
    usable: BoolArray


@dataclass(frozen=True)
class SceneFrames:
    """The pairs of one scene, read one at a time.

    Attributes:
        count: number of pairs.
        read: gives pair 0..count-1; may raise a `LocalblurError`, then the scene does without it.
    """

    count: int
    read: Callable[[int], PairLevels]


def pair_levels(
    blurred: npt.NDArray[Any], sharp: npt.NDArray[Any], valid: npt.NDArray[Any] | None = None
) -> PairLevels:
    """Check a pair and convert it.

    Args:
        blurred, sharp: (H, W, 3), sRGB-coded: uint8, uint16, or float in [0, 1].
        valid: (H, W) bool; None for everywhere.

    Raises:
        LocalblurError: if shapes or types disagree, or values are NaN or out of range.
    """
    levels = _levels(blurred, "blurred"), _levels(sharp, "sharp")
    if levels[0].shape != levels[1].shape:
        raise LocalblurError(f"blurred is {blurred.shape} but sharp is {sharp.shape}; a pair has one size")
    if valid is None:
        return PairLevels(*levels, np.ones(blurred.shape[:2], np.bool_))
    if valid.shape != blurred.shape[:2] or valid.dtype != np.bool_:
        raise LocalblurError(f"valid must be {blurred.shape[:2]} bool, got {valid.shape} {valid.dtype}")
    # what lies outside the valid area must not reach into it through filters
    levels[0][~valid] = levels[1][~valid]
    return PairLevels(*levels, valid)


def work_size(height: int, width: int, widest: int = WORK_WIDTH_PX) -> tuple[int, int]:
    """(width, height) of a picture reduced by the smallest whole factor that makes it at most `widest` wide."""
    factor = max(1, -(-width // widest))
    return max(1, round(width / factor)), max(1, round(height / factor))


def reduced(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """An image, a map or (as float32) a mask, averaged down to `size` (width, height)."""
    source = image.astype(np.float32) if image.dtype == np.bool_ else image
    if (image.shape[1], image.shape[0]) == size:
        return source
    return np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA))


def reduced_pair(pair: PairLevels, size: tuple[int, int]) -> PairLevels:
    """A pair averaged down; usable where nearly all of a pixel was."""
    if (pair.usable.shape[1], pair.usable.shape[0]) == size:
        return pair
    return PairLevels(reduced(pair.blurred, size), reduced(pair.sharp, size), reduced(pair.usable, size) > 0.99)


def _levels(image: npt.NDArray[Any], name: str) -> FloatArray:
    """Any accepted image as float32 levels 0..255."""
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < MINIMUM_SIDE_PX:
        raise LocalblurError(f"{name} must be (H, W, 3) with sides of at least {MINIMUM_SIDE_PX} px, got {image.shape}")
    if image.dtype == np.uint8:
        return image.astype(np.float32)
    if image.dtype == np.uint16:
        return image.astype(np.float32) * np.float32(255 / 65535)
    if image.dtype.kind != "f":
        raise LocalblurError(f"{name} must be uint8, uint16 or float in [0, 1], got {image.dtype}")
    if not np.isfinite(image).all():
        raise LocalblurError(f"{name} holds NaN or infinite values; no blur mask can be made from it")
    if image.min() < -0.5 or image.max() > 1.5:
        raise LocalblurError(
            f"{name} spans {image.min():.3g}..{image.max():.3g}; float images must be sRGB-coded in [0, 1]"
        )
    return image.astype(np.float32) * np.float32(255)

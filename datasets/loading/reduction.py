"""Patches that show more of a picture, made smaller: what a network sees that first looks at it from afar."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import check_encoding, from_unit, srgb_decode, to_coded
from localblur.datasets.loading.augmentation import Augmentation


def draw_reduction(settings: Augmentation, most: int, random: np.random.Generator) -> int:
    """How many times smaller a patch is shown: 1, or a whole number from 2 up to what `settings` and `most` allow."""
    if not settings.reduced or random.random() >= settings.reduced:
        return 1
    most = min(most, settings.most_reduced)
    return int(random.integers(2, most, endpoint=True)) if most > 1 else 1


def reduced_picture(patch: npt.NDArray[Any], times: int, encoding: str) -> npt.NDArray[Any]:
    """Means of `times` x `times` pixels of (H, W, 3), of coded values as `deblur` makes a picture smaller.

    Args:
        patch: uint8 or uint16.
        encoding: how it is coded, `srgb` or `linear`; the result is coded alike.
    """
    if times == 1:
        return patch
    height, width = (max(1, length // times) for length in patch.shape[:2])
    linear = check_encoding(encoding) == "linear"
    coded = to_coded(patch, encoding) if linear else patch
    result: npt.NDArray[Any] = cv2.resize(coded, (width, height), interpolation=cv2.INTER_AREA)
    return from_unit(srgb_decode(result), 8 * patch.dtype.itemsize) if linear else result


def reduced_mask(mask: npt.NDArray[np.uint8], times: int) -> npt.NDArray[np.uint8]:
    """The largest value of `times` x `times` pixels of (H, W): what moved, however little of it, must be found."""
    if times == 1:
        return mask
    height, width = (length // times for length in mask.shape)
    blocks = mask[: height * times, : width * times].reshape(height, times, width, times)
    result: npt.NDArray[np.uint8] = blocks.max((1, 3))
    return result

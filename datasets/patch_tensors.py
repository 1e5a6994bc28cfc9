"""Stored pixels of a patch as training wants them: turned, coded, planes in [0, 1]. Made for speed, checked for bits.

The result equals `to_tensor(turn(to_coded(patch, encoding), way))` bit for bit; it comes several times faster because
pixels are turned while they are still small integers, and because 16-bit linear light is coded through a table.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import check_encoding, srgb_encode, to_unit
from localblur.datasets.pair import binary_mask

if TYPE_CHECKING:
    import torch

_QUARTER_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


def picture_tensor(patch: npt.NDArray[Any], encoding: str, way: int = 0) -> "torch.Tensor":
    """A patch as float32 (3, p, p), sRGB-coded, in [0, 1].

    Args:
        patch: (p, p, 3), uint8 or uint16.
        encoding: how it is coded, `srgb` or `linear`.
        way: 0..7, see `patch_choice.turn`.
    """
    import torch

    table = _table(patch.dtype.str, check_encoding(encoding))
    planes = cv2.split(turned(patch, way))
    result = np.empty((len(planes), *planes[0].shape), np.float32)
    for plane, target in zip(planes, result, strict=True):
        if encoding == "srgb":
            np.multiply(plane, table[1], out=target)  # as `to_unit` does, and faster than looking up
        else:
            np.take(table, plane, out=target, mode="clip")
    return torch.from_numpy(result)


def mask_tensor(mask: npt.NDArray[np.uint8], way: int = 0) -> "torch.Tensor":
    """A soft mask, uint8 (p, p), as float32 (1, p, p): 1 where blurred, else 0."""
    import torch

    return torch.from_numpy(binary_mask(turned(mask, way)).astype(np.float32)[None])


def turned(image: npt.NDArray[Any], way: int) -> npt.NDArray[Any]:
    """What `patch_choice.turn` does, for uint8 or uint16 (p, p[, 3]), contiguous."""
    result: npt.NDArray[Any] = np.ascontiguousarray(image)
    if way % 2:
        result = cv2.flip(result, 1)
    quarter_turn = _QUARTER_TURNS[way // 2]
    return result if quarter_turn is None else cv2.rotate(result, quarter_turn)


@lru_cache(maxsize=4)
def _table(dtype: str, encoding: str) -> npt.NDArray[np.float32]:
    """The sRGB-coded value of every stored value."""
    kind = np.dtype(dtype)
    unit = to_unit(np.arange(np.iinfo(kind).max + 1, dtype=kind))
    return srgb_encode(unit) if encoding == "linear" else unit

"""Stored pixels of a patch as training wants them: turned, coded, planes in [0, 1]. Made for speed, checked for bits.

The result equals `to_tensor(turn(to_coded(patch, encoding), way))` bit for bit; it comes several times faster because
pixels are turned while they are still small integers, and because linear light is coded, and exposure changed, through
a table.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import check_encoding, srgb_encode, to_coded, to_linear
from localblur.datasets.loading.augmentation import Change
from localblur.datasets.pair import binary_mask
from localblur.datasets.storage.schema import StoreHeader

if TYPE_CHECKING:
    import torch

UNCHANGED = Change()
_QUARTER_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


def picture_tensor(patch: npt.NDArray[Any], encoding: str, change: Change = UNCHANGED) -> "torch.Tensor":
    """A patch as float32 (3, p, p), sRGB-coded, in [0, 1].

    Args:
        patch: (p, p, 3), uint8 or uint16.
        encoding: how it is coded, `srgb` or `linear`.
        change: how it is turned, its channels ordered and its exposure changed; noise is left to `add_noise`.
    """
    import torch

    plain = check_encoding(encoding) == "srgb" and change.gain == 1
    table = _table(patch.dtype.str, encoding) if change.gain == 1 else _coded_values(patch.dtype, encoding, change.gain)
    planes = cv2.split(turned(patch, change.way))
    result = np.empty((len(planes), *planes[0].shape), np.float32)
    for channel, target in zip(change.channels, result, strict=True):
        if plain:
            np.multiply(planes[channel], table[1], out=target)  # as `to_unit` does, and faster than looking up
        else:
            np.take(table, planes[channel], out=target, mode="clip")
    return torch.from_numpy(result)


def add_noise(picture: "torch.Tensor", sigma: float, random: np.random.Generator) -> "torch.Tensor":
    """`picture` with Gaussian noise of standard deviation `sigma`, clipped to [0, 1]."""
    import torch

    noise = random.standard_normal(tuple(picture.shape), dtype=np.float32)
    return (picture + sigma * torch.from_numpy(noise)).clamp_(0, 1)


def mask_tensor(mask: npt.NDArray[np.uint8], way: int = 0) -> "torch.Tensor":
    """A soft mask, uint8 (p, p), as float32 (1, p, p): 1 where blurred, else 0."""
    import torch

    return torch.from_numpy(binary_mask(turned(mask, way)).astype(np.float32)[None])


def note_change(change: Change, header: StoreHeader, random: np.random.Generator) -> dict[str, "torch.Tensor"]:
    """What `patch_batches.finish_batch` has to know of a sample, as tensors a loader can stack; noise gets a seed."""
    import torch

    return {
        "way": torch.tensor(change.way),
        "channels": torch.tensor(change.channels),
        "gain": torch.tensor(change.gain, dtype=torch.float32),
        "noise": torch.tensor(change.noise, dtype=torch.float32),
        "noise_seed": torch.tensor(int(random.integers(1 << 62)) if change.noise else 0),
        "linear": torch.tensor(header.encoding == "linear"),
        "full_scale": torch.tensor((1 << header.bit_depth) - 1, dtype=torch.float32),
    }


def stored_tensor(patch: npt.NDArray[Any], wide: bool) -> "torch.Tensor":
    """A patch as stored, (p, p, 3) or (p, p), as planes (C, p, p): uint8, or int32 if `wide`, which holds 16 bits."""
    import torch

    planes = patch[None] if patch.ndim == 2 else np.moveaxis(patch, 2, 0)
    return torch.from_numpy(np.ascontiguousarray(planes, np.int32 if wide else np.uint8))


def turned(image: npt.NDArray[Any], way: int) -> npt.NDArray[Any]:
    """What `patch_choice.turn` does, for uint8 or uint16 (p, p[, 3]), contiguous."""
    result: npt.NDArray[Any] = np.ascontiguousarray(image)
    if way % 2:
        result = cv2.flip(result, 1)
    quarter_turn = _QUARTER_TURNS[way // 2]
    return result if quarter_turn is None else cv2.rotate(result, quarter_turn)


@lru_cache(maxsize=4)
def _table(dtype: str, encoding: str) -> npt.NDArray[np.float32]:
    return _coded_values(np.dtype(dtype), encoding, 1.0)


def _coded_values(kind: np.dtype[Any], encoding: str, gain: float) -> npt.NDArray[np.float32]:
    """The sRGB-coded value of every stored value, with `gain` times its light."""
    stored = np.arange(np.iinfo(kind).max + 1, dtype=kind)
    return to_coded(stored, encoding) if gain == 1 else srgb_encode(gain * to_linear(stored, encoding))

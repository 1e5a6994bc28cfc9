"""What every network is: a module from a blurred image to restored images, coarse to fine."""

from typing import NamedTuple

import torch
from torch import nn


class Restored(NamedTuple):
    """What a network returns.

    Attributes:
        images: restored images (B, 3, h, w), coarse to fine; the last has the input's size. Not clamped to [0, 1].
        gates: blur gates (B, 1, h, w) in [0, 1] of the same scales, empty for networks without gates.
    """

    images: list[torch.Tensor]
    gates: list[torch.Tensor]


class RestorationNetwork(nn.Module):
    """Base of all networks: `forward` takes (B, 3, H, W), sRGB-coded in [0, 1], and returns `Restored`.

    Attributes:
        size_multiple: H and W must be multiples of this; callers pad (`training/inference/restore.py`).
            Windows of a large image begin at its multiples.
        pads_itself: `forward` takes any size and pads as published; only windows need `size_multiple` then.
        global_statistics: some layer averages over the whole image, or over more than `margin_px`, so that windows give
            another result than the image at once.
        margin_px: context a window needs on each side before more of it changes the result by less than a level of 255.
    """

    size_multiple: int = 1
    pads_itself: bool = False
    global_statistics: bool = False
    margin_px: int = 64

    def forward(self, image: torch.Tensor) -> Restored:
        raise TypeError(f"{type(self).__name__} must define forward")

    def find_blur(self, image: torch.Tensor) -> torch.Tensor:
        """Where `image`, as `forward` takes it, is blurred: the gate of the coarsest scale that has one, (B, 1, h, w).

        Networks may compute it without the rest of their work.

        Raises:
            ValueError: if the network has no gate.
        """
        gates = self(image).gates
        if not gates:
            raise ValueError(f"{type(self).__name__} has no gate")
        coarsest: torch.Tensor = gates[0]
        return coarsest

    def check_size(self, image: torch.Tensor) -> None:
        """Raise a ValueError unless `image` is (B, 3, H, W) of a size that `forward` takes."""
        multiple = 1 if self.pads_itself else self.size_multiple
        height, width = image.shape[-2:]
        if image.ndim != 4 or image.shape[1] != 3 or height % multiple or width % multiple:
            sizes = f" with H and W multiples of {multiple}; pad the image first" if multiple > 1 else ""
            raise ValueError(f"{type(self).__name__} got {tuple(image.shape)}, needs (B, 3, H, W){sizes}")


def parameter_count(module: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in module.parameters())

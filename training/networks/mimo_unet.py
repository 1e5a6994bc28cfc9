"""MIMO-UNet and MIMO-UNet+: all scales of the image in and out of one U-Net.

Reference: Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021.
"""

import torch
from pydantic import Field

from localblur.common.settings import Settings
from localblur.training.networks.base import Restored
from localblur.training.networks.mimo_layers import MIMOTrunk


class MIMOUNetOptions(Settings):
    """MIMO-UNet as published.

    Attributes:
        width: channels at full size.
        num_res: residual blocks per scale and direction.
        dropout: channel dropout on the fused skip features, in training only.
    """

    width: int = Field(default=32, ge=8, multiple_of=4)
    num_res: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class MIMOUNetPlusOptions(MIMOUNetOptions):
    """MIMO-UNet+ as published: deeper, with dropout."""

    num_res: int = Field(default=20, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class MIMOUNet(MIMOTrunk):
    """MIMO-UNet; state-dict keys are those of the published checkpoints."""

    def __init__(self, options: MIMOUNetOptions) -> None:
        super().__init__(width=options.width, num_res=options.num_res, head_channels=3, dropout=options.dropout)

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 4, at 1/4, 1/2 and full size."""
        inputs, heads = self.predict(image)
        return Restored([scaled + head for scaled, head in zip(inputs, heads, strict=True)], [])

"""A plain U-Net autoencoder of 8.60 M parameters, as Keras computes it: the simplest baseline.

Unlike the other networks it predicts the picture itself, without a path around all layers.
"""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from localblur.common.settings import Settings
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.full_precision import full_precision

# those of Keras, where momentum counts the other way round
_EPS, _MOMENTUM = 1e-3, 0.01


class UNetAutoencoderOptions(Settings):
    """The published network.

    Attributes:
        width: channels at half size, doubled at 1/4, 1/8 and 1/16.
    """

    width: int = Field(default=64, ge=1)


class Down(nn.Module):
    """Convolution, normalisation and ReLU; a stride of 2 pads at the bottom and at the right only, as Keras does."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.border = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride)
        self.norm = nn.BatchNorm2d(outputs, eps=_EPS, momentum=_MOMENTUM)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(F.pad(features, self.border))))


class Up(nn.Module):
    """Transposed convolution to twice the size, normalisation and ReLU; cut at the bottom and at the right only."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2)
        self.norm = nn.BatchNorm2d(outputs, eps=_EPS, momentum=_MOMENTUM)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(features)[..., :-1, :-1]))


class UNetAutoencoder(RestorationNetwork):
    """Four halvings and doublings, with skip connections at 1/8, 1/4 and 1/2."""

    size_multiple = 16

    def __init__(self, options: UNetAutoencoderOptions) -> None:
        super().__init__()
        w2, w4, w8, w16 = (options.width * factor for factor in (1, 2, 4, 8))
        self.encoder = nn.ModuleList(
            [Down(3, w2, stride=2), Down(w2, w4, stride=2), Down(w4, w8, stride=2), Down(w8, w16, stride=2)]
        )
        self.bottleneck = Down(w16, w16, stride=1)
        self.decoder = nn.ModuleList([Up(w16, w16), Up(w16 + w8, w8), Up(w8 + w4, w4), Up(w4 + w2, w2)])
        self.head = nn.ConvTranspose2d(w2, 3, 3, padding=1)
        self.apply(_glorot_start)

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 16."""
        self.check_size(image)
        features = image
        skips: list[torch.Tensor] = []
        for down in self.encoder:
            features = down(features)
            skips.append(features)
        features = self.decoder[0](self.bottleneck(skips.pop()))
        for up in self.decoder[1:]:
            features = up(torch.cat([features, skips.pop()], dim=1))
        with full_precision(image.device):
            return Restored([self.head(features.float())], [])


def _glorot_start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

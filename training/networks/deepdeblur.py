"""DeepDeblur: the multi-scale residual network of the GoPro paper, with K = 1, 2 or 3 scales.

Attribute names are those of the published PyTorch checkpoints.

Reference: Nah et al., "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017.
"""

import torch
from pydantic import Field
from torch import nn

from localblur.common.settings import Settings
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.full_precision import full_precision
from localblur.training.networks.pyramid import pyramid

_KERNEL = 5


class DeepDeblurOptions(Settings):
    """The published network (K = 3).

    Attributes:
        scales: how many sizes the picture is restored at, each half the one before (the paper's K).
        features: channels inside.
        num_res: residual blocks per scale.
    """

    scales: int = Field(default=3, ge=1, le=3)
    features: int = Field(default=64, ge=1)
    num_res: int = Field(default=19, ge=1)


class DeepDeblurK2Options(DeepDeblurOptions):
    """Full and half size."""

    scales: int = Field(default=2, ge=1, le=3)


class DeepDeblurK1Options(DeepDeblurOptions):
    """Full size only."""

    scales: int = Field(default=1, ge=1, le=3)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, _KERNEL, padding=_KERNEL // 2)


class ResidualBlock(nn.Module):
    """Two convolutions around an identity; no ReLU after the sum."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(features, features), nn.ReLU(inplace=True), _convolution(features, features)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.body(features)
        return result


class ScaleNetwork(nn.Module):
    """The network of one scale: its picture, and above the coarsest the enlarged result below, to a picture."""

    def __init__(self, inputs: int, features: int, num_res: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, features),
            *(ResidualBlock(features) for _ in range(num_res)),
            _convolution(features, 3),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.body[:-1](image)
        with full_precision(image.device):
            result: torch.Tensor = self.body[-1](features.float())
        return result


class Enlarge(nn.Module):
    """A coarser result at twice its size, by sub-pixel convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.uppath = nn.Sequential(_convolution(3, 12), nn.PixelShuffle(2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with full_precision(image.device):
            result: torch.Tensor = self.uppath(image)
        return result


class DeepDeblur(RestorationNetwork):
    """The published `MSResNet`: each scale predicts the picture itself, there is no path around all layers.

    Works on pictures in [-127.5, 127.5], as its published weights do; the pyramid is made inside.
    """

    def __init__(self, options: DeepDeblurOptions) -> None:
        super().__init__()
        self.scales = options.scales
        self.size_multiple = 2 ** (self.scales - 1)
        coarsest = self.scales - 1
        # entry 0 is full size; what enlarges the result of scale s stands at s, so entry 0 does nothing
        self.body_models = nn.ModuleList(
            ScaleNetwork(3 if scale == coarsest else 6, options.features, options.num_res)
            for scale in range(self.scales)
        )
        self.conv_end_models = nn.ModuleList([nn.Identity(), *(Enlarge() for _ in range(coarsest))])

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 2 ** (scales - 1), at every scale."""
        self.check_size(image)
        levels = pyramid(255 * image - 127.5, self.scales)
        restored: list[torch.Tensor] = []
        seen = levels[-1]
        for scale in reversed(range(self.scales)):
            restored.append(self.body_models[scale](seen))
            if scale:
                seen = torch.cat([levels[scale - 1], self.conv_end_models[scale](restored[-1])], dim=1)
        return Restored([(level + 127.5) / 255 for level in restored], [])

"""DeblurGAN: a residual generator with instance normalisation.

Two convolutions per block, as in the paper and in the published weights; later versions of the published code dropped
one. Normalisation uses the statistics of the image at hand, in training and at test, as the published test script does:
the running statistics in published weights were never used.

Reference: Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR 2018.
"""

import torch
from pydantic import Field
from torch import nn

from localblur.common.settings import Settings
from localblur.training.networks.base import RestorationNetwork, Restored


class DeblurGANOptions(Settings):
    """The published generator.

    Attributes:
        width: channels at full size.
        num_res: residual blocks at 1/4 size.
        dropout: in every block, in training only.
    """

    width: int = Field(default=64, ge=1)
    num_res: int = Field(default=9, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)


def _normalised(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]


class ResidualBlock(nn.Module):
    """Two normalised convolutions with reflected borders around an identity."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normalised(nn.Conv2d(channels, channels, 3), channels),
            nn.Dropout(dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.conv_block(features)
        return result


class DeblurGAN(RestorationNetwork):
    """The generator; positions in `model` are those of the published checkpoints. Works on pictures in [-1, 1]."""

    size_multiple = 4
    global_statistics = True

    def __init__(self, options: DeblurGANOptions) -> None:
        super().__init__()
        fine, middle, coarse = options.width, 2 * options.width, 4 * options.width
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normalised(nn.Conv2d(3, fine, 7), fine),
            *_normalised(nn.Conv2d(fine, middle, 3, stride=2, padding=1), middle),
            *_normalised(nn.Conv2d(middle, coarse, 3, stride=2, padding=1), coarse),
            *(ResidualBlock(coarse, options.dropout) for _ in range(options.num_res)),
            *_normalised(nn.ConvTranspose2d(coarse, middle, 3, stride=2, padding=1, output_padding=1), middle),
            *_normalised(nn.ConvTranspose2d(middle, fine, 3, stride=2, padding=1, output_padding=1), fine),
            nn.ReflectionPad2d(3),
            nn.Conv2d(fine, 3, 7),
            nn.Tanh(),
        )
        self.apply(normal_start)

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 4; the result is clamped to [0, 1], as published."""
        self.check_size(image)
        signed = 2 * image - 1
        residual = self.model(signed).float()
        return Restored([((signed + residual).clamp(-1, 1) + 1) / 2], [])


class PatchCritic(nn.Module):
    """DeblurGAN's critic (a PatchGAN): scores (B, 1, h, w), not bounded, of (B, 3, H, W) pictures in [0, 1].

    Positions in `model` are those of the published checkpoints. Instance statistics, as in the generator.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=2), nn.LeakyReLU(0.2, inplace=True)]
        for inputs, outputs, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(inputs * width, outputs * width, 4, stride=stride, padding=2),
                nn.InstanceNorm2d(outputs * width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=2))
        self.apply(normal_start)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores; higher means taken for sharper."""
        result: torch.Tensor = self.model(2 * image - 1)
        return result


def normal_start(module: nn.Module) -> None:
    """Fresh weights as published: normal with a standard deviation of 0.02, no bias."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

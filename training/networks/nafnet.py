"""NAFNet: a U-Net without activation functions, and with its averages taken locally on large images.

Attribute names are those of the published checkpoints.

References: Chen et al., "Simple Baselines for Image Restoration", ECCV 2022; for the local averages (TLC), Chu et al.,
"Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022.
"""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from localblur.common.settings import AtLeast0, Settings
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.channel_norm import ChannelNorm

_LEVELS = 4


class NAFNetOptions(Settings):
    """The published network for GoPro.

    Attributes:
        width: channels at full size, doubled at each of four levels below it.
        encoder_blocks, decoder_blocks: blocks per level, full size to 1/8 and back.
        middle_blocks: blocks at 1/16 size.
        local_pooling: at test, average channels over windows of 1.5 times `train_patch_px` instead of the whole image,
            as the published figures were measured; the network saw no more than a patch in training.
        train_patch_px: side of the training patches.
    """

    width: int = Field(default=32, ge=1)
    encoder_blocks: tuple[AtLeast0, AtLeast0, AtLeast0, AtLeast0] = (1, 1, 1, 28)
    middle_blocks: int = Field(default=1, ge=0)
    decoder_blocks: tuple[AtLeast0, AtLeast0, AtLeast0, AtLeast0] = (1, 1, 1, 1)
    local_pooling: bool = True
    train_patch_px: int = Field(default=256, ge=16, multiple_of=16)


class NAFNetW64Options(NAFNetOptions):
    """Twice as wide."""

    width: int = Field(default=64, ge=1)


def window_mean(features: torch.Tensor, side: int) -> torch.Tensor:
    """The mean of a `side` x `side` window around every pixel, (B, C, H, W) float32.

    Windows stay inside the image: near its border a pixel takes the nearest window that fits, and along an axis shorter
    than `side` all of it. Running sums along each axis in turn keep float32 exact enough; one running sum over both
    would not. No decision depends on the size: an exported network would keep the example's.
    """
    for axis in (-1, -2):
        length = features.shape[axis]
        sums = F.pad(features.float().cumsum(dim=axis), (1, 0) if axis == -1 else (0, 0, 1, 0))
        first = torch.arange(length, device=features.device) - (side - 1) // 2
        first = first.clamp(max=length - side).clamp(min=0)
        last = (first + side).clamp(max=length)
        shape = (-1,) if axis == -1 else (-1, 1)
        features = (sums.index_select(axis, last) - sums.index_select(axis, first)) / (last - first).view(shape)
    return features


class ChannelMean(nn.Module):
    """Averages over the image, or over a window around each pixel.

    Attributes:
        window_px: side of the window in pixels of the features, 0 for the image.
    """

    def __init__(self, window_px: int) -> None:
        super().__init__()
        self.window_px = window_px

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.training or self.window_px == 0:
            return features.mean(dim=(-2, -1), keepdim=True)
        if not torch.compiler.is_exporting() and self.window_px >= max(features.shape[-2:]):
            return features.mean(dim=(-2, -1), keepdim=True)
        return window_mean(features, self.window_px).to(features.dtype)


def _gate(features: torch.Tensor) -> torch.Tensor:
    """The product of one half of the channels with the other (the paper's SimpleGate)."""
    a, b = features.chunk(2, dim=1)
    return a * b


class NAFBlock(nn.Module):
    """A gated depthwise convolution with channel attention, and a gated feed-forward layer."""

    def __init__(self, channels: int, window_px: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(ChannelMean(window_px), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1 = ChannelNorm(channels, 1e-6)
        self.norm2 = ChannelNorm(channels, 1e-6)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = _gate(self.conv2(self.conv1(self.norm1(features))))
        features = features + self.beta * self.conv3(hidden * self.sca(hidden))
        result: torch.Tensor = features + self.gamma * self.conv5(_gate(self.conv4(self.norm2(features))))
        return result


class NAFNet(RestorationNetwork):
    """The published network; takes pictures of any size (padded with zeros to 1/16 inside, as published)."""

    size_multiple = 2**_LEVELS
    pads_itself = True
    # local averages, too, reach over 1.5 training patches: further than any margin
    global_statistics = True

    def __init__(self, options: NAFNetOptions) -> None:
        super().__init__()
        window_px = 3 * options.train_patch_px // 2 if options.local_pooling else 0
        widths = [options.width * 2**level for level in range(_LEVELS + 1)]

        def blocks(level: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(NAFBlock(widths[level], window_px >> level) for _ in range(count)))

        self.intro = nn.Conv2d(3, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(blocks(level, count) for level, count in enumerate(options.encoder_blocks))
        self.downs = nn.ModuleList(nn.Conv2d(width, 2 * width, 2, stride=2) for width in widths[:-1])
        self.middle_blks = blocks(_LEVELS, options.middle_blocks)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)) for width in widths[:0:-1]
        )
        self.decoders = nn.ModuleList(
            blocks(level, options.decoder_blocks[_LEVELS - 1 - level]) for level in reversed(range(_LEVELS))
        )
        self.ending = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) of any size."""
        self.check_size(image)
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % self.size_multiple, 0, -height % self.size_multiple))
        features = self.intro(padded)
        skips: list[torch.Tensor] = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(features))
            features = down(skips[-1])
        features = self.middle_blks(features)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(up(features) + skips.pop())
        return Restored([(padded + self.ending(features))[..., :height, :width]], [])

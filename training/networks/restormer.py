"""Restormer: a transformer whose attention is between channels, over the whole image.

Attribute names are those of the published checkpoints.

Reference: Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022.
"""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from localblur.common.settings import AtLeast0, Settings
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.channel_norm import ChannelNorm

_HEADS = (1, 2, 4, 8)


class RestormerOptions(Settings):
    """The published motion-deblurring network.

    Attributes:
        width: channels at full size; a multiple of 8, one share for every attention head of the coarsest level.
        blocks: transformer blocks per level, full size to 1/8; the first three again in the decoder.
        refinement_blocks: further blocks at full size, after the decoder.
        expansion: hidden channels of the feed-forward layers, as a multiple of their input.
    """

    width: int = Field(default=48, ge=8, multiple_of=8)
    blocks: tuple[AtLeast0, AtLeast0, AtLeast0, AtLeast0] = (4, 6, 6, 8)
    refinement_blocks: int = Field(default=4, ge=0)
    expansion: float = Field(default=2.66, ge=0.125)


class Norm(nn.Module):
    """The norm before attention and feed-forward layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = ChannelNorm(channels, 1e-5)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(features)
        return result


class ChannelAttention(nn.Module):
    """Attention between channels: which of them look alike over the image (the paper's MDTA)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        height, width = features.shape[-2:]
        split = self.qkv_dwconv(self.qkv(features)).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = split.unbind(1)  # (B, heads, channels per head, pixels) each
        alike = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).mT
        mixed = (alike * self.temperature).softmax(dim=-1).to(value.dtype) @ value
        result: torch.Tensor = self.project_out(mixed.flatten(1, 2).unflatten(-1, (height, width)))
        return result


class GatedFeedForward(nn.Module):
    """Feed-forward layer in which half of the hidden channels gate the others (the paper's GDFN)."""

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        gate, hidden = self.dwconv(self.project_in(features)).chunk(2, dim=1)
        result: torch.Tensor = self.project_out(F.gelu(gate) * hidden)
        return result


class TransformerBlock(nn.Module):
    """Attention and feed-forward layer, each normalised and around an identity."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = Norm(channels)
        self.attn = ChannelAttention(channels, heads)
        self.norm2 = Norm(channels)
        self.ffn = GatedFeedForward(channels, expansion)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = features + self.attn(self.norm1(features))
        result: torch.Tensor = features + self.ffn(self.norm2(features))
        return result


class PatchEmbedding(nn.Module):
    """The first convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 3, padding=1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.proj(image)
        return result


class Resize(nn.Module):
    """A convolution, then pixels to channels (half the size) or channels to pixels (twice the size)."""

    def __init__(self, channels: int, outputs: int, shuffle: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1, bias=False), shuffle)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(features)
        return result


def _down(channels: int) -> Resize:
    return Resize(channels, channels // 2, nn.PixelUnshuffle(2))


def _up(channels: int) -> Resize:
    return Resize(channels, 2 * channels, nn.PixelShuffle(2))


class Restormer(RestorationNetwork):
    """A U-Net of transformer blocks over four levels."""

    size_multiple = 8
    global_statistics = True

    def __init__(self, options: RestormerOptions) -> None:
        super().__init__()
        width = options.width

        def level(channels: int, heads: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(TransformerBlock(channels, heads, options.expansion) for _ in range(count)))

        self.patch_embed = PatchEmbedding(width)
        self.encoder_level1 = level(width, _HEADS[0], options.blocks[0])
        self.down1_2 = _down(width)
        self.encoder_level2 = level(2 * width, _HEADS[1], options.blocks[1])
        self.down2_3 = _down(2 * width)
        self.encoder_level3 = level(4 * width, _HEADS[2], options.blocks[2])
        self.down3_4 = _down(4 * width)
        self.latent = level(8 * width, _HEADS[3], options.blocks[3])
        self.up4_3 = _up(8 * width)
        self.reduce_chan_level3 = nn.Conv2d(8 * width, 4 * width, 1, bias=False)
        self.decoder_level3 = level(4 * width, _HEADS[2], options.blocks[2])
        self.up3_2 = _up(4 * width)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=False)
        self.decoder_level2 = level(2 * width, _HEADS[1], options.blocks[1])
        self.up2_1 = _up(2 * width)
        # at full size, skip and upsampled features stay side by side
        self.decoder_level1 = level(2 * width, _HEADS[0], options.blocks[0])
        self.refinement = level(2 * width, _HEADS[0], options.refinement_blocks)
        self.output = nn.Conv2d(2 * width, 3, 3, padding=1, bias=False)

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 8."""
        self.check_size(image)
        skip1 = self.encoder_level1(self.patch_embed(image))
        skip2 = self.encoder_level2(self.down1_2(skip1))
        skip3 = self.encoder_level3(self.down2_3(skip2))
        deepest = self.latent(self.down3_4(skip3))
        level3 = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(deepest), skip3], dim=1)))
        level2 = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(level3), skip2], dim=1)))
        level1 = self.decoder_level1(torch.cat([self.up2_1(level2), skip1], dim=1))
        return Restored([image + self.output(self.refinement(level1))], [])

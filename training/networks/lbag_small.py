"""A small network with LBAG's outputs: restored images and blur gates at three scales.

LBAG itself, made narrow, spends most of its time at full size and learns little there: a blur of 20 px is recognised
from afar. What decided the shape of this one is what it learns in the same processor time:
- Pixels go to channels at once, and all work is done at 1/2 to 1/16 size.
- Normalised blocks with a gated depthwise convolution (after NAFNet) instead of two dense convolutions: more is learnt,
  with half the parameters. Their channel attention is left out: it averages over the whole picture, so that a window of
  a picture would come out differently from the picture.

References: Li et al., AAAI 2023 (gates and scales); Chen et al., "Simple Baselines for Image Restoration", ECCV 2022
(blocks).
"""

from itertools import islice

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.channel_norm import ChannelNorm
from localblur.training.networks.gated import apply_gate, gated
from localblur.training.networks.lbag import LBAGOptions
from localblur.training.networks.mimo_layers import half

_LEVELS = 4
_HEAD = 4


class LBAGSmallOptions(LBAGOptions):
    """The network of 2.3 M parameters; options as those of LBAG, but for sizes.

    Attributes:
        width: channels at 1/2 size; twice as many at 1/4, four times at 1/8 and 1/16.
        num_res: blocks at 1/2 and 1/4 size on the way down, and on the way back.
        coarse_times: so many times as many at 1/8 and 1/16, where they cost less time than they learn.
    """

    width: int = Field(default=32, ge=4, multiple_of=4)
    num_res: int = Field(default=3, ge=1)
    coarse_times: int = Field(default=2, ge=1)
    clamp_gate: float = Field(default=0.0, ge=0, lt=1)
    gates_before_clamp: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    identity_start: bool = True


def _product(features: torch.Tensor) -> torch.Tensor:
    first, second = features.chunk(2, dim=1)
    return first * second


class GatedBlock(nn.Module):
    """A gated depthwise convolution, then a gated layer over channels, each around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_spatial = ChannelNorm(channels, 1e-6)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.spatial = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.merge = nn.Conv2d(channels, channels, 1)
        self.norm_channels = ChannelNorm(channels, 1e-6)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(channels, channels, 1)
        # small: twenty blocks in a row begin close to an identity
        self.spatial_scale = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))
        self.channel_scale = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = _product(self.spatial(self.widen(self.norm_spatial(features))))
        features = features + self.spatial_scale * self.merge(hidden)
        hidden = _product(self.expand(self.norm_channels(features)))
        result: torch.Tensor = features + self.channel_scale * self.narrow(hidden)
        return result


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(GatedBlock(channels) for _ in range(count)))


class LBAGSmall(RestorationNetwork):
    """Gated U-Net at half size. Heads predict four values per pixel of their scale: the gate, and a residual."""

    size_multiple = 2**_LEVELS
    margin_px = 176  # a trained one: 144 px leave up to 2.3 levels of difference, 176 px 0.1

    def __init__(self, options: LBAGSmallOptions) -> None:
        super().__init__()
        self.clamp_gate = options.clamp_gate
        self.gates_before_clamp = options.gates_before_clamp
        self.multiscale_gate = options.multiscale_gate
        fine, count = options.width, options.num_res
        widths = [fine, 2 * fine, 4 * fine, 4 * fine]
        counts = [count, count, options.coarse_times * count, options.coarse_times * count]
        levels = list(zip(widths, counts, strict=True))
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.begin = nn.Conv2d(12, fine, 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(*level) for level in levels)
        self.down = nn.ModuleList(nn.Conv2d(upper, lower, 2, stride=2) for upper, lower in steps)
        self.up = nn.ModuleList(nn.Conv2d(lower, 4 * upper, 1) for upper, lower in reversed(steps))
        self.dropout = nn.Dropout2d(options.dropout)
        self.decoder = nn.ModuleList(_blocks(*level) for level in reversed(levels[:-1]))
        # four predictions at each of the 2 x 2 pixels a feature stands for
        self.heads = nn.ModuleList(
            nn.Conv2d(width, 4 * _HEAD, 3, padding=1) for width in reversed(widths[: _LEVELS - 1])
        )
        if options.identity_start:
            for head in self.heads:
                for values in head.parameters():
                    nn.init.zeros_(values[4:])  # the first four become the gate and keep their random start

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 16, at 1/4, 1/2 and full size."""
        self.check_size(image)
        image_2 = half(image)
        return gated(
            [half(image_2), image_2, image],
            self._predict(image, len(self.heads)),
            self.clamp_gate,
            before_clamp=self.gates_before_clamp,
            every_scale=self.multiscale_gate,
        )

    def find_blur(self, image: torch.Tensor) -> torch.Tensor:
        """See `RestorationNetwork`; stops at 1/4 size where there is a gate."""
        if not self.multiscale_gate:
            return super().find_blur(image)
        self.check_size(image)
        (predicted,) = self._predict(image, 1)
        return apply_gate(predicted, self.clamp_gate, before_clamp=self.gates_before_clamp)[0]

    def _predict(self, image: torch.Tensor, count: int) -> list[torch.Tensor]:
        """What the first `count` heads say, at 1/4, 1/2 and full size."""
        return [
            F.pixel_shuffle(head(features), 2)
            for head, features in zip(self.heads, self._decode(image, count), strict=False)
        ]

    def _decode(self, image: torch.Tensor, count: int) -> list[torch.Tensor]:
        """Features on the way back up, at the first `count` of 1/8, 1/4 and 1/2 size."""
        features = self.begin(F.pixel_unshuffle(image, 2))
        skips: list[torch.Tensor] = []
        for encoder, down in zip(self.encoder, self.down, strict=False):
            skips.append(encoder(features))
            features = down(skips[-1])
        features = self.encoder[-1](features)
        decoded: list[torch.Tensor] = []
        for up, decoder in islice(zip(self.up, self.decoder, strict=True), count):
            features = decoder(F.pixel_shuffle(up(features), 2) + self.dropout(skips.pop()))
            decoded.append(features)
        return decoded

"""A gated U-Net with a quarter of a million parameters, for embedded use.

What decided its shape:
- Pixels go to channels at once, so nothing is computed at full size, where a wide network spends most of its time.
- Large depthwise kernels at 1/16 size see blurs of many tens of pixels at hardly any cost.
- Only convolutions, ReLU, sums and pixel shuffles, and one sigmoid at the end: every inference engine has them, and can
  quantise them to 8 bit. No normalisation layers: their statistics would have to be computed on the device.
- A gate, as in LBAG, since most of a picture with local blur is sharp and must come out as it went in.
"""

import torch
import torch.nn.functional as F
from torch import nn

from localblur.common.settings import AtLeast0, AtLeast1, Settings
from localblur.training.networks.base import RestorationNetwork, Restored

_KERNEL = 5


class TinyOptions(Settings):
    """The network of 0.25 M parameters.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the size.
        blocks: blocks at each of them; the first three again on the way back.
    """

    widths: tuple[AtLeast1, AtLeast1, AtLeast1, AtLeast1] = (24, 40, 56, 80)
    blocks: tuple[AtLeast0, AtLeast0, AtLeast0, AtLeast0] = (1, 2, 2, 3)


class Block(nn.Module):
    """A 5 x 5 depthwise convolution and two layers over channels around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, _KERNEL, padding=_KERNEL // 2, groups=channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.narrow(F.relu(self.widen(self.spatial(features))))
        return result


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels) for _ in range(count)))


class Tiny(RestorationNetwork):
    """Restores at full size only; its gate multiplies the residual.

    Training begins with a residual of zero: the picture comes out as it went in.
    """

    size_multiple = 16

    def __init__(self, options: TinyOptions) -> None:
        super().__init__()
        widths, blocks = options.widths, options.blocks
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.begin = nn.Conv2d(12, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            _blocks(width, count) for width, count in zip(widths[:-1], blocks[:-1], strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.middle = _blocks(widths[-1], blocks[-1])
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in reversed(steps))
        self.decoder = nn.ModuleList(
            _blocks(width, count) for width, count in zip(widths[-2::-1], blocks[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 16, 3, padding=1)
        for values in self.head.parameters():
            nn.init.zeros_(values[4:])  # the first four become the gate and keep their random start

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 16."""
        self.check_size(image)
        features = self.begin(F.pixel_unshuffle(image, 2))
        skips: list[torch.Tensor] = []
        for encoder, down in zip(self.encoder, self.down, strict=True):
            skips.append(encoder(features))
            features = down(skips[-1])
        features = self.middle(features)
        for up, decoder in zip(self.up, self.decoder, strict=True):
            features = decoder(F.pixel_shuffle(up(features), 2) + skips.pop())
        predicted = F.pixel_shuffle(self.head(features), 2)
        gate = torch.sigmoid(predicted[:, :1].float())  # bfloat16 would round what is almost open to 1
        return Restored([image + gate * predicted[:, 1:]], [gate])

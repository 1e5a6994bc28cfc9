"""Layer normalisation over the channels of each pixel."""

import torch
import torch.nn.functional as F
from torch import nn


class ChannelNorm(nn.Module):
    """Every pixel's channels to mean 0 and variance 1, then scaled and shifted per channel.

    Made of plain operations: exportable, and with `channels_last` tensors nothing is copied.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        by_pixel = features.permute(0, 2, 3, 1)
        return F.layer_norm(by_pixel, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)

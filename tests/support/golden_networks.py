"""Weights and pictures that are closed formulas, so that reference values of networks need no stored weights."""

import zlib

import numpy as np
import torch
from torch import nn


def golden_weight(key: str, shape: tuple[int, ...], gain: float = 1.0) -> torch.Tensor:
    """A tensor that is a function of its key and shape alone; only those of two and more dimensions have the gain."""
    count = int(np.prod(shape))
    phase = (zlib.crc32(key.encode()) % 1000) / 1000 * 2 * np.pi
    wave = np.sin(0.7 * np.arange(count) + phase)
    if len(shape) >= 2:
        values = gain * wave / np.sqrt(count / shape[0])
    else:
        values = 0.01 * wave + (1.0 if key.endswith(".weight") else 0.0)
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def fill(module: nn.Module, gain: float = 1.0) -> nn.Module:
    """Give `module` closed-form weights (running statistics stay 0 and 1) and put it into evaluation mode."""
    with torch.no_grad():
        for key, value in module.named_parameters():
            value.copy_(golden_weight(key, tuple(value.shape), gain))
    return module.eval()


def golden_image(height: int = 64, width: int = 96) -> torch.Tensor:
    """The picture (1, 3, H, W), in [0, 1]."""
    c, h, w = np.ogrid[:3, :height, :width]
    image = 0.5 + 0.5 * np.sin(0.05 * h * (c + 1) + 0.031 * w + c)
    return torch.from_numpy(image.astype(np.float32))[None]

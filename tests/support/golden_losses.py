"""The inputs with which the published code made tests/training/golden/losses.npz, from their recipe."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

_FILE = Path(__file__).parents[1] / "training" / "golden" / "losses.npz"
_GATE_PHASE = 0.7


def golden_losses():
    return np.load(_FILE)


def tensor(values):
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


class Case:
    """The inputs of the published code when golden/losses.npz was made; lists are coarse to fine."""

    def __init__(self):
        height, width = 64, 80
        n, c, h, w = np.ogrid[:2, :3, :height, :width]
        sharp = 0.5 + 0.25 * np.sin(0.31 * h * (c + 1) + 0.17 * w + c + n)
        sharp = sharp + 0.2 * np.sin(0.9 * w - 0.53 * h + 2 * n)
        moved = np.stack([np.roll(sharp[0], (1, -1), (1, 2)), np.roll(sharp[1], 1, 2)])
        moved = moved + 0.02 * np.sin(1.3 * h + 0.7 * w + c)
        y, x = np.ogrid[:height, :width]
        mask = ((y - height / 2) / (height / 4)) ** 2 + ((x - width / 3) / (width / 5)) ** 2 < 1
        self.sharp, self.mask = tensor(sharp), tensor(np.broadcast_to(mask, (2, 1, height, width)))
        full = tensor(moved)
        coarser = [F.interpolate(full, scale_factor=scale, mode="bilinear") for scale in (0.25, 0.5)]
        self.images = [coarser[0] + 0.01, coarser[1] - 0.01, full]
        self.targets = [F.interpolate(self.sharp, scale_factor=s, mode="bilinear") for s in (0.25, 0.5)] + [self.sharp]
        self.masks = [self.mask[..., ::step, ::step] for step in (4, 2, 1)]
        self.gates = [
            tensor(0.1 + 0.9 * (0.5 + 0.5 * np.sin(_GATE_PHASE * np.arange(m.numel())))).reshape(m.shape)
            for m in self.masks
        ]

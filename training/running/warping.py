"""Patches turned by any angle, stretched and enlarged: both pictures and their mask alike.

What moved then moved in another direction, and further; what was sharp is softer than any photograph at full size, as
pictures are that were enlarged before. Few photographs become many that way.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

STRETCH = 1.25
"""One axis is up to so many times longer against the other."""


def warped(
    patch: dict[str, torch.Tensor], random: np.random.Generator, most_enlarged: float
) -> dict[str, torch.Tensor]:
    """`patch` turned by up to 45 degrees, stretched, and enlarged by 1 to `most_enlarged`; no pixel is made up.

    A turned patch is enlarged further, by as much as it takes to fill its square: 1.43 times at most.

    Args:
        patch: `blurred` and `sharp`, (3, p, p) sRGB-coded in [0, 1], `mask`, (1, p, p) of 0 and 1, and whatever else.
        random: decides how.
        most_enlarged: from 1.
    """
    place = places(draw_map(random, most_enlarged), patch["sharp"].shape[-1])
    changed = {
        name: F.grid_sample(patch[name][None], place, mode="bicubic", padding_mode="reflection", align_corners=False)
        for name in ("blurred", "sharp")
    }
    mask = F.grid_sample(patch["mask"][None], place, mode="bilinear", padding_mode="border", align_corners=False)
    return patch | {name: values[0].clamp(0, 1) for name, values in changed.items()} | {"mask": (mask[0] > 0.5).float()}


def draw_map(random: np.random.Generator, most_enlarged: float) -> torch.Tensor:
    """(2, 2): from places in the new patch to places in the old one, both from -1 to 1 and within the square."""
    angle = random.uniform(-math.pi / 4, math.pi / 4)
    stretch = math.sqrt(STRETCH) ** random.uniform(-1, 1)
    enlarged = most_enlarged ** random.uniform(0, 1)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([stretch, 1 / stretch])
    reach = float(np.abs(matrix).sum(axis=1).max())
    return torch.from_numpy((matrix / max(reach, 1.0) / enlarged).astype(np.float32))


def places(matrix: torch.Tensor, side: int) -> torch.Tensor:
    """Where the pixels of a patch of `side` pixels come from, (1, side, side, 2), as `grid_sample` takes it."""
    whole = torch.cat([matrix, torch.zeros(2, 1)], dim=1)[None]
    return F.affine_grid(whole, [1, 1, side, side], align_corners=False)

"""Soft light and shade that both pictures of a pair share: lamps, reflections on something glossy, cast shadows.

They have no edge, as what moved has none, and yet stand still. A gate that never saw them takes them for blurred.
"""

import numpy as np
import torch

from localblur.datasets.images import FloatArray, srgb_decode, srgb_encode, to_tensor
from localblur.training.running.shared_defocus import FULL_WELL_ELECTRONS, by_ratio

MOST_SPOTS = 3
LIGHT = (0.03, 3.0)
"""What a lamp or a reflection adds in its middle, of what the sensor can hold; above 1 it is burnt out there."""
SHADE = (0.3, 0.95)
"""Share of the light that a shadow takes in its middle."""
LONGEST = 3.0
"""Length of a spot, in widths."""


def glowing(
    patch: dict[str, torch.Tensor], random: np.random.Generator, breadth_px: tuple[float, float]
) -> dict[str, torch.Tensor]:
    """One to three soft spots of light or shade over both pictures of `patch`; its mask stays.

    Linear light is added or taken away in proportion. Both are exact where something moves underneath: the mean over an
    exposure of what is so changed is the changed mean, as long as the spot stands still. Light that is added brings its
    own photon noise, another in each picture.

    Args:
        patch: `blurred` and `sharp`, (3, H, W) sRGB-coded in [0, 1], and whatever else.
        random: decides on number, place, shape, colour, strength and noise.
        breadth_px: range of a spot's standard deviation across.
    """
    height, width = patch["sharp"].shape[-2:]
    kept, added = np.ones((height, width, 1), np.float32), np.zeros((height, width, 3), np.float32)
    for _ in range(int(random.integers(1, MOST_SPOTS + 1))):
        shape = spot(height, width, random, breadth_px)[..., None]
        if random.random() < 0.5:
            colour = random.uniform(0.4, 1.0, size=3) if random.random() < 0.7 else np.ones(3)
            added += shape * (by_ratio(random, LIGHT) * colour).astype(np.float32)
        else:
            kept *= 1 - shape * np.float32(random.uniform(*SHADE))
    full_well = by_ratio(random, FULL_WELL_ELECTRONS)
    changed = {}
    for name in ("blurred", "sharp"):
        light = srgb_decode(patch[name].permute(1, 2, 0).numpy()) * kept + added
        noise = np.sqrt(added / full_well) * random.standard_normal(light.shape, dtype=np.float32)
        changed[name] = to_tensor(srgb_encode(np.clip(light + noise, 0, 1)))
    return patch | changed


def spot(height: int, width: int, random: np.random.Generator, breadth_px: tuple[float, float]) -> FloatArray:
    """A soft spot somewhere, (H, W) in [0, 1]: a bell, one with long tails as of a lamp's halo, or a plateau."""
    breadth = by_ratio(random, breadth_px)
    length = breadth * random.uniform(1.0, LONGEST) if random.random() < 0.5 else breadth
    angle = random.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    down, right = rows - random.uniform(0, height), columns - random.uniform(0, width)
    along = (right * np.cos(angle) + down * np.sin(angle)) / length
    across = (down * np.cos(angle) - right * np.sin(angle)) / breadth
    squared = along**2 + across**2
    kind = int(random.integers(3))
    if kind == 0:
        values = np.exp(-squared / 2)
    elif kind == 1:
        values = 1 / (1 + squared)
    else:
        # the logistic function, which exp would overflow far from the spot
        values = 0.5 - 0.5 * np.tanh((np.sqrt(squared) - 2) / (2 * random.uniform(0.1, 0.4)))
    result: FloatArray = values.astype(np.float32)
    return result

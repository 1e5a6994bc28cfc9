"""Changes of patches that need no pixels from the file: mirroring, saturation, noise of random strength.

What can be done while pixels are small integers (turning eight ways, channel order, exposure) the data set does itself.
"""

import numpy as np
import torch
from torch.utils.data import Dataset

from localblur.datasets.augmentation import Augmentation
from localblur.training.data_settings import AugmentSettings

_GRAY = (0.299, 0.587, 0.114)
_STREAM = 2
"""Keeps these draws apart from those of the data set, which come from the same seed and sample number."""

Patch = dict[str, torch.Tensor]


def while_reading(settings: AugmentSettings) -> Augmentation:
    """The share of `settings` that the data set does."""
    return Augmentation(
        turn=settings.turn == "all",
        channel_order=settings.channel_order,
        exposure_stops=settings.exposure_stops,
    )


class AugmentedPatches(Dataset[Patch]):
    """Patches of `patches`, changed as the rest of `settings` says; a function of `seed` and sample number alone."""

    def __init__(self, patches: Dataset[Patch], settings: AugmentSettings, seed: int) -> None:
        self.patches, self.settings, self.seed = patches, settings, seed

    def __getitem__(self, number: int) -> Patch:
        patch = self.patches[number]
        random = np.random.default_rng((self.seed, number, _STREAM))
        if self.settings.turn == "mirror" and random.random() < 0.5:
            patch = {name: value.flip(-1) if value.ndim == 3 else value for name, value in patch.items()}
        if self.settings.saturation is not None:
            factor = float(random.uniform(*self.settings.saturation))
            patch |= {name: saturated(patch[name], factor) for name in ("blurred", "sharp")}
        if self.settings.noise:
            sigma = self.settings.noise * abs(float(random.standard_normal()))
            noise = random.standard_normal(tuple(patch["blurred"].shape), dtype=np.float32)
            patch |= {"blurred": (patch["blurred"] + sigma * torch.from_numpy(noise)).clamp_(0, 1)}
        return patch


def saturated(image: torch.Tensor, factor: float) -> torch.Tensor:
    """(3, H, W) in [0, 1] with `factor` times the distance of its colours from gray, clipped."""
    gray = sum(weight * channel for weight, channel in zip(_GRAY, image, strict=True))
    return torch.lerp(torch.as_tensor(gray).expand_as(image), image, factor).clamp_(0, 1)

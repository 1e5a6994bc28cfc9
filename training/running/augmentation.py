"""Changes of patches after they were read: mirroring, synthetic local blur, warps, soft light, defocus, colours, tone,
noise.

What can be done while pixels are small integers (turning eight ways, channel order, exposure) the data set does itself.
"""

import numpy as np
import torch
from torch.utils.data import Dataset

from localblur.datasets.images import srgb_decode, srgb_encode, to_tensor
from localblur.datasets.loading.augmentation import Augmentation
from localblur.datasets.local.blur import LocalBlurSettings, random_local_blur
from localblur.datasets.pair import binary_mask
from localblur.training.running.data_settings import AugmentSettings
from localblur.training.running.shared_defocus import defocused
from localblur.training.running.shared_glow import glowing
from localblur.training.running.warping import warped

_GRAY = (0.299, 0.587, 0.114)
_CHANNEL_SHARE = 0.2
_STREAM = 2
"""Keeps these draws apart from those of the data set, which come from the same seed and sample number."""

Patch = dict[str, torch.Tensor]


def while_reading(settings: AugmentSettings) -> Augmentation:
    """The share of `settings` that the data set does."""
    return Augmentation(
        turn=settings.turn == "all",
        channel_order=settings.channel_order,
        exposure_stops=settings.exposure_stops,
        reduced=settings.reduced,
        most_reduced=settings.most_reduced,
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
        if self.settings.local_blur and random.random() < self.settings.local_blur:
            patch = locally_blurred(patch, random, self.settings.local_blur_px)
        if self.settings.still and random.random() < self.settings.still:
            patch = without_blur(patch)
        if self.settings.warp and random.random() < self.settings.warp:
            patch = warped(patch, random, self.settings.most_enlarged)
        if self.settings.glow and random.random() < self.settings.glow:
            patch = glowing(patch, random, self.settings.glow_px)
        if self.settings.defocus and random.random() < self.settings.defocus:
            patch = defocused(patch, random, self.settings.defocus_px)
        if self.settings.saturation is not None:
            factor = float(random.uniform(*self.settings.saturation))
            patch |= {name: saturated(patch[name], factor) for name in ("blurred", "sharp")}
        if self.settings.tone > 1:
            exponents = draw_exponents(random, self.settings.tone)
            patch |= {name: patch[name] ** exponents for name in ("blurred", "sharp")}
        if self.settings.noise:
            sigma = self.settings.noise * abs(float(random.standard_normal()))
            noise = random.standard_normal(tuple(patch["blurred"].shape), dtype=np.float32)
            patch |= {"blurred": (patch["blurred"] + sigma * torch.from_numpy(noise)).clamp_(0, 1)}
        return patch


def locally_blurred(patch: Patch, random: np.random.Generator, blur_px: tuple[float, float]) -> Patch:
    """Parts of the sharp picture of `patch` move over both its pictures during an exposure.

    The pair's own blur stays where it has a mask, to which that of the parts is joined; without one the sharp picture
    takes the place of the blurred.
    """
    sharp, blurred = (srgb_decode(patch[name].permute(1, 2, 0).numpy()) for name in ("sharp", "blurred"))
    masked = bool(patch["has_mask"])
    # what stands still would cover blur that the pair's own mask still marks
    settings = LocalBlurSettings(blur_px=blur_px, still=0, negative=0) if masked else LocalBlurSettings(blur_px=blur_px)
    blurred, sharp, mask = random_local_blur(sharp, random, settings, blurred_linear=blurred if masked else None)
    added = torch.from_numpy(binary_mask(mask)[None].astype(np.float32))
    return {
        "blurred": to_tensor(srgb_encode(blurred)),
        "sharp": to_tensor(srgb_encode(sharp)),
        "mask": torch.maximum(added, patch["mask"]) if masked else added,
        "has_mask": torch.tensor(True),
    }


def without_blur(patch: Patch) -> Patch:
    """The sharp picture of `patch` in both places, and a mask that is empty."""
    return patch | {
        "blurred": patch["sharp"],
        "mask": torch.zeros_like(patch["mask"]),
        "has_mask": torch.tensor(True),
    }


def saturated(image: torch.Tensor, factor: float) -> torch.Tensor:
    """(3, H, W) in [0, 1] with `factor` times the distance of its colours from gray, clipped."""
    gray = sum(weight * channel for weight, channel in zip(_GRAY, image, strict=True))
    return torch.lerp(torch.as_tensor(gray).expand_as(image), image, factor).clamp_(0, 1)


def draw_exponents(random: np.random.Generator, tone: float) -> torch.Tensor:
    """Exponents of coded values, (3, 1, 1): one in [1 / tone, tone], with another fifth of that for each channel."""
    drawn = random.uniform(-1, 1) + _CHANNEL_SHARE * random.uniform(-1, 1, size=(3, 1, 1))
    return torch.from_numpy((tone**drawn).astype(np.float32))

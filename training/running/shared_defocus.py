"""Defocus that both pictures of a pair share: soft, and yet not moving.

Photographs have soft parts in front of and behind what they show. A gate that never saw them takes them for blurred.
"""

import cv2
import numpy as np
import torch

from localblur.datasets.images import FloatArray, srgb_decode, srgb_encode, to_tensor

FULL_WELL_ELECTRONS = (3_000.0, 30_000.0)
READ_SHARE = 0.5e-3
"""Noise of the read-out, of the full well."""
TOUCHED = 0.02
"""A pixel to which so much of its light comes from inside the mask belongs to it."""
_LEVELS = 5
"""Pictures, evenly spaced from in focus to the strongest defocus, between which a pixel's is interpolated."""
_NOISE_GONE = 0.3
"""From this share of the strongest defocus on, the noise there was counts as averaged out."""


def defocused(
    patch: dict[str, torch.Tensor], random: np.random.Generator, radius_px: tuple[float, float]
) -> dict[str, torch.Tensor]:
    """Both pictures of `patch` out of focus, everywhere or on one side of a line.

    Linear light is convolved with a disc or a Gaussian; then the noise that a sensor would have added is drawn for each
    picture, as the convolution took away what was there. What moved now reaches further, and its mask with it.

    Args:
        patch: `blurred` and `sharp`, (3, H, W) sRGB-coded in [0, 1], `mask`, (1, H, W) of 0 and 1, and whatever else.
        random: decides on lens, strength, place and noise.
        radius_px: range of the disc's radius; the Gaussian's standard deviation is half of it.
    """
    height, width = patch["sharp"].shape[-2:]
    strength = strength_map(height, width, random)
    radius = float(random.uniform(*radius_px))
    disc = random.random() < 0.5
    noisy = np.minimum(strength / _NOISE_GONE, 1)[..., None]
    full_well = by_ratio(random, FULL_WELL_ELECTRONS)
    reached = softened(patch["mask"].permute(1, 2, 0).numpy(), strength, radius, disc=disc) >= TOUCHED
    changed = {"mask": torch.maximum(patch["mask"], to_tensor(reached.astype(np.float32)))}
    for name in ("blurred", "sharp"):
        light = srgb_decode(patch[name].permute(1, 2, 0).numpy())
        soft = softened(light, strength, radius, disc=disc)
        sigma = np.sqrt(np.maximum(soft, 0) / full_well + READ_SHARE**2)
        noise = sigma * random.standard_normal(soft.shape, dtype=np.float32)
        changed[name] = to_tensor(srgb_encode(soft + noisy * noise))
    return patch | changed


def strength_map(height: int, width: int, random: np.random.Generator) -> FloatArray:
    """Share of the strongest defocus, (H, W) in [0, 1]: 1 everywhere, or growing from 0 across a line."""
    if random.random() < 0.5:
        return np.ones((height, width), np.float32)
    angle, side = random.uniform(0, 2 * np.pi), max(height, width)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    across = (columns - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle)
    place, breadth = random.uniform(-0.3, 0.3) * side, random.uniform(0.02, 0.5) * side
    ramp: FloatArray = np.clip((across - place) / breadth + 0.5, 0, 1).astype(np.float32)
    return ramp


def softened(light: FloatArray, strength: FloatArray, radius_px: float, *, disc: bool) -> FloatArray:
    """`light`, (H, W, C) of linear values, out of focus by `radius_px` times `strength`, (H, W)."""
    levels = [light]
    for level in range(1, _LEVELS):
        radius = radius_px * level / (_LEVELS - 1)
        picture = _through_disc(light, radius) if disc else cv2.GaussianBlur(light, (0, 0), max(radius / 2, 0.1))
        levels.append(picture.reshape(light.shape))  # OpenCV drops a single channel
    place = strength[..., None] * (_LEVELS - 1)
    soft = sum(np.clip(1 - np.abs(place - level), 0, 1) * picture for level, picture in enumerate(levels))
    result: FloatArray = np.asarray(soft, np.float32)
    return result


def _through_disc(light: FloatArray, radius: float) -> FloatArray:
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # a pixel on the rim counts for the share that lies inside
    kernel = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1).astype(np.float32)
    soft: FloatArray = cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return soft


def by_ratio(random: np.random.Generator, limits: tuple[float, float]) -> float:
    """A number between two, drawn so that its logarithm is even: small ones as often as large ones."""
    return float(np.exp(random.uniform(*np.log(limits))))

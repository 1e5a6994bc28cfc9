"""The second half of a sample, for whole batches on the device that trains: coding, exposure, channel order, turning,
noise.

`PatchDataset(..., deferred=True)` cuts patches as stored and only notes how they are to be changed. Loader processes
then decode and do nothing else, a quarter of the bytes travels to the device, and a GPU does the arithmetic through
kornia. The result is that of the same data set without `deferred`: equal bits for sRGB-coded files, within 1e-5 where
light has to be decoded or coded, and other noise of the same strength.
"""

from collections.abc import Callable, Mapping

import kornia
import torch

from localblur.datasets.pair import MASK_THRESHOLD

Batch = dict[str, torch.Tensor]

DEFERRED_NOTE = "way"
"""A note that every deferred sample has, and no finished one."""

CODED_ATOL = 1e-5
"""How far coded values may differ from those that `patch_tensors` makes, where light is decoded or coded on the way."""


def on_device(batch: Batch, device: torch.device | str) -> Batch:
    """A batch that a loader stacked, on `device`; deferred samples are finished there."""
    if DEFERRED_NOTE in batch:
        return finish_batch(batch, device)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def finish_batch(batch: Mapping[str, torch.Tensor], device: torch.device | str) -> Batch:
    """Finish a batch of deferred samples on `device`.

    Args:
        batch: what a loader stacked: `blurred` and `sharp` (B, 3, p, p) and `mask` (B, 1, p, p) as stored, `has_mask`
            (B,), and the notes of `patch_tensors.note_change`, all on the processor.
        device: where the result lies and the work is done.

    Returns:
        `blurred`, `sharp`, float32 (B, 3, p, p), sRGB-coded in [0, 1]; `mask`, float32 (B, 1, p, p), 1 where blurred;
        `has_mask`, bool (B,).
    """
    # each by itself: what is stacked first lies in ordinary memory, and copying from there waits for the device
    pictures = torch.stack([batch[name].to(device, non_blocking=True) for name in ("blurred", "sharp")])
    pictures = pictures.float() * (1 / batch["full_scale"]).to(device).view(1, -1, 1, 1, 1)
    pictures = _ordered(_exposed(pictures, batch), batch["channels"].to(device))
    mask = (batch["mask"].to(device, non_blocking=True) >= MASK_THRESHOLD).float()
    ways = batch["way"].tolist()
    blurred, sharp = (_turned(picture, ways) for picture in pictures)
    return {
        "blurred": _noisy(blurred, batch),
        "sharp": sharp,
        "mask": _turned(mask, ways),
        "has_mask": batch["has_mask"].to(device),
    }


def _exposed(pictures: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """sRGB-coded pictures (2, B, 3, p, p) with `gain` times their light; those that need nothing are not touched."""
    decoded = ~batch["linear"] & (batch["gain"] != 1)
    pictures = _where(decoded, pictures, kornia.color.rgb_to_linear_rgb)
    gain = batch["gain"].to(pictures.device).view(1, -1, 1, 1, 1)
    coded = batch["linear"] | decoded
    bright = _chosen(gain, coded)
    return _where(coded, pictures, lambda light: kornia.color.linear_rgb_to_rgb((light * bright).clamp(0, 1)))


def _where(
    chosen: torch.Tensor, pictures: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """`change` applied to the chosen samples of (2, B, 3, p, p)."""
    if not chosen.any():
        return pictures
    if chosen.all():
        return change(pictures)
    result = pictures.clone()
    result[:, chosen.to(pictures.device)] = change(_chosen(pictures, chosen))
    return result


def _chosen(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return values[:, chosen.to(values.device)]


def _ordered(pictures: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """Channel c of the result is channel `channels[b, c]` of sample b."""
    return pictures.gather(2, channels.view(1, -1, 3, 1, 1).expand_as(pictures))


def _turned(images: torch.Tensor, ways: list[int]) -> torch.Tensor:
    """Every image of (B, C, p, p) turned as `patch_choice.turn` does."""
    result = torch.empty_like(images)
    for way in set(ways):
        rows = torch.tensor([row for row, own in enumerate(ways) if own == way], device=images.device)
        mirrored = kornia.geometry.transform.hflip(images[rows]) if way % 2 else images[rows]
        result[rows] = torch.rot90(mirrored, way // 2, (2, 3))
    return result


def _noisy(blurred: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Gaussian noise of each sample's own strength and seed, clipped to [0, 1]."""
    for row, (sigma, seed) in enumerate(zip(batch["noise"].tolist(), batch["noise_seed"].tolist(), strict=True)):
        if sigma:
            random = torch.Generator(blurred.device).manual_seed(seed)
            noise = torch.randn(blurred.shape[1:], generator=random, device=blurred.device)
            blurred[row] = (blurred[row] + sigma * noise).clamp_(0, 1)
    return blurred

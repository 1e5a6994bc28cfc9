"""Running a network on images of any size: padding, windows, precision, memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import psutil  # type: ignore[import-untyped]
import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.training.networks.base import RestorationNetwork
from localblur.training.runtime import fastest_precision
from localblur.training.tiling import Tiling, apply_tiled, pad_to_multiple, round_down, smallest_tile

Precision = Literal["auto", "fp32", "bf16"]
Tile = int | Literal["auto", "none"]

MARGIN_PX = 64
"""Context a window needs on each side. LBAG can reach over a thousand pixels in theory, but what lies further away than
48 px changed a pixel by less than 0.005 of 255 levels, with random weights (both sizes) and after training (small)."""

BLEND_PX = 32
"""Width over which neighbouring windows fade into each other."""

MAX_AUTO_TILE_PX = 2048
"""Larger windows save no time: the margin is then 6 % of a window."""

WORKING_COPIES = 28
"""Peak memory in units of the widest feature map; LBAG needs 20 to 26 at any width, with and without bf16."""

_PROBE_PX = 64


class Restoration(NamedTuple):
    """What inference returns.

    Attributes:
        image: (B, 3, H, W) float32, sRGB-coded, clamped to [0, 1].
        gate: (B, 1, H, W) float32 in [0, 1], where the network saw blur; None for networks without gates.
    """

    image: torch.Tensor
    gate: torch.Tensor | None


def restore(
    module: RestorationNetwork, image: torch.Tensor, *, tile: Tile = "auto", precision: Precision = "fp32"
) -> torch.Tensor:
    """Deblur images of any size; see `restore_with_gate`."""
    return restore_with_gate(module, image, tile=tile, precision=precision).image


def restore_with_gate(
    module: RestorationNetwork, image: torch.Tensor, *, tile: Tile = "auto", precision: Precision = "fp32"
) -> Restoration:
    """Deblur images of any size and return the network's full-size blur gate with them.

    The image is padded by reflection to the network's size multiple and the result cropped back. Windows go to the
    network's device one by one; image and result stay where the image is.

    Args:
        module: the network, on the device it shall run on (`prepare`); run in evaluation mode, mode restored.
        image: (B, 3, H, W), sRGB-coded in [0, 1], any height and width.
        tile: window size in pixels, "none" for the whole image at once, "auto" by image size and free memory.
        precision: "bf16" computes in bfloat16, "fp32" in float32, "auto" in bf16 where the hardware has it.

    Raises:
        LocalblurError: if the shape is wrong, the tile too small, memory runs out, or the network returns NaN.
    """
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise LocalblurError(f"restore needs images of shape (B, 3, H, W), got {tuple(image.shape)}")
    device = next((parameter.device for parameter in module.parameters()), image.device)
    dtype = number_type(precision, device)
    height, width = image.shape[-2:]
    padded = pad_to_multiple(image, module.size_multiple)

    def run(window: torch.Tensor) -> torch.Tensor:
        return _run_window(module, window, device, dtype)

    with _evaluating(module), torch.inference_mode():
        tiling = _tiling(module, padded, tile, device, dtype)
        both = run(padded).to(image.device) if tiling is None else apply_tiled(run, padded, tiling)
    both = both[..., :height, :width].clamp(0, 1)
    return Restoration(both[:, :3], both[:, 3:] if both.shape[1] > 3 else None)


def prepare(module: RestorationNetwork, device: torch.device) -> RestorationNetwork:
    """Move a network to `device` in the memory layout convolutions like best; returns the same module."""
    # nn.Module.to is typed without memory_format for some torch versions
    moved: Any = module.to(device)
    moved.to(memory_format=torch.channels_last)
    return module.eval()


def number_type(precision: Precision, device: torch.device) -> torch.dtype:
    """The number type to compute in; "auto" takes bfloat16 only where the hardware multiplies it itself."""
    chosen = fastest_precision(device) if precision == "auto" else precision
    return torch.bfloat16 if chosen == "bf16" else torch.float32


def _run_window(
    module: RestorationNetwork, window: torch.Tensor, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """One window through the network: finest image and, as a fourth channel, its gate where there is one."""
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            restored = module(window.to(device, torch.float32, memory_format=torch.channels_last))
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError) or "DefaultCPUAllocator" in str(error):
            size = f"{window.shape[-1]}x{window.shape[-2]}"
            raise LocalblurError(f"not enough memory for a window of {size} px; use a smaller --tile") from error
        raise
    parts = [restored.images[-1].float(), *(gate.float() for gate in restored.gates[-1:])]
    result = torch.cat(parts, dim=1)
    if not bool(torch.isfinite(result).all()):
        hint = "try --precision fp32" if dtype == torch.bfloat16 else "its weights are damaged or training diverged"
        raise LocalblurError(f"the network returned NaN or infinite values; {hint}")
    return result


def _tiling(
    module: RestorationNetwork, padded: torch.Tensor, tile: Tile, device: torch.device, dtype: torch.dtype
) -> Tiling | None:
    """The windows to use; None for the whole image at once."""
    multiple = module.size_multiple
    side: int | None
    if tile == "auto":
        # half of what is free, shared by the images of the batch
        budget = available_bytes(device) / 2 / bytes_per_pixel(module, device, dtype) / padded.shape[0]
        side = automatic_tile(padded.shape[-2], padded.shape[-1], budget_px=int(budget), multiple=multiple)
    else:
        side = None if tile == "none" else tile
    return None if side is None else Tiling(tile=side, margin=MARGIN_PX, blend=BLEND_PX, multiple=multiple)


def automatic_tile(height: int, width: int, *, budget_px: int, multiple: int) -> int | None:
    """Window size for an image when at most `budget_px` pixels fit at once; None when the whole image does.

    Never below twice the smallest window: most of the work would be thrown away and hardly any memory saved.
    """
    if height * width <= budget_px and max(height, width) <= MAX_AUTO_TILE_PX:
        return None
    side = round_down(min(math.isqrt(budget_px), MAX_AUTO_TILE_PX), multiple)
    return max(side, 2 * smallest_tile(MARGIN_PX, BLEND_PX, multiple))


def available_bytes(device: torch.device) -> int:
    """Memory that is free for windows on `device`, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def bytes_per_pixel(module: RestorationNetwork, device: torch.device, dtype: torch.dtype) -> float:
    """Estimated peak memory per pixel of a window, from the widest feature map seen while a small probe runs."""
    area = _PROBE_PX**2
    widest = 3.0 * torch.float32.itemsize  # the image itself

    def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal widest
        if isinstance(output, torch.Tensor):
            widest = max(widest, output.numel() * output.element_size() / area)

    hooks = [part.register_forward_hook(look) for part in module.modules() if not list(part.children())]
    try:
        _run_window(module, torch.full((1, 3, _PROBE_PX, _PROBE_PX), 0.5), device, dtype)
    finally:
        for hook in hooks:
            hook.remove()
    return WORKING_COPIES * widest


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) inside, whatever mode it was in outside."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)

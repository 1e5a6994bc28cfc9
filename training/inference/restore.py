"""Running a network on images of any size: padding, windows, memory."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import from_unit, to_array, to_tensor, to_unit
from localblur.training.inference.engine import Engine, Precision, TorchEngine, available_bytes, prepare, resident_bytes
from localblur.training.inference.tiling import (
    Tiling,
    apply_tiled,
    pad_to_multiple,
    pad_to_size,
    round_down,
    round_up,
    smallest_tile,
    tiled_bands,
)
from localblur.training.networks.base import RestorationNetwork

__all__ = ["Precision", "Restoration", "Tile", "prepare", "restore", "restore_pixels", "restore_with_gate"]

Tile = int | Literal["auto", "none"]
Pixels = npt.NDArray[Any]
"""(H, W, 3) uint8 or uint16, sRGB-coded."""

BLEND_PX = 16
"""Width over which neighbouring windows fade into each other."""

MAX_AUTO_TILE_PX = 2048
"""Larger windows save little time: margins are then 6 % of a window, 17 % with `lbag-small`."""

CPU_AUTO_TILE_PX = 1536
"""The same on a processor, whose memory is not for this alone: two thirds of the memory for a tenth more time."""

RESULT_BYTES = 7
"""Per pixel of a picture: three 16-bit values and the gate."""

NO_GATE = "this network has no gate that tells what is blurred; pass --dense"

ROW_BYTES = 64
"""Per pixel of a row of windows: two rows of four float32 values, and what their conversion to integers takes."""

_DEVIATION_SHARE = 2
"""A network with global statistics is judged on a part of the image this many times smaller than a window a side."""


class Restoration(NamedTuple):
    """What inference returns.

    Attributes:
        image: (B, 3, H, W) float32, sRGB-coded, clamped to [0, 1].
        gate: (B, 1, H, W) float32 in [0, 1], where the network saw blur; None for networks without gates.
    """

    image: torch.Tensor
    gate: torch.Tensor | None


class PixelRestoration(NamedTuple):
    """A restored picture in the integers it came in.

    Attributes:
        pixels: (H, W, 3) of the input's type.
        gate: (H, W) uint8, 255 where the network saw blur; None for networks without gates.
    """

    pixels: Pixels
    gate: npt.NDArray[np.uint8] | None


def restore(
    module: RestorationNetwork, image: torch.Tensor, *, tile: Tile = "auto", precision: Precision = "fp32"
) -> torch.Tensor:
    """Deblur images of any size; see `restore_with_gate`."""
    return restore_with_gate(module, image, tile=tile, precision=precision).image


def restore_with_gate(
    module: RestorationNetwork, image: torch.Tensor, *, tile: Tile = "auto", precision: Precision = "fp32"
) -> Restoration:
    """Deblur images of any size and return the network's full-size blur gate with them.

    The image is padded by reflection to the network's size multiple, also for networks that would pad it with zeros
    themselves: windows and the whole image then agree. The result is cropped back. Windows go to the network's device
    one by one; image and result stay where the image is.

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
    engine = TorchEngine(module, precision)
    height, width = image.shape[-2:]
    tiling = choose_tiling(engine, height, width, tile=tile, images=image.shape[0])
    if tiling is None:
        both = engine.run(pad_to_multiple(image, engine.size_multiple))
    else:
        both = apply_tiled(engine.run, pad_to_multiple(image, engine.size_multiple), tiling)
    both = both[..., :height, :width].clamp(0, 1)
    return Restoration(both[:, :3], both[:, 3:] if both.shape[1] > 3 else None)


def restore_pixels(
    engine: Engine, pixels: Pixels, *, tile: Tile = "auto", memory_bytes: int | None = None
) -> PixelRestoration:
    """Deblur a picture of any size; besides it and the result only one row of windows is held as floats.

    Args:
        pixels: (H, W, 3) uint8 or uint16, sRGB-coded.
        tile: as for `restore_with_gate`.
        memory_bytes: the most this process may hold, for "auto"; None takes half of what is free.

    Raises:
        LocalblurError: as `restore_with_gate`, and if `memory_bytes` is less than the smallest window needs.
    """
    height, width = pixels.shape[:2]
    result = np.empty_like(pixels)
    gate = np.empty((height, width), np.uint8) if engine.gated else None
    tiling = choose_tiling(engine, height, width, tile=tile, memory_bytes=memory_bytes)
    for rows, values in _bands(engine.run, pixels, tiling, engine.size_multiple):
        result[rows] = from_unit(to_array(values[:, :3]), 8 * pixels.dtype.itemsize)
        if gate is not None:
            gate[rows] = from_unit(to_array(values[:, 3:])[..., 0], 8)
    return PixelRestoration(result, gate)


def find_blur(
    engine: Engine, pixels: Pixels, *, tile: Tile = "auto", memory_bytes: int | None = None
) -> npt.NDArray[np.uint8]:
    """Where a picture is blurred, (H, W) uint8 up to 255, with less work than `restore_pixels`; see `Engine.find`.

    Args and errors as for `restore_pixels`; and a `LocalblurError` if the network has no gate.
    """
    if not engine.gated:
        raise LocalblurError(NO_GATE)
    height, width = pixels.shape[:2]
    gate = np.empty((height, width), np.uint8)
    tiling = choose_tiling(engine, height, width, tile=tile, memory_bytes=memory_bytes)
    for rows, values in _bands(engine.find, pixels, tiling, engine.size_multiple):
        gate[rows] = from_unit(to_array(values)[..., 0], 8)
    return gate


def _bands(
    work: Callable[[torch.Tensor], torch.Tensor], pixels: Pixels, tiling: Tiling | None, multiple: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows of a picture, and what `work` made of them, (1, C, rows, W); None takes the whole at once."""
    height, width = pixels.shape[:2]

    def window(rows: slice, columns: slice) -> torch.Tensor:
        part = to_tensor(to_unit(pixels[rows, columns]))[None]
        return work(pad_to_size(part, rows.stop - rows.start, columns.stop - columns.start))

    size = round_up(height, multiple), round_up(width, multiple)
    whole = Tiling(tile=max(*size, smallest_tile(0, 1, multiple)), margin=0, blend=1, multiple=multiple)
    for band in tiled_bands(window, *size, tiling or whole):
        values = band.values[..., : height - band.start, :width]
        yield slice(band.start, band.start + values.shape[-2]), values


def choose_tiling(
    engine: Engine, height: int, width: int, *, tile: Tile = "auto", memory_bytes: int | None = None, images: int = 1
) -> Tiling | None:
    """The windows to use; None for the whole image at once.

    Raises:
        LocalblurError: if the tile or `memory_bytes` is too small.
    """
    multiple, margin = engine.size_multiple, engine.margin_px
    side: int | None
    if tile == "none":
        return None
    if tile == "auto":
        budget = window_budget_bytes(engine.device, height * width, memory_bytes)
        pixel_bytes = engine.bytes_per_pixel() * images
        side = automatic_tile(
            height,
            width,
            budget_bytes=budget,
            pixel_bytes=pixel_bytes,
            step=(multiple, margin),
            largest=CPU_AUTO_TILE_PX
            if engine.device.type == "cpu" and not engine.global_statistics
            else MAX_AUTO_TILE_PX,
        )
        if memory_bytes is not None and side is not None and side**2 * pixel_bytes > 1.1 * max(budget, 0):
            raise LocalblurError(
                f"{memory_bytes / 1e9:.2f} GB of memory leave {max(budget, 0) / 1e9:.2f} GB for windows, and the"
                f" smallest one takes {side**2 * pixel_bytes / 1e9:.2f} GB; allow more --memory"
            )
    else:
        side = tile
    return None if side is None else Tiling(tile=side, margin=margin, blend=BLEND_PX, multiple=multiple)


def window_budget_bytes(device: torch.device, picture_px: int, memory_bytes: int | None) -> float:
    """Memory for windows: half of what is free, or with a limit what it leaves beside the process and the result."""
    free = available_bytes(device)
    if memory_bytes is None or device.type == "cuda":
        return free / 2
    return min(free, memory_bytes - resident_bytes() - RESULT_BYTES * picture_px)


def automatic_tile(
    height: int,
    width: int,
    *,
    budget_bytes: float,
    pixel_bytes: float,
    step: tuple[int, int],
    largest: int = MAX_AUTO_TILE_PX,
) -> int | None:
    """Window size for an image when windows may take `budget_bytes`; None when the whole image fits at once.

    Never below twice the smallest window: most of the work would be thrown away and hardly any memory saved.

    Args:
        pixel_bytes: what a pixel of a window takes.
        step: the network's size multiple and the margin of a window.
        largest: side of the largest window; images up to 1.5 times that are taken at once.
    """
    multiple, margin = step
    if height * width * (pixel_bytes + ROW_BYTES) <= budget_bytes and max(height, width) <= 1.5 * largest:
        return None
    # a window of t x t and the rows it is part of: pixel_bytes t^2 + ROW_BYTES width t = budget_bytes
    rows = ROW_BYTES * width
    side = (math.sqrt(rows**2 + 4 * pixel_bytes * max(budget_bytes, 0)) - rows) / (2 * pixel_bytes)
    return max(round_down(min(int(side), largest), multiple), 2 * smallest_tile(margin, BLEND_PX, multiple))


def window_deviation(engine: Engine, pixels: Pixels, tiling: Tiling) -> float:
    """How much working in windows changes the result of a network with global statistics: levels of 255, mean.

    Measured on the middle of the picture, as much of it as fits into one window: whole against windows of half its
    size. Below that nothing can be said without the memory that windows save.
    """
    side = round_down(tiling.tile, tiling.multiple)
    half = max(smallest_tile(0, BLEND_PX, tiling.multiple), round_up(side // _DEVIATION_SHARE, tiling.multiple))
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    part = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    inner = Tiling(tile=half, margin=0, blend=BLEND_PX, multiple=tiling.multiple)
    image = pad_to_multiple(to_tensor(to_unit(part))[None], engine.size_multiple)
    whole, windows = engine.run(image)[:, :3], apply_tiled(engine.run, image, inner)[:, :3]
    return float((whole.clamp(0, 1) - windows.clamp(0, 1)).abs().mean()) * 255

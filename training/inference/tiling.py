"""Working through an image in overlapping windows, so that memory is bounded and no seam shows.

A network's output near the border of a window lacks context, so each window's outermost `margin` pixels are thrown away
and the next `blend` pixels fade into the neighbour. Windows begin at multiples of the network's size multiple: networks
that take every second pixel then see the same pixels in a window as in the whole image.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from localblur.common.errors import LocalblurError


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How an image is cut into windows; all lengths in pixels.

    Attributes:
        tile: largest height and width of a window.
        margin: border of a window whose output is not used.
        blend: width over which two windows fade into each other, beyond the margin.
        multiple: windows begin at, and have, multiples of this.

    Raises:
        LocalblurError: if `tile` leaves no room beyond the overlap of its neighbours.
    """

    tile: int
    margin: int
    blend: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if min(self.tile, self.blend, self.multiple) < 1 or self.margin < 0:
            raise LocalblurError(f"tile, blend and multiple must be at least 1 and margin at least 0, got {self}")
        if round_down(self.tile, self.multiple) < self.smallest_tile:
            raise LocalblurError(
                f"tile {self.tile} px is too small: windows overlap by {self.overlap} px to hide their seams;"
                f" use at least {self.smallest_tile} px"
            )

    @property
    def overlap(self) -> int:
        """Least overlap of two neighbouring windows."""
        return round_up(2 * self.margin + self.blend, self.multiple)

    @property
    def smallest_tile(self) -> int:
        """The smallest window that advances."""
        return smallest_tile(self.margin, self.blend, self.multiple)


@dataclass(frozen=True, kw_only=True)
class Span:
    """One window along one axis: where it begins and ends, and how much each of its pixels counts, shape (length,)."""

    start: int
    stop: int
    weight: torch.Tensor


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


def round_down(value: int, multiple: int) -> int:
    """The largest multiple of `multiple` that is not above `value`."""
    return value // multiple * multiple


def smallest_tile(margin: int, blend: int, multiple: int) -> int:
    """The smallest window, in pixels, that advances past the overlap with its neighbours."""
    return round_up(2 * margin + blend, multiple) + multiple


def spans(length: int, tiling: Tiling) -> list[Span]:
    """Windows along an axis of `length` pixels (a multiple of `tiling.multiple`); their weights add up to 1 everywhere.

    All have one length, the smallest with which as few as possible reach over the axis.

    Example:
        >>> [(span.start, span.stop) for span in spans(100, Tiling(tile=64, margin=8, blend=8, multiple=4))]
        [(0, 64), (36, 100)]
    """
    tile = round_down(tiling.tile, tiling.multiple)
    if length <= tile:
        return [Span(start=0, stop=length, weight=torch.ones(length))]
    count = math.ceil((length - tiling.overlap) / (tile - tiling.overlap))
    # as many windows, no larger than they must be: what they overlap more is computed twice for nothing
    tile = round_up(math.ceil((length + (count - 1) * tiling.overlap) / count), tiling.multiple)
    starts = [round_down(index * (length - tile) // (count - 1), tiling.multiple) for index in range(count)]
    raw = [_ramp(start, tile, length, tiling) for start in starts]
    total = torch.zeros(length)
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + tile] += weight
    return [
        Span(start=start, stop=start + tile, weight=weight / total[start : start + tile])
        for start, weight in zip(starts, raw, strict=True)
    ]


def _ramp(start: int, tile: int, length: int, tiling: Tiling) -> torch.Tensor:
    """Weight of a window before normalisation: 0 in the margin, rising over the blend; 1 at the image's own border."""
    position = torch.arange(tile, dtype=torch.float32)
    weight = torch.ones(tile)
    for distance, inside in ((position, start > 0), (tile - 1 - position, start + tile < length)):
        if inside:
            weight = weight * ((distance - tiling.margin + 0.5) / tiling.blend).clamp(0, 1)
    return weight


@dataclass(frozen=True, kw_only=True)
class Band:
    """Finished rows of a result: `values` is (B, C, h, W) float32 and belongs at row `start`."""

    start: int
    values: torch.Tensor


def tiled_bands(
    function: Callable[[slice, slice], torch.Tensor], height: int, width: int, tiling: Tiling
) -> Iterator[Band]:
    """Work through an image window by window and yield the result from top to bottom.

    Only the windows of one row are held, so that the memory does not grow with the height of the image.

    Args:
        function: rows and columns of a window to its result, (B, C, h, w) float32.
        height, width: of the image, multiples of `tiling.multiple`.
    """
    rows, columns = spans(height, tiling), spans(width, tiling)
    below: torch.Tensor | None = None
    for index, row in enumerate(rows):
        band: torch.Tensor | None = None
        for column in columns:
            window = function(slice(row.start, row.stop), slice(column.start, column.stop))
            if band is None:
                band = window.new_zeros((*window.shape[:2], row.stop - row.start, width))
                if below is not None:
                    band[..., : below.shape[-2], :] = below
            weight = (row.weight[:, None] * column.weight[None, :]).to(window.device)
            band[..., column.start : column.stop] += window * weight
        if band is None:
            raise ValueError("an image has at least one window")
        done = (rows[index + 1].start if index + 1 < len(rows) else row.stop) - row.start
        below = band[..., done:, :]
        yield Band(start=row.start, values=band[..., :done, :])


def apply_tiled(function: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """Apply a size-preserving function window by window and put the results together.

    Args:
        function: (B, C, h, w) to (B, D, h, w); sees windows of at most `tiling.tile` pixels a side.
        image: (B, C, H, W) with H and W multiples of `tiling.multiple`; may lie on another device than `function` uses.

    Returns:
        (B, D, H, W) float32 on the device of `image`.
    """

    def window(rows: slice, columns: slice) -> torch.Tensor:
        return function(image[..., rows, columns]).to(image.device, torch.float32)

    return torch.cat([band.values for band in tiled_bands(window, image.shape[-2], image.shape[-1], tiling)], dim=-2)


def pad_to_multiple(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad (B, C, H, W) at the right and bottom to multiples of `multiple`; see `pad_to_size`."""
    height, width = image.shape[-2:]
    return pad_to_size(image, round_up(height, multiple), round_up(width, multiple))


def pad_to_size(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pad (B, C, h, w) at the right and bottom by reflection.

    Reflection needs more pixels than it adds; a side too short for it repeats its last row or column instead.
    """
    right, bottom = width - image.shape[-1], height - image.shape[-2]
    if right:
        image = F.pad(image, (0, right, 0, 0), mode="reflect" if right < image.shape[-1] else "replicate")
    if bottom:
        image = F.pad(image, (0, 0, 0, bottom), mode="reflect" if bottom < image.shape[-2] else "replicate")
    return image

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
        tile: height and width of a window.
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

    Example:
        >>> [(span.start, span.stop) for span in spans(100, Tiling(tile=64, margin=8, blend=8, multiple=4))]
        [(0, 64), (36, 100)]
    """
    tile = round_down(tiling.tile, tiling.multiple)
    if length <= tile:
        return [Span(start=0, stop=length, weight=torch.ones(length))]
    count = math.ceil((length - tiling.overlap) / (tile - tiling.overlap))
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


def apply_tiled(function: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """Apply a size-preserving function window by window and put the results together.

    Args:
        function: (B, C, h, w) to (B, D, h, w); sees windows of at most `tiling.tile` pixels a side.
        image: (B, C, H, W) with H and W multiples of `tiling.multiple`; may lie on another device than `function` uses.

    Returns:
        (B, D, H, W) float32 on the device of `image`.
    """
    rows, columns = spans(image.shape[-2], tiling), spans(image.shape[-1], tiling)
    if len(rows) == len(columns) == 1:
        return function(image).to(image.device, torch.float32)
    result: torch.Tensor | None = None
    for row, column in _grid(rows, columns):
        window = function(image[..., row.start : row.stop, column.start : column.stop])
        window = window.to(image.device, torch.float32)
        if result is None:
            result = torch.zeros((*window.shape[:2], *image.shape[-2:]), device=image.device)
        weight = row.weight[:, None] * column.weight[None, :]
        result[..., row.start : row.stop, column.start : column.stop] += window * weight.to(image.device)
    if result is None:
        raise ValueError("an image has at least one window")
    return result


def _grid(rows: list[Span], columns: list[Span]) -> Iterator[tuple[Span, Span]]:
    return ((row, column) for row in rows for column in columns)


def pad_to_multiple(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad (B, C, H, W) at the right and bottom to multiples of `multiple`, by reflection.

    Reflection needs more pixels than it adds; a side too short for it repeats its last row or column instead.
    """
    height, width = image.shape[-2:]
    right, bottom = round_up(width, multiple) - width, round_up(height, multiple) - height
    if right:
        image = F.pad(image, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if bottom:
        image = F.pad(image, (0, 0, 0, bottom), mode="reflect" if bottom < height else "replicate")
    return image

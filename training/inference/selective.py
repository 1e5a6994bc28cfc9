"""Restoring only what is blurred: a coarse pass finds it, the sharp rest is returned bit for bit.

Windows are put together first and blended over the picture afterwards: only then is the finest gate known, which may
confirm what was found or not.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.loading.reduction import reduced_picture
from localblur.training.inference.engine import Engine
from localblur.training.inference.restore import NO_GATE, Pixels, Tile, find_blur, restore_pixels
from localblur.training.inference.skipping import (
    BOX_COST_PX,
    Box,
    Cells,
    SkipSettings,
    confirmed_cells,
    cover,
    grown,
    open_cells,
    weights,
)

Plane = npt.NDArray[Any]
"""(H, W) or (H, W, C) of an integer type."""

_ROWS = 256
"""Rows that are blended at a time: float32 values of a whole large picture would be most of the memory."""

SMALLEST_COARSE_PX = 320
"""A picture is not made smaller than this a side; one below twice that is restored at once and blended by its gate. In
pictures of 384 x 288 that were made smaller whole objects were missed, and there is little time to be saved."""


class SelectiveRestoration(NamedTuple):
    """A picture restored where it is blurred.

    Attributes:
        pixels: (H, W, 3) of the input's type.
        gate: (H, W) uint8, 255 where the network saw blur: the finest gate fades in where something was found; what
            the coarse pass saw, enlarged, is elsewhere. All of it the finest where the picture was restored at once.
        restored: bool (H, W), pixels that may have changed; all others are those of the input.
        share: pixels that went through the network at full size, windows' context included, divided by those there are.
    """

    pixels: Pixels
    gate: npt.NDArray[np.uint8]
    restored: npt.NDArray[np.bool_]
    share: float


def coarse_gate(
    engine: Engine, pixels: Pixels, reduction: int, *, tile: Tile = "auto", memory_bytes: int | None = None
) -> npt.NDArray[np.uint8]:
    """Where the picture made smaller is blurred, (h, w) uint8; see `find_blur`.

    Raises:
        LocalblurError: if the network has no gate.
    """
    return find_blur(engine, reduced_picture(pixels, reduction, "srgb"), tile=tile, memory_bytes=memory_bytes)


def planned_windows(
    cells: Cells, size: tuple[int, int], settings: SkipSettings, multiple: int
) -> Iterator[tuple[Box, Box]]:
    """Rectangles in pixels that hold all that may change, each with the window that goes through the network for it.

    Args:
        cells: see `open_cells`.
        size: height and width of the picture.
        multiple: windows begin at its multiples.
    """
    halo_px = settings.cell_px // 2
    halo_cells = -(-(settings.margin_px + halo_px) // settings.cell_px)
    for box in cover(cells, halo_cells, BOX_COST_PX / settings.cell_px**2):
        region = grown(Box(*(edge * settings.cell_px for edge in box)), halo_px, size)
        yield region, grown(region, settings.margin_px, size, multiple)


def coarse_reduction(size: tuple[int, int], settings: SkipSettings) -> int:
    """How many times smaller a side the coarse pass sees a picture of this height and width; 1 for not smaller."""
    return max(1, min(settings.reduction, min(size) // SMALLEST_COARSE_PX))


def restore_selected(
    engine: Engine,
    pixels: Pixels,
    coarse: npt.NDArray[np.uint8],
    settings: SkipSettings,
    *,
    tile: Tile = "auto",
    memory_bytes: int | None = None,
) -> SelectiveRestoration:
    """Restore the parts of a picture that a coarse gate calls blurred.

    Args:
        pixels: (H, W, 3) uint8 or uint16, sRGB-coded.
        coarse: (h, w) uint8, see `coarse_gate`.
        tile, memory_bytes: as for `restore_pixels`.
    """
    size = pixels.shape[0], pixels.shape[1]
    cells = open_cells(coarse / np.float32(255), size, settings)
    seen_from_afar = np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    result, gate = pixels.copy(), seen_from_afar.copy()
    regions, covered, seen = [], np.zeros(size, bool), 0
    for region, window in planned_windows(cells, size, settings, engine.size_multiple):
        seen += (window.bottom - window.top) * (window.right - window.left)
        part = np.ascontiguousarray(pixels[window.top : window.bottom, window.left : window.right])
        restored = restore_pixels(engine, part, tile=tile, memory_bytes=memory_bytes)
        inner = _within(region, window)
        _insert(result, restored.pixels[inner], region, covered, settings.cell_px)
        if restored.gate is not None:
            _insert(gate, restored.gate[inner], region, covered, settings.cell_px)
        covered[_within(region)] = True
        regions.append(region)
    touched = _fade_out(result, pixels, confirmed_cells(cells, gate, settings), regions, settings.cell_px)
    _fade_out(gate, seen_from_afar, cells, regions, settings.cell_px)
    return SelectiveRestoration(result, gate, touched, seen / (size[0] * size[1]))


def restore_blurred(
    engine: Engine,
    pixels: Pixels,
    settings: SkipSettings | None = None,
    *,
    tile: Tile = "auto",
    memory_bytes: int | None = None,
) -> SelectiveRestoration:
    """Find what is blurred with a coarse pass and restore it; see `coarse_gate` and `restore_selected`."""
    settings = settings or SkipSettings()
    size = pixels.shape[0], pixels.shape[1]
    reduction = coarse_reduction(size, settings)
    if reduction == 1:
        result, gate = restore_pixels(engine, pixels, tile=tile, memory_bytes=memory_bytes)
        if gate is None:
            raise LocalblurError(NO_GATE)
        cells = confirmed_cells(open_cells(gate / np.float32(255), size, settings), gate, settings)
        touched = _fade_out(result, pixels, cells, [Box(0, 0, *size)], settings.cell_px)
        return SelectiveRestoration(result, gate, touched, 1.0)
    coarse = coarse_gate(engine, pixels, reduction, tile=tile, memory_bytes=memory_bytes)
    return restore_selected(engine, pixels, coarse, settings, tile=tile, memory_bytes=memory_bytes)


def _within(box: Box, window: Box | None = None) -> tuple[slice, slice]:
    """A box as slices, counted from the corner of `window`."""
    top, left = (0, 0) if window is None else window[:2]
    return slice(box.top - top, box.bottom - top), slice(box.left - left, box.right - left)


def _insert(whole: Plane, part: Plane, region: Box, covered: npt.NDArray[np.bool_], width: int) -> None:
    """Put a part into the whole at `region`; over what is covered already it fades in over `width` pixels.

    That is the width that two neighbours share: each was restored with the context of its own window.
    """
    across = _fading(region.left, region.right, width, covered.shape[1])
    down = _fading(region.top, region.bottom, width, covered.shape[0])
    for rows, inside in _in_rows(region):
        there, new = _within(rows), part[inside]
        if covered[there].any():
            share = np.where(covered[there], np.minimum(down[inside, None], across[None]), np.float32(1))
            whole[there] = mixed(whole[there], new, share)
        else:
            whole[there] = new


def _fade_out(
    result: Plane, before: Plane, cells: Cells, regions: Sequence[Box], cell_px: int
) -> npt.NDArray[np.bool_]:
    """Set the result back to what was before where cells are closed, in regions outside of which both are the same.

    Returns:
        bool (H, W), where they may differ.
    """
    touched = np.zeros(result.shape[:2], bool)
    done = np.zeros_like(touched)
    for region in regions:
        for rows, _ in _in_rows(region):
            there = _within(rows)
            weight = weights(cells, rows, cell_px)
            touched[there] |= weight > 0
            result[there] = mixed(before[there], result[there], np.where(done[there], np.float32(1), weight))
            done[there] = True
    return touched


def mixed(first: Plane, second: Plane, share: npt.NDArray[np.float32]) -> Plane:
    """First where the share (H, W) is 0, second where it is 1; whole numbers of their type."""
    start = first.astype(np.float32)
    share = share.reshape(share.shape + (1,) * (first.ndim - share.ndim))
    return np.asarray(np.rint(start + share * (second - start)).astype(first.dtype))


def _in_rows(region: Box) -> Iterator[tuple[Box, slice]]:
    """A region in pieces of a few rows, each with its rows as seen from the region."""
    for first in range(region.top, region.bottom, _ROWS):
        last = min(first + _ROWS, region.bottom)
        yield Box(first, region.left, last, region.right), slice(first - region.top, last - region.top)


def _fading(first: int, last: int, width: int, length: int) -> npt.NDArray[np.float32]:
    """Along one axis: 0 at a region's edges rising to 1 over `width` pixels; the picture's own edges are none."""
    place = np.arange(first, last, dtype=np.float32) + np.float32(0.5)
    from_start = (place - first) / width if first > 0 else np.ones_like(place)
    from_end = (last - place) / width if last < length else np.ones_like(place)
    result: npt.NDArray[np.float32] = np.clip(np.minimum(from_start, from_end), 0, 1)
    return result

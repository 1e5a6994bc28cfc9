"""Which parts of a picture are worth restoring: from a coarse gate to windows. Nothing is restored here.

The picture is divided into cells. A cell is open where the coarse gate says blurred; open cells are covered by a few
rectangles, and each restored pixel counts by a weight, 1 in open cells and falling to 0 in the middle of closed ones.
Once the rectangles are restored the finest gate is known there too, and closes cells that were opened in error.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray

Cells = npt.NDArray[np.bool_]

BOX_COST_PX = 12_000
"""What a window costs beside its pixels, in pixels: with `lbag-small` on two cores 8 ms, however small it is."""


class SkipSettings(Settings):
    """How blurred parts are found.

    Attributes:
        reduction: the coarse pass sees the picture this many times smaller a side.
        threshold: a cell may be open where the coarse gate's mean in it is above this; a clamped gate is never below
            0.1.
        seed_threshold: cells above `threshold` are open if, in the connected part of them they belong to, at least one
            is above this: the faint interior of something blurred counts, faint spots by themselves do not.
        cell_px: side of a cell.
        grow_cells: width of the rim of open cells that is added around those found.
        margin_px: context a window gets beyond the cells it restores.
        confirm_threshold: an open cell is changed only if the finest gate's mean, in it or within the rim, is above
            this; 0 changes all of them.
    """

    reduction: int = Field(default=3, ge=1, le=16)
    threshold: float = Field(default=0.15, gt=0, lt=1)
    seed_threshold: float = Field(default=0.5, gt=0, lt=1)
    cell_px: int = Field(default=16, ge=8, multiple_of=8)
    grow_cells: int = Field(default=2, ge=0)
    margin_px: int = Field(default=24, ge=0)
    confirm_threshold: float = Field(default=0.0, ge=0, lt=1)


class Box(NamedTuple):
    """A rectangle; `bottom` and `right` are the first row and column outside."""

    top: int
    left: int
    bottom: int
    right: int


def open_cells(coarse_gate: npt.NDArray[Any], size: tuple[int, int], settings: SkipSettings) -> Cells:
    """Cells to restore, True; shape (ceil(H / cell_px), ceil(W / cell_px)).

    Args:
        coarse_gate: (h, w) in [0, 1], covers the picture at any reduction.
        size: height and width of the picture.

    Reference:
        The two thresholds: Canny, "A Computational Approach to Edge Detection", PAMI 1986 (hysteresis).
    """
    means = _cell_means(coarse_gate.astype(np.float32), size, settings.cell_px)
    return _with_rim(_seeded(means > settings.threshold, means > settings.seed_threshold), settings)


def confirmed_cells(cells: Cells, fine_gate: npt.NDArray[np.uint8], settings: SkipSettings) -> Cells:
    """Open cells in which, or within the rim of which, the finest gate sees blur as well.

    Args:
        cells: see `open_cells`.
        fine_gate: (H, W), 255 where blurred; looked at in open cells and their rims only.
    """
    if not settings.confirm_threshold:
        return cells
    means = _cell_means(fine_gate, (fine_gate.shape[0], fine_gate.shape[1]), settings.cell_px)
    return np.asarray(cells & _with_rim(cells & (means > 255 * settings.confirm_threshold), settings), bool)


def cover(cells: Cells, halo_cells: int, box_cost: float) -> list[Box]:
    """Rectangles of cells that hold all open ones, at little cost.

    A rectangle costs its area with a halo on all sides, plus `box_cost`, all in cells. Beginning with the one around
    everything, a rectangle is cut in two wherever that is cheaper.
    """
    return list(_divide(cells, 0, 0, halo_cells, box_cost))


def weights(cells: Cells, region: Box, cell_px: int) -> FloatArray:
    """How much restored pixels count in `region` (in pixels), float32 in [0, 1], shape of the region.

    Bilinear between the centres of the cells: 1 within open cells surrounded by open ones, 0 in closed ones from the
    centre outwards. Beyond the picture cells go on as at its border.
    """
    values = cells.astype(np.float32)
    for axis, first, last in ((0, region.top, region.bottom), (1, region.left, region.right)):
        position = (np.arange(first, last, dtype=np.float32) + np.float32(0.5)) / cell_px - np.float32(0.5)
        before = np.floor(position).astype(int)
        share = np.expand_dims(position - before, 1 - axis).astype(np.float32)
        pair = (values.take(np.clip(before + step, 0, cells.shape[axis] - 1), axis) for step in (0, 1))
        lower, upper = pair
        values = lower + share * (upper - lower)
    return values


def grown(box: Box, by: int, size: tuple[int, int], multiple: int = 1) -> Box:
    """A box enlarged by `by` on all sides, begun at multiples of `multiple`, within `size` (height, width)."""
    return Box(
        max(0, box.top - by) // multiple * multiple,
        max(0, box.left - by) // multiple * multiple,
        min(size[0], box.bottom + by),
        min(size[1], box.right + by),
    )


def _cell_means(gate: npt.NDArray[Any], size: tuple[int, int], cell_px: int) -> FloatArray:
    """Means of a gate of any size and type over cells of a picture of `size`; those at the bottom and right are cut."""
    rows, columns = (-(-length // cell_px) for length in size)
    # in quarters of a cell; beyond the picture its edge is repeated
    fine = cv2.resize(
        np.ascontiguousarray(gate),
        (max(1, 4 * size[1] // cell_px), max(1, 4 * size[0] // cell_px)),
        interpolation=cv2.INTER_LINEAR,
    )
    padded = np.pad(
        fine.astype(np.float32), ((0, 4 * rows - fine.shape[0]), (0, 4 * columns - fine.shape[1])), mode="edge"
    )
    return np.asarray(padded.reshape(rows, 4, columns, 4).mean((1, 3)), np.float32)


def _with_rim(cells: Cells, settings: SkipSettings) -> Cells:
    side = 2 * settings.grow_cells + 1
    return np.asarray(cv2.dilate(cells.astype(np.uint8), np.ones((side, side), np.uint8)), bool)


def _seeded(possible: Cells, certain: Cells) -> Cells:
    """Those connected parts of `possible`, corners count, in which at least one cell is `certain` too."""
    count, labels = cv2.connectedComponents(possible.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, bool)
    kept[labels[possible & certain]] = True
    return np.asarray(kept[labels], bool)


def _divide(cells: Cells, top: int, left: int, halo: int, box_cost: float) -> Iterator[Box]:
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    if not rows.size:
        return
    cells = cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = top + int(rows[0]), left + int(columns[0])
    height, width = cells.shape
    by_row, by_column = _cut_costs(cells, halo, box_cost), _cut_costs(cells.T, halo, box_cost)
    cheapest = min(float(by_row.min(initial=np.inf)), float(by_column.min(initial=np.inf)))
    if cheapest >= (height + 2 * halo) * (width + 2 * halo) + box_cost:
        yield Box(top, left, top + height, left + width)
    elif by_row.min(initial=np.inf) <= by_column.min(initial=np.inf):
        cut = int(by_row.argmin()) + 1
        yield from _divide(cells[:cut], top, left, halo, box_cost)
        yield from _divide(cells[cut:], top + cut, left, halo, box_cost)
    else:
        cut = int(by_column.argmin()) + 1
        yield from _divide(cells[:, :cut], top, left, halo, box_cost)
        yield from _divide(cells[:, cut:], top, left + cut, halo, box_cost)


def _cut_costs(cells: Cells, halo: int, box_cost: float) -> FloatArray:
    """Cost of cutting before rows 1, 2, ...; both sides shrink to what is open in them. No row at the rims is empty."""
    count, width = cells.shape
    filled = cells.any(1)
    first = np.where(filled, cells.argmax(1), width)
    last = np.where(filled, width - 1 - cells[:, ::-1].argmax(1), -1)
    position = np.arange(count)
    upper_end = np.maximum.accumulate(np.where(filled, position, 0))
    lower_start = np.minimum.accumulate(np.where(filled, position, count)[::-1])[::-1]
    upper_width = np.maximum.accumulate(last) - np.minimum.accumulate(first) + 1
    lower_width = (np.maximum.accumulate(last[::-1]) - np.minimum.accumulate(first[::-1]) + 1)[::-1]
    upper = (upper_end + 1 + 2 * halo) * (upper_width + 2 * halo)
    lower = (count - lower_start + 2 * halo) * (lower_width + 2 * halo)
    return np.asarray(upper[:-1] + lower[1:] + 2 * box_cost, np.float32)

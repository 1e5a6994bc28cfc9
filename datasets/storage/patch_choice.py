"""Where to cut a patch, and which way to turn it: the choices of blur-aware patch cropping, without files or torch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.datasets.pair import ValidBox, binary_mask
from localblur.datasets.storage.schema import CELL_PX, cell_areas

Window = tuple[int, int, int, int]
"""y, x, height, width."""
ReadMask = Callable[[int, int, int, int], npt.NDArray[np.uint8] | None]


def random_window(box: ValidBox, patch_px: int, random: np.random.Generator) -> Window:
    """A window of `patch_px` inside `box`, every position equally likely, the last row and column included."""
    y0, x0, y1, x1 = box
    y = int(random.integers(y0, y1 - patch_px, endpoint=True))
    x = int(random.integers(x0, x1 - patch_px, endpoint=True))
    return y, x, patch_px, patch_px


def centred_window(pixel: tuple[int, int], box: ValidBox, patch_px: int) -> Window:
    """The window centred on `pixel` (y, x), shifted as little as needed to lie inside `box`."""
    y0, x0, y1, x1 = box
    y = min(max(pixel[0] - patch_px // 2, y0), y1 - patch_px)
    x = min(max(pixel[1] - patch_px // 2, x0), x1 - patch_px)
    return y, x, patch_px, patch_px


def blurred_fraction(cells: npt.NDArray[np.uint8], height: int, width: int) -> float:
    """Share of the picture's area that is blurred, from its cells (each is rounded up by less than 1/255)."""
    return float((cells * cell_areas(height, width)).sum() / (255 * height * width))


def blurred_pixel(
    cells: npt.NDArray[np.uint8], box: ValidBox, read_mask: ReadMask, random: np.random.Generator
) -> tuple[int, int] | None:
    """A random blurred pixel (y, x) inside `box`; None if there is none.

    A cell is drawn by its share of blurred pixels, then a blurred pixel of it: all blurred pixels are about equally
    likely, and only one cell of the mask is read.

    Args:
        cells: share of blurred pixels per 16-px cell, 0..255.
        box: (y0, x0, y1, x1), half open.
        read_mask: reads the window (y, x, height, width) of the soft mask.
        random: the source of randomness.
    """
    y0, x0, y1, x1 = box
    first_row, first_column = y0 // CELL_PX, x0 // CELL_PX
    inside = cells[first_row : -(-y1 // CELL_PX), first_column : -(-x1 // CELL_PX)]
    weights = inside.astype(np.int64).ravel()
    while (total := int(weights.sum())) > 0:
        cell = int(np.searchsorted(np.cumsum(weights), random.integers(total), side="right"))
        row, column = divmod(cell, inside.shape[1])
        y, x = max((first_row + row) * CELL_PX, y0), max((first_column + column) * CELL_PX, x0)
        y_end, x_end = min((first_row + row + 1) * CELL_PX, y1), min((first_column + column + 1) * CELL_PX, x1)
        mask = read_mask(y, x, y_end - y, x_end - x)
        if mask is None:
            return None
        blurred = np.argwhere(binary_mask(mask))
        if len(blurred):
            dy, dx = blurred[random.integers(len(blurred))]
            return y + int(dy), x + int(dx)
        weights[cell] = 0  # its blurred pixels lie outside the box
    return None


def turn(image: npt.NDArray[Any], way: int) -> npt.NDArray[Any]:
    """One of the eight ways (0..7) to mirror and rotate a square (p, p[, C]); 0 leaves it as it is."""
    mirrored = image[:, ::-1] if way % 2 else image
    return np.rot90(mirrored, way // 2)

"""Panels that the pictures of docs/alignment.md are made of."""

from typing import Any

import numpy as np
import numpy.typing as npt
from alignment_cases import SIZE, Case
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from localblur.alignment.registration.tiles import TileResiduals
from localblur.alignment.report.drawings import NOT_MEASURED, TILE_STEPS
from localblur.datasets.images import srgb_encode

Array = npt.NDArray[Any]
WIDE_IN, ROW_IN = 9.2, 2.55
HEAT_LEVELS = 32
GREEN, RED, BLUE = "#3f7f4f", "#a8443a", "#2563a8"


def panels(columns: int, rows: int = 1) -> tuple[Figure, Any]:
    """A figure of the width of the page with equal panels."""
    figure = Figure(figsize=(WIDE_IN, ROW_IN * rows * (0.82 if columns > 3 else 1)), layout="constrained")
    return figure, figure.subplots(rows, columns)


def show(at: Axes, picture: Array, title: str) -> None:
    """An sRGB-coded picture."""
    at.imshow(np.clip(picture, 0, 1))
    bare(at, title)


def heat(at: Axes, picture: Array, reference: Array, title: str, figure: Figure | None = None) -> None:
    """Mean absolute difference in levels of 255."""
    difference = np.abs(picture - reference).mean(-1) * 255
    drawn = at.imshow(difference, cmap="inferno", vmin=0, vmax=HEAT_LEVELS)
    bare(at, title)
    if figure is not None:
        figure.colorbar(drawn, ax=at, label="levels", shrink=0.8)


def bare(at: Axes, title: str) -> None:
    """Title, no ticks."""
    at.set(title=title, xticks=[], yticks=[])
    at.spines[:].set_visible(False)


def tile_panel(at: Axes, sharp: Array, tiles: TileResiduals, title: str) -> None:
    """Tiles coloured by their residual shift, with arrows."""
    show(at, coded(sharp) * 0.6 + 0.3, title)
    size = tiles.size_px
    limits = [limit for limit, *_ in TILE_STEPS[:-1]]
    for row, column in np.ndindex(*tiles.usable.shape):
        shift = tiles.shift_px[row, column]
        step = TILE_STEPS[int(np.digitize(np.hypot(*shift), limits))] if tiles.usable[row, column] else None
        color = step[1] if step else NOT_MEASURED
        at.add_patch(Rectangle((column * size, row * size), size, size, color=color, alpha=0.45, linewidth=0))
        if step:
            x, y = (column + 0.5) * size, (row + 0.5) * size
            at.annotate("", (x + 120 * shift[0], y + 120 * shift[1]), (x, y), arrowprops={"arrowstyle": "->"})


def told(quality: dict[str, float], name: str) -> str:
    """Usable tiles and residual shifts in words."""
    p50, p95, mean = (quality[f"residual_{kind}_px"] for kind in ("p50", "p95", "mean"))
    return f"{name}: usable {quality['usable_tiles']:.0%}\np50 {p50:.3f}, p95 {p95:.3f}, common {mean:.3f} px"


def share(case: Case, name: str) -> str:
    """A share of the pixels in words."""
    return f"{name}: {case.judged.quality[name]:.1%}"


def tinted(light: Array, flags: Array, color: tuple[float, float, float]) -> Array:
    """An sRGB-coded picture with flagged pixels in colour."""
    picture = coded(light)
    picture[flags] = 0.4 * picture[flags] + 0.6 * np.array(color, np.float32)
    return picture


def error_px(case: Case, truth: Any) -> tuple[float, float]:
    """Mean and 95 % quantile of the displacement error where nothing moved, off the border."""
    counted = truth.valid & ~truth.motion_mask & ~case.judged.aligned.saturated
    counted[:12], counted[-12:], counted[:, :12], counted[:, -12:] = False, False, False, False
    error = np.linalg.norm(case.judged.aligned.positions - truth.displacement, axis=-1)[counted]
    return float(error.mean()), float(np.percentile(error, 95))


def grid() -> Array:
    """Every pixel's own position, (H, W, 2)."""
    return np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), -1).astype(np.float32)


def coded(light: Array) -> Array:
    """Linear light for the eye: balanced to grey, sRGB-coded."""
    return srgb_encode(light * BALANCE)


def standing(aligned: Any) -> Array:
    """Valid, unsaturated pixels that did not move."""
    return np.asarray(aligned.valid & ~aligned.saturated & ~aligned.moving)


BALANCE = np.array([1.35, 1.0, 1.2], np.float32)
"""About what the simulated sensors need for white."""

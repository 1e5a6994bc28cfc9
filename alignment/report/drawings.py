"""Drawings of displacements, as SVG: small, sharp at any size, readable on light and on dark ground."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from localblur.alignment.registration.displacement import PolynomialField, degree_of, monomials
from localblur.alignment.registration.tiles import TileResiduals

Vector = npt.NDArray[np.float64]

ARROW_GAIN = 250
TILE_STEPS: tuple[tuple[float, str, float], ...] = (
    (0.05, "#2f9e8f", 0.2),
    (0.1, "#86b34f", 0.3),
    (0.2, "#e0b13a", 0.42),
    (0.4, "#e5803a", 0.48),
    (float("inf"), "#d23b4f", 0.54),
)
"""Residual shifts up to so many px have this colour, this opaque: what is good lets the picture through."""
NOT_MEASURED = "#808890"
RAMP = ("#efecf8", "#d9d0ef", "#bfb0e3", "#a28ed5", "#856cc4", "#6a4eb0", "#523798", "#3d247c")
"""Shades from 0 to the end of the scale."""
_WIDE, _CELLS, _ARROWS = 640, 32, 12
STYLE = (
    "<style>text{font:14px system-ui,sans-serif;fill:#444a50}.axis{stroke:#8a9198;fill:none}"
    "@media(prefers-color-scheme:dark){text{fill:#c3c9ce}}</style>"
)


@dataclass(frozen=True)
class FieldDrawing:
    """A drawn field: the SVG, the length the darkest colour begins to end at, mean and largest length in px."""

    svg: str
    scale_px: float
    mean_px: float
    largest_px: float


def draw_tiles(tiles: TileResiduals, width: int, height: int, box: tuple[int, int, int, int] | None = None) -> str:
    """Residual shifts of the tiles: coloured by length, with arrows `ARROW_GAIN` times as long; grey: not measured.

    Args:
        tiles: what was measured.
        width, height: of the image, px; the drawing covers all of it, so that it can be laid over the picture.
        box: (x0, y0, x1, y1) to be framed.
    """
    length = np.hypot(tiles.shift_px[..., 0], tiles.shift_px[..., 1])
    limits = [limit for limit, *_ in TILE_STEPS[:-1]]
    step = np.where(tiles.usable, np.digitize(length, limits), -1)
    parts = [_cells(step == -1, tiles.size_px, NOT_MEASURED, 0.4)]
    for index, (_, color, opacity) in enumerate(TILE_STEPS):
        chosen = step == index
        parts += [_cells(chosen, tiles.size_px, color, opacity), _tile_arrows(tiles, chosen, color)]
    if box is not None:
        x0, y0, x1, y1 = box
        parts.append(
            f'<path d="M{x0} {y0}H{x1}V{y1}H{x0}z" fill="none" stroke="#fff" stroke-width="{width / 300:.1f}"/>'
            f'<path d="M{x0} {y0}H{x1}V{y1}H{x0}z" fill="none" stroke="#222" stroke-width="{width / 300:.1f}"'
            f' stroke-dasharray="{width / 60:.0f}"/>'
        )
    return svg(width, height, parts)


def draw_field(field: PolynomialField, rig: PolynomialField | None = None) -> FieldDrawing:
    """A displacement field, minus the rig's if given: arrows on cells coloured by length."""
    shift, cell_px = _sampled(field, rig, _CELLS)
    length = np.hypot(shift[..., 0], shift[..., 1])
    scale_px = nice_length(float(length.max()))
    parts = _shaded(length / scale_px, cell_px)
    shift, spacing_px = _sampled(field, rig, _ARROWS)
    gain = 1.1 * spacing_px / scale_px
    tips = [
        ((column + 0.5) * spacing_px, (row + 0.5) * spacing_px, *(gain * shift[row, column]))
        for row, column in np.ndindex(*shift.shape[:2])
    ]
    parts.append(arrows("field", tips, "#1d1530", 2.2, "#fff"))
    drawn = svg(_WIDE, _WIDE * field.height / field.width, parts)
    return FieldDrawing(drawn, scale_px, float(length.mean()), float(length.max()))


def draw_surface(coefficients: Vector, width: int, height: int) -> tuple[str, float, float]:
    """A smooth factor over the frame (the vignetting ratio) as shaded cells, and its least and largest value."""
    x, y, cell_px = _grid(width, height, _CELLS)
    values = monomials(x, y, width, height, degree_of(len(coefficients))) @ coefficients
    low, high = float(values.min()), float(values.max())
    drawn = svg(_WIDE, _WIDE * height / width, _shaded((values - low) / max(high - low, 1e-9), cell_px))
    return drawn, low, high


def nice_length(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is not smaller; at least 0.01."""
    value = max(value, 0.01)
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))


def arrows(name: str, tips: Iterable[tuple[float, float, float, float]], color: str, width: float, edge: str) -> str:
    """Arrows (x, y, dx, dy) of one colour with an edge, as a path that is written once; `name` is its own."""
    path = []
    for x, y, dx, dy in tips:
        # the head turned by 150 degrees to either side, a third as long as the arrow
        (x1, y1), (x2, y2) = ((-0.29 * dx - side * 0.17 * dy, -0.29 * dy + side * 0.17 * dx) for side in (1, -1))
        path.append(f"M{x:.0f} {y:.0f}l{dx:.1f} {dy:.1f}l{x1:.1f} {y1:.1f}M{x + dx:.1f} {y + dy:.1f}l{x2:.1f} {y2:.1f}")
    strokes = "".join(
        f'<use href="#{name}" stroke="{stroke}" stroke-width="{wide:.1f}"/>'
        for stroke, wide in ((edge, 2 * width), (color, width))
    )
    return f'<defs><path id="{name}" d="{"".join(path)}"/></defs><g fill="none" stroke-linecap="round">{strokes}</g>'


def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """The parts as one SVG document of that size."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}">{"".join(parts)}</svg>'
    )


def _grid(width: int, height: int, columns: int) -> tuple[Vector, Vector, float]:
    """Middles of about square cells in px of the image, x and y of shape (rows, columns); a cell's side when drawn."""
    rows = max(2, round(columns * height / width))
    across = [(np.arange(count) + 0.5) * side / count - 0.5 for count, side in ((columns, width), (rows, height))]
    x, y = np.meshgrid(*across)
    return x, y, _WIDE / columns


def _sampled(field: PolynomialField, rig: PolynomialField | None, columns: int) -> tuple[Vector, float]:
    x, y, cell_px = _grid(field.width, field.height, columns)
    shift = field.displacement(x, y)
    return (shift if rig is None else shift - rig.displacement(x, y)), cell_px


def _shaded(share: Vector, cell_px: float) -> list[str]:
    """Cells in the shades of `RAMP` for shares of the scale in [0, 1]."""
    shade = np.clip((share * len(RAMP)).astype(int), 0, len(RAMP) - 1)
    return [_cells(shade == index, cell_px, color, 1.0) for index, color in enumerate(RAMP)]


def _tile_arrows(tiles: TileResiduals, chosen: npt.NDArray[np.bool_], color: str) -> str:
    if not chosen.any():
        return ""
    reach = tiles.size_px * 0.9
    tips = []
    for row, column in np.argwhere(chosen):
        shift = np.clip(tiles.shift_px[row, column].astype(np.float64) * ARROW_GAIN, -reach, reach)
        tips.append(((column + 0.5) * tiles.size_px, (row + 0.5) * tiles.size_px, *shift))
    return arrows(f"shifts{color[1:]}", tips, color, tiles.size_px / 22, "#101214")


def _cells(chosen: npt.NDArray[np.bool_], size: float, color: str, opacity: float) -> str:
    """The chosen cells of a grid as one path, neighbours in a row joined."""
    path = []
    for row in range(chosen.shape[0]):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen[row], [False]]).astype(np.int8)))
        for start, end in edges.reshape(-1, 2).tolist():
            wide = (end - start) * size
            path.append(f"M{start * size:g} {row * size:g}h{wide:g}v{size:g}h{-wide:g}z")
    return f'<path d="{"".join(path)}" fill="{color}" fill-opacity="{opacity:g}"/>' if path else ""

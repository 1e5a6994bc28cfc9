"""Histograms of a pair before and after its colours were matched, as SVG."""

import numpy as np
import numpy.typing as npt

from localblur.alignment.registration.displacement import BoolArray
from localblur.alignment.report.drawings import STYLE, svg
from localblur.datasets.images import FloatArray

Vector = npt.NDArray[np.float64]

BINS = 64
_SAMPLE = 250_000
_CHANNELS = (("red", "#d6604d"), ("green", "#3f9a56"), ("blue", "#4b86cf"))
_WIDE, _HIGH, _GAP, _TOP = 300, 66, 28, 26


def draw_histograms(before: FloatArray, after: FloatArray, sharp: FloatArray, valid: BoolArray) -> str:
    """Three rows (red, green, blue), before on the left and after on the right: sharp filled, blurred as a line.

    Args:
        before: the blurred picture as captured, sRGB-coded, (H, W, 3).
        after, sharp: the aligned pair, sRGB-coded, (H, W, 3).
        valid: pixels of the aligned pair with data.
    """
    everywhere = np.ones(before.shape[:2], bool)
    parts = [STYLE]
    for side, (title, blurred, where) in enumerate((("before", before, everywhere), ("after", after, valid))):
        x = side * (_WIDE + _GAP)
        counted = [
            (color, histogram(sharp[..., index], valid), histogram(blurred[..., index], where))
            for index, (_, color) in enumerate(_CHANNELS)
        ]
        apart = float(np.mean([distance_levels(first, second) for _, first, second in counted]))
        parts.append(f'<text x="{x}" y="16">{title}: {apart:.1f} levels apart</text>')
        for row, (color, first, second) in enumerate(counted):
            parts.append(_panel(x, _TOP + row * (_HIGH + 8), color, first, second))
    return svg(2 * _WIDE + _GAP, _TOP + 3 * (_HIGH + 8) + 18, [*parts, _axis(0), _axis(_WIDE + _GAP)])


def histogram(coded: FloatArray, counted: BoolArray) -> Vector:
    """Shares of `BINS` equal bins over [0, 1], from about `_SAMPLE` pixels of an (H, W) plane."""
    step = max(1, int(np.sqrt(counted.size / _SAMPLE)))
    values = coded[::step, ::step][counted[::step, ::step]]
    counts, _ = np.histogram(values, BINS, (0, 1))
    return np.asarray(counts / max(values.size, 1), np.float64)


def distance_levels(first: Vector, second: Vector) -> float:
    """How far one histogram must be moved to become the other (earth mover's distance), in levels of 255."""
    return float(np.abs(np.cumsum(first - second)).sum() * 255 / BINS)


def _panel(x: float, y: float, color: str, sharp: Vector, blurred: Vector) -> str:
    # the square root shows small bins too; clipped ends stay inside the panel
    top = np.sqrt(max(np.sort(np.concatenate([sharp, blurred]))[-3], 1e-6))
    lines = []
    for values in (sharp, blurred):
        heights = _HIGH * np.minimum(np.sqrt(values) / top, 1)
        steps = "".join(f"L{x + (i + 0.5) * _WIDE / BINS:.1f} {y + _HIGH - h:.1f}" for i, h in enumerate(heights))
        lines.append(f"M{x} {y + _HIGH}{steps}L{x + _WIDE} {y + _HIGH}")
    return (
        f'<path d="{lines[0]}" fill="{color}" fill-opacity=".35"/>'
        f'<path d="{lines[1]}" fill="none" stroke="{color}" stroke-width="1.6"/>'
        f'<path class="axis" d="M{x} {y + _HIGH}h{_WIDE}"/>'
    )


def _axis(x: float) -> str:
    y = _TOP + 3 * (_HIGH + 8) + 10
    return (
        f'<text x="{x}" y="{y}">0</text><text x="{x + _WIDE / 2}" y="{y}" text-anchor="middle">128</text>'
        f'<text x="{x + _WIDE}" y="{y}" text-anchor="end">255</text>'
    )

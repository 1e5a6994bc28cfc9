"""How the leading measure depends on the length of the blur and on how much of the picture is blurred."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from localblur.training.evaluation.bootstrap import bootstrap_interval, number_groups
from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.scoring import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 6
LEAST_PAIRS = 4
"""A bin with fewer pairs would be noise."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Pairs with a similar abscissa: its mean, the mean of the measure, its 95 % interval, and their number."""

    position: float
    mean: float
    interval: tuple[float, float] | None
    count: int


def binned(scores: Sequence[Score], measure: str, position: Callable[[Score], float], seed: int) -> list[Bin]:
    """Means of a measure in up to six bins with equally many pairs, along `position`.

    Pairs without a finite value or position are left out; no bins for fewer than two.
    """
    usable = [s for s in scores if math.isfinite(s.value(measure)) and math.isfinite(position(s))]
    usable.sort(key=position)
    count = min(BINS, len(usable) // LEAST_PAIRS)
    if count < 1:
        return []
    bins = []
    for part in np.array_split(np.arange(len(usable)), count):
        members = [usable[index] for index in part]
        values = np.array([score.value(measure) for score in members])
        scenes = number_groups([(score.data, score.scene) for score in members])
        bins.append(
            Bin(
                position=float(np.mean([position(score) for score in members])),
                mean=float(values.mean()),
                interval=bootstrap_interval(values, scenes, np.random.default_rng(seed), resamples=2000),
                count=len(members),
            )
        )
    return bins


def draw_curves(scores: Mapping[str, Sequence[Score]], measure: str, seed: int) -> bytes | None:
    """A PNG with charts over the blur's length and over the blurred area, a line a method.

    Above the measure itself, below, where there are methods, their gains over the blurred picture: differences on the
    same pairs, which are known far better.

    Returns:
        None if no method has two bins along either.
    """
    from matplotlib.figure import Figure

    before, *_ = scores.values()
    estimated = sum(score.blur_estimated for score in before)
    label = "blur length, px" + (f" ({estimated} of {len(before)} estimated)" if estimated else "")
    positions = {label: length_px, "blurred area, % of the picture": area_percent}
    unit = f"{MEASURES[measure].title}, {MEASURES[measure].unit}".rstrip(", ")
    rows = {unit: scores, f"gain in {unit}": gains(scores, measure)}
    charts = [
        [
            {name: binned(found, measure, position, seed) for name, found in methods.items()}
            for position in positions.values()
        ]
        for methods in rows.values()
        if methods
    ]
    if max(len(bins) for chart in charts[0] for bins in chart.values()) < 2:
        return None
    figure = Figure(figsize=(12, 4 * len(charts)), layout="constrained")
    grid = figure.subplots(len(charts), 2, squeeze=False)
    for axes_row, chart_row, title in zip(grid, charts, rows, strict=False):
        for axes, chart, below in zip(axes_row, chart_row, positions, strict=True):
            _draw(axes, chart, list(scores))
            axes.set(xlabel=below, ylabel=title)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def gains(scores: Mapping[str, Sequence[Score]], measure: str) -> dict[str, list[Score]]:
    """Scores of all methods but the first, less those of the first, in one measure."""
    before, *others = scores.values()
    return {
        after[0].method: [
            replace(new, values={measure: new.value(measure) - old.value(measure)})
            for old, new in zip(before, after, strict=True)
        ]
        for after in others
    }


def length_px(score: Score) -> float:
    """Length of the blur."""
    return score.blur_px


def area_percent(score: Score) -> float:
    """Blurred share of the picture in percent; NaN for none."""
    return 100 * score.blurred_share if score.blurred_share else math.nan


def _draw(axes: "Axes", chart: Mapping[str, Sequence[Bin]], methods: Sequence[str]) -> None:
    """Lines with intervals; a method has the same colour in every chart."""
    for method, bins in chart.items():
        y = [one.mean for one in bins]
        spans = [one.interval or (one.mean, one.mean) for one in bins]
        below = [max(0.0, mean - low) for mean, (low, _) in zip(y, spans, strict=True)]
        above = [max(0.0, high - mean) for mean, (_, high) in zip(y, spans, strict=True)]
        axes.errorbar(
            [one.position for one in bins],
            y,
            yerr=(below, above),
            color=f"C{methods.index(method)}",
            marker="o",
            markersize=4,
            capsize=3,
            linewidth=1.5,
            label=method,
        )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")

"""How the leading measure depends on the length of the blur and on how much of the picture is blurred."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from localblur.training.bootstrap import bootstrap_interval, number_groups
from localblur.training.evaluation import Score
from localblur.training.evaluation_measures import MEASURES

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
    """A PNG with two charts, a line a method: over the blur's length and over the blurred area.

    Returns:
        None if no method has two bins along either.
    """
    from matplotlib.figure import Figure

    before = next(iter(scores.values()))
    estimated = sum(score.blur_estimated for score in before)
    label = "blur length, px" + (f" ({estimated} of {len(before)} estimated)" if estimated else "")
    charts: list[tuple[str, Callable[[Score], float]]] = [
        (label, lambda score: score.blur_px),
        (
            "blurred area, % of the picture",
            lambda score: 100 * score.blurred_share if score.blurred_share else math.nan,
        ),
    ]
    curves = [
        {method: binned(found, measure, position, seed) for method, found in scores.items()} for _, position in charts
    ]
    if max(len(bins) for chart in curves for bins in chart.values()) < 2:
        return None
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    for axes, (title, _), chart in zip(figure.subplots(1, 2), charts, curves, strict=True):
        for method, bins in chart.items():
            x, y = [one.position for one in bins], [one.mean for one in bins]
            spans = [one.interval or (one.mean, one.mean) for one in bins]
            below = [max(0.0, mean - low) for mean, (low, _) in zip(y, spans, strict=True)]
            above = [max(0.0, high - mean) for mean, (_, high) in zip(y, spans, strict=True)]
            axes.errorbar(x, y, yerr=(below, above), marker="o", markersize=4, capsize=3, linewidth=1.5, label=method)
        axes.set(xlabel=title, ylabel=f"{MEASURES[measure].title} {MEASURES[measure].unit}".rstrip())
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()

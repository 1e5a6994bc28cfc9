"""Plots of the statistics of a pairs file, as PNG."""

import io
import math
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from localblur.datasets.curation.stats import ALL, RELOBLUR_AREA, Distribution, PairsStatistics, SplitStatistics
from localblur.datasets.pair import Verdict

SPLIT_COLOURS = {"all": "#6b7280", "train": "#2563a8", "val": "#b07a1e", "test": "#3f7f4f"}
VERDICT_COLOURS = {Verdict.ACCEPT.value: "#3f7f4f", Verdict.REJECT.value: "#a8443a", Verdict.UNDECIDED.value: "#9aa0a8"}
COLUMNS = 4


def plot_png(statistics: PairsStatistics, name: str) -> bytes:
    """The plot `name` of `PLOTS` as a PNG file."""
    figure = PLOTS[name](statistics)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    content = io.BytesIO()
    figure.savefig(content, format="png")  # without pyplot: safe in any thread
    return content.getvalue()


def plot_blurred_area(statistics: PairsStatistics) -> Figure:
    """Histogram of the blurred share of the area, one group of bars per split."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    found = {split: s.blurred_area for split, s in _splits(statistics).items() if s.blurred_area is not None}
    words = {split: f"mean {100 * area.mean:.3g} %, median {100 * area.median:.3g} %" for split, area in found.items()}
    _grouped_bars(axes, found, words)
    if found:
        edges = next(iter(found.values())).edges
        labels = [f"{100 * low:.4g}–{100 * high:.4g}" for low, high in zip(edges, edges[1:], strict=False)]
        axes.set_xticks(range(len(labels)), labels)
        axes.legend(frameon=False, title=f"ReLoBlur: mean {100 * RELOBLUR_AREA:.4g} %", alignment="left")
    else:
        axes.text(0.5, 0.5, "no masks", ha="center", transform=axes.transAxes)
    axes.set(title="Blurred share of the picture", xlabel="% of the area", ylabel="pairs that are not rejected")
    return figure


def plot_blur_length(statistics: PairsStatistics) -> Figure:
    """Histogram of the blur length of the sampled pairs, one group of bars per split."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    splits = _splits(statistics)
    found = {split: s.blur_length_px for split, s in splits.items() if s.blur_length_px is not None}
    words = {
        split: f"mean {length.mean:.3g} px, median {length.median:.3g} px, {splits[split].lengths_sampled} sampled"
        for split, length in found.items()
    }
    _grouped_bars(axes, found, words)
    if found:
        edges = next(iter(found.values())).edges
        labels = [f"{low:g}–{high:g}" for low, high in zip(edges[:-2], edges[1:-1], strict=True)]
        axes.set_xticks(range(len(labels) + 1), [*labels, f"over {edges[-2]:g}"])
        axes.tick_params(axis="x", labelsize=8)
        axes.legend(frameon=False)
    else:
        axes.text(0.5, 0.5, "no pair was sampled, or none is blurred", ha="center", transform=axes.transAxes)
    axes.set(title="Length of the blur, recorded or estimated", xlabel="px", ylabel="sampled pairs")
    return figure


def plot_verdicts(statistics: PairsStatistics) -> Figure:
    """One bar per split, divided by verdict."""
    splits = _splits(statistics)
    figure = Figure(figsize=(8, 0.9 + 0.5 * len(splits)), layout="constrained")
    axes = figure.subplots()
    left = dict.fromkeys(splits, 0)
    for verdict, colour in VERDICT_COLOURS.items():
        counts = {split: found.verdicts[verdict] for split, found in splits.items()}
        axes.barh(list(splits), list(counts.values()), 0.6, left=list(left.values()), color=colour, label=verdict)
        for row, (split, count) in enumerate(counts.items()):
            if count:
                axes.text(left[split] + count / 2, row, str(count), ha="center", va="center", color="white")
            left[split] += count
    axes.invert_yaxis()
    axes.set(title="Verdicts", xlabel="pairs")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_measures(statistics: PairsStatistics) -> Figure:
    """A small histogram of every quality measure, over all splits."""
    measures = statistics.splits[ALL].measures
    rows = max(1, math.ceil(len(measures) / COLUMNS))
    figure = Figure(figsize=(2.6 * COLUMNS, 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, (name, found) in zip(grid.flat, measures.items(), strict=False):
        axes.set_visible(True)
        _histogram(axes, found)
        axes.set_title(name)
    if not measures:
        figure.text(0.5, 0.5, "no quality measures are stored", ha="center")
    return figure


def _grouped_bars(axes: Axes, found: Mapping[str, Distribution], words: Mapping[str, str]) -> None:
    """One group of bars per bin, with a bar per split."""
    width = 0.8 / max(len(found), 1)
    for position, (split, spread) in enumerate(found.items()):
        places = [index + (position - (len(found) - 1) / 2) * width for index in range(len(spread.counts))]
        axes.bar(places, spread.counts, width, color=SPLIT_COLOURS[split], label=f"{split}: {words[split]}")


def _histogram(axes: Axes, found: Distribution) -> None:
    axes.stairs(found.counts, found.edges, fill=True, color=SPLIT_COLOURS["train"])
    axes.axvline(found.median, color="black", linewidth=1)
    axes.set_xlabel(f"median {found.median:.4g}", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="x", nbins=4)
    axes.locator_params(axis="y", nbins=3, integer=True)


def _splits(statistics: PairsStatistics) -> dict[str, SplitStatistics]:
    """The splits, `all` only where there is more than one."""
    return {name: s for name, s in statistics.splits.items() if name != ALL} or statistics.splits


PLOTS: dict[str, Callable[[PairsStatistics], Figure]] = {
    "blurred-area": plot_blurred_area,
    "blur-length": plot_blur_length,
    "verdicts": plot_verdicts,
    "measures": plot_measures,
}

"""The run as a whole: counts, why pairs were rejected, how the measures went over the run, settings, legend."""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localblur.alignment.judging.quality import MEASURES
from localblur.alignment.report.values import (
    Limit,
    ReportEntry,
    limit_text,
    measure_text,
    reason_kinds,
    unit_of,
)
from localblur.datasets.pair import Verdict

TRENDS = ("residual_p95_px", "static_psnr_db", "drift_px", "gain")
_WIDE, _HIGH = 300, 84


def summary(entries: Sequence[ReportEntry], lost: Mapping[str, str], notes: Sequence[str]) -> str:
    """Counts, notes on the run, lost pairs, and the kinds of reasons."""
    counts = {verdict: sum(entry.info.verdict is verdict for entry in entries) for verdict in Verdict}
    tiles = [("pairs", len(entries), ""), ("accepted", counts[Verdict.ACCEPT], "accept")]
    tiles.append(("rejected", counts[Verdict.REJECT], "reject"))
    if counts[Verdict.UNDECIDED]:
        tiles.append(("undecided", counts[Verdict.UNDECIDED], "undecided"))
    tiles.append(("lost", len(lost), "reject" if lost else ""))
    shown = "".join(f'<li class="{kind}"><b>{count}</b> {word}</li>' for word, count, kind in tiles)
    parts = [f'<ul class="tiles">{shown}</ul>', *(f'<p class="note">{html.escape(note)}</p>' for note in notes)]
    if lost:
        items = "".join(
            f"<li><b>{html.escape(name)}</b>: {html.escape(why)}</li>" for name, why in sorted(lost.items())
        )
        parts.append(f"<h3>Lost pairs</h3><p>They could not be read and are not in the output.</p><ul>{items}</ul>")
    kinds = reason_kinds(entries)
    if kinds:
        most = max(kinds.values())
        rows = "".join(_kind_row(*item, most) for item in zip(range(len(kinds)), kinds, kinds.values(), strict=True))
        parts.append(f'<h3>Why pairs were rejected</h3><table class="kinds"><tbody>{rows}</tbody></table>')
    return "".join(parts)


def trends(entries: Sequence[ReportEntry], limits: Mapping[str, Limit]) -> str:
    """The most telling measures of all pairs in the order of the output: drifts and steps show at a glance."""
    if len(entries) < 2:
        return ""
    charts = "".join(_trend(name, entries, limits.get(name)) for name in TRENDS)
    return f'<div class="trends">{charts}</div>' if charts else ""


def settings_table(settings: Mapping[str, Any]) -> str:
    """Every setting of the run by its dotted name, as `--set` takes it."""
    rows = "".join(
        f'<tr><th scope="row"><code>{html.escape(name)}</code></th><td class="text">{html.escape(value)}</td></tr>'
        for name, value in _flat(settings)
    )
    return (
        '<section aria-labelledby="settings"><h2 id="settings">Settings</h2><details><summary>All settings of this run'
        f'</summary><table class="plain"><tbody>{rows}</tbody></table></details></section>'
    )


def legend(limits: Mapping[str, Limit]) -> str:
    """What every measure means, its unit and its limit."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(measure.title)}</th><td class="text">{html.escape(unit_of(name))}</td>'
        f'<td class="text">{limit_text(name, limits.get(name))}</td>'
        f'<td class="text">{html.escape(measure.explanation)}</td></tr>'
        for name, measure in MEASURES.items()
    )
    return (
        '<section aria-labelledby="legend"><h2 id="legend">What the measures mean</h2><table class="plain"><thead><tr>'
        '<th scope="col">measure</th><th scope="col">unit</th><th scope="col">limit</th><th scope="col"></th></tr>'
        f"</thead><tbody>{rows}</tbody></table></section>"
    )


def _kind_row(index: int, kind: str, count: int, most: int) -> str:
    bar = f"M0 0h{100 * count / most:.1f}v10H0z"
    return (
        f'<tr><th scope="row" data-kind="{index}">{html.escape(kind)}</th><td>{count}</td><td class="bar">'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><path d="{bar}"/></svg></td></tr>'
    )


def _trend(name: str, entries: Sequence[ReportEntry], limit: Limit | None) -> str:
    points = [
        (index, entry.info.quality[name], entry.rejected)
        for index, entry in enumerate(entries)
        if name in entry.info.quality and math.isfinite(entry.info.quality[name])
    ]
    if len(points) < 2:
        return ""
    low, high = min(value for _, value, _ in points), max(value for _, value, _ in points)
    room = max(0.08 * (high - low), 1e-3 * max(abs(high), abs(low)), 1e-6)
    low, high = low - room, high + room

    def place(index: int, value: float) -> tuple[float, float]:
        return 4 + (_WIDE - 8) * index / max(1, len(entries) - 1), _HIGH * (high - value) / (high - low)

    good, bad = list[str](), list[str]()
    for index, value, rejected in points:
        x, y = place(index, value)
        (bad if rejected else good).append(
            f"M{x - 2.6:.1f} {y - 2.6:.1f}l5.2 5.2m0 -5.2l-5.2 5.2" if rejected else f"M{x:.1f} {y:.1f}h.01"
        )
    lines = "".join(
        f'<path class="limit" d="M0 {place(0, value)[1]:.1f}H{_WIDE}"/>'
        for value in (limit.low if limit else None, limit.high if limit else None)
        if value is not None and low < value < high
    )
    title = html.escape(MEASURES[name].title)
    span = f"{measure_text(name, low + room)} to {measure_text(name, high - room)}"
    return (
        f'<figure><figcaption>{title}: {span}</figcaption><svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label='
        f'"{title} of the pairs in order: {span}">{lines}<path class="good" d="{"".join(good)}"/>'
        f'<path class="bad" d="{"".join(bad)}"/></svg></figure>'
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)

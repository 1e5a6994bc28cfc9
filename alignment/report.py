"""A static HTML report of one run: rejected pairs first, each with its pictures, measures and reasons."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localblur.alignment.quality import MEASURES
from localblur.alignment.report_pictures import CAPTIONS, picture_name
from localblur.common.files import write_text
from localblur.datasets.pair import PairInfo, Verdict

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1300px; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: .6em 0; }
th, td { border: 1px solid #ccc; padding: .2em .6em; text-align: right; font-variant-numeric: tabular-nums; }
th, td.text { text-align: left; }
section { border-top: 2px solid #bbb; padding: .5em 0 1em; }
.accept { color: #17703a; } .reject { color: #b00020; }
.pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6em; }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; background: #eee; }
figcaption { font-size: 12px; color: #555; }
"""

PAGE = "index.html"

DECIMALS = {"dB": 1, "degree": 0, "tiles": 0}
"""Digits after the point by unit, where three are too many."""


@dataclass(frozen=True)
class ReportEntry:
    """One pair of the report."""

    scene: str
    split: str
    info: PairInfo


def write_report(
    folder: Path,
    entries: Sequence[ReportEntry],
    calibrations: Mapping[str, Mapping[str, Any]],
    lost: Mapping[str, str],
    title: str,
) -> Path:
    """Write `folder/index.html`; the pictures beside it were written while the pairs were aligned.

    Args:
        folder: the report's folder.
        entries: all pairs of the output.
        calibrations: what was stored under /calibration, by input.
        lost: pairs that could not be read, and why.
        title: heading.

    Returns:
        The page.
    """
    ordered = sorted(
        entries, key=lambda entry: (entry.info.verdict is not Verdict.REJECT, entry.scene, entry.info.name)
    )
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _summary(ordered, lost),
        *[_calibration(name, content) for name, content in calibrations.items()],
        _table(ordered),
        *[_pair(entry, folder) for entry in ordered],
        _legend(),
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / PAGE, page)
    return folder / PAGE


def _summary(entries: Sequence[ReportEntry], lost: Mapping[str, str]) -> str:
    rejected = sum(entry.info.verdict is Verdict.REJECT for entry in entries)
    lines = [f"<p>{len(entries)} pairs: {len(entries) - rejected} accepted, {rejected} rejected, {len(lost)} lost.</p>"]
    if lost:
        items = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in sorted(lost.items()))
        lines.append(f"<p class=reject>Lost pairs could not be read and are not in the output:</p><ul>{items}</ul>")
    return "".join(lines)


def _calibration(name: str, content: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in _residual_rows(content))
    rendering = content.get("rendering", {})
    method = rendering.get("method", "none")
    colors = f"Colours: {'as captured' if method == 'none' else _text(method)}"
    if rendering.get("delta_e2000") is not None:
        colors += f", mean CIEDE2000 of the chart after rendering {_text(float(rendering['delta_e2000']))}"
    if "color_residual" in content:
        colors += (
            "; camera B to camera S leaves a robust standard deviation of"
            f" {_text(float(content['color_residual']))} (relative to the square root of the light)"
        )
    if not rows:
        return (
            f"<h2>Input {html.escape(name)}</h2><p>No static pairs: every pair was registered on its own, geometry and"
            f" colour, which is less reliable than a rig calibration.</p><p>{colors}.</p>"
        )
    head = "<tr><th>static pair</th><th>its field from the common one, px</th><th>residual p50, px</th>"
    head += "<th>residual p95, px</th><th>usable tiles</th><th>static PSNR, dB</th></tr>"
    return f"<h2>Rig calibration of {html.escape(name)}</h2><table>{head}{rows}</table><p>{colors}.</p>"


def _residual_rows(content: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    labels, spread = content.get("static_pairs", []), content.get("spread_px", [])
    residuals = content.get("residuals", [{}] * len(labels))
    keys = ("residual_p50_px", "residual_p95_px", "usable_tiles", "static_psnr_db")
    return [
        (label, float(distance), *(float("nan") if left.get(key) is None else float(left[key]) for key in keys))
        for label, distance, left in zip(labels, spread, residuals, strict=True)
    ]


def _table(entries: Sequence[ReportEntry]) -> str:
    shown = ("usable_tiles", "residual_p50_px", "residual_p95_px", "static_psnr_db", "saturated", "moving", "gain")
    head = "".join(f"<th>{html.escape(MEASURES[name].title)}</th>" for name in shown)
    rows = []
    for entry in entries:
        cells = "".join(f"<td>{_measure(name, entry.info.quality.get(name, math.nan))}</td>" for name in shown)
        label = f"{html.escape(entry.scene)}/{html.escape(entry.info.name)}"
        verdict = entry.info.verdict.value
        rows.append(
            f'<tr><td class=text><a href="#{label}">{label}</a></td><td class="text {verdict}">{verdict}</td>'
            f"{cells}</tr>"
        )
    return f"<h2>Pairs</h2><table><tr><th>pair</th><th>verdict</th>{head}</tr>{''.join(rows)}</table>"


def _pair(entry: ReportEntry, folder: Path) -> str:
    info, label = entry.info, f"{html.escape(entry.scene)}/{html.escape(entry.info.name)}"
    reasons = f": {html.escape(info.reasons)}" if info.reasons else ""
    measures = ", ".join(
        f"{html.escape(MEASURES[name].title)} {_measure(name, value)}"
        for name, value in info.quality.items()
        if name in MEASURES
    )
    figures = []
    for kind, caption in CAPTIONS.items():
        name = picture_name(entry.scene, info.name, kind)
        if (folder / name).exists():
            figures.append(
                f'<figure><img src="{html.escape(name)}" alt="{kind}" loading="lazy">'
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
    verdict = info.verdict.value
    return (
        f'<section id="{label}"><h3>{label} ({entry.split}) <span class="{verdict}">{verdict}</span>'
        f"{reasons}</h3><p>{measures}</p><div class=pictures>{''.join(figures)}</div></section>"
    )


def _legend() -> str:
    rows = "".join(
        f"<tr><td class=text>{html.escape(measure.title)}</td><td class=text>{html.escape(measure.unit)}</td>"
        f"<td class=text>{html.escape(measure.explanation)}</td></tr>"
        for measure in MEASURES.values()
    )
    return f"<h2>What the measures mean</h2><table><tr><th>measure</th><th>unit</th><th></th></tr>{rows}</table>"


def _measure(name: str, value: float) -> str:
    """A measure with its unit; shares in per cent."""
    unit = MEASURES[name].unit
    if math.isnan(value):
        return "–"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "flag":
        return "yes" if value else "no"
    return f"{value:.{DECIMALS.get(unit, 3)}f} {html.escape(unit)}".strip()


def _cell(value: object) -> str:
    return f"<td>{_text(value)}</td>" if isinstance(value, float) else f"<td class=text>{_text(value)}</td>"


def _text(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return html.escape(str(value))

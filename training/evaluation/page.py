"""The page of an evaluation: one HTML file that needs no other, not even a network."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.tables import (
    Rows,
    comparison_table,
    detection_table,
    file_table,
    further_table,
    headline_table,
    method_table,
    remarks,
)

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:1500px;margin:2rem auto;padding:0 1rem}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;white-space:nowrap;font-variant-numeric:tabular-nums}"
    "td,th{padding:.3rem .8rem;border-bottom:1px solid #8886;text-align:right}"
    "td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%;background:#fff}figure{margin:1rem 0 2rem}figcaption,small,.note{opacity:.75}"
    "h2{margin-top:2.5rem}"
)


@dataclass(frozen=True, kw_only=True)
class PageStrip:
    """A strip with its caption; `rank` as `evaluation.showcase` names it."""

    method: str
    rank: str
    caption: str
    jpeg: bytes


def make_page(summary: Mapping[str, Any], strips: Sequence[PageStrip], curves: bytes | None) -> str:
    """The whole page; sections without content are left out."""
    leading = MEASURES[summary["leading_measure"]].title
    files = ", ".join(Path(name).name for name in summary["data"])
    versions = summary["versions"]
    sections = [
        _note(f"{files}; {summary['created'][:10]}, localblur {versions['localblur']}, torch {versions['torch']}"),
        _table(headline_table(summary)),
        *(f"<p><small>{html.escape(line)}</small></p>" for line in remarks(summary)),
        _section("Further numbers", _table(further_table(summary))),
    ]
    methods = method_table(summary)
    if len(methods) > 1:
        sections.append(_section("Models", _table(methods)))
    if summary["comparisons"]:
        told = (
            "Difference of the means on the same pairs. A scene is one observation in both tests; many comparisons"
            " find small p values by chance."
        )
        sections.append(_section("Which method is better", _note(told) + _table(comparison_table(summary))))
    if len(summary["files"][0]["tested_on"]) > 1:
        told = f"{leading}; in brackets the gain over the blurred pictures. * the file the model was trained on."
        sections.append(_section("Trained on, tested on", _note(told) + _table(file_table(summary))))
    if summary["detection"]:
        told = f"Detections of {summary['settings']['detector']}; what it finds in the sharp pictures counts as right."
        sections.append(_section("Detections", _note(told) + _table(detection_table(summary))))
    if curves is not None:
        told = (
            f"Above: mean {leading}; below: gain over the blurred picture. Equally many pairs a point, 95 % intervals."
        )
        sections.append(_section("By length and area of the blur", _figure(curves, "png", told)))
    if strips:
        sections.append(_section("Best and worst", "".join(_strips(strips))))
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Evaluation</title>'
        f"<style>{_STYLE}</style><h1>Evaluation</h1>\n"
        + "\n".join(sections)
        + '\n<p>Files: <a href="scores.csv">scores.csv</a>, <a href="summary.json">summary.json</a></p></html>\n'
    )


def _strips(strips: Sequence[PageStrip]) -> list[str]:
    parts = []
    for number, strip in enumerate(strips):
        if number == 0 or strips[number - 1].method != strip.method:
            parts.append(f"<h3>{html.escape(strip.method)}</h3>")
        parts.append(_figure(strip.jpeg, "jpeg", strip.caption))
    return parts


def _section(title: str, content: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{content}"


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _figure(content: bytes, kind: str, caption: str) -> str:
    encoded, told = base64.b64encode(content).decode("ascii"), html.escape(caption, quote=True)
    image = f'<img src="data:image/{kind};base64,{encoded}" alt="{told}" loading="lazy">'
    return f"<figure>{image}<figcaption>{told}</figcaption></figure>\n"


def _table(rows: Rows) -> str:
    def row(tag: str, texts: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"

    body = "".join(row("td", texts) for texts in rows[1:])
    return f'<div class="wide"><table>{row("th", rows[0])}{body}</table></div>'

"""The table of a report: one row per pair, rejected ones first, a column per measure."""

import html
import math
from collections.abc import Mapping, Sequence

from localblur.alignment.judging.quality import MEASURES
from localblur.alignment.report.values import WORDS, Limit, ReportEntry, measure_text, reason_kind, unit_of

KEY_MEASURES = (
    "usable_tiles",
    "residual_p50_px",
    "residual_p95_px",
    "static_psnr_db",
    "psnr_gap_db",
    "color_bias",
    "sharpness",
    "saturated",
    "moving",
    "mask_confidence",
    "gain",
    "drift_px",
    "parallax",
)
"""Shown at once; the others on demand."""


def shown_measures(entries: Sequence[ReportEntry]) -> list[str]:
    """The measures any of the pairs has: the key ones first, then the others in their own order."""
    present = set[str]().union(*(entry.info.quality for entry in entries))
    ordered = [*KEY_MEASURES, *(name for name in MEASURES if name not in KEY_MEASURES)]
    return [name for name in ordered if name in present]


def table_head(measures: Sequence[str]) -> str:
    """Controls and head of the table; rows and `TABLE_END` follow."""
    columns = "".join(_column(name) for name in measures)
    return (
        '<section aria-labelledby="table"><h2 id="table">Pairs</h2><div id="controls">'
        '<label><input type="checkbox" id="all-measures"> all measures</label></div>'
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="table"><table id="list"><thead><tr>'
        '<th scope="col" data-sort="text">pair</th><th scope="col" data-sort="text">verdict</th>'
        f'<th scope="col" data-sort="text">why</th>{columns}</tr></thead><tbody>\n'
    )


TABLE_END = "</tbody></table></div></section>\n"


def table_row(
    number: int, entry: ReportEntry, measures: Sequence[str], limits: Mapping[str, Limit], kinds: Sequence[str]
) -> str:
    """The row of one pair; `number` is that of its section."""
    info = entry.info
    cells = "".join(_cell(name, info.quality.get(name, math.nan), limits.get(name)) for name in measures)
    kind = f' data-kind="{kinds.index(reason_kind(info.reasons))}"' if entry.rejected else ""
    return (
        f'<tr data-pair="p{number}" data-verdict="{info.verdict.value}"{kind}><th scope="row"><a href="#p{number}">'
        f'{html.escape(entry.label)}</a></th><td class="text"><span class="verdict {info.verdict.value}">'
        f'{WORDS[info.verdict]}</span></td><td class="text why">{html.escape(info.reasons)}</td>{cells}</tr>\n'
    )


def _column(name: str) -> str:
    measure = MEASURES[name]
    return (
        f'<th scope="col" class="number{_more(name)}" data-sort="number" title="{html.escape(measure.explanation)}">'
        f"{html.escape(measure.title)}{_unit(name)}</th>"
    )


def _cell(name: str, value: float, limit: Limit | None) -> str:
    broken = limit is not None and limit.broken(value)
    names = " ".join(filter(None, ("beyond" if broken else "", _more(name).strip())))
    mark = f' class="{names}"' if names else ""
    note = '<span class="only-read"> beyond its limit</span>' if broken else ""
    return f"<td{mark}>{measure_text(name, value, unit=False)}{note}</td>"


def _more(name: str) -> str:
    return "" if name in KEY_MEASURES else " more"


def _unit(name: str) -> str:
    unit = unit_of(name)
    return f", <small>{html.escape(unit)}</small>" if unit in ("%", "px", "dB", "x", "levels") else ""

"""Quality measures in words and digits, and their limits, as a report shows them."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localblur.alignment.judging.quality import MEASURES
from localblur.alignment.model.pair import REFINEMENTS
from localblur.datasets.pair import PairInfo, Verdict

DECIMALS = {"dB": 1, "degree": 0, "tiles": 0, "levels": 2}
"""Digits after the point by unit, where three are too many."""
_MISSING = "–"
_DEGREES = {-1 if degree is None else degree: name for name, degree in REFINEMENTS.items()}
_SUPPORTING = ("parallax_tiles",)
"""Measures whose limit only says when another one counts."""
WORDS = {Verdict.ACCEPT: "accepted", Verdict.REJECT: "rejected", Verdict.UNDECIDED: "undecided"}


@dataclass(frozen=True)
class ReportEntry:
    """One pair of the report."""

    scene: str
    split: str
    info: PairInfo

    @property
    def label(self) -> str:
        """Scene and pair."""
        return f"{self.scene}/{self.info.name}"

    @property
    def rejected(self) -> bool:
        """Whether it was rejected, by a rule or a person."""
        return self.info.verdict is Verdict.REJECT


@dataclass(frozen=True)
class Limit:
    """Where a measure rejects: below `low`, above `high`; None: never."""

    low: float | None = None
    high: float | None = None

    def broken(self, value: float) -> bool:
        """Whether a value lies outside."""
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


def find_limits(quality: Mapping[str, Any]) -> dict[str, Limit]:
    """Limits of the measures by name, from the `quality` settings of a run: min_<measure> and max_<measure>."""
    limits = {
        name: Limit(_number(quality.get(f"min_{name}")), _number(quality.get(f"max_{name}")))
        for name in MEASURES
        if name not in _SUPPORTING
    }
    gain = limits["gain"].high
    if gain:
        limits["gain"] = Limit(1 / gain, gain)
    return {name: limit for name, limit in limits.items() if limit != Limit()}


def measure_text(name: str, value: float, *, unit: bool = True) -> str:
    """A measure in its own digits; shares in per cent. HTML-safe."""
    found = unit_of(name)
    if math.isnan(value):
        return _MISSING
    if found == "flag":
        return "yes" if value else "no"
    if found == "degree" and unit:
        return _DEGREES.get(int(value), f"degree {value:g}")
    text = f"{100 * value:.1f}" if found == "%" else f"{value:.{DECIMALS.get(found, 3)}f}"
    return f"{text} {html.escape(found)}".rstrip() if unit else text


def unit_of(name: str) -> str:
    """The unit a measure is shown in."""
    unit = MEASURES[name].unit
    return "%" if unit == "share" else unit


def limit_text(name: str, limit: Limit | None) -> str:
    """A limit in words, HTML-safe; nothing where there is none."""
    if limit is None:
        return ""
    scale, unit = (100, "%") if unit_of(name) == "%" else (1, unit_of(name))
    low, high = (None if value is None else f"{scale * value:.3g}" for value in (limit.low, limit.high))
    words = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"
    return html.escape(f"{words} {unit}".rstrip())


def number_text(value: object) -> str:
    """A plain number in three digits, anything else as it is. HTML-safe."""
    if isinstance(value, float):
        return _MISSING if math.isnan(value) else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return html.escape(str(value))


def ramp_rule(name: str, colors: Sequence[str]) -> str:
    """The style of a scale of colours in equal steps, for `ramp_legend`."""
    steps = ", ".join(
        f"{color} {100 * index / len(colors):.1f}% {100 * (index + 1) / len(colors):.1f}%"
        for index, color in enumerate(colors)
    )
    return f".ramp.{name} {{ background: linear-gradient(90deg, {steps}); }}\n"


def ramp_legend(name: str, low: str, high: str) -> str:
    """The scale of `ramp_rule`, labelled."""
    return f'<span class="legend">{low} <i class="ramp {name}"></i> {high}</span>'


def reason_kind(reasons: str) -> str:
    """What kind of reason a pair was rejected for: its first reason up to the colon, without numbers.

    Pairs rejected for "parallax: 19 % ..." and "parallax: 31 % ..." are of one kind.
    """
    first = re.split(r"[:;(]", reasons, maxsplit=1)[0]
    kind = re.sub(r"\s*[-+]?\d[\d.,]*\s*(%|px\b|dB\b)?", " … ", first)
    return re.sub(r"\s+", " ", kind).strip() or "no reason given"


def reason_kinds(entries: Sequence[ReportEntry]) -> dict[str, int]:
    """How many pairs were rejected for each kind of reason, most frequent first."""
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.rejected:
            kind = reason_kind(entry.info.reasons)
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

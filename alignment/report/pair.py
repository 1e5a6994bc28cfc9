"""The part of a report about one pair: verdict, reasons, pictures, measures."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from localblur.alignment.judging.quality import MEASURES
from localblur.alignment.report.drawings import ARROW_GAIN, NOT_MEASURED, RAMP, TILE_STEPS
from localblur.alignment.report.pictures import HEAT_LEVELS, AboutPictures, heat_scale
from localblur.alignment.report.values import (
    WORDS,
    Limit,
    ReportEntry,
    limit_text,
    measure_text,
    ramp_legend,
    ramp_rule,
    reason_kind,
)

Source = Callable[[str], str]
"""Where the picture of a kind is: the address for an `img`."""


def pair_section(
    number: int,
    entry: ReportEntry,
    limits: Mapping[str, Limit],
    kinds: Sequence[str],
    about: AboutPictures | None,
    source: Source,
) -> str:
    """Everything about one pair.

    Args:
        number: of the section: its anchor is `p<number>`.
        entry: the pair.
        limits: of the measures.
        kinds: of reasons, to be filtered by.
        about: its pictures; None if there are none.
        source: where they are.
    """
    info = entry.info
    kind = f' data-kind="{kinds.index(reason_kind(info.reasons))}"' if entry.rejected else ""
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in info.reasons.split("; ") if reason)
    by = "" if info.decided_by in ("", "auto") else f" by {html.escape(info.decided_by)}"
    views = PairPictures(html.escape(entry.label), about, source) if about else None
    twins = views.twins() if views else '<p class="note">No pictures were made of this pair.</p>'
    return (
        f'<section class="pair" id="p{number}" data-verdict="{info.verdict.value}"{kind} aria-labelledby="n{number}">'
        f'<h3 id="n{number}"><a href="#p{number}">{html.escape(entry.label)}</a> <span class="verdict'
        f' {info.verdict.value}">{WORDS[info.verdict]}{by}</span> <small>{html.escape(entry.split)}'
        f'{_exposures(entry)}</small> <a class="up" href="#table">to the table</a></h3>'
        + (f'<ul class="reasons">{reasons}</ul>' if reasons else "")
        + f'<div class="views"><div>{twins}{_measures(entry, limits)}</div>{views.figures() if views else ""}'
        "</div></section>\n"
    )


@dataclass(frozen=True)
class PairPictures:
    """The pictures of a pair with their captions; `label` is HTML-safe."""

    label: str
    about: AboutPictures
    source: Source

    def twins(self) -> str:
        """Blurred and sharp, whole and in detail: what is compared on one another."""
        about = self.about
        x0, y0, x1, y1 = about.detail
        detail = (x1 - x0, y1 - y0)
        mask = "blur mask" if about.masked else "region that differs (no blur mask)"
        blurred = self._image("blurred", "blurred, aligned") + self._image("mask", mask)
        return (
            f'<div class="twins" data-ratio="{about.width} / {about.height}">'
            + _figure(blurred, f"Blurred, aligned; red: {mask}, dark: no data or saturated", "layers")
            + _figure(self._image("sharp", "sharp"), "Sharp, as captured")
            + _figure(
                self._image("blurred-detail", "blurred, in detail", detail),
                "Blurred, pixel by pixel where the residual shift is largest",
            )
            + _figure(self._image("sharp-detail", "sharp, in detail", detail), "The same part of sharp")
            + "</div>"
        )

    def figures(self) -> str:
        """Differences, shifts and histograms."""
        about = self.about
        field = "Displacement beyond the rig's" if about.against_rig else "Displacement"
        told = f"{field}: mean {about.field_mean_px:.2f} px, largest {about.field_largest_px:.2f} px"
        heat = ramp_legend("heat", "0", f"{HEAT_LEVELS}+ levels")
        return (
            '<div class="figures">'
            + _figure(
                self._image("before", "difference before alignment"),
                f"Difference before, in levels of 255 (captured, equal mean brightness){heat}",
            )
            + _figure(self._image("after", "difference after alignment"), f"Difference after, in levels of 255{heat}")
            + _figure(
                self._image("tiles", "residual shifts of the tiles"),
                f"Residual shift, arrows &times; {ARROW_GAIN}; dashed: the detail{_TILE_LEGEND}",
            )
            + _figure(
                self._image("field", "displacement field"),
                f"{told}{ramp_legend('lengths', '0', f'{about.field_scale_px:g} px')}",
            )
            + _figure(
                self._image("histogram", "histograms before and after the colours were matched", None),
                "Histograms, sRGB-coded: filled sharp, line blurred",
            )
            + "</div>"
        )

    def _image(self, kind: str, what: str, size: tuple[int, int] | None = (0, 0)) -> str:
        """An image of `size`; (0, 0) is that of the pair, None leaves it to the picture."""
        wide, high = (self.about.width, self.about.height) if size == (0, 0) else size or (0, 0)
        sides = f' width="{wide}" height="{high}"' if wide else ""
        return (
            f'<img class="{kind}" src="{self.source(kind)}" alt="{self.label}: {what}"{sides} loading="lazy"'
            ' decoding="async">'
        )


def _figure(content: str, caption: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f"<figure{mark}>{content}<figcaption>{caption}</figcaption></figure>"


def scale_rules() -> str:
    """The styles of the scales of colours that the figures show."""
    chips = "".join(f".chip{index} {{ background: {color}; }}\n" for index, (color, _) in enumerate(_tile_chips()))
    return ramp_rule("heat", heat_scale(9)) + ramp_rule("lengths", RAMP) + chips


def _tile_chips() -> list[tuple[str, str]]:
    """Colours of the tiles and what they mean."""
    limits = [limit for limit, *_ in TILE_STEPS[:-1]]
    words = [*(f"below {limit:g} px" for limit in limits), f"{limits[-1]:g} px and more"]
    colors = [color for _, color, _ in TILE_STEPS]
    return [*zip(colors, words, strict=True), (NOT_MEASURED, "moved, flat or saturated")]


_TILE_LEGEND = (
    '<span class="legend">'
    + "".join(
        f'<span class="chip"><i class="chip{index}"></i> {words}</span> '
        for index, (_, words) in enumerate(_tile_chips())
    )
    + "</span>"
)


def _measures(entry: ReportEntry, limits: Mapping[str, Limit]) -> str:
    items = []
    for name, value in entry.info.quality.items():
        if name not in MEASURES:
            continue
        limit = limits.get(name)
        broken = limit is not None and limit.broken(value)
        words = f" <small>({limit_text(name, limit)})</small>" if limit else ""
        items.append(
            f"<div><dt>{html.escape(MEASURES[name].title)}</dt>"
            f"<dd{' class=beyond' if broken else ''}>{measure_text(name, value)}{words}</dd></div>"
        )
    return f'<dl class="measures">{"".join(items)}</dl>' if items else ""


def _exposures(entry: ReportEntry) -> str:
    times = (entry.info.exposure_long_ms, entry.info.exposure_short_ms)
    return "" if any(math.isnan(time) for time in times) else f", {times[0]:g} ms and {times[1]:g} ms"

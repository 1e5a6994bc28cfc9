"""The report of a run: one HTML page that needs nothing else, rejected pairs first.

All pictures are inside the page while that stays below `EMBED_LIMIT_BYTES`; the page of a longer run shows the pictures
in the folder beside it. Without JavaScript the table and every picture are there; with it the table can be sorted and
filtered, and blurred and sharp are compared on one another.
"""

import base64
import hashlib
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from localblur.alignment.report.calibration import calibration_line, calibration_section
from localblur.alignment.report.pair import pair_section, scale_rules
from localblur.alignment.report.pictures import SUFFIXES, data_uri, picture_name, read_about
from localblur.alignment.report.summary import legend, settings_table, summary, trends
from localblur.alignment.report.table import TABLE_END, shown_measures, table_head, table_row
from localblur.alignment.report.values import Limit, ReportEntry, find_limits, reason_kinds
from localblur.common.files import atomic_path

__all__ = ["EMBED_LIMIT_BYTES", "PAGE", "ReportEntry", "write_report"]

PAGE = "index.html"
EMBED_LIMIT_BYTES = 60_000_000
"""Largest page with the pictures inside: beyond it browsers take long to open it."""
_BASE64_GROWTH = 4 / 3


@dataclass(frozen=True)
class Run:
    """What a page is made of: the pairs, rejected first, and what they have in common."""

    folder: Path
    title: str
    entries: Sequence[ReportEntry]
    calibrations: Mapping[str, Mapping[str, Any]]
    lost: Mapping[str, str]
    settings: Mapping[str, Any]
    notes: Sequence[str]
    embedded: bool
    limits: Mapping[str, Limit] = field(default_factory=dict)


def write_report(
    folder: Path,
    entries: Sequence[ReportEntry],
    calibrations: Mapping[str, Mapping[str, Any]],
    lost: Mapping[str, str],
    title: str,
    *,
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    embed_limit_bytes: int = EMBED_LIMIT_BYTES,
) -> Path:
    """Write `folder/index.html`; its pictures were left in the folder while the pairs were aligned.

    The page is written piece by piece: the memory needed does not grow with the pictures. Pictures that went into the
    page are removed from the folder afterwards.

    Args:
        folder: the report's folder.
        entries: all pairs of the output, in its order.
        calibrations: what was stored under /calibration, by input.
        lost: pairs that could not be read, and why.
        title: heading.
        settings: of the run; its `quality` says the limits.
        notes: what the pairs show together, in words.
        embed_limit_bytes: from this size of the page on, pictures stay beside it.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _stored_pictures(folder, entries)
    size = sum(path.stat().st_size for path in pictures) * _BASE64_GROWTH
    quality = (settings or {}).get("quality", {})
    run = Run(
        folder=folder,
        title=title,
        entries=sorted(entries, key=lambda entry: not entry.rejected),
        calibrations=calibrations,
        lost=lost,
        settings=settings or {},
        notes=notes,
        embedded=size <= embed_limit_bytes,
        limits=find_limits(quality),
    )
    with atomic_path(folder / PAGE) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_page(run, entries))
    if run.embedded:
        _remove(folder, pictures)
    return folder / PAGE


def _stored_pictures(folder: Path, entries: Sequence[ReportEntry]) -> list[Path]:
    if not (folder / "pictures").is_dir():
        return []
    paths = [folder / picture_name(entry.scene, entry.info.name, kind) for entry in entries for kind in SUFFIXES]
    return [path for path in paths if path.exists()]


def _remove(folder: Path, pictures: Sequence[Path]) -> None:
    for path in pictures:
        path.unlink(missing_ok=True)
    pictures_folder = folder / "pictures"
    if pictures_folder.is_dir() and not any(pictures_folder.iterdir()):
        pictures_folder.rmdir()


def _page(run: Run, stored_order: Sequence[ReportEntry]) -> Iterator[str]:
    """The page, piece by piece."""
    yield from _head(run.title, run.embedded)
    yield f"<header><h1>{html.escape(run.title)}</h1>{_contents(run)}</header>\n<main>"
    lines = "".join(calibration_line(name, content) for name, content in run.calibrations.items())
    yield f"{summary(run.entries, run.lost, run.notes)}{lines}{trends(stored_order, run.limits)}\n"
    measures, kinds = shown_measures(run.entries), list(reason_kinds(run.entries))
    yield table_head(measures)
    for number, entry in enumerate(run.entries):
        yield table_row(number, entry, measures, run.limits, kinds)
    yield f'{TABLE_END}<div id="pairs">\n'
    for number, entry in enumerate(run.entries):
        about = read_about(run.folder, entry.scene, entry.info.name)
        yield pair_section(number, entry, run.limits, kinds, about, _source(run, entry))
    rigs = "".join(calibration_section(name, content) for name, content in run.calibrations.items())
    yield f'</div>\n<section aria-labelledby="rig"><h2 id="rig">Rig calibration</h2>{rigs or "None."}</section>\n'
    yield f"{legend(run.limits)}\n"
    if run.settings:
        yield settings_table(run.settings)
    yield f"</main>\n<script>{_text('report.js')}</script>\n</body></html>\n"


def _contents(run: Run) -> str:
    """Links to the parts of the page; the pairs between them may be many."""
    parts = {"table": "Pairs", "rig": "Rig calibration", "legend": "What the measures mean"}
    if run.settings:
        parts["settings"] = "Settings"
    links = (f'<a href="#{anchor}">{words}</a>' for anchor, words in parts.items())
    return f"<nav>{' '.join(links)}</nav>"


def _head(title: str, embedded: bool) -> Iterator[str]:
    style, script = _text("report.css") + scale_rules(), _text("report.js")
    # nothing but the page's own style and script may run or load, whatever a name in it looks like
    pictures = "data:" if embedded else "'self' file: data:"
    policy = f"default-src 'none'; img-src {pictures}; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme"'
        f' content="light dark"><title>{html.escape(title)}</title><style>{style}</style></head>\n'
        "<body>\n"
    )


def _source(run: Run, entry: ReportEntry) -> Callable[[str], str]:
    def address(kind: str) -> str:
        name = picture_name(entry.scene, entry.info.name, kind)
        return data_uri((run.folder / name).read_bytes(), SUFFIXES[kind]) if run.embedded else html.escape(name)

    return address


def _text(name: str) -> str:
    return files("localblur.alignment.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

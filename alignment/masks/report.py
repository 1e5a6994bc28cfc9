"""What `mask-dataset` tells: a table of every mask's confidence, the doubtful ones, and comparisons of two sets."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import click
import numpy as np

from localblur.alignment.masks.compare import Comparison
from localblur.alignment.masks.foreign import Imported
from localblur.alignment.masks.tasks import Masked, MaskOutcome
from localblur.common.files import write_text

TABLE = "mask_confidence.csv"
COLUMNS = ("scene", "pair", "blurred_share", "confidence", "doubtful")
SHOWN = 10
MOSTLY = 0.7
"""A larger share of the picture hardly moved before a standing camera; shifted pictures differ everywhere."""


class Doubtful(Protocol):
    """A mask of little confidence, and the share of the picture that it covers."""

    @property
    def label(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def share(self) -> float: ...


class ConfidenceTable:
    """The table beside the masks of a folder, `mask_confidence.csv`; a context manager while masks are made.

    Every mask gets its line at once, so a kill costs no lines; a good end sorts them. Lines of masks that are made
    again are replaced.

    Args:
        folder: of the masks.
        doubtful_below: limit of the last column.
    """

    def __init__(self, folder: Path, doubtful_below: float) -> None:
        self.path, self._below = folder / TABLE, doubtful_below
        self._rows = _earlier_rows(self.path)

    def __enter__(self) -> "ConfidenceTable":
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write()

    def knows(self, scene: str, name: str) -> bool:
        """Whether there is a line for the mask of a pair."""
        return (scene, name) in self._rows

    def keep(self, keys: set[tuple[str, str]]) -> None:
        """Forget all lines but those of these scenes and pairs."""
        self._rows = {key: row for key, row in self._rows.items() if key in keys}

    def add(self, outcome: MaskOutcome) -> None:
        """Append the line of a mask that was made."""
        doubtful = "yes" if outcome.confidence < self._below else "no"
        row = (outcome.scene, outcome.name, f"{outcome.share:.4f}", f"{outcome.confidence:.3f}", doubtful)
        self._rows[outcome.scene, outcome.name] = row
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_csv_text([row]))

    def _write(self) -> None:
        write_text(self.path, _csv_text([COLUMNS, *(self._rows[key] for key in sorted(self._rows))]))


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _earlier_rows(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """Rows of an existing table; none if it is missing or something else. A line that a kill cut off is left out."""
    if not path.is_file():
        return {}
    whole = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0]
    rows = list(csv.reader(io.StringIO(whole)))
    if not rows or tuple(rows[0]) != COLUMNS:
        return {}
    return {(row[0], row[1]): tuple(row) for row in rows[1:] if len(row) == len(COLUMNS)}


def tell_run(done: Masked, output: Path, doubtful: Sequence[Doubtful], doubtful_below: float) -> None:
    """What was made, which masks are worth a look, the worst first, and, on standard error, what was left out."""
    share = f", blurred area {100 * np.median(done.shares):.1f} % (median)" if done.shares else ""
    kept = f", {done.kept} kept" if done.kept else ""
    click.echo(f"{output}: {len(done.made)} masks made{kept}{share}")
    most = sum(value > MOSTLY for value in done.shares)
    if most:
        click.echo(
            f"{most} cover more than {MOSTLY:.0%} of their picture: are these pairs aligned (align-dataset), or did the"
            " camera move?"
        )
    if doubtful:
        table = f"all listed in {output / TABLE}" if output.is_dir() else "view-dataset sorts by mask_confidence"
        click.echo(f"{len(doubtful)} doubtful (confidence below {doubtful_below:g}), {table}:")
        for found in doubtful[:SHOWN]:
            click.echo(f"  {found.label}: confidence {found.confidence:.2f}, blurred {100 * found.share:.1f} %")
    _tell_failures("left out", done.failures)


def tell_import(done: Imported, path: Path) -> bool:
    """What was taken over and, on standard error, what was not; returns whether a pair is without its mask."""
    kept = f", {done.kept} kept" if done.kept else ""
    unused = f", {done.unused} of that set fit no pair" if done.unused else ""
    area = f"blurred area {100 * np.median(done.shares):.1f} % (median)"
    click.echo(f"{path}: {len(done.shares)} masks taken over{kept}{unused}, {area}")
    if done.missing:
        named = ", ".join(done.missing[:SHOWN]) + (", ..." if len(done.missing) > SHOWN else "")
        click.echo(f"no mask for {len(done.missing)} pairs: {named}", err=True)
    _tell_failures("left out", done.failures)
    return bool(done.missing or done.failures)


def tell_comparison(compared: Comparison, limit: float | None) -> bool:
    """A table of scenes, the worst pairs first below it; returns whether a pair's agreement is below the limit."""
    click.echo(f"{'scene':<24} {'pairs':>6} {'mean IoU':>9} {'lowest':>7} {'blurred':>8} {'other':>7}")
    rows = [*compared.by_scene().items(), ("all", compared.pairs)]
    for scene, pairs in rows if compared.pairs else []:
        ious = [pair.iou for pair in pairs]
        areas = 100 * np.mean([(pair.share, pair.other_share) for pair in pairs], axis=0)
        line = f"{scene:<24} {len(pairs):>6} {np.mean(ious):>9.3f} {min(ious):>7.3f}"
        click.echo(f"{line} {areas[0]:>6.1f} % {areas[1]:>5.1f} %")
    click.echo("least agreement:")
    for pair in compared.worst(SHOWN):
        areas_text = f"blurred {100 * pair.share:.1f} % and {100 * pair.other_share:.1f} %"
        click.echo(f"  {pair.label}: IoU {pair.iou:.3f}, {areas_text}")
    if compared.only_first or compared.only_second:
        click.echo(f"in one set only: {compared.only_first} of the first, {compared.only_second} of the other")
    _tell_failures("not compared", compared.failures)
    if limit is None:
        return False
    below = sum(pair.iou < limit for pair in compared.pairs)
    click.echo(f"{below} of {len(compared.pairs)} pairs below the limit of {limit:g}")
    return below > 0 or bool(compared.failures)


def _tell_failures(what: str, failures: Sequence[str]) -> None:
    if failures:
        click.echo(f"{what} {len(failures)}:", err=True)
        for failure in failures:
            click.echo(f"  {failure}", err=True)

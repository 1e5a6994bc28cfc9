"""What `mask-dataset` tells: a table of every mask's confidence, the doubtful ones, and comparisons of two sets."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from localblur.alignment.mask_compare import Comparison
from localblur.alignment.mask_tasks import Masked, MaskOutcome
from localblur.common.files import write_text

COLUMNS = ("scene", "pair", "blurred_share", "confidence", "doubtful")
SHOWN = 10


def confidence_path(output: Path) -> Path:
    """Where the table lies: in a folder of masks, beside a pairs file."""
    return output / "mask_confidence.csv" if output.is_dir() else output.with_name(f"{output.name}.mask_confidence.csv")


def write_confidence(path: Path, made: Sequence[MaskOutcome], doubtful_below: float) -> None:
    """Write the table; rows of pairs whose masks were kept stay as an earlier run left them."""
    rows = _earlier_rows(path)
    for outcome in made:
        doubtful = "yes" if outcome.confidence < doubtful_below else "no"
        values = f"{outcome.share:.4f}", f"{outcome.confidence:.3f}", doubtful
        rows[outcome.scene, outcome.name] = (outcome.scene, outcome.name, *values)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows[key] for key in sorted(rows))
    write_text(path, text.getvalue())


def _earlier_rows(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """Rows of an existing table; none if it is missing or something else."""
    if not path.is_file():
        return {}
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8", errors="replace"))))
    if not rows or tuple(rows[0]) != COLUMNS:
        return {}
    return {(row[0], row[1]): tuple(row) for row in rows[1:] if len(row) == len(COLUMNS)}


def tell_run(done: Masked, output: Path, doubtful_below: float) -> None:
    """What was made, which masks are worth a look, and, on standard error, what was left out."""
    share = f", blurred area {100 * np.median(done.shares):.1f} % (median)" if done.shares else ""
    kept = f", {done.kept} kept" if done.kept else ""
    click.echo(f"{output}: {len(done.made)} masks made{kept}{share}")
    doubtful = done.doubtful(doubtful_below)
    if doubtful:
        table = confidence_path(output)
        click.echo(f"{len(doubtful)} doubtful (confidence below {doubtful_below:g}), all listed in {table}:")
        for outcome in doubtful[:SHOWN]:
            click.echo(f"  {outcome.label}: confidence {outcome.confidence:.2f}, blurred {100 * outcome.share:.1f} %")
    _tell_failures("left out", done.failures)


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

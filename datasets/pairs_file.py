"""Command group `pairs-file`: look at pairs files, check them, and make new ones from them."""

import json
from collections import Counter
from pathlib import Path

import click
import numpy as np
import yaml

from localblur.common.command import EXIT_ERROR, Group, output_option, overwrite_option
from localblur.common.files import atomic_path, refuse_existing
from localblur.common.parallel import Progress
from localblur.datasets.curation.copy_commands import merge_command, repack_command, split_command, subset_command
from localblur.datasets.curation.length_sample import LengthSampler
from localblur.datasets.curation.stats import LENGTHS_SAMPLED, PairsStatistics, measure_pairs, statistics_lines
from localblur.datasets.exchange.dataset_card import citation_of
from localblur.datasets.storage.check import SceneSummary, find_damage, summarise
from localblur.datasets.storage.compression import compression_of
from localblur.datasets.storage.edits import edits_path
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.storage.reader import PairsFile
from localblur.datasets.storage.schema import SPLITS

FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
CODED = {"srgb": "sRGB-coded", "linear": "linear light"}
PROBLEMS_SHOWN = 50
REASONS_SHOWN = 8


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Look at pairs files (HDF5), check them, and make new ones from them.

    \b
    Examples:
      pairs-file inspect pairs.h5
      pairs-file verify pairs.h5
      pairs-file stats pairs.h5 -o plots
      pairs-file fold-edits pairs.h5
      pairs-file merge monday.h5 tuesday.h5 -o week.h5
      pairs-file subset week.h5 -o good.h5 --verdict accept
      pairs-file split good.h5 --split train=0.8,val=0.1,test=0.1
      pairs-file repack good.h5 -o fast.h5 --compression bitshuffle-lz4
    """


for command in (merge_command, subset_command, split_command, repack_command):
    main.add_command(command)


@main.command()
@FILES
@click.option("--scenes/--no-scenes", default=True, help="List every scene.", show_default=True)
@click.option("--settings/--no-settings", default=True, help="Show the settings of the creator.", show_default=True)
def inspect(files: tuple[Path, ...], scenes: bool, settings: bool) -> None:
    """Show what pairs files hold: counts, sizes, splits, masks, verdicts, provenance, settings.

    \b
    Example:
      pairs-file inspect pairs.h5 --no-settings
    """
    for path in files:
        with PairsFile(path) as pairs:
            for line in report_lines(pairs, scenes=scenes, settings=settings):
                click.echo(line)


@main.command()
@FILES
def verify(files: tuple[Path, ...]) -> None:
    """Read everything in pairs files and compare it with its checksums; exit code 1 if anything is damaged.

    \b
    Example:
      pairs-file verify pairs.h5
    """
    damaged = False
    for path in files:
        with PairsFile(path) as pairs:
            total = sum(entry.count for entry in pairs.scenes)
        with Progress(total, f"verify {path.name}") as progress:
            problems = find_damage(path, progress.step)
        for problem in problems[:PROBLEMS_SHOWN]:
            click.echo(f"{path}: {problem}", err=True)
        if len(problems) > PROBLEMS_SHOWN:
            click.echo(f"{path}: and {len(problems) - PROBLEMS_SHOWN} more problems", err=True)
        click.echo(f"{path}: {total} pairs, " + _verdict(len(problems)))
        damaged |= bool(problems)
    if damaged:
        click.get_current_context().exit(EXIT_ERROR)


@main.command("fold-edits")
@FILES
def fold(files: tuple[Path, ...]) -> None:
    """Put what was edited in `view-dataset` into pairs files, and remove the edits journals beside them.

    Every command honours the edits already; folding makes the file whole by itself, to copy or publish it. It needs
    room for a copy of the file.

    \b
    Example:
      pairs-file fold-edits pairs.h5
    """
    for path in files:
        folded = fold_edits(path)
        counts = {"verdict": folded.verdicts, "note": folded.notes, "mask": folded.masks}
        said = [f"{n} {what}{'s' if n > 1 else ''}" for what, n in counts.items() if n]
        listed = " and ".join([", ".join(said[:-1]), said[-1]] if said[1:] else said)
        click.echo(f"{path}: {listed} folded in" if said else f"{path}: no edits")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option(
    "--lengths",
    type=click.IntRange(min=0),
    default=LENGTHS_SAMPLED,
    show_default=True,
    metavar="N",
    help="Estimate the blur length of at most N pairs per split; 0: none.",
)
@output_option("Folder for plots as PNG.", required=False)
@overwrite_option
def stats(file: Path, as_json: bool, lengths: int, output: Path | None, overwrite: bool) -> None:
    """Statistics of a pairs file, per split: verdicts, masks, blurred area, blur length, every quality measure.

    Blur lengths are taken from a sample of the pairs: as recorded by synthesize-local, else estimated.

    \b
    Examples:
      pairs-file stats pairs.h5
      pairs-file stats pairs.h5 -o plots
    """
    with PairsFile(file) as pairs:
        statistics = _measured(pairs, lengths)
    click.echo(json.dumps(statistics.plain()) if as_json else "\n".join(statistics_lines(statistics)))
    if output is not None:
        from localblur.datasets.curation.plots import PLOTS, plot_png  # matplotlib is slow to import

        files = {output / f"{name}.png": name for name in PLOTS}
        for plot in files:
            refuse_existing(plot, overwrite)
        output.mkdir(parents=True, exist_ok=True)
        for plot, name in files.items():
            with atomic_path(plot) as temporary:
                temporary.write_bytes(plot_png(statistics, name))
        click.echo(f"plots: {', '.join(str(plot) for plot in files)}", err=as_json)


def _measured(pairs: PairsFile, lengths: int) -> PairsStatistics:
    if not lengths:
        return measure_pairs(pairs)
    counts = Counter[str]()
    for entry in pairs.scenes:
        counts[entry.split] += entry.count
    total = sum(min(lengths, count) for count in counts.values())
    with Progress(total, "blur lengths", delay_s=2) as progress:
        return measure_pairs(pairs, LengthSampler(most=lengths, advance=progress.step))


def _verdict(problems: int) -> str:
    return f"{problems} problem{'s' if problems > 1 else ''}" if problems else "intact"


def report_lines(pairs: PairsFile, *, scenes: bool = True, settings: bool = True) -> list[str]:
    """The text of `inspect`, line by line."""
    summaries = summarise(pairs)
    lines = [f"{pairs.path}: localblur pairs file, schema version {pairs.schema_version}"]
    lines += [f"  {name:<12}{value}" for name, value in _facts(pairs, summaries).items()]
    lines += ["", *_table(["split", "scenes", "pairs", "masks", "rejected"], _split_rows(summaries))]
    if scenes:
        head = ["scene", "split", "width x height", "pairs", "masks", "accepted", "rejected", "undecided"]
        lines += ["", *_table(head, [_scene_row(summary) for summary in summaries])]
    if settings:
        for title, content in (("settings", pairs.header.settings), ("mask settings", pairs.mask_settings)):
            stated = {name: value for name, value in (content or {}).items() if value is not None}
            if stated:
                text = yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=110)
                lines += ["", f"  {title}", *(f"    {line}" for line in text.splitlines())]
    return lines


def _facts(pairs: PairsFile, summaries: list[SceneSummary]) -> dict[str, str]:
    header = pairs.header
    count = sum(summary.entry.count for summary in summaries)
    reasons = sum((summary.reasons for summary in summaries), Counter[str]())
    facts = {
        "size": _size(pairs),
        "made": f"{pairs.created} by {header.creator}",
        "source": header.source or "not stated",
        "licence": header.licence,
        "cite": citation_of(header) or "not stated",
        "pictures": f"{_sizes(summaries)}, {header.bit_depth}-bit, {CODED[header.encoding]}",
        "pairs": f"{count} in {len(summaries)} scene{'' if len(summaries) == 1 else 's'}",
        "masks": _masks(summaries, count),
        "verdicts": ", ".join(f"{_verdicts(summaries)[name]} {name}" for name in ("accept", "reject", "undecided")),
        "reasons": ", ".join(f"{n} x {reason}" for reason, n in reasons.most_common(REASONS_SHOWN)) or "none",
        "edits": f"of {len(pairs.overlay)} pairs, in {edits_path(pairs.path).name}" if len(pairs.overlay) else "none",
        "exposures": _exposures(summaries),
        "calibration": ", ".join(sorted(pairs.calibration())) or "none stored",
    }
    if len(reasons) > REASONS_SHOWN:
        facts["reasons"] += f", and {len(reasons) - REASONS_SHOWN} other reasons"
    return facts


def _size(pairs: PairsFile) -> str:
    """Of the file, how it is compressed, and its share of what the pixels take."""
    size = pairs.path.stat().st_size
    pixels = sum(
        entry.height * entry.width * (6 * pairs.header.dtype.itemsize * entry.count + entry.masked)
        for entry in pairs.scenes
    )
    ways = sorted({compression_of(pairs.stored_scene(entry.name)["blurred"]) for entry in pairs.scenes})
    shown = f"{size / 1e9:.2f} GB" if size > 1e9 else f"{size / 1e6:.1f} MB"
    return f"{shown}, {' and '.join(ways) or 'empty'}, {100 * size / max(pixels, 1):.0f} % of its pixels"


def _sizes(summaries: list[SceneSummary]) -> str:
    found = sorted({(summary.entry.width, summary.entry.height) for summary in summaries})
    names = [f"{width}x{height}" for width, height in found]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} sizes from {names[0]} to {names[-1]}"


def _verdicts(summaries: list[SceneSummary]) -> Counter[str]:
    return sum((summary.verdicts for summary in summaries), Counter[str]())


def _masks(summaries: list[SceneSummary], count: int) -> str:
    blurred = [100 * share for summary in summaries for share in summary.blurred]
    if not blurred:
        return f"0 of {count}; make them with mask-dataset"
    return (
        f"{len(blurred)} of {count}; blurred area {np.median(blurred):.3g} % (median),"
        f" {min(blurred):.3g} to {max(blurred):.3g} %"
    )


def _exposures(summaries: list[SceneSummary]) -> str:
    known = {pair for summary in summaries for pair in summary.exposures if not np.isnan(pair).any()}
    shown = [f"{long_ms:g} ms blurred, {short_ms:g} ms sharp" for long_ms, short_ms in sorted(known)[:3]]
    return "; ".join(shown) + (" and others" if len(known) > len(shown) else "") if shown else "not stated"


def _split_rows(summaries: list[SceneSummary]) -> list[list[str]]:
    rows = []
    for split in SPLITS:
        chosen = [summary for summary in summaries if summary.entry.split == split]
        numbers = [
            len(chosen),
            sum(summary.entry.count for summary in chosen),
            sum(summary.entry.masked for summary in chosen),
            _verdicts(chosen)["reject"],
        ]
        rows.append([split, *(str(number) for number in numbers)])
    return rows


def _scene_row(summary: SceneSummary) -> list[str]:
    entry, verdicts = summary.entry, summary.verdicts
    numbers = [entry.count, entry.masked, verdicts["accept"], verdicts["reject"], verdicts["undecided"]]
    return [entry.name, entry.split, f"{entry.width} x {entry.height}", *(str(number) for number in numbers)]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Columns of numbers stand on the right, others on the left."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    sides = [">" if rows and all(row[column].isdecimal() for row in rows) else "<" for column in range(len(head))]
    sides[0] = "<"
    return [
        "  " + "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]

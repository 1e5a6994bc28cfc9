"""All benchmarks: `python benchmarks/run.py` (or `make bench`) writes benchmarks/RESULTS.md.

A new benchmark is one file with a `run(rounds) -> Section` and one line in `SECTIONS`.
"""

import statistics
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import bench_alignment
import bench_capture
import bench_capture_rate
import bench_demosaic
import bench_import
import bench_inference
import bench_loader
import bench_local
import bench_masks
import bench_patches
import bench_synthesis
import bench_training
import bench_view
import click
from machine import describe_machine
from measure import Measured, Row, Section

from localblur.common.files import write_text

SECTIONS: dict[str, Callable[[int], Section]] = {
    "inference": bench_inference.run,
    "training": bench_training.run,
    "patches": bench_patches.run,
    "loader": bench_loader.run,
    "import": bench_import.run,
    "alignment": bench_alignment.run,
    "demosaic": bench_demosaic.run,
    "masks": bench_masks.run,
    "view": bench_view.run,
    "synthesis": bench_synthesis.run,
    "local": bench_local.run,
    "capture": bench_capture.run,
    "capture-rate": bench_capture_rate.run,
}
HEADER = "| what | ours | compared with | ours is faster by (min to max) | extra memory: ours / other | remarks |"

FULL_SHARE = 2 / 3
"""Of the time allowed; what begins later is timed once."""

SHORTENED = "Timed once, for the time was running out."

READING = """\
Both ways run in processes of their own and take turns: one untimed call, then {rounds} timed calls each. Times are
medians. The ratio is formed round by round; its median is given with its range. Memory is the peak of the untimed call
above what the process held before it. What networks learn from which data is in [LEARNING.md](LEARNING.md)."""


@click.command()
@click.argument("names", nargs=-1, metavar="[SECTION]...")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Times each way is timed.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=28,
    show_default=True,
    help="After two thirds of them what is left is timed once, after all of them left out.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path(__file__).with_name("RESULTS.md"),
    help="The table to write.  [default: RESULTS.md beside this file]",
)
def main(names: tuple[str, ...], rounds: int, minutes: float, output: Path) -> None:
    """Run the benchmarks (all, or the SECTIONs named) and write the table."""
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise click.UsageError(f"unknown section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    started, machine = time.monotonic(), describe_machine()
    parts, failed = [], []
    for name in names or SECTIONS:
        begun = time.monotonic()
        share = (begun - started) / (60 * minutes)
        if share >= 1:
            over = f"{minutes:g} minutes are over"
            click.echo(f"{name}: left out, {over}")
            parts.append(f"## {name}\n\nNot measured, {over}: `python benchmarks/run.py {name}`\n")
            continue
        click.echo(f"{name} ...", nl=False)
        times = rounds if share < FULL_SHARE else 1
        try:
            parts.append(section_text(SECTIONS[name](times), "" if times == rounds else SHORTENED))
        except Exception as error:  # one broken benchmark must not cost the results of the others
            traceback.print_exc()
            failed.append(name)
            parts.append(f"## {name}\n\nfailed: {error}\n")
        click.echo(f" {time.monotonic() - begun:.0f} s")
    command = " ".join(["python benchmarks/run.py", *names, *(["--rounds", str(rounds)] if rounds != 3 else [])])
    write_text(output, "\n".join([head(machine, command, rounds, time.monotonic() - started), *parts]))
    click.echo(f"wrote {output}")
    sys.exit(1 if failed else 0)


def head(machine: list[str], command: str, rounds: int, seconds: float) -> str:
    """Title, machine, date, command, and how to read the tables."""
    date = datetime.now(UTC).date().isoformat()
    facts = [*machine, f"date: {date}; command: `{command}`; {seconds:.0f} s"]
    return "\n".join(["# Benchmarks", "", *(f"- {fact}" for fact in facts), "", READING.format(rounds=rounds), ""])


def section_text(section: Section, remark: str = "") -> str:
    """One section as Markdown; `remark` says how it was measured where that differs."""
    rows = [row_text(row) for row in section.rows]
    facts = [*(f"- {fact}" for fact in section.facts), ""] if section.facts else []
    table = [HEADER, "|---" * 6 + "|", *rows, ""] if rows else []
    return "\n".join([f"## {section.title}", "", f"{section.text} {remark}".rstrip(), "", *table, *facts])


def row_text(row: Row) -> str:
    """One line of a table."""
    ratios = sorted(row.ratios)
    cells = [
        row.what,
        f"{row.ours.name}: {time_text(row.ours, row)}",
        f"{row.other.name}: {time_text(row.other, row)}",
        f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"{memory_text(row.ours)} / {memory_text(row.other)}",
        row.note,
    ]
    return "| " + " | ".join(cells) + " |"


def time_text(measured: Measured, row: Row) -> str:
    """Median time in the row's unit."""
    return f"{measured.median * row.scale:.3g} {row.unit}"


def memory_text(measured: Measured) -> str:
    """Peak memory in MiB."""
    return f"{measured.peak_mib:.0f} MiB"


if __name__ == "__main__":
    main()

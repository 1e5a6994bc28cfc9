"""The commands of `pairs-file` that make new files: merge, subset, split, repack."""

from pathlib import Path

import click

from localblur.common.command import Command, output_option, overwrite_option, seed_option
from localblur.common.parallel import Progress
from localblur.datasets.curation.copies import SubsetSettings, merge, repack, resplit, split_line, subset
from localblur.datasets.curation.leakage import find_leaks, leak_lines
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.compression import COMPRESSIONS, Compression
from localblur.datasets.storage.reader import PairsFile
from localblur.datasets.storage.schema import SPLITS
from localblur.datasets.storage.splits import DEFAULT_SPLIT

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command("merge", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option("Pairs file to make (.h5).")
@click.option("--prefix", is_flag=True, help="Call scenes FILE-SCENE, where files use the same names.")
@overwrite_option
def merge_command(files: tuple[Path, ...], output: Path, prefix: bool, overwrite: bool) -> None:
    """Put the pairs of several files into one. Scenes keep their split; edits of a person become part of the file.

    \b
    Example:
      pairs-file merge monday.h5 tuesday.h5 -o week.h5
    """
    with _progress(files, f"merging into {output.name}") as bar:
        merge(files, output, prefix=prefix, overwrite=overwrite, step=bar.step)
    _report(output)


@click.command("subset", cls=Command)
@FILE
@output_option("Pairs file to make (.h5).")
@click.option("--scene", "scenes", multiple=True, metavar="PATTERN", help="Scenes such as 'street*'; repeatable.")
@click.option("--split", "splits", multiple=True, type=click.Choice(SPLITS), help="Repeatable.")
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice([v.value for v in Verdict]), help="Repeatable.")
@click.option("--masked", is_flag=True, help="Only pairs with a mask.")
@click.option("--per-scene", type=click.IntRange(min=1), help="At most so many pairs of each scene, evenly spread.")
@overwrite_option
def subset_command(
    file: Path,
    output: Path,
    scenes: tuple[str, ...],
    splits: tuple[str, ...],
    verdicts: tuple[str, ...],
    masked: bool,
    per_scene: int | None,
    overwrite: bool,
) -> None:
    """Copy a part of a pairs file: the pairs that fulfil every condition given.

    \b
    Examples:
      pairs-file subset pairs.h5 -o good.h5 --verdict accept --masked
      pairs-file subset pairs.h5 -o few.h5 --scene 'street*' --per-scene 2
    """
    settings = SubsetSettings(
        scenes=scenes,
        splits=splits,
        verdicts=tuple(Verdict(verdict) for verdict in verdicts),
        masked=masked,
        per_scene=per_scene,
    )
    with Progress(None, f"copying into {output.name}") as bar:
        subset(file, output, settings, overwrite=overwrite, step=bar.step)
    _report(output)


@click.command("split", cls=Command)
@FILE
@click.option("--split", "spec", default=DEFAULT_SPLIT, show_default=True, help="Shares, or a file of 'SCENE SPLIT'.")
@seed_option()
@click.option(
    "--stratify/--no-stratify",
    default=True,
    show_default=True,
    help="Give every split scenes with little and with much blurred area.",
)
def split_command(file: Path, spec: str, seed: int, stratify: bool) -> None:
    """Divide the scenes of a pairs file anew between train, val and test. Needs room for a copy of the file.

    \b
    Example:
      pairs-file split pairs.h5 --split train=0.9,test=0.1 --seed 1
    """
    resplit(file, spec, seed, stratify=stratify)
    _report(file)


@click.command("repack", cls=Command)
@FILE
@output_option("Pairs file to make (.h5).")
@click.option("--compression", type=click.Choice(COMPRESSIONS), required=True, help="Of the pictures.")
@overwrite_option
def repack_command(file: Path, output: Path, compression: Compression, overwrite: bool) -> None:
    """Copy a pairs file with another compression, and into the newest schema version. Nothing else changes.

    gzip is readable everywhere; bitshuffle-lz4 trains fastest at about the size of gzip, and needs the `fast` extra
    wherever the file is read; none is fastest and about 1.7 times as large.

    \b
    Example:
      pairs-file repack pairs.h5 -o fast.h5 --compression bitshuffle-lz4
    """
    before = file.stat().st_size if file.is_file() else 0
    with _progress((file,), f"packing {output.name}") as bar:
        repack(file, output, compression, overwrite=overwrite, step=bar.step)
    click.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, was {before / 1e6:.1f} MB")


def _progress(files: tuple[Path, ...], what: str) -> Progress:
    total = 0
    for file in files:
        with PairsFile(file) as pairs:
            total += sum(entry.count for entry in pairs.scenes)
    return Progress(total, what)


def _report(file: Path) -> None:
    """What the file holds now, and a warning for scenes that look alike across splits."""
    with PairsFile(file) as pairs:
        click.echo(f"{file}: {split_line(pairs)}")
        for line in leak_lines(find_leaks(pairs)):
            click.echo(f"warning: {line}", err=True)

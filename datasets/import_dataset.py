"""Command `import-dataset`: pairs that other people made, as a pairs file."""

from pathlib import Path
from typing import Literal

import click

from localblur.common.command import (
    EXIT_LOSSES,
    Command,
    output_option,
    overwrite_option,
    seed_option,
    workers_options,
)
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress, open_executor
from localblur.datasets.curation.leakage import find_leaks, leak_lines
from localblur.datasets.exchange.import_run import Imported, ImportSettings, import_dataset
from localblur.datasets.exchange.layouts import LAYOUTS
from localblur.datasets.storage.compression import COMPRESSIONS, Compression
from localblur.datasets.storage.splits import DEFAULT_SPLIT
from localblur.datasets.store import PairsFile

LEFT_OUT_SHOWN = 50


@click.command(cls=Command)
@click.argument("layout", type=click.Choice(sorted(LAYOUTS)))
@click.argument("path", type=click.Path(path_type=Path))
@output_option("Pairs file to make (.h5).")
@click.option(
    "--variant",
    help="Which blurred pictures, where a data set has several: gopro blur|blur_gamma, reds blur|blur_jpeg|blur_comp.",
)
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of other masks (reloblur).")
@click.option(
    "--encoding", type=click.Choice(["srgb", "linear"]), help="How the files code light [default: srgb for 8 bit]."
)
@click.option("--source", help="Where the pictures come from, in words [default: the data set's or folder's name].")
@click.option("--licence", help="The terms of the pictures, in words [default: the data set's].")
@click.option("--split", help=f"Shares or file that assigns scenes to splits [default: published, or {DEFAULT_SPLIT}].")
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="gzip", show_default=True)
@seed_option()
@workers_options
@overwrite_option
@click.pass_context
def main(
    ctx: click.Context,
    layout: str,
    path: Path,
    output: Path,
    variant: str | None,
    masks: Path | None,
    encoding: Literal["srgb", "linear"] | None,
    source: str | None,
    licence: str | None,
    split: str | None,
    compression: Compression,
    seed: int,
    workers: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    """Import blurred/sharp pairs made elsewhere into a pairs file, with the split, terms and citation of the data set.

    The layout `folder` takes NAME_blur.png beside NAME_sharp.png (and NAME_mask.png), folders blur|blurred|input beside
    sharp|target|gt (and mask|masks) with equal names, and plain pair folders (scenes/SCENE/NN_blur.png). The others
    take public data sets as published; PATH is their folder or one above it. What a data set lacks is said. Pairs that
    cannot be used are listed; then the exit code is 3. An interrupted import continues when it is repeated.

    \b
    Examples:
      import-dataset folder my_pairs -o pairs.h5 --licence "CC BY 4.0"
      import-dataset gopro GOPRO_Large --variant blur_gamma -o gopro.h5
      import-dataset reloblur ReLoBlur -o reloblur.h5
    """
    _check(layout, variant, masks)
    settings = ImportSettings(
        layout=layout, variant=variant, encoding=encoding, source=source, licence=licence, split=split, seed=seed
    )
    bars: list[Progress] = []
    with open_executor(workers, scheduler) as executor:
        try:
            done = import_dataset(
                path,
                output,
                settings,
                masks=masks,
                compression=compression,
                overwrite=overwrite,
                executor=executor,
                begin=lambda total: bars.append(Progress(total, "importing")),
                step=lambda label: bars[0].step(label),
            )
        finally:
            for bar in bars:
                bar.__exit__()
    _report(output, done)
    if done.left_out:
        ctx.exit(EXIT_LOSSES)


def _check(layout: str, variant: str | None, masks: Path | None) -> None:
    variants = LAYOUTS[layout].variants
    if variant is not None and variant not in variants:
        known = f"it has {', '.join(variants)}" if variants else "it has only one kind of blurred pictures"
        raise LocalblurError(f"layout {layout} has no variant {variant!r}: {known}")
    if masks is not None and layout != "reloblur":
        raise LocalblurError(f"--masks is for the layout reloblur, not for {layout}")


def _report(output: Path, done: Imported) -> None:
    click.echo(f"{output}: {done.pairs} pairs in {done.scenes} scenes, {done.masks} with a mask")
    with PairsFile(output) as pairs:
        click.echo(f"terms: {pairs.header.licence}")
        if citation := pairs.header.settings.get("citation"):
            click.echo(f"please cite: {citation}")
        notes = [*(f"note: {note}" for note in done.notes), *(f"warning: {x}" for x in leak_lines(find_leaks(pairs)))]
    for line in notes:
        click.echo(line, err=True)
    if done.left_out:
        click.echo(f"left out {len(done.left_out)}:", err=True)
        for reason in done.left_out[:LEFT_OUT_SHOWN]:
            click.echo(f"  {_printable(reason)}", err=True)
        if len(done.left_out) > LEFT_OUT_SHOWN:
            click.echo(f"  and {len(done.left_out) - LEFT_OUT_SHOWN} more", err=True)


def _printable(text: str) -> str:
    """One line without what would steer a terminal: names of files may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))

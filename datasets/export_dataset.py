"""Command `export-dataset`: a pairs file as folders and files that other people's code reads."""

from pathlib import Path
from typing import Literal

import click

from localblur.common.command import EXIT_LOSSES, Command, output_option, overwrite_option, workers_options
from localblur.common.parallel import Progress, open_executor
from localblur.datasets.exchange.export_run import ExportSettings, export_dataset
from localblur.datasets.exchange.exporters import FORMATS, RELOBLUR_WORDS


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@output_option("Folder to make.")
@click.option(
    "--format", "kind", type=click.Choice(sorted(FORMATS)), required=True, help="The tree that the reader expects."
)
@click.option(
    "--bit-depth", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Of the sRGB-coded PNGs."
)
@click.option(
    "--crop", type=click.Choice(["none", "valid"]), default="none", show_default=True, help="To the valid box."
)
@click.option(
    "--verdict", type=click.Choice(["accept", "any"]), default="accept", show_default=True, help="Pairs to export."
)
@workers_options
@overwrite_option
@click.pass_context
def main(
    ctx: click.Context,
    file: Path,
    output: Path,
    kind: str,
    bit_depth: str,
    crop: Literal["none", "valid"],
    verdict: Literal["accept", "any"],
    workers: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    """Export a pairs file as PNGs, or LMDBs, in the tree that other people's code reads, with a dataset card.

    \b
    reloblur      dataset/SPLIT/SCENE/NN/NN_{blur,sharp}.png, masks/SPLIT/SCENE/NN/NN.png
    gopro         SPLIT/SCENE/{blur,sharp,mask}/NN.png
    input-target  SPLIT/{input,target,mask}/SCENE-NN.png
    lmdb          SPLIT/{input,target,mask}.lmdb with meta_info.txt (needs the lmdb extra)
    imagefolder   SPLIT/SCENE/NN_{blurred,sharp,mask}.png, SPLIT/metadata.jsonl, croissant.json

    Edits of a person are honoured. An interrupted export continues when it is repeated.

    \b
    Examples:
      export-dataset pairs.h5 -o for-lbag --format reloblur
      export-dataset pairs.h5 -o hub --format imagefolder --bit-depth 16
    """
    settings = ExportSettings(format=kind, bit_depth=16 if bit_depth == "16" else 8, crop=crop, verdict=verdict)
    bars: list[Progress] = []
    with open_executor(workers, scheduler) as executor:
        try:
            done = export_dataset(
                file,
                output,
                settings,
                overwrite=overwrite,
                executor=executor,
                begin=lambda total: bars.append(Progress(total, "exporting")),
                step=lambda label: bars[0].step(label),
            )
        finally:
            for bar in bars:
                bar.__exit__()
    click.echo(f"{output}: {done.pairs} pairs, {done.masks} with a mask")
    if kind == "reloblur" and any(word in str(output.resolve()) for word in RELOBLUR_WORDS):
        click.echo("warning: the published reader fails below folders named *sharp* or *dataset*; move it", err=True)
    for note in done.notes:
        click.echo(f"note: {note}; pairs-file split divides anew", err=True)
    for reason in done.left_out:
        click.echo(f"left out: {reason}", err=True)
    if done.left_out:
        ctx.exit(EXIT_LOSSES)

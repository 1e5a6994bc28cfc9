"""The command `evaluate-deblur`: what models make of blurred pictures, measured against the sharp ones."""

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click

from localblur.common.command import Command, output_option, overwrite_option, seed_option
from localblur.common.errors import LocalblurError
from localblur.datasets.store import SPLITS
from localblur.training.checkpoint import load_model
from localblur.training.deblur import refuse_file_as_folder
from localblur.training.evaluation import BLURRED
from localblur.training.evaluation_report import remarks, table, write_report
from localblur.training.evaluation_run import EvaluationSettings, Model, evaluate, open_files, unique_labels
from localblur.training.inference import Precision, Tile, prepare
from localblur.training.options import inference_options
from localblur.training.runtime import fastest_precision, resolve_device


@click.command(cls=Command)
@click.argument("data", nargs=-1, required=True, metavar="DATA.h5...", type=click.Path(path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Model or run folder; give it several times to compare. Without it only the blurred pictures are measured.",
)
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which scenes.")
@output_option("Folder for scores.csv, summary.json, strips/ and index.html.")
@inference_options
@seed_option()
@overwrite_option
def main(
    data: tuple[Path, ...],
    models: tuple[Path, ...],
    split: Literal["train", "val", "test"],
    output: Path,
    tile: Tile,
    precision: Precision,
    device: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Measure models on pairs files: PSNR and SSIM, over the picture and inside the blur masks.

    The blurred picture as it is stands in the first row; each model's gain over it comes with a 95 % confidence
    interval. Rejected pairs are left out and counted; of the others only the valid box counts.

    \b
    Example:
      evaluate-deblur pairs.h5 --model run -o scores
    """
    refuse_used_folder(output, overwrite)
    place = resolve_device(device)
    loaded = []
    for label, path in zip(unique_labels(models, reserved=[BLURRED]), models, strict=True):
        module, card = load_model(path)
        loaded.append(Model(label=label, path=path, module=prepare(module, place), card=card))
    resolved = fastest_precision(place) if precision == "auto" else precision
    settings = EvaluationSettings(split=split, tile=tile, precision=resolved, device=str(place), seed=seed)
    with ExitStack() as stack:
        evaluation = evaluate(open_files(data, stack), loaded, settings)
        summary = write_report(evaluation, output)
    click.echo(table(summary))
    for line in remarks(summary):
        click.echo(line)
    click.echo(f"report: {output / 'index.html'}")


def refuse_used_folder(folder: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds anything, unless it may be overwritten."""
    refuse_file_as_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise LocalblurError(f"{folder} exists already and is not empty; choose another --output or pass --overwrite")

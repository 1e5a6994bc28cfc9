"""The command `deblur`: restore pictures and videos of any kind and size with a trained model."""

import sys
from pathlib import Path
from typing import Literal

import click

from localblur.common.command import EXIT_LOSSES, Command, device_option, output_option, overwrite_option
from localblur.common.errors import LocalblurError
from localblur.training.inference.deblur_jobs import (
    STDIN,
    listed_paths,
    plan_jobs,
    refuse_file_as_folder,
    unmet_wishes,
    unusable,
)
from localblur.training.inference.deblur_run import Way, deblur_all, make_engine
from localblur.training.inference.engine import Precision
from localblur.training.inference.restore import Tile
from localblur.training.options import network_option, parse_tile

__all__ = ["main", "refuse_file_as_folder"]


@click.command(cls=Command)
@click.argument(
    "inputs", nargs=-1, required=True, metavar="IMAGE|VIDEO|DIR|-...", type=click.Path(path_type=Path, readable=False)
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model folder, run folder of train-lbag (its best model), a published file of weights (with --network), or an"
    " ONNX file. Default: the model in the box.",
)
@network_option
@output_option("Folder for the restored pictures; names, size, depth, alpha, EXIF and colour profile are kept.")
@click.option("--dense", is_flag=True, help="Restore every pixel, not only what a first look finds blurred.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Restore what the first look's gate calls blurred by more than this, without asking the finest gate; less"
    " restores more. Default: as measured for the model (tune_skipping).",
)
@click.option("--gate-output", "gates", type=click.Path(path_type=Path), help="Folder for NAME.png: white is blurred.")
@click.option("--compare", is_flag=True, help="Also write NAME_compare.png: blurred and restored side by side.")
@click.option("--self-ensemble", "ensemble", is_flag=True, help="Mean over 8 turned versions; takes 8 times as long.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16", "int8"]),
    default="auto",
    show_default=True,
    help="Number format; auto takes bf16 where the hardware multiplies it itself. int8 (LBAG and MIMO-UNet only) is"
    " fastest on processors.",
)
@click.option("--tile", callback=parse_tile, default="auto", show_default=True, metavar="PX|auto|none", help="Windows.")
@click.option("--memory", "memory_gb", type=click.FloatRange(min=0, min_open=True), help="Limit for this process, GB.")
@click.option(
    "--runtime", type=click.Choice(["torch", "onnx"]), default="torch", show_default=True, help="What computes."
)
@click.option(
    "--compile", "compiled", is_flag=True, help="Compile the network first; pays for many pictures of one size."
)
@device_option
@overwrite_option
def main(
    inputs: tuple[Path, ...],
    model: Path | None,
    network: str | None,
    output: Path,
    dense: bool,
    threshold: float | None,
    gates: Path | None,
    compare: bool,
    ensemble: bool,
    precision: Precision,
    tile: Tile,
    memory_gb: float | None,
    runtime: Literal["torch", "onnx"],
    compiled: bool,
    device: str,
    overwrite: bool,
) -> None:
    """Remove local motion blur from pictures and videos.

    Takes PNG, TIFF, JPEG, BMP and WebP, gray or colour, 8 or 16 bit, of any size, and videos; of a folder, what lies
    directly in it; with - a list of paths from standard input. Pixel values are taken as sRGB-coded. A first look at
    the picture made smaller finds what is blurred; the rest is returned as it is (to the bit in PNG, TIFF and WebP).
    If some pictures cannot be read or written, the others are restored and the exit code is 3; what is named on the
    command line must be there, what a list names may be missing.

    \b
    Example:
      deblur photo.jpg -o restored
      deblur holiday/ clip.mp4 --model run -o restored --compare --gate-output gates
      find . -name '*.tif' | deblur - -o restored --memory 4
      deblur photo.jpg --model MIMO-UNetPlus.pkl --network mimo-unet-plus -o restored
    """
    if dense and threshold is not None:
        raise click.UsageError("--threshold says what a first look finds, and --dense takes none; give one of them")
    listed = list(listed_paths(sys.stdin)) if STDIN in inputs else []
    left_out = {path: why for path in listed if (why := unusable(path)) is not None}
    chosen = [found for path in inputs for found in (listed if path == STDIN else [path]) if found not in left_out]
    for why in left_out.values():
        click.echo(f"deblur: {why}", err=True)
    if not chosen:
        raise LocalblurError("standard input lists no pictures; give one path a line")
    jobs = plan_jobs(chosen, output, gates=gates, compare=compare, overwrite=overwrite)
    engine, name, skipping = make_engine(
        model,
        network=network,
        runtime=runtime,
        precision=precision,
        device=device,
        compiled=compiled,
        ensemble=ensemble,
    )
    if gates is not None and not engine.gated:
        raise LocalblurError(f"{name} has no gate; leave out --gate-output")
    if threshold is not None:
        skipping = skipping.model_copy(
            update={"threshold": threshold, "seed_threshold": threshold, "confirm_threshold": 0.0}
        )
    way = Way(
        tile=tile,
        memory_bytes=None if memory_gb is None else int(memory_gb * 1e9),
        skip=skipping if engine.gated and not dense else None,
    )
    for line in unmet_wishes(jobs, gates=gates is not None, compare=compare):
        click.echo(f"deblur: {line}", err=True)
    failed = deblur_all(jobs, engine, way)
    asked = len(jobs) + len(left_out)
    if failed == len(jobs):
        raise LocalblurError(f"none of {asked} pictures could be restored")
    click.echo(f"{len(jobs) - failed} of {asked} pictures restored with {name} into {output}")
    if failed or left_out:
        click.get_current_context().exit(EXIT_LOSSES)

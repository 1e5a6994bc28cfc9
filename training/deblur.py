"""The command `deblur`: restore pictures of any kind and size with a trained model."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch

from localblur.common.command import EXIT_LOSSES, Command, one_line, output_option, overwrite_option
from localblur.common.errors import LocalblurError
from localblur.common.files import refuse_existing
from localblur.common.parallel import Progress
from localblur.datasets.images import (
    IMAGE_SUFFIXES,
    as_rgb,
    from_unit,
    read_channels,
    to_array,
    to_tensor,
    to_unit,
    write_image,
)
from localblur.training.checkpoint import load_model
from localblur.training.inference import Precision, Restoration, Tile, prepare, restore_with_gate
from localblur.training.networks.base import RestorationNetwork
from localblur.training.options import inference_options
from localblur.training.runtime import resolve_device

GAP_PX = 8
"""Width of the white line between the two halves of a comparison."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture: where it comes from and what is to be written; None where something is not asked for."""

    source: Path
    target: Path
    gate: Path | None = None
    compare: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """Every file that is to be written."""
        return [path for path in (self.target, self.gate, self.compare) if path is not None]


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, required=True, metavar="IMAGE|DIR...", type=click.Path(path_type=Path))
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path),
    help="Model folder, or the run folder of train-lbag (its best model is taken).",
)
@output_option("Folder for the restored pictures; names, size and bit depth are kept.")
@inference_options
@click.option("--save-gate", is_flag=True, help="Also write NAME_gate.png: where the network saw blur (white).")
@click.option("--compare", is_flag=True, help="Also write NAME_compare.png: blurred and restored side by side.")
@overwrite_option
def main(
    inputs: tuple[Path, ...],
    model: Path,
    output: Path,
    tile: Tile,
    precision: Precision,
    device: str,
    save_gate: bool,
    compare: bool,
    overwrite: bool,
) -> None:
    """Remove local motion blur from pictures.

    Takes PNG, TIFF, JPEG, BMP and WebP, gray or colour, 8 or 16 bit, of any size; of a folder, the pictures directly in
    it. Pixel values are taken as sRGB-coded. JPEGs are turned upright. An alpha channel, EXIF data and colour profiles
    are not carried over. If some pictures cannot be read, the others are restored and the exit code is 3.

    \b
    Example:
      deblur photo.jpg holiday/ --model run -o restored --compare
    """
    jobs = plan_jobs(inputs, output, save_gate=save_gate, compare=compare, overwrite=overwrite)
    module, card = load_model(model)
    prepare(module, resolve_device(device))
    if save_gate and restore_with_gate(module, torch.zeros(1, 3, 64, 64)).gate is None:
        raise LocalblurError(f"{card.network} has no gate; leave out --save-gate")
    remarks, failures = deblur_all(jobs, module, tile=tile, precision=precision)
    for line in remarks + failures:
        click.echo(f"deblur: {line}", err=True)
    if len(failures) == len(jobs):
        raise LocalblurError(f"none of {len(jobs)} pictures could be restored")
    click.echo(f"{len(jobs) - len(failures)} of {len(jobs)} pictures restored with {card.network} into {output}")
    if failures:
        click.get_current_context().exit(EXIT_LOSSES)


def plan_jobs(
    inputs: Sequence[Path], output: Path, *, save_gate: bool = False, compare: bool = False, overwrite: bool = False
) -> list[Job]:
    """Find the pictures and decide the names of the outputs; nothing is written.

    Raises:
        LocalblurError: if an input is missing or a folder without pictures, two pictures would get the same name, an
            output would replace an input, or (without `overwrite`) any existing file.
    """
    refuse_file_as_folder(output)
    jobs = [
        Job(
            source=source,
            target=output / source.name,
            gate=output / f"{source.stem}_gate.png" if save_gate else None,
            compare=output / f"{source.stem}_compare.png" if compare else None,
        )
        for source in _pictures(inputs)
    ]
    written = Counter(path for job in jobs for path in job.outputs)
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        for path in job.outputs:
            if written[path] > 1:
                clash = ", ".join(str(other.source) for other in jobs if path in other.outputs)
                raise LocalblurError(
                    f"{clash} would all be written to {path}; rename them or use one --output for each"
                )
            if path.resolve() in sources:
                raise LocalblurError(f"{path} is an input and would be overwritten; choose another --output")
            refuse_existing(path, overwrite)
    return jobs


def refuse_file_as_folder(folder: Path) -> None:
    """Refuse an output folder that is a file, or lies inside one."""
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise LocalblurError(f"cannot write into {folder}: {path} is a file; choose another --output")
            return


def _pictures(inputs: Sequence[Path]) -> Iterable[Path]:
    """Every picture once, in the order given; a folder's pictures by name."""
    found: dict[Path, Path] = {}
    for path in inputs:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if _is_picture(file))
            if not inside:
                raise LocalblurError(f"no pictures in {path}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
        elif path.exists():
            inside = [path]
        else:
            raise LocalblurError(f"no such picture or folder: {path}")
        for file in inside:
            if file.suffix.lower() not in IMAGE_SUFFIXES:
                raise LocalblurError(f"{file} is not a picture; use one of {', '.join(sorted(IMAGE_SUFFIXES))}")
            found.setdefault(file.resolve(), file)
    return found.values()


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def deblur_all(
    jobs: Sequence[Job], module: RestorationNetwork, *, tile: Tile = "auto", precision: Precision = "auto"
) -> tuple[list[str], list[str]]:
    """Restore picture after picture; one that fails does not stop the others.

    Returns:
        Remarks, and one line for each picture that could not be restored.
    """
    remarks: list[str] = []
    failures: list[str] = []
    with Progress(len(jobs), "deblur", "picture") as progress:
        for job in jobs:
            try:
                remarks += deblur_picture(job, module, tile=tile, precision=precision)
            except LocalblurError as error:
                failures.append(one_line(error))
            progress.step(job.source.name)
    return remarks, failures


def deblur_picture(
    job: Job, module: RestorationNetwork, *, tile: Tile = "auto", precision: Precision = "auto"
) -> list[str]:
    """Restore one picture and write what the job asks for.

    Returns:
        Remarks for the user.

    Raises:
        LocalblurError: if the picture cannot be read or restored, or a gate is asked of a network without gates.
    """
    picture = read_channels(job.source)
    gray = picture.ndim == 2 or picture.shape[2] < 3
    alpha = picture.ndim == 3 and picture.shape[2] in (2, 4)
    blurred = as_rgb(picture)
    restoration = restore_with_gate(module, to_tensor(to_unit(blurred))[None], tile=tile, precision=precision)
    restored = _as_stored(restoration.image, blurred.dtype, gray)
    if job.gate is not None:
        write_image(job.gate, _gate_picture(restoration))
    if job.compare is not None:
        write_image(job.compare, side_by_side(blurred, as_rgb(restored)))
    write_image(job.target, restored)
    return [f"{job.source}: the alpha channel is dropped"] if alpha else []


def _as_stored(restored: torch.Tensor, dtype: np.dtype[Any], gray: bool) -> npt.NDArray[Any]:
    """(1, 3, H, W) in [0, 1] to integers of the input's depth; a gray picture stays gray."""
    pixels = to_array(restored)
    return from_unit(pixels.mean(axis=2) if gray else pixels, 8 * dtype.itemsize)


def _gate_picture(restoration: Restoration) -> npt.NDArray[Any]:
    if restoration.gate is None:
        raise LocalblurError("this network has no gate; leave out --save-gate")
    return from_unit(to_array(restoration.gate)[..., 0], 8)


def side_by_side(blurred: npt.NDArray[Any], restored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Two pictures (H, W, 3) of one type side by side, a white line between them."""
    line = np.full((blurred.shape[0], GAP_PX, 3), np.iinfo(blurred.dtype).max, blurred.dtype)
    return np.concatenate([blurred, line, restored], axis=1)

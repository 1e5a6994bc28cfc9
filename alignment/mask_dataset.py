"""Command `mask-dataset`: blur masks for a pairs file, in place, or for a folder of plain pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import numpy as np

from localblur.alignment.blur_masks import METHODS, MaskSettings
from localblur.alignment.mask_tasks import FolderTask, Masked, StoredTask, mask_folder_pair, mask_stored_pair, run_masks
from localblur.common.command import EXIT_LOSSES, Command, overwrite_option, settings_options, workers_options
from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.common.settings import load_settings
from localblur.datasets.importers import find_folder_pairs
from localblur.datasets.store import MasksWriter, PairsFile

Encoding = Literal["srgb", "linear"]

SETTINGS_FILE = "mask_settings.json"
"""Beside the masks of a plain folder: how they were made."""


def mask_pairs_file(
    path: Path, settings: MaskSettings, *, overwrite: bool = False, workers: int = 1, scheduler: str | None = None
) -> Masked:
    """Give the pairs of a file their masks; an interrupted run continues, the file changes only at a good end.

    Args:
        path: the pairs file; pairs that have a mask keep it unless `overwrite`.
        settings: stored in the file.
        overwrite: make masks anew also where there are some, drawn by hand perhaps.
        workers, scheduler: see `open_executor`.

    Raises:
        LocalblurError: if every pair has a mask already, or not one could be made.
    """
    tasks = []
    with PairsFile.open(path) as pairs:
        stamp = path.stat().st_mtime_ns
        for entry in pairs.scenes:
            for index, name in enumerate(pairs.names(entry.name)):
                if overwrite or not pairs.has_mask(entry.name, index):
                    tasks.append(StoredTask(path, stamp, entry.name, index, name, settings))
        total = sum(entry.count for entry in pairs.scenes)
    if not tasks:
        raise LocalblurError(f"all {total} pairs of {path} have a mask; pass --overwrite to make them anew")
    with MasksWriter(path, settings.model_dump(mode="json")) as writer:
        missing = [task for task in tasks if (task.scene, task.name) not in writer.finished]
        result = Masked(kept=total - len(missing))
        for task, mask in run_masks(mask_stored_pair, missing, result, workers, scheduler):
            writer.add(task.scene, task.name, mask)
        if not writer.finished:
            raise LocalblurError(f"no mask could be made for {path}: {'; '.join(result.failures[:3])}")
    return result


def mask_folder(
    folder: Path,
    output: Path,
    settings: MaskSettings,
    *,
    encoding: Encoding | None = None,
    overwrite: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
) -> Masked:
    """Write `output/<scene>/<pair>.png` for every pair of a plain folder, see `find_folder_pairs`.

    Masks that an earlier run with the same settings left are kept; pairs without a partner are told as failures.

    Raises:
        LocalblurError: if `output` holds other masks and not `overwrite`, or not one mask could be made.
    """
    found = find_folder_pairs(folder)
    tasks = [FolderTask(files, encoding, output / files.scene / f"{files.name}.png", settings) for files in found.pairs]
    stated = {**settings.model_dump(mode="json"), "encoding": encoding or "srgb for 8 bit"}
    existing = [task for task in tasks if task.output.exists()]
    same = (output / SETTINGS_FILE).is_file() and read_json(output / SETTINGS_FILE) == stated
    if existing and not same and not overwrite:
        raise LocalblurError(
            f"{output} holds {len(existing)} of these masks, made otherwise; choose another --output or --overwrite"
        )
    kept = {task.output for task in existing} if same and not overwrite else set()
    output.mkdir(parents=True, exist_ok=True)
    for task in existing:
        if task.output not in kept:
            # or an interrupted run would later be taken to have made it
            task.output.unlink()
    write_json(output / SETTINGS_FILE, stated)
    result = Masked(kept=len(kept), failures=list(found.left_out))
    missing = [task for task in tasks if task.output not in kept]
    for _ in run_masks(mask_folder_pair, missing, result, workers, scheduler):
        pass
    if not result.made and not result.kept:
        raise LocalblurError(f"no mask could be made for {folder}: {'; '.join(result.failures[:3])}")
    return result


@click.command(cls=Command)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder for the masks of a plain pair folder.")
@click.option("--method", type=click.Choice(sorted(METHODS)), help="How masks are made [default: pair].")
@click.option(
    "--encoding", type=click.Choice(["srgb", "linear"]), help="How a folder's files code light; needed for 16 bit."
)
@settings_options
@workers_options
@overwrite_option
@click.pass_context
def main(
    ctx: click.Context,
    source: Path,
    output: Path | None,
    method: str | None,
    encoding: Encoding | None,
    config: Path | None,
    overrides: Sequence[str],
    workers: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    """Make soft blur masks: for each pixel the confidence that a moving object covered it during the long exposure.

    INPUT is a pairs file, which gets its masks in place, or a plain pair folder; its masks become
    OUTPUT/SCENE/PAIR.png. 128 and above is blurred.

    \b
    Example:
      mask-dataset pairs.h5
      mask-dataset my_pairs -o my_masks
    """
    chosen = [f"method={method}"] if method else []
    settings = load_settings(MaskSettings, config, [*overrides, *chosen])
    if source.is_dir():
        if output is None:
            raise click.UsageError("a folder of pairs needs --output for its masks")
        done = mask_folder(
            source, output, settings, encoding=encoding, overwrite=overwrite, workers=workers, scheduler=scheduler
        )
    else:
        if output is not None or encoding is not None:
            raise click.UsageError("a pairs file gets its masks in place: leave --output and --encoding out")
        done = mask_pairs_file(source, settings, overwrite=overwrite, workers=workers, scheduler=scheduler)
    share = f", blurred area {100 * np.median(done.shares):.1f} % (median)" if done.shares else ""
    kept = f", {done.kept} kept" if done.kept else ""
    click.echo(f"{output or source}: {done.made} masks made{kept}{share}")
    if done.failures:
        click.echo(f"left out {len(done.failures)}:", err=True)
        for failure in done.failures:
            click.echo(f"  {failure}", err=True)
        ctx.exit(EXIT_LOSSES)

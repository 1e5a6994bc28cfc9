"""Command `mask-dataset`: blur masks for a pairs file, in place, or for a folder of plain pairs."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from localblur.alignment.blur_masks import METHODS, MaskSettings
from localblur.alignment.mask_compare import BINARY, Binary, MaskSet, compare_masks
from localblur.alignment.mask_report import confidence_path, tell_comparison, tell_run, write_confidence
from localblur.alignment.mask_tasks import FolderScene, Masked, StoredScene, make_tasks, run_masks
from localblur.common.command import EXIT_LOSSES, Command, overwrite_option, settings_options, workers_options
from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.common.settings import load_settings
from localblur.datasets.importers import find_folder_pairs
from localblur.datasets.store import MasksWriter, PairsFile
from localblur.datasets.store_masks import masks_folder

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
    if not path.is_file():
        raise LocalblurError(f"{path} is no pairs file; give one, or a folder of pairs")
    stamp = path.stat().st_mtime_ns
    scenes: list[tuple[StoredScene, list[int]]] = []
    with PairsFile.open(path) as pairs:
        for entry in pairs.scenes:
            names = tuple(pairs.names(entry.name))
            wanted = [index for index in range(len(names)) if overwrite or not pairs.has_mask(entry.name, index)]
            scenes.append((StoredScene(path, stamp, entry.name, names, masks_folder(path)), wanted))
        total = sum(entry.count for entry in pairs.scenes)
    if not any(wanted for _, wanted in scenes):
        raise LocalblurError(f"all {total} pairs of {path} have a mask; pass --overwrite to make them anew")
    with MasksWriter(path, settings.model_dump(mode="json")) as writer:
        tasks, missing = [], 0
        for scene, wanted in scenes:
            left = [index for index in wanted if (scene.scene, scene.names[index]) not in writer.finished]
            tasks += make_tasks(scene, left, settings)
            missing += len(left)
        result = Masked(kept=total - missing)
        for outcome in run_masks(tasks, result, workers, scheduler):
            if outcome.written is not None:
                writer.fold(outcome.written)
        if not writer.finished:
            raise LocalblurError(f"no mask could be made for {path}: {'; '.join(result.failures[:3])}")
    write_confidence(confidence_path(path), result.made, settings.doubtful_below)
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
    scenes = [
        FolderScene(name, tuple(pairs), encoding, output)
        for name, pairs in itertools.groupby(found.pairs, key=lambda files: files.scene)
    ]
    stated = {**settings.model_dump(mode="json"), "encoding": encoding or "srgb for 8 bit"}
    paths = [[scene.mask_path(index) for index in range(len(scene.files))] for scene in scenes]
    existing = {path for of_scene in paths for path in of_scene if path.exists()}
    same = (output / SETTINGS_FILE).is_file() and read_json(output / SETTINGS_FILE) == stated
    if existing and not same and not overwrite:
        raise LocalblurError(
            f"{output} holds {len(existing)} of these masks, made otherwise; choose another --output or --overwrite"
        )
    kept = existing if same and not overwrite else set()
    output.mkdir(parents=True, exist_ok=True)
    for path in existing - kept:
        # or an interrupted run would later be taken to have made it
        path.unlink()
    write_json(output / SETTINGS_FILE, stated)
    result = Masked(kept=len(kept), failures=list(found.left_out))
    tasks = []
    for scene, of_scene in zip(scenes, paths, strict=True):
        tasks += make_tasks(scene, [i for i, path in enumerate(of_scene) if path not in kept], settings)
    for _ in run_masks(tasks, result, workers, scheduler):
        pass
    if not result.made and not result.kept:
        raise LocalblurError(f"no mask could be made for {folder}: {'; '.join(result.failures[:3])}")
    write_confidence(confidence_path(output), result.made, settings.doubtful_below)
    return result


@click.command(cls=Command)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder for the masks of a plain pair folder.")
@click.option("--method", type=click.Choice(sorted(METHODS)), help="How masks are made.  [default: sequence]")
@click.option(
    "--encoding", type=click.Choice(["srgb", "linear"]), help="How a folder's files code light; needed for 16 bit."
)
@click.option(
    "--diff", "other", type=click.Path(path_type=Path), help="Make nothing; compare INPUT's masks with these."
)
@click.option("--limit", type=click.FloatRange(0, 1), help="With --diff: exit with 3 if a pair's IoU is below this.")
@click.option(
    "--binary",
    type=click.Choice(sorted(BINARY)),
    default="half",
    show_default=True,
    help="With --diff: what is blurred in OTHER, 128 and above, or all but 0.",
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
    other: Path | None,
    limit: float | None,
    binary: Binary,
    config: Path | None,
    overrides: Sequence[str],
    workers: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    """Make soft blur masks: for each pixel the confidence that a moving object covered it during the long exposure.

    INPUT is a pairs file, which gets its masks in place, or a plain pair folder; its masks become
    OUTPUT/SCENE/PAIR.png. 128 and above is blurred. A table of confidences is left in OUTPUT or beside the file. With
    --diff, INPUT and OTHER are two sets of masks: pairs files, or folders of pictures (the layout of ReLoBlur too).

    \b
    Example:
      mask-dataset pairs.h5
      mask-dataset my_pairs -o my_masks --method pair
      mask-dataset pairs.h5 --diff ReLoBlur/masks --binary nonzero
    """
    if other is not None:
        if output is not None or method is not None or overrides or config is not None:
            raise click.UsageError("--diff makes no masks: leave --output, --method, --config and --set out")
        below = tell_comparison(compare_masks(MaskSet(source), MaskSet(other, binary)), limit)
        ctx.exit(EXIT_LOSSES if below else 0)
    if limit is not None:
        raise click.UsageError("--limit needs --diff")
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
    tell_run(done, output or source, settings.doubtful_below)
    if done.failures:
        ctx.exit(EXIT_LOSSES)

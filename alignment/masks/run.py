"""Making the masks of a whole pairs file, in place, or of a folder of plain pairs."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localblur.alignment.masks.blur_masks import MaskSettings
from localblur.alignment.masks.report import ConfidenceTable
from localblur.alignment.masks.tasks import FolderScene, Masked, StoredScene, make_tasks, run_masks
from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.datasets.exchange.importers import find_folder_pairs
from localblur.datasets.storage.mask_confidence import MASK_CONFIDENCE
from localblur.datasets.storage.masks import masks_folder
from localblur.datasets.store import MasksWriter, PairsFile

Encoding = Literal["srgb", "linear"]

SETTINGS_FILE = "mask_settings.json"
"""Beside the masks of a plain folder: how they were made."""


@dataclass(frozen=True, order=True)
class Doubt:
    """A stored mask of little confidence, and the share of the picture that it covers."""

    confidence: float
    label: str
    share: float


def mask_pairs_file(
    path: Path, settings: MaskSettings, *, overwrite: bool = False, workers: int = 1, scheduler: str | None = None
) -> Masked:
    """`add_masks` for somebody who expects some.

    Raises:
        LocalblurError: if every pair has a mask already, or not one could be made.
    """
    if not path.is_file():
        raise LocalblurError(f"{path} is no pairs file; give one, or a folder of pairs")
    scenes = _stored_scenes(path, overwrite)
    wanted = sum(len(indices) for _, indices in scenes)
    if not wanted:
        total = sum(len(scene.names) for scene, _ in scenes)
        raise LocalblurError(f"all {total} pairs of {path} have a mask; pass --overwrite to make them anew")
    result = add_masks(path, settings, overwrite=overwrite, workers=workers, scheduler=scheduler)
    if len(result.failures) == wanted:
        raise LocalblurError(f"no mask could be made for {path}: {'; '.join(result.failures[:3])}")
    return result


def add_masks(
    path: Path, settings: MaskSettings, *, overwrite: bool = False, workers: int = 1, scheduler: str | None = None
) -> Masked:
    """Give the pairs of a file their masks; an interrupted run continues, the file changes only at a good end.

    Args:
        path: the pairs file; pairs that have a mask keep it unless `overwrite`.
        settings: stored in the file.
        overwrite: make masks anew also where there are some, drawn by hand perhaps.
        workers, scheduler: see `open_executor`.
    """
    scenes = _stored_scenes(path, overwrite)
    result = Masked(kept=sum(len(scene.names) - len(wanted) for scene, wanted in scenes))
    if not any(wanted for _, wanted in scenes):
        return result
    with MasksWriter(path, settings.model_dump(mode="json")) as writer:
        tasks = []
        for scene, wanted in scenes:
            left = [index for index in wanted if (scene.scene, scene.names[index]) not in writer.finished]
            tasks += make_tasks(scene, left, settings)
            result.kept += len(wanted) - len(left)
        for outcome in run_masks(tasks, result, workers, scheduler):
            if outcome.written is not None:
                writer.fold(outcome.written)
        if not writer.finished:
            writer.drop()
    return result


def _stored_scenes(path: Path, overwrite: bool) -> list[tuple[StoredScene, list[int]]]:
    """Every scene of a file, and which of its pairs are to get a mask."""
    stamp = path.stat().st_mtime_ns
    with PairsFile.open(path) as pairs:
        found = []
        for entry in pairs.scenes:
            names = tuple(pairs.names(entry.name))
            wanted = [index for index in range(len(names)) if overwrite or not pairs.has_mask(entry.name, index)]
            found.append((StoredScene(path, stamp, entry.name, names, masks_folder(path)), wanted))
    return found


def doubtful_masks(path: Path, below: float) -> list[Doubt]:
    """The masks of a pairs file whose confidence is below `below`, the worst first."""
    with PairsFile.open(path) as pairs:
        return sorted(
            Doubt(info.quality[MASK_CONFIDENCE], f"{entry.name}/{info.name}", float(share))
            for entry in pairs.scenes
            for info, share in zip(pairs.info(entry.name), pairs.blurred_shares(entry.name), strict=True)
            if info.quality.get(MASK_CONFIDENCE, 1.0) < below
        )


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
    existing = {path for scene in scenes for path in map(scene.mask_path, range(len(scene.files))) if path.exists()}
    same = (output / SETTINGS_FILE).is_file() and read_json(output / SETTINGS_FILE) == stated
    if existing and not same and not overwrite:
        raise LocalblurError(
            f"{output} holds {len(existing)} of these masks, made otherwise; choose another --output or --overwrite"
        )
    output.mkdir(parents=True, exist_ok=True)
    table = ConfidenceTable(output, settings.doubtful_below)
    kept = {path for path in existing if table.knows(path.parent.name, path.stem)} if same and not overwrite else set()
    table.keep({(path.parent.name, path.stem) for path in kept})
    for path in existing - kept:
        # or an interrupted run would later be taken to have made it
        path.unlink()
    write_json(output / SETTINGS_FILE, stated)
    result = Masked(kept=len(kept), failures=list(found.left_out))
    tasks = []
    for scene in scenes:
        left = [index for index in range(len(scene.files)) if scene.mask_path(index) not in kept]
        tasks += make_tasks(scene, left, settings)
    with table:
        for outcome in run_masks(tasks, result, workers, scheduler):
            table.add(outcome)
    if not result.made and not result.kept:
        raise LocalblurError(f"no mask could be made for {folder}: {'; '.join(result.failures[:3])}")
    return result

"""Putting the edits of a person into the pairs file itself, without ever endangering its pairs.

A copy of the file gets the edits, is read back and compared, and is renamed onto the file; only then do the journal and
its masks go. The file says how far it holds the journal (`edits_folded`), so a kill between the two is harmless.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.common.files import ensure_space, sync_folder
from localblur.datasets.pair import PairInfo
from localblur.datasets.storage.copy import current_row
from localblur.datasets.storage.edits import (
    EditsJournal,
    edits_folder,
    edits_path,
    lock_edits,
    read_edits,
    release_folder,
)
from localblur.datasets.storage.edits_overlay import EditsOverlay, PairEdit
from localblur.datasets.storage.hdf5 import LIBVER, publish, reserved, writing
from localblur.datasets.storage.layout import METADATA_BYTES, put_mask, room_for
from localblur.datasets.storage.masks import put_confidence
from localblur.datasets.storage.reader import PairsFile

COPY = "copy.h5"


@dataclass(frozen=True, kw_only=True)
class Folded:
    """How many pairs got a verdict, a note and a mask."""

    verdicts: int = 0
    notes: int = 0
    masks: int = 0


def fold_edits(path: Path) -> Folded:
    """Put the edits journal of the pairs file `path` into it and remove the journal; without one nothing happens.

    Needs room for a copy of the file. A kill at any moment loses nothing: fold again.

    Raises:
        LocalblurError: if the journal is damaged or of another file, somebody is editing, or there is no room.
    """
    folder = edits_folder(path)
    if not edits_path(path).exists() and not folder.exists():
        PairsFile(path).close()
        return Folded()
    lock = lock_edits(path)
    try:
        folded = _fold(path, folder / COPY)
        edits_path(path).unlink(missing_ok=True)
        sync_folder(path.parent)
        for mask in folder.glob("*.png"):
            mask.unlink()
        return folded
    finally:
        (folder / COPY).unlink(missing_ok=True)
        release_folder(folder, lock)


def _fold(path: Path, copy: Path) -> Folded:
    with PairsFile(path) as pairs:
        journal = read_edits(path)
        before = path.stat()
        if journal is None:
            return Folded()
        edited = _edited_pairs(pairs)
        ensure_space(copy, before.st_size, f"folding edits into a copy of {path.name}")
        with writing(path):
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+", libver=LIBVER) as file:
                for scene, index, edit in edited:
                    _put(file, copy, pairs, scene, index, edit)
                _mark(file, copy, journal)
        _compare(pairs, copy, edited)
    if (before.st_size, before.st_mtime_ns) != (path.stat().st_size, path.stat().st_mtime_ns):
        raise LocalblurError(f"{path} was changed while edits were folded in; run again, nothing is lost")
    publish(copy, path)
    return Folded(
        verdicts=sum(edit.verdict is not None for _, _, edit in edited),
        notes=sum(edit.note is not None for _, _, edit in edited),
        masks=sum(edit.mask is not None for _, _, edit in edited),
    )


def _edited_pairs(pairs: PairsFile) -> list[tuple[str, int, PairEdit]]:
    overlay: EditsOverlay = pairs.overlay
    return [
        (entry.name, index, edit)
        for entry in pairs.scenes
        for index, name in enumerate(pairs.names(entry.name))
        if (edit := overlay.get(entry.name, name)) is not None
    ]


def _put(file: Any, copy: Path, pairs: PairsFile, scene: str, index: int, edit: PairEdit) -> None:
    row, group, entry = int(pairs.stored_rows(scene)[index]), file["scenes"][scene], pairs.scene(scene)
    room = room_for(entry.height, entry.width, np.dtype(np.uint8)) if edit.mask else METADATA_BYTES
    with reserved(file, copy, room):
        if edit.mask is not None:
            mask = pairs.read_mask(scene, index, 0, 0, entry.height, entry.width)
            if mask is not None:
                put_mask(group, row, mask)
        group["pairs"][row] = current_row(pairs, scene, index)
        if edit.mask is not None:
            put_confidence(group, row, None)
        file.flush()


def _mark(file: Any, copy: Path, journal: EditsJournal) -> None:
    with reserved(file, copy, METADATA_BYTES):
        file.attrs["edits_folded"] = json.dumps({"journal": journal.header.journal, "lines": len(journal.edits)})
        file.flush()


def _compare(pairs: PairsFile, copy: Path, edited: list[tuple[str, int, PairEdit]]) -> None:
    """Read the edited pairs back from the copy, before it takes the place of the file."""
    with PairsFile(copy, edits=False) as stored:
        for scene, index, edit in edited:
            found, wanted = stored.pair_info(scene, index), pairs.pair_info(scene, index)
            same = _decision(found) == _decision(wanted)
            if edit.mask is not None:
                cells, wanted_cells = stored.blur_cells(scene, index), pairs.blur_cells(scene, index)
                same &= stored.checksums(scene, index)["mask"] == edit.mask.crc32
                same &= cells is not None and wanted_cells is not None and np.array_equal(cells, wanted_cells)
            if not same:
                raise LocalblurError(
                    f"pair {scene}/{found.name} reads back otherwise from {copy}; the file is left as it is"
                )


def _decision(info: PairInfo) -> tuple[str, str, str]:
    return info.verdict.value, info.reasons, info.decided_by

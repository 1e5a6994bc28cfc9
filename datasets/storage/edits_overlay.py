"""The edits journal as readers of a pairs file see it: the last word about each pair, laid over what is stored."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_channels
from localblur.datasets.pair import PairInfo, Verdict
from localblur.datasets.storage.edits import Edit, edits_folder
from localblur.datasets.storage.mask_confidence import with_confidence
from localblur.datasets.storage.schema import REASONS_BYTES, blur_cells, crc32

Mask = npt.NDArray[np.uint8]

NOTE_PREFIX = "note: "
REASON_SEPARATOR = "; "
MASKS_KEPT = 4


@dataclass(frozen=True, kw_only=True)
class MaskEdit:
    """An edited mask: its PNG and the CRC-32 of its pixels."""

    file: str
    crc32: int


@dataclass(frozen=True, kw_only=True)
class PairEdit:
    """The last word about one pair; None where nobody said anything."""

    verdict: Verdict | None = None
    decided_by: str | None = None
    note: str | None = None
    mask: MaskEdit | None = None

    def after(self, edit: Edit) -> "PairEdit":
        """What holds after one more line of the journal."""
        if edit.event == "verdict":
            return replace(self, verdict=edit.verdict, decided_by=edit.user)
        if edit.event == "note":
            return replace(self, note=edit.note)
        mask = MaskEdit(file=edit.file, crc32=edit.crc32) if edit.file and edit.crc32 is not None else None
        return replace(self, mask=mask)


class EditsOverlay:
    """All edits of a pairs file; masks are read when they are needed, the last few are kept.

    Args:
        path: the pairs file.
        edits: lines of its journal, in their order.
    """

    def __init__(self, path: Path, edits: Iterable[Edit] = ()) -> None:
        self.path = path
        self._edits: dict[tuple[str, str], PairEdit] = {}
        self._masks: OrderedDict[str, Mask] = OrderedDict()
        self._cells: dict[str, Mask] = {}
        for edit in edits:
            self.apply(edit)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_masks": OrderedDict(), "_cells": {}}

    def __len__(self) -> int:
        return len(self._edits)

    def apply(self, edit: Edit) -> None:
        """Take one more line of the journal into account."""
        key = (edit.scene, edit.name)
        self._edits[key] = self._edits.get(key, PairEdit()).after(edit)

    def items(self) -> Iterable[tuple[tuple[str, str], PairEdit]]:
        """((scene, name), edit) of every edited pair."""
        return self._edits.items()

    def get(self, scene: str, name: str) -> PairEdit | None:
        """What was said about a pair."""
        return self._edits.get((scene, name))

    def mask_edit(self, scene: str, name: str) -> MaskEdit | None:
        """The edited mask of a pair, None where the stored one holds."""
        edit = self._edits.get((scene, name))
        return edit.mask if edit else None

    def revised(self, scene: str, info: PairInfo) -> PairInfo:
        """`info` as it stands after the edits.

        Raises:
            LocalblurError: if the note does not fit in beside the stored reasons.
        """
        edit = self._edits.get((scene, info.name))
        if edit is None:
            return info
        if edit.verdict is not None and edit.decided_by is not None:
            info = replace(info, verdict=edit.verdict, decided_by=edit.decided_by)
        if edit.note is not None:
            info = replace(info, reasons=with_note(info.reasons, edit.note))
        if edit.mask is not None:
            info = replace(info, quality=with_confidence(info.quality, None))
        return info

    def mask(self, scene: str, name: str, height: int, width: int) -> Mask | None:
        """The edited soft mask (H, W) of a pair, not to be written to; None if the stored one holds.

        Raises:
            LocalblurError: if its PNG is missing, damaged or of another size.
        """
        edit = self.mask_edit(scene, name)
        if edit is None:
            return None
        if edit.file not in self._masks:
            self._masks[edit.file] = self._read(edit, f"{scene}/{name}", height, width)
        self._masks.move_to_end(edit.file)
        while len(self._masks) > MASKS_KEPT:
            self._masks.popitem(last=False)
        return self._masks[edit.file]

    def cells(self, scene: str, name: str, height: int, width: int) -> Mask | None:
        """`blur_cells` of the edited mask; None if the stored one holds."""
        edit = self.mask_edit(scene, name)
        if edit is None:
            return None
        if edit.file not in self._cells:
            mask = self.mask(scene, name, height, width)
            if mask is None:
                return None
            self._cells[edit.file] = blur_cells(mask)
        return self._cells[edit.file]

    def _read(self, edit: MaskEdit, label: str, height: int, width: int) -> Mask:
        file = edits_folder(self.path) / edit.file
        if not file.is_file():
            raise LocalblurError(
                f"{file}, the edited mask of {label}, is missing; if the edits were folded in meanwhile, start again"
            )
        mask = read_channels(file)
        if mask.shape != (height, width) or mask.dtype != np.uint8 or crc32(mask) != edit.crc32:
            raise LocalblurError(f"{file}, the edited mask of {label}, is damaged; restore it or edit the mask again")
        mask.flags.writeable = False
        return mask


def split_note(reasons: str) -> tuple[str, str]:
    """The reasons of quality control, and a person's note without its prefix; each may be empty."""
    pieces = reasons.split(REASON_SEPARATOR)
    automatic = [piece for piece in pieces if piece and not piece.startswith(NOTE_PREFIX)]
    notes = [piece.removeprefix(NOTE_PREFIX) for piece in pieces if piece.startswith(NOTE_PREFIX)]
    return REASON_SEPARATOR.join(automatic), ", ".join(notes)


def with_note(reasons: str, note: str) -> str:
    """`reasons` with their note replaced by `note` ("" removes it).

    Raises:
        LocalblurError: if both together are longer than a pairs file can store.
    """
    automatic, _ = split_note(reasons)
    joined = REASON_SEPARATOR.join(piece for piece in (automatic, note and NOTE_PREFIX + note) if piece)
    if len(joined.encode()) > REASONS_BYTES:
        room = REASONS_BYTES - len((automatic + REASON_SEPARATOR + NOTE_PREFIX).encode())
        raise LocalblurError(f"the note takes {len(note.encode())} bytes, beside the reasons there is room for {room}")
    return joined

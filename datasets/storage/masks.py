"""Giving an existing pairs file blur masks, or new ones, without ever endangering its pairs.

Changing an HDF5 file in place can lose all of it to one kill. So masks are first left as parts in `<file>.masks/`, then
a copy of the file gets them, and the finished copy is renamed onto the file. This costs one copy of the file per run;
in return the pairs are safe, readers keep reading meanwhile, and an interrupted run continues.
"""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import ensure_space, write_json
from localblur.common.locking import LOCK_NAME, FolderLock
from localblur.datasets.storage import parts as parts_files
from localblur.datasets.storage.edits import edits_path, release_folder
from localblur.datasets.storage.hdf5 import LIBVER, publish, reserved, writing
from localblur.datasets.storage.layout import METADATA_BYTES, put_mask, room_for
from localblur.datasets.storage.mask_confidence import with_confidence
from localblur.datasets.storage.parts import read_arrays, write_arrays
from localblur.datasets.storage.reader import PairsFile
from localblur.datasets.storage.schema import QUALITY_BYTES, decode_quality, encode_quality, text

logger = logging.getLogger(__name__)

COPY = "copy.h5"


def masks_folder(path: Path) -> Path:
    """Where the masks for the pairs file `path` are collected: `<path>.masks`."""
    return path.with_name(path.name + ".masks")


@dataclass(frozen=True)
class MaskPart:
    """A finished mask: scene and name of its pair, uint8 (H, W), and its confidence, None where it has none."""

    scene: str
    name: str
    mask: npt.NDArray[np.uint8]
    confidence: float | None


def write_mask_part(
    folder: Path, scene: str, name: str, mask: npt.NDArray[np.uint8], confidence: float | None = None
) -> Path:
    """Write a finished mask into `folder` (see `masks_folder`) atomically; usable from worker processes.

    `confidence`, 0..1, is kept among the pair's quality measures, see `mask_confidence`.
    """
    path = parts_files.part_path(folder, scene, name)
    write_arrays(path, {"mask": mask}, {"scene": scene, "name": name, "confidence": confidence})
    return path


class MasksWriter:
    """Collects masks for the pairs of a file and puts them all in at a good end; a context manager.

    After `drop`, the file is left as it is. On an exception or a kill the file keeps what it held; the same
    call continues, `finished` says what is done. Pairs that get no mask keep theirs; masks in the edits journal go on
    to outrank stored ones.

    Args:
        path: the pairs file.
        settings: how masks are made, plain JSON values; stored as `mask_settings`. An unfinished run with other
            settings is dropped. A second writer at the same time is a `LocalblurError`.

    Attributes:
        folder: the folder for `write_mask_part`.
        finished: (scene, name) of every pair that has its mask in this run.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings, default=str))
        self.folder = masks_folder(path)
        self.finished: set[tuple[str, str]] = set()
        self._dropped = False
        self._lock: FolderLock | None = None
        self._pairs = PairsFile(path)
        self._pairs.close()
        self._indices = {
            (entry.name, name): index
            for entry in self._pairs.scenes
            for index, name in enumerate(self._pairs.names(entry.name))
        }

    def __enter__(self) -> "MasksWriter":
        self._lock = self._locked()
        try:
            self._begin()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._dropped:
                self._finish()
        finally:
            self._release()

    def _locked(self) -> FolderLock:
        parts_files.earlier_run(self.folder)  # something else of that name is told, not locked
        self.folder.mkdir(exist_ok=True)
        try:
            return FolderLock(self.folder, "filled")
        except LocalblurError as error:
            raise LocalblurError(
                f"{self.path} is being given masks by another process; wait until it has finished"
            ) from error

    def _release(self) -> None:
        if self._lock is not None:
            release_folder(self.folder, self._lock)
            self._lock = None

    def _begin(self) -> None:
        """Go on with the parts of the same run, else start an empty one."""
        status = self.path.stat()
        wanted = {"settings": self.settings, "file": [status.st_size, status.st_mtime_ns]}
        if parts_files.earlier_run(self.folder) != wanted or not parts_files.list_parts(self.folder):
            ensure_space(self.folder, status.st_size, f"putting masks into a copy of {self.path.name}")
            _empty(self.folder)
            write_json(self.folder / parts_files.HEADER, wanted)
        for part in parts_files.list_parts(self.folder):
            try:
                self.fold(part)
            except LocalblurError as error:
                logger.warning("%s; it is ignored and its mask made again", error)

    def drop(self) -> None:
        """Give this run up: nothing of it is kept."""
        self._dropped = True
        _empty(self.folder)

    def add(self, scene: str, name: str, mask: npt.NDArray[np.uint8], confidence: float | None = None) -> None:
        """Give a pair its soft mask, uint8 (H, W), and the confidence it deserves, 0..1, if that is known.

        Raises:
            LocalblurError: if there is no such pair, or the mask has another size or type.
        """
        self._check(scene, name, mask)
        write_mask_part(self.folder, scene, name, mask, confidence)
        self.finished.add((scene, name))

    def fold(self, part: Path) -> None:
        """Take a mask that a worker wrote with `write_mask_part`; a part that does not fit is removed."""
        try:
            found = _read_mask_part(part)
            self._check(found.scene, found.name, found.mask)
        except LocalblurError:
            part.unlink(missing_ok=True)
            raise
        self.finished.add((found.scene, found.name))

    def _check(self, scene: str, name: str, mask: npt.NDArray[np.uint8]) -> None:
        if (scene, name) not in self._indices:
            raise LocalblurError(f"{self.path} has no pair {scene}/{name} to give a mask to")
        entry = self._pairs.scene(scene)
        if mask.shape != (entry.height, entry.width) or mask.dtype != np.uint8:
            raise LocalblurError(
                f"mask of {scene}/{name} must be uint8 {(entry.height, entry.width)}, got {mask.dtype} {mask.shape}"
            )

    def _finish(self) -> None:
        copy = self.folder / COPY
        with writing(self.path):
            shutil.copyfile(self.path, copy)
            with h5py.File(copy, "r+", libver=LIBVER) as file:
                for scene, name in sorted(self.finished):
                    self._fold(file, copy, scene, name)
                with reserved(file, copy, METADATA_BYTES):
                    file.attrs["mask_settings"] = json.dumps(self.settings)
                    file.flush()
        publish(copy, self.path)
        _empty(self.folder)
        hidden = sum(self._pairs.overlay.mask_edit(scene, name) is not None for scene, name in self.finished)
        if hidden:
            logger.warning(
                "%s: %d of the new masks %s behind one that a person edited; see %s",
                self.path,
                hidden,
                "stays" if hidden == 1 else "stay",
                edits_path(self.path),
            )

    def _fold(self, file: Any, copy: Path, scene: str, name: str) -> None:
        row = int(self._pairs.stored_rows(scene)[self._indices[scene, name]])
        part = _read_mask_part(parts_files.part_path(self.folder, scene, name))
        with reserved(file, copy, room_for(part.mask.shape[0], part.mask.shape[1], part.mask.dtype)):
            put_mask(file["scenes"][scene], row, part.mask)
            put_confidence(file["scenes"][scene], row, part.confidence)
            file.flush()


def _empty(folder: Path) -> None:
    """Remove what a run left in its folder, its header last: without one, parts would be taken for foreign files."""
    header = folder / parts_files.HEADER
    for entry in folder.iterdir():
        if entry not in (header, folder / LOCK_NAME):
            entry.unlink()
    header.unlink(missing_ok=True)


def put_confidence(group: Any, row: int, confidence: float | None) -> None:
    """Note the confidence of a new mask among the quality measures of the pair at `row`; None removes the old one's."""
    encoded = group["pairs"][row]
    quality = encode_quality(with_confidence(decode_quality(text(encoded["quality"])), confidence)).encode()
    if len(quality) > QUALITY_BYTES:
        logger.warning("%s: no room for the confidence of a mask among the measures of row %d", group.name, row)
        return
    encoded["quality"] = quality
    group["pairs"][row] = encoded


def _read_mask_part(part: Path) -> MaskPart:
    arrays, content = read_arrays(part)
    try:
        confidence = content["confidence"]
        return MaskPart(
            str(content["scene"]),
            str(content["name"]),
            arrays["mask"],
            None if confidence is None else float(confidence),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalblurError(f"part {part} makes no sense: {error}") from error

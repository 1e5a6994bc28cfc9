"""Reading a pairs file: opened lazily in every process, pairs in the order of their names, damage put in words."""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.pair import Pair, PairInfo, ValidBox
from localblur.datasets.storage.edits import check_identity, edits_path, read_edits, unfolded
from localblur.datasets.storage.edits_overlay import EditsOverlay
from localblur.datasets.storage.hdf5 import child, open_for_reading, reading
from localblur.datasets.storage.layout import read_calibration
from localblur.datasets.storage.patch_choice import blurred_fraction
from localblur.datasets.storage.schema import FORMAT, SCHEMA_VERSION, StoreHeader, decode_row
from localblur.datasets.storage.tables import MENDED, SceneEntry, SceneTable, natural_key, read_table, with_edits

ROWS_AT_ONCE = 256
DATASETS_OPEN = 32

__all__ = ["PairsFile", "SceneEntry", "natural_key"]

Bytes = npt.NDArray[np.uint8]


class PairsFile:
    """A pairs file, read-only.

    Pairs of a scene are numbered 0..count-1 in the natural order of their names, whatever the order they were written
    in. Pickling and forking are safe: every process opens the file for itself when it first reads.

    Args:
        path: the pairs file.
        edits: show verdicts, notes and masks as the edits journal beside the file has them at this moment (see
            `edits`); False shows what is stored.

    Raises:
        LocalblurError: if the file is missing, foreign, truncated, damaged, locked, or of a newer schema version, or
            the journal is damaged or belongs to another file.
    """

    def __init__(self, path: Path | str, *, edits: bool = True) -> None:
        self.path = path = Path(path)
        self._file: Any = None
        self._open: dict[tuple[str, str], Any] = {}
        self._process = -1
        self._stamp: tuple[int, int] | None = None
        with reading(path):
            root = self._root()
            self._stamp = _stamp(path)
            self.header = _read_header(path, root)
            self.schema_version = int(root.attrs["schema_version"])
            self.created = str(root.attrs.get("created", ""))
            self.mask_settings: dict[str, Any] | None = (
                json.loads(root.attrs["mask_settings"]) if "mask_settings" in root.attrs else None
            )
            scenes = child(root, "scenes", h5py.Group)
            self._tables = {name: read_table(child(scenes, name, h5py.Group), name, self.header) for name in scenes}
            self.folded_edits: dict[str, Any] | None = (
                json.loads(root.attrs["edits_folded"]) if "edits_folded" in root.attrs else None
            )
        self.overlay = self._read_edits() if edits else EditsOverlay(path)

    @classmethod
    def open(cls, path: Path | str) -> "PairsFile":
        """Open a pairs file; also a context manager."""
        return cls(path)

    def __enter__(self) -> "PairsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file in this process; a later read opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file, self._open = None, {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_open": {}, "_process": -1}

    @property
    def identity(self) -> str:
        """Identifies the pairs by names and pictures; verdicts, masks and splits may change without changing it."""
        content = "".join(f"{name}\n{self._tables[name].digest()}\n" for name in sorted(self._tables))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def scenes(self) -> list[SceneEntry]:
        """All scenes, sorted by name."""
        return [self._tables[name].entry for name in sorted(self._tables, key=natural_key)]

    def scene(self, scene: str) -> SceneEntry:
        """One scene."""
        return self._table(scene).entry

    def names(self, scene: str) -> list[str]:
        """Names of the pairs of a scene, in order."""
        return list(self._table(scene).names)

    def info(self, scene: str) -> list[PairInfo]:
        """Everything known about the pairs of a scene except pixels, in order."""
        table = self._table(scene)
        with reading(self.path):
            stored = self._group(scene)["pairs"][:]
            return [self.overlay.revised(scene, decode_row(stored[row])) for row in table.rows]

    def pair_info(self, scene: str, index: int) -> PairInfo:
        """Everything known about one pair except pixels."""
        _, row = self._locate(scene, index)
        with reading(self.path):
            return self.overlay.revised(scene, decode_row(self._group(scene)["pairs"][row]))

    def has_mask(self, scene: str, index: int) -> bool:
        """Whether the pair has a blur mask."""
        table, _ = self._locate(scene, index)
        return bool(table.masked[index])

    def is_mended(self, scene: str, index: int) -> bool:
        """Whether the pair's mask was drawn or mended by a person."""
        table, _ = self._locate(scene, index)
        return int(table.masked[index]) == MENDED

    def is_rejected(self, scene: str, index: int) -> bool:
        """Whether the pair's verdict is reject; such pairs are never trained on."""
        table, _ = self._locate(scene, index)
        return bool(table.rejected[index])

    def valid_box(self, scene: str, index: int) -> ValidBox:
        """(y0, x0, y1, x1), half open; outside it a warp had no data."""
        table, _ = self._locate(scene, index)
        y0, x0, y1, x1 = (int(v) for v in table.valid_boxes[index])
        return y0, x0, y1, x1

    def usable(self, scene: str, least_px: int) -> tuple[npt.NDArray[np.int64], int]:
        """Numbers of the pairs of a scene that are not rejected and whose valid box is at least `least_px` high and
        wide, and how many are left out for their box alone."""
        table = self._table(scene)
        sides = table.valid_boxes[:, 2:] - table.valid_boxes[:, :2]
        large = sides.min(axis=1) >= least_px
        return np.flatnonzero(large & ~table.rejected), int((~large & ~table.rejected).sum())

    def read(self, scene: str, index: int) -> Pair:
        """Read a whole pair."""
        table, row = self._locate(scene, index)
        with reading(self.path):
            group = self._group(scene)
            edited = self._edited_mask(table, index)
            stored = group["mask"][row] if edited is None and table.masked[index] else None
            return Pair(
                scene=scene,
                info=self.overlay.revised(scene, decode_row(group["pairs"][row])),
                blurred=group["blurred"][row],
                sharp=group["sharp"][row],
                mask=stored if edited is None else edited.copy(),
            )

    def read_crop(
        self, scene: str, index: int, y: int, x: int, height: int, width: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Bytes | None]:
        """Read a window: blurred and sharp (height, width, 3) as stored, the soft mask (height, width) or None.

        Raises:
            LocalblurError: if the window leaves the image.
        """
        table, row = self._locate(scene, index)
        self._check_window(table.entry, y, x, height, width)
        window = (row, slice(y, y + height), slice(x, x + width))
        mask = self.read_mask(scene, index, y, x, height, width)
        with reading(self.path):
            return self._dataset(scene, "blurred")[window], self._dataset(scene, "sharp")[window], mask

    def read_picture(
        self, scene: str, index: int, sharp: bool, y: int, x: int, height: int, width: int
    ) -> npt.NDArray[Any]:
        """Read a window of the blurred or the sharp picture alone, (height, width, 3) as stored.

        Raises:
            LocalblurError: if the window leaves the image.
        """
        table, row = self._locate(scene, index)
        self._check_window(table.entry, y, x, height, width)
        with reading(self.path):
            stored = self._dataset(scene, "sharp" if sharp else "blurred")
            window: npt.NDArray[Any] = stored[row, y : y + height, x : x + width]
            return window

    def read_mask(self, scene: str, index: int, y: int, x: int, height: int, width: int) -> Bytes | None:
        """Read a window of the soft mask, (height, width); None if the pair has no mask."""
        table, row = self._locate(scene, index)
        self._check_window(table.entry, y, x, height, width)
        if not table.masked[index]:
            return None
        edited = self._edited_mask(table, index)
        if edited is not None:
            return edited[y : y + height, x : x + width].copy()
        with reading(self.path):
            window: Bytes = self._dataset(scene, "mask")[row, y : y + height, x : x + width]
            return window

    def blur_cells(self, scene: str, index: int) -> Bytes | None:
        """Share of blurred pixels per 16-px cell, 0..255, (ceil(H/16), ceil(W/16)); None if the pair has no mask."""
        table, row = self._locate(scene, index)
        if not table.masked[index]:
            return None
        edited = self.overlay.cells(scene, table.names[index], table.entry.height, table.entry.width)
        if edited is not None:
            return edited.copy()
        with reading(self.path):
            cells: Bytes = self._dataset(scene, "blur_cells")[row]
            return cells

    def blurred_shares(self, scene: str) -> npt.NDArray[np.float64]:
        """Share of the area that is blurred of every pair of a scene, (count,); NaN for pairs without a mask."""
        table = self._table(scene)
        height, width = table.entry.height, table.entry.width
        shares = np.full(len(table.rows), np.nan)
        with reading(self.path):
            group = self._group(scene)
            stored = group["blur_cells"] if "blur_cells" in group else np.zeros((0, 1, 1), np.uint8)
            by_row = [
                blurred_fraction(cells, height, width)
                for first in range(0, len(stored), ROWS_AT_ONCE)
                for cells in stored[first : first + ROWS_AT_ONCE]
            ]
        for index, name in enumerate(table.names):
            edited = self.overlay.cells(scene, name, height, width)
            if edited is not None:
                shares[index] = blurred_fraction(edited, height, width)
            elif table.masked[index]:
                shares[index] = by_row[table.rows[index]]
        return shares

    def thumbnail(self, scene: str, index: int) -> Bytes:
        """The small sRGB-coded picture of the blurred image, (h, w, 3), long side at most 256."""
        _, row = self._locate(scene, index)
        with reading(self.path):
            small: Bytes = self._group(scene)["thumbnails"][row]
            return small

    def checksums(self, scene: str, index: int) -> dict[str, int]:
        """The stored CRC-32 of `blurred`, `sharp` and `mask` (0 without a mask); see `store_schema.crc32`."""
        table, row = self._locate(scene, index)
        edit = self.overlay.mask_edit(scene, table.names[index])
        with reading(self.path):
            stored = self._group(scene)["pairs"][row]
            checks = {what: int(stored[f"{what}_crc32"]) for what in ("blurred", "sharp", "mask")}
        return checks if edit is None else checks | {"mask": edit.crc32}

    def checksum_table(self, scene: str) -> npt.NDArray[np.uint32]:
        """`checksums` of all pairs of a scene in one read, (count, 3): `blurred`, `sharp`, `mask`."""
        table = self._table(scene)
        with reading(self.path):
            columns = self._group(scene)["pairs"].fields([f"{what}_crc32" for what in ("blurred", "sharp", "mask")])[:]
        checks = np.stack([columns[name][table.rows] for name in columns.dtype.names], axis=1)
        for index, name in enumerate(table.names if len(self.overlay) else ()):
            edit = self.overlay.mask_edit(scene, name)
            checks[index, 2] = checks[index, 2] if edit is None else edit.crc32
        return checks

    def calibration(self) -> dict[str, Any]:
        """The rig calibration as it was given to `PairsWriter.set_calibration`; empty if there is none."""
        with reading(self.path):
            root = self._root()
            return read_calibration(child(root, "calibration", h5py.Group)) if "calibration" in root else {}

    def stored_rows(self, scene: str) -> npt.NDArray[np.int64]:
        """Rows of the scene's pairs in the file's datasets, in order, for tools that rewrite the file."""
        return self._table(scene).rows

    def stored_scene(self, scene: str) -> Any:
        """The open HDF5 group of a scene, for tools that copy what is stored; closed with the file."""
        self._table(scene)
        with reading(self.path):
            return self._group(scene)

    def _read_edits(self) -> EditsOverlay:
        """The edits that are not folded in yet; the tables show them too."""
        journal = read_edits(self.path)
        check_identity(self.path, journal, self.identity)
        if journal is None:
            return EditsOverlay(self.path)
        overlay = EditsOverlay(self.path, unfolded(journal, self.folded_edits))
        known = {(scene, name) for scene, table in self._tables.items() for name in table.names}
        for (scene, name), _ in overlay.items():
            if (scene, name) not in known:
                raise LocalblurError(
                    f"{edits_path(self.path)} edits pair {scene}/{name}, which {self.path.name} does not have;"
                    " remove its lines or move the edits away"
                )
        self._tables = {scene: with_edits(table, overlay) for scene, table in self._tables.items()}
        return overlay

    def _edited_mask(self, table: SceneTable, index: int) -> Bytes | None:
        entry = table.entry
        return self.overlay.mask(entry.name, table.names[index], entry.height, entry.width)

    def _root(self) -> Any:
        if self._file is None or self._process != os.getpid():
            # a handle inherited through fork shares its position and locks with the parent: leave it alone
            self._open = {}
            self._file, self._process = open_for_reading(self.path), os.getpid()
            if self._stamp not in (None, _stamp(self.path)):
                raise LocalblurError(f"{self.path} was changed while it was in use; start again with the new file")
        return self._file

    def _group(self, scene: str) -> Any:
        return self._root()["scenes"][scene]

    def _dataset(self, scene: str, name: str) -> Any:
        """An open dataset of a scene; the last few stay open, which saves a quarter of the time of a fast crop."""
        root = self._root()
        found = self._open.pop((scene, name), None)
        if found is None:
            found = root["scenes"][scene][name]
            while len(self._open) >= DATASETS_OPEN:
                del self._open[next(iter(self._open))]
        self._open[scene, name] = found
        return found

    def _table(self, scene: str) -> SceneTable:
        try:
            return self._tables[scene]
        except KeyError:
            known = ", ".join(sorted(self._tables)[:8]) or "none"
            raise LocalblurError(f"{self.path} has no scene {scene!r}; it has {known}") from None

    def _locate(self, scene: str, index: int) -> tuple[SceneTable, int]:
        table = self._table(scene)
        if not 0 <= index < table.entry.count:
            raise LocalblurError(f"{self.path}: scene {scene} has {table.entry.count} pairs, there is no pair {index}")
        return table, int(table.rows[index])

    def _check_window(self, entry: SceneEntry, y: int, x: int, height: int, width: int) -> None:
        if min(y, x) < 0 or min(height, width) < 1 or y + height > entry.height or x + width > entry.width:
            raise LocalblurError(
                f"{self.path}: window {width}x{height} at x={x}, y={y} leaves the {entry.width}x{entry.height}"
                f" pictures of scene {entry.name}"
            )


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read_header(path: Path, root: Any) -> StoreHeader:
    attributes = root.attrs
    if attributes.get("format") != FORMAT:
        raise LocalblurError(
            f"{path} is an HDF5 file but not a localblur pairs file; make one with align-dataset,"
            " synthesize-gopro or import-dataset"
        )
    version = int(attributes["schema_version"])
    if version > SCHEMA_VERSION:
        raise LocalblurError(
            f"{path} has schema version {version}, this localblur reads up to {SCHEMA_VERSION}; update localblur"
        )
    if version < 1:
        raise ValueError(f"schema version {version}")
    values = {key: attributes[key] for key in ("encoding", "creator", "source", "licence")}
    values |= {"bit_depth": int(attributes["bit_depth"]), "settings": json.loads(attributes["settings"])}
    return validate(StoreHeader, values, str(path))

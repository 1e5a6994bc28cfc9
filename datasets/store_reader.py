"""Reading a pairs file: opened lazily in every process, pairs in the order of their names, damage put in words."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.hdf5 import child, open_for_reading, reading
from localblur.datasets.pair import Pair, PairInfo, ValidBox, Verdict
from localblur.datasets.store_layout import read_calibration
from localblur.datasets.store_schema import FORMAT, PAIR_ROW, SCHEMA_VERSION, SPLITS, StoreHeader, decode_row, text

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class SceneEntry:
    """One scene of a pairs file: its name, split, image size, number of pairs, and how many of them have a mask."""

    name: str
    split: str
    height: int
    width: int
    count: int
    masked: int


@dataclass(frozen=True, kw_only=True)
class _SceneTable:
    """What is kept of a scene: the rows of its complete pairs in the order of their names, and what choosing needs."""

    entry: SceneEntry
    names: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    masked: npt.NDArray[np.bool_]
    rejected: npt.NDArray[np.bool_]
    valid_boxes: npt.NDArray[np.int32]


class PairsFile:
    """A pairs file, read-only.

    Pairs of a scene are numbered 0..count-1 in the natural order of their names, whatever the order they were written
    in. Pickling and forking are safe: every process opens the file for itself when it first reads.

    Raises:
        LocalblurError: if the file is missing, foreign, truncated, damaged, locked, or of a newer schema version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._process = -1
        self._stamp: tuple[int, int] | None = None
        with reading(path):
            root = self._root()
            self._stamp = _stamp(path)
            self.header = _read_header(path, root)
            self.created = str(root.attrs.get("created", ""))
            self.mask_settings: dict[str, Any] | None = (
                json.loads(root.attrs["mask_settings"]) if "mask_settings" in root.attrs else None
            )
            scenes = child(root, "scenes", h5py.Group)
            self._tables = {name: _read_table(child(scenes, name, h5py.Group), name, self.header) for name in scenes}

    @classmethod
    def open(cls, path: Path) -> "PairsFile":
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
        self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_process": -1}

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
            return [decode_row(stored[row]) for row in table.rows]

    def has_mask(self, scene: str, index: int) -> bool:
        """Whether the pair has a blur mask."""
        table, _ = self._locate(scene, index)
        return bool(table.masked[index])

    def is_rejected(self, scene: str, index: int) -> bool:
        """Whether the pair's verdict is reject; such pairs are never trained on."""
        table, _ = self._locate(scene, index)
        return bool(table.rejected[index])

    def valid_box(self, scene: str, index: int) -> ValidBox:
        """(y0, x0, y1, x1), half open; outside it a warp had no data."""
        table, _ = self._locate(scene, index)
        y0, x0, y1, x1 = (int(v) for v in table.valid_boxes[index])
        return y0, x0, y1, x1

    def read(self, scene: str, index: int) -> Pair:
        """Read a whole pair."""
        table, row = self._locate(scene, index)
        with reading(self.path):
            group = self._group(scene)
            return Pair(
                scene=scene,
                info=decode_row(group["pairs"][row]),
                blurred=group["blurred"][row],
                sharp=group["sharp"][row],
                mask=group["mask"][row] if table.masked[index] else None,
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
        with reading(self.path):
            group = self._group(scene)
            mask = group["mask"][window] if table.masked[index] else None
            return group["blurred"][window], group["sharp"][window], mask

    def read_mask(self, scene: str, index: int, y: int, x: int, height: int, width: int) -> Bytes | None:
        """Read a window of the soft mask, (height, width); None if the pair has no mask."""
        table, row = self._locate(scene, index)
        self._check_window(table.entry, y, x, height, width)
        if not table.masked[index]:
            return None
        with reading(self.path):
            window: Bytes = self._group(scene)["mask"][row, y : y + height, x : x + width]
            return window

    def blur_cells(self, scene: str, index: int) -> Bytes | None:
        """Share of blurred pixels per 16-px cell, 0..255, (ceil(H/16), ceil(W/16)); None if the pair has no mask."""
        table, row = self._locate(scene, index)
        if not table.masked[index]:
            return None
        with reading(self.path):
            cells: Bytes = self._group(scene)["blur_cells"][row]
            return cells

    def thumbnail(self, scene: str, index: int) -> Bytes:
        """The small sRGB-coded picture of the blurred image, (h, w, 3), long side at most 256."""
        _, row = self._locate(scene, index)
        with reading(self.path):
            small: Bytes = self._group(scene)["thumbnails"][row]
            return small

    def checksums(self, scene: str, index: int) -> dict[str, int]:
        """The stored CRC-32 of `blurred`, `sharp` and `mask` (0 without a mask); see `store_schema.crc32`."""
        _, row = self._locate(scene, index)
        with reading(self.path):
            stored = self._group(scene)["pairs"][row]
            return {what: int(stored[f"{what}_crc32"]) for what in ("blurred", "sharp", "mask")}

    def checksum_table(self, scene: str) -> npt.NDArray[np.uint32]:
        """`checksums` of all pairs of a scene in one read, (count, 3): `blurred`, `sharp`, `mask`."""
        table = self._table(scene)
        with reading(self.path):
            columns = self._group(scene)["pairs"].fields([f"{what}_crc32" for what in ("blurred", "sharp", "mask")])[:]
            return np.stack([columns[name][table.rows] for name in columns.dtype.names], axis=1)

    def calibration(self) -> dict[str, Any]:
        """The rig calibration as it was given to `PairsWriter.set_calibration`; empty if there is none."""
        with reading(self.path):
            root = self._root()
            return read_calibration(child(root, "calibration", h5py.Group)) if "calibration" in root else {}

    def stored_rows(self, scene: str) -> npt.NDArray[np.int64]:
        """Rows of the scene's pairs in the file's datasets, in order, for tools that rewrite the file."""
        return self._table(scene).rows

    def _root(self) -> Any:
        if self._file is None or self._process != os.getpid():
            # a handle inherited through fork shares its position and locks with the parent: leave it alone
            self._file, self._process = open_for_reading(self.path), os.getpid()
            if self._stamp not in (None, _stamp(self.path)):
                raise LocalblurError(f"{self.path} was changed while it was in use; start again with the new file")
        return self._file

    def _group(self, scene: str) -> Any:
        return self._root()["scenes"][scene]

    def _table(self, scene: str) -> _SceneTable:
        try:
            return self._tables[scene]
        except KeyError:
            known = ", ".join(sorted(self._tables)[:8]) or "none"
            raise LocalblurError(f"{self.path} has no scene {scene!r}; it has {known}") from None

    def _locate(self, scene: str, index: int) -> tuple[_SceneTable, int]:
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


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts 9 before 10."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return (*((int(p), "") if p[0] in "0123456789" else (-1, p) for p in pieces), (-2, name))


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


def _read_table(group: Any, name: str, header: StoreHeader) -> _SceneTable:
    blurred, sharp = child(group, "blurred", h5py.Dataset), child(group, "sharp", h5py.Dataset)
    table = child(group, "pairs", h5py.Dataset)
    missing = [field for field in PAIR_ROW.names or () if field not in (table.dtype.names or ())]
    if missing:
        raise ValueError(f"scene {name} has no column {missing[0]}")
    rows = table.fields(["name", "complete", "masked", "verdict", "valid_box"])[:]
    count, height, width = len(rows), int(blurred.shape[1]), int(blurred.shape[2])
    _expect(blurred, (count, height, width, 3), header.dtype)
    _expect(sharp, (count, height, width, 3), header.dtype)
    _expect(child(group, "thumbnails", h5py.Dataset), None, np.dtype(np.uint8))
    if "mask" in group:
        _expect(child(group, "mask", h5py.Dataset), (count, height, width), np.dtype(np.uint8))
        cells = (count, -(-height // 16), -(-width // 16))
        _expect(child(group, "blur_cells", h5py.Dataset), cells, np.dtype(np.uint8))
    elif rows["masked"].any():
        raise ValueError(f"scene {name} has lost its masks")
    split = str(group.attrs["split"])
    if split not in SPLITS:
        raise ValueError(f"scene {name} is in the unknown split {split!r}")
    names = [text(value) for value in rows["name"]]
    order = sorted(np.flatnonzero(rows["complete"] == 1).tolist(), key=lambda row: natural_key(names[row]))
    chosen = np.array(order, np.int64)
    return _SceneTable(
        entry=SceneEntry(
            name=name,
            split=split,
            height=height,
            width=width,
            count=len(order),
            masked=int(rows["masked"][chosen].astype(bool).sum()),
        ),
        names=tuple(names[row] for row in order),
        rows=chosen,
        masked=rows["masked"][chosen] != 0,
        rejected=rows["verdict"][chosen] == Verdict.REJECT.value.encode(),
        valid_boxes=rows["valid_box"][chosen],
    )


def _expect(dataset: Any, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> None:
    if (shape is not None and dataset.shape != shape) or dataset.dtype != dtype:
        raise ValueError(f"{dataset.name} is {dataset.shape} {dataset.dtype}, expected {shape or ''} {dtype}")

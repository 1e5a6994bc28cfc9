"""What readers keep of each scene of a pairs file: its complete pairs in order, and what choosing among them needs."""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.datasets.pair import Verdict
from localblur.datasets.storage.compression import check_readable
from localblur.datasets.storage.edits_overlay import EditsOverlay
from localblur.datasets.storage.hdf5 import child
from localblur.datasets.storage.schema import PAIR_ROW, SPLITS, StoreHeader, text

MENDED = 2
"""Value of the column `masked` where a person drew or mended the mask; 1 is a mask made by a method, 0 none."""


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
class SceneTable:
    """What is kept of a scene: the rows of its complete pairs in the order of their names, and what choosing needs."""

    entry: SceneEntry
    names: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    masked: npt.NDArray[np.uint8]
    rejected: npt.NDArray[np.bool_]
    valid_boxes: npt.NDArray[np.int32]
    checks: npt.NDArray[np.uint32]

    def digest(self) -> str:
        """Identifies names and pictures of the pairs."""
        lines = (f"{name}\n{b} {s}\n" for name, (b, s) in zip(self.names, self.checks.tolist(), strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_table(group: Any, name: str, header: StoreHeader) -> SceneTable:
    """Read the table of a scene; one that makes no sense raises ValueError, KeyError or TypeError."""
    blurred, sharp = child(group, "blurred", h5py.Dataset), child(group, "sharp", h5py.Dataset)
    table = child(group, "pairs", h5py.Dataset)
    for dataset in (blurred, sharp, table):
        check_readable(dataset)
    missing = [field for field in PAIR_ROW.names or () if field not in (table.dtype.names or ())]
    if missing:
        raise ValueError(f"scene {name} has no column {missing[0]}")
    rows = table.fields(["name", "complete", "masked", "verdict", "valid_box", "blurred_crc32", "sharp_crc32"])[:]
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
    names = [text(value) for value in rows["name"].tolist()]
    order = _natural_order(names, np.flatnonzero(rows["complete"] == 1).tolist())
    chosen = np.array(order, np.int64)
    return SceneTable(
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
        masked=rows["masked"][chosen],
        rejected=rows["verdict"][chosen] == Verdict.REJECT.value.encode(),
        valid_boxes=rows["valid_box"][chosen],
        checks=np.stack([rows["blurred_crc32"][chosen], rows["sharp_crc32"][chosen]], axis=1),
    )


def _natural_order(names: list[str], rows: list[int]) -> list[int]:
    if len({len(names[row]) for row in rows}) == 1 and all(names[row].isdecimal() for row in rows):
        return sorted(rows, key=lambda row: names[row])  # the usual names: sorted as they are
    return sorted(rows, key=lambda row: natural_key(names[row]))


def with_edits(table: SceneTable, overlay: EditsOverlay) -> SceneTable:
    """`table` as it stands after a person's edits."""
    masked, rejected = table.masked.copy(), table.rejected.copy()
    for index, name in enumerate(table.names):
        edit = overlay.get(table.entry.name, name)
        if edit is not None and edit.verdict is not None:
            rejected[index] = edit.verdict is Verdict.REJECT
        if edit is not None and edit.mask is not None:
            masked[index] = MENDED
    entry = replace(table.entry, masked=int((masked != 0).sum()))
    return replace(table, entry=entry, masked=masked, rejected=rejected)


def _expect(dataset: Any, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> None:
    if (shape is not None and dataset.shape != shape) or dataset.dtype != dtype:
        raise ValueError(f"{dataset.name} is {dataset.shape} {dataset.dtype}, expected {shape or ''} {dtype}")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts 9 before 10."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return (*((int(p), "") if p[0] in "0123456789" else (-1, p) for p in pieces), (-2, name))

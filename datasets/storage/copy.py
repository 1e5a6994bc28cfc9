"""Copying pairs into a new pairs file: what merge, split, subset and repack have in common.

Compressed chunks are copied as they are where both files compress alike, so copying costs little more than `cp`. A
person's edits become part of the copy. The new file appears whole or not at all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path, ensure_space, refuse_existing, sync_folder
from localblur.datasets.pair import PairInfo
from localblur.datasets.storage.compression import Compression, check_compression, compression_of, filter_numbers
from localblur.datasets.storage.edits import refuse_edited
from localblur.datasets.storage.hdf5 import LIBVER, reading, refuse_foreign, reserved, writing
from localblur.datasets.storage.layout import (
    METADATA_BYTES,
    create_masks,
    create_scene,
    flatten,
    put_calibration,
    put_mask,
    room_for,
    write_header,
)
from localblur.datasets.storage.reader import PairsFile
from localblur.datasets.storage.schema import (
    NAME_BYTES,
    PAIR_ROW,
    REASONS_BYTES,
    StoreHeader,
    check_name,
    encode_quality,
    text,
)
from localblur.datasets.storage.tables import MENDED

PAIRS_AT_ONCE = 16
PICTURES = ("blurred", "sharp", "thumbnails")
MASKS = ("mask", "blur_cells")


@dataclass(frozen=True, kw_only=True)
class SceneCopy:
    """A scene of the new file: the pairs `indices` of `scene` in `source`, under `name`, in `split`."""

    source: PairsFile
    scene: str
    indices: Sequence[int]
    name: str
    split: str


@dataclass(frozen=True, kw_only=True)
class FileCopy:
    """What a new file will hold.

    Attributes:
        header: in common to all pairs; its encoding and bit depth are those of every source.
        scenes: what to copy.
        created: ISO 8601; None for now.
        calibration: content of /calibration, see `PairsFile.calibration`.
        mask_settings: how masks were made, None if unknown.
        compression: of the pictures; None keeps each scene's own.
    """

    header: StoreHeader
    scenes: Sequence[SceneCopy]
    created: str | None = None
    calibration: Mapping[str, Any] | None = None
    mask_settings: Mapping[str, Any] | None = None
    compression: Compression | None = None


def write_copy(
    path: Path, content: FileCopy, *, overwrite: bool = False, step: Callable[[], None] = lambda: None
) -> None:
    """Write the pairs file `path` from pairs of other files; `step` is called after each pair.

    Raises:
        LocalblurError: if `path` exists or is a source, two scenes have one name, sources store pictures otherwise
            than `content.header` says, there is no pair, or a source is damaged.
    """
    _check(path, content, overwrite)
    with atomic_path(path) as temporary, writing(path), h5py.File(temporary, "w", libver=LIBVER) as file:
        _write_head(file, temporary, content)
        for scene in content.scenes:
            with reading(scene.source.path):
                _copy_scene(file, temporary, scene, content.compression, step)
    sync_folder(path.parent)


def current_row(pairs: PairsFile, scene: str, index: int) -> npt.NDArray[Any]:
    """The row of a pair as it stands after a person's edits, shape (), type `PAIR_ROW`."""
    stored = pairs.stored_scene(scene)["pairs"][int(pairs.stored_rows(scene)[index])]
    row = np.zeros((), PAIR_ROW)
    for field in PAIR_ROW.names or ():
        row[field] = stored[field]
    info = pairs.pair_info(scene, index)
    edit = pairs.overlay.get(scene, info.name)
    if edit is None:
        return row
    row["verdict"] = info.verdict.value.encode()
    row["reasons"] = _fitting(info, "reasons", info.reasons, REASONS_BYTES)
    row["decided_by"] = _fitting(info, "decided_by", info.decided_by, NAME_BYTES)
    if edit.mask is not None:
        row["masked"], row["mask_crc32"] = MENDED, edit.mask.crc32
        row["quality"] = encode_quality(info.quality).encode()
    return row


def _check(path: Path, content: FileCopy, overwrite: bool) -> None:
    if path.is_dir():
        raise LocalblurError(f"{path} is a folder; give --output a file name")
    sources = {scene.source.path: scene.source for scene in content.scenes}
    if path.exists() and any(path.samefile(source) for source in sources):
        raise LocalblurError(f"{path} is one of the files to be copied from; choose another --output")
    refuse_foreign(path)
    refuse_existing(path, overwrite)
    refuse_edited(path)
    if not any(scene.indices for scene in content.scenes):
        raise LocalblurError(f"no pair is left, so {path} is not written")
    if content.compression is not None:
        check_compression(content.compression)
    for source in sources.values():
        found, wanted = source.header, content.header
        if (found.encoding, found.bit_depth) != (wanted.encoding, wanted.bit_depth):
            raise LocalblurError(
                f"{source.path} stores {found.bit_depth}-bit {found.encoding} pictures, the others"
                f" {wanted.bit_depth}-bit {wanted.encoding}; a file has one kind: train-lbag takes several files"
            )
    names: dict[str, SceneCopy] = {}
    for scene in content.scenes:
        check_name("scene", scene.name)
        if scene.name in names:
            other = names[scene.name].source.path
            raise LocalblurError(f"scene {scene.name} is in {other} and in {scene.source.path}; pass --prefix")
        names[scene.name] = scene
    ensure_space(path.parent, sum(source.stat().st_size for source in sources), f"writing {path.name}")


def _write_head(file: Any, temporary: Path, content: FileCopy) -> None:
    arrays, plain = flatten(content.calibration or {})
    size = sum(array.nbytes for array in arrays.values())
    with reserved(file, temporary, size + METADATA_BYTES):
        write_header(file, content.header, content.created or datetime.now(UTC).isoformat(timespec="seconds"))
        if content.mask_settings is not None:
            file.attrs["mask_settings"] = json.dumps(dict(content.mask_settings))
        if content.calibration:
            put_calibration(file, arrays, plain)
        file.flush()


def _copy_scene(
    file: Any, temporary: Path, copy: SceneCopy, compression: Compression | None, step: Callable[[], None]
) -> None:
    pairs, stored = copy.source, copy.source.stored_scene(copy.scene)
    entry = pairs.scene(copy.scene)
    shape = (entry.height, entry.width, 3)
    compression = compression or compression_of(stored["blurred"])
    room = room_for(entry.height, entry.width, pairs.header.dtype)
    for first in range(0, len(copy.indices), PAIRS_AT_ONCE):
        chosen = copy.indices[first : first + PAIRS_AT_ONCE]
        with reserved(file, temporary, room * len(chosen)):
            if first == 0:
                group = create_scene(file, copy.name, copy.split, shape, pairs.header.dtype, compression)
                if any(pairs.has_mask(copy.scene, index) for index in copy.indices):
                    create_masks(group, compression)
            for dataset in group.values():
                dataset.resize(first + len(chosen), axis=0)
            for row, index in enumerate(chosen, start=first):
                _copy_pair(group, row, pairs, copy.scene, index)
                step()
            file.flush()


def _copy_pair(group: Any, row: int, pairs: PairsFile, scene: str, index: int) -> None:
    stored, stored_row = pairs.stored_scene(scene), int(pairs.stored_rows(scene)[index])
    encoded = current_row(pairs, scene, index)
    edited = pairs.overlay.mask_edit(scene, text(encoded["name"].item())) is not None
    copied = (*PICTURES, *MASKS) if encoded["masked"] and not edited else PICTURES
    for name in copied:
        _copy_row(stored[name], stored_row, group[name], row)
    group["pairs"][row] = encoded
    if edited:
        entry = pairs.scene(scene)
        mask = pairs.read_mask(scene, index, 0, 0, entry.height, entry.width)
        if mask is not None:
            put_mask(group, row, mask)
            group["pairs"][row] = encoded  # `put_mask` calls the mask one of a method


def _copy_row(source: Any, source_row: int, target: Any, target_row: int) -> None:
    """Copy one picture: its compressed chunks as they are, or decoded where the two are not stored alike."""
    if not _stored_alike(source, target):
        target[target_row] = source[source_row]
        return
    starts = [range(0, size, chunk) for size, chunk in zip(source.shape[1:], source.chunks[1:], strict=True)]
    for corner in np.ndindex(*(len(start) for start in starts)):
        offset = tuple(start[number] for start, number in zip(starts, corner, strict=True))
        if source.id.get_chunk_info_by_coord((source_row, *offset)).byte_offset is None:
            continue  # never written: reads as zeros, here as there
        filter_mask, content = source.id.read_direct_chunk((source_row, *offset))
        target.id.write_direct_chunk((target_row, *offset), content, filter_mask)


def _stored_alike(source: Any, target: Any) -> bool:
    return bool(
        source.chunks == target.chunks
        and source.dtype == target.dtype
        and filter_numbers(source) == filter_numbers(target)
    )


def _fitting(info: PairInfo, what: str, content: str, limit: int) -> bytes:
    encoded = content.encode()
    if len(encoded) > limit:
        raise LocalblurError(f"pair {info.name}: {what} take {len(encoded)} bytes, the limit is {limit}; shorten them")
    return encoded

"""Putting things where schema version 1 wants them in an open HDF5 file; see `store_schema` for the layout."""

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from localblur.datasets.pair import Pair
from localblur.datasets.storage.compression import CHUNK_PX, Compression, compression_of, filter_options
from localblur.datasets.storage.schema import (
    FORMAT,
    PAIR_ROW,
    SCHEMA_VERSION,
    StoreHeader,
    blur_cells,
    cell_areas,
    crc32,
    thumbnail,
    thumbnail_size,
)

METADATA_BYTES = 2 << 20
"""More than a thumbnail, blur cells, a row and HDF5's own tables take."""


def write_header(file: Any, header: StoreHeader, created: str) -> None:
    """Write the root attributes and the empty group of scenes."""
    plain = header.plain()
    file.attrs.update({"format": FORMAT, "schema_version": SCHEMA_VERSION, "created": created})
    for key in ("encoding", "bit_depth", "creator", "source", "licence"):
        file.attrs[key] = plain[key]
    file.attrs["settings"] = json.dumps(plain["settings"])
    file.create_group("scenes")


def create_scene(
    file: Any, scene: str, split: str, shape: tuple[int, ...], dtype: Any, compression: Compression
) -> Any:
    """Create the group of a scene with pictures of `shape` (H, W, 3), holding no pair yet."""
    group = file["scenes"].create_group(scene)
    group.attrs["split"] = split
    _create_images(group, "blurred", 0, shape, dtype, compression)
    _create_images(group, "sharp", 0, shape, dtype, compression)
    _create_images(group, "thumbnails", 0, (*thumbnail_size(*shape[:2]), 3), np.uint8, compression)
    group.create_dataset(
        "pairs", (0,), PAIR_ROW, maxshape=(None,), chunks=(64,), compression="gzip", compression_opts=1
    )
    return group


def create_masks(group: Any, compression: Compression) -> None:
    """Create `mask` and `blur_cells` of a scene unless they are there."""
    if "mask" not in group:
        count, height, width = group["blurred"].shape[:3]
        _create_images(group, "mask", count, (height, width), np.uint8, compression)
        _create_images(group, "blur_cells", count, cell_areas(height, width).shape, np.uint8, compression)


def put_pair(
    group: Any,
    row: int,
    pair: Pair,
    encoded: npt.NDArray[Any],
    encoding: str,
    compression: Compression,
) -> None:
    """Write a pair and its encoded row at `row`, appending if the scene has fewer pairs."""
    content = {"blurred": pair.blurred, "sharp": pair.sharp, "thumbnails": thumbnail(pair.blurred, encoding)}
    if pair.mask is not None:
        create_masks(group, compression)
        content |= {"mask": pair.mask, "blur_cells": blur_cells(pair.mask)}
    for dataset in group.values():
        if len(dataset) <= row:
            dataset.resize(row + 1, axis=0)
    for name, values in content.items():
        group[name][row] = values
    group["pairs"][row] = encoded  # with `complete`, so it comes last: readers do not see a row without it


def put_mask(group: Any, row: int, mask: npt.NDArray[np.uint8]) -> None:
    """Give the pair at `row` a new mask; the other columns of its row stay."""
    create_masks(group, compression_of(group["blurred"]))
    group["mask"][row] = mask
    group["blur_cells"][row] = blur_cells(mask)
    encoded = group["pairs"][row]
    encoded["masked"], encoded["mask_crc32"] = 1, crc32(mask)
    group["pairs"][row] = encoded


def room_for(height: int, width: int, dtype: np.dtype[Any]) -> int:
    """Bytes that one pair can take at most, compressed or not: whole chunks, and room for what HDF5 adds."""
    chunk = max(CHUNK_PX.values())
    padded = -(-height // chunk) * chunk * -(-width // chunk) * chunk
    return int(padded * (6 * dtype.itemsize + 1) * 1.01) + METADATA_BYTES


def put_calibration(file: Any, arrays: Mapping[str, npt.NDArray[Any]], plain: Mapping[str, Any]) -> None:
    """Replace /calibration by flat mappings with a/b keys: arrays become datasets, plain values JSON attributes."""
    if "calibration" in file:
        del file["calibration"]
    group = file.create_group("calibration")
    for key, value in arrays.items():
        group.create_dataset(key, data=value)
    for key, value in plain.items():
        parent, _, name = key.rpartition("/")
        (group.require_group(parent) if parent else group).attrs[name] = json.dumps(value)


def read_calibration(group: Any) -> dict[str, Any]:
    """The inverse of `put_calibration`, nested: groups become mappings."""
    content: dict[str, Any] = {name: json.loads(value) for name, value in group.attrs.items()}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{name} is a link, not data")
        entry = group[name]
        if isinstance(entry, h5py.Dataset) and (entry.external or entry.is_virtual):
            raise ValueError(f"{group.name}/{name} is stored in another file")
        content[name] = entry[()] if isinstance(entry, h5py.Dataset) else read_calibration(entry)
    return content


def flatten(content: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Nested mappings as two flat ones with a/b keys: arrays, and everything else."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    plain: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            inner_arrays, inner_plain = flatten(value, f"{prefix}{key}/")
            arrays |= inner_arrays
            plain |= inner_plain
        elif isinstance(value, np.ndarray):
            arrays[f"{prefix}{key}"] = value
        else:
            plain[f"{prefix}{key}"] = value
    return arrays, plain


def _create_images(
    group: Any, name: str, count: int, shape: tuple[int, ...], dtype: Any, compression: Compression
) -> None:
    height, width = shape[:2]
    name_or_number, options = filter_options(compression)
    group.create_dataset(
        name,
        (count, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(1, *(min(CHUNK_PX[compression], side) for side in (height, width)), *shape[2:]),
        compression=name_or_number,
        compression_opts=options,
        shuffle=compression in ("gzip", "lzf") and np.dtype(dtype).itemsize > 1,  # 16 bit: smaller, gzip twice as fast
    )

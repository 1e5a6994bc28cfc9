"""Random patches for training: pairs files against the ways other projects store pictures, on the same windows."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Measured, Row, Section, Variant, side_by_side
from patch_stores import (
    HAS_ZARR,
    HEIGHT,
    PAIRS,
    PATCH_PX,
    WIDTH,
    from_crops_lmdb,
    from_memmap,
    from_png_opencv,
    from_png_reference,
    from_zarr,
    make_pair,
    windows,
    write_stores,
)

from localblur.datasets.curation.copies import repack
from localblur.datasets.patches import PatchDataset
from localblur.datasets.storage.compression import COMPRESSIONS, Compression
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader

REMARKS: dict[Compression, str] = {"gzip": "default", "lzf": "", "none": "", "bitshuffle-lz4": "`fast` extra"}


def write_data(folder: Path) -> None:
    """The same pairs as pairs files of every compression and in the forms of `patch_stores`."""
    pairs = [make_pair(index) for index in range(PAIRS)]
    with PairsWriter(folder / "gzip.h5", StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for pair in pairs:
            writer.add(pair, "train")
    for compression in COMPRESSIONS[1:]:
        repack(folder / "gzip.h5", folder / f"{compression}.h5", compression)
    write_stores(folder, pairs)


def from_pairs_file(folder: Path, compression: Compression, repeats: int) -> Callable[[], Any]:
    """Windows through `PairsFile.read_crop`."""
    pairs = PairsFile.open(folder / f"{compression}.h5")

    def run() -> int:
        total = 0
        for _ in range(repeats):
            total = 0
            for index, y, x in windows():
                blurred, sharp, mask = pairs.read_crop("scene", index, y, x, PATCH_PX, PATCH_PX)
                total += int(blurred[::16].sum()) + int(sharp[::16].sum()) + int(mask[::16].sum())  # type: ignore[index]
        return total

    return run


def samples(folder: Path, compression: Compression, repeats: int) -> Callable[[], Any]:
    """Whole samples: blur-aware crops, mirrored and rotated, as tensors."""
    torch.set_num_threads(1)
    dataset = PatchDataset([folder / f"{compression}.h5"], patch_px=PATCH_PX)

    def run() -> None:
        for index in range(repeats * len(windows())):
            dataset[index]

    return run


def run(rounds: int) -> Section:
    """Milliseconds per patch of blurred, sharp and mask, one process each."""
    units = len(windows())
    repeats: dict[Compression, int] = {"gzip": 4, "lzf": 8, "none": 40, "bitshuffle-lz4": 20}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        own = [
            Variant(name=f"pairs file, {c}", prepare=from_pairs_file, arguments=(folder, c, n), units=units * n)
            for c, n in repeats.items()
        ]
        whole = [
            Variant(name=f"PatchDataset, {c}", prepare=samples, arguments=(folder, c, n), units=units * n)
            for c, n in repeats.items()
            if c in ("gzip", "bitshuffle-lz4")
        ]
        others = [
            Variant(name="three PNGs, Pillow's", prepare=from_png_reference, arguments=(folder,), units=units),
            Variant(name="three PNGs, OpenCV's", prepare=from_png_opencv, arguments=(folder,), units=units),
            Variant(name="LMDB of 512 px PNG crops", prepare=from_crops_lmdb, arguments=(folder,), units=units),
            Variant(name="npy memmap", prepare=from_memmap, arguments=(folder, 40), units=units * 40),
        ]
        if HAS_ZARR:
            others.append(Variant(name="zarr 3, blosc-zstd", prepare=from_zarr, arguments=(folder,), units=units))
        measured = {found.name: found for found in side_by_side(*own, *whole, *others, rounds=rounds)}
        sizes = {path.name: size_mb(path) / PAIRS for path in sorted(folder.iterdir())}
    readers = [found for found in measured.values() if not found.name.startswith("PatchDataset")]
    if len({found.result for found in readers}) != 1:
        raise RuntimeError(f"not all read the same pixels: { {found.name: found.result for found in readers} }")
    return Section(
        title="Reading patches",
        text=f"{PATCH_PX} px windows of blurred, sharp and mask from {WIDTH}x{HEIGHT} pairs: enlarged photographs with"
        " noise. One process, page cache warm, the same random windows; equal pixels are checked.",
        rows=rows(measured),
        facts=["size of a pair: " + ", ".join(f"{name} {mb:.1f} MB" for name, mb in sizes.items())],
    )


def rows(measured: dict[str, Measured]) -> list[Row]:
    """Every pairs file against the reference reader, the default and the fast one against the others."""
    table = []
    for compression, note in REMARKS.items():
        table.append(row("three PNGs", measured, f"pairs file, {compression}", "three PNGs, Pillow's", note))
    table.append(row("three PNGs", measured, "pairs file, gzip", "three PNGs, OpenCV's", "default"))
    others = ("three PNGs, OpenCV's", "LMDB of 512 px PNG crops", "zarr 3, blosc-zstd", "npy memmap")
    for other in (name for name in others if name in measured):
        table.append(row(other.split(",")[0], measured, "pairs file, bitshuffle-lz4", other, ""))
    for compression in ("gzip", "bitshuffle-lz4"):
        ours, bare = f"PatchDataset, {compression}", f"pairs file, {compression}"
        note = "the sample: blur-aware crop, turned, tensors; the share of the bare read rate"
        table.append(row("whole samples", measured, ours, bare, note))
    return table


def row(what: str, measured: dict[str, Measured], ours: str, other: str, note: str) -> Row:
    """One line of the table, times in milliseconds."""
    return Row(what=what, ours=measured[ours], other=replace(measured[other]), unit="ms", scale=1000, note=note)


def size_mb(path: Path) -> float:
    """Size of a file or a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return float(np.sum([file.stat().st_size for file in files])) / 1e6

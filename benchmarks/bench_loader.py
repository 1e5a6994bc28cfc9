"""Loading batches with worker processes, and opening files of many pairs."""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch
from measure import Measured, Row, Section, Variant, side_by_side
from patch_stores import make_pair
from torch.utils.data import DataLoader, Dataset

from localblur.common.parallel import default_workers
from localblur.datasets.curation.copies import repack
from localblur.datasets.loading.loader_choice import choose_workers, measure_sample_ms
from localblur.datasets.patches import PatchDataset
from localblur.datasets.storage.hdf5 import LIBVER
from localblur.datasets.storage.layout import create_scene, write_header
from localblur.datasets.storage.schema import PAIR_ROW
from localblur.datasets.store import PairsWriter, StoreHeader

BATCH, BATCHES, PNG_BATCHES, PATCH_PX = 12, 20, 8, 256
COUNTS = (1000, 100_000)
SOURCES = {"pairs file, gzip": "gzip.h5", "pairs file, bitshuffle-lz4": "fast.h5"}


class PngPatches(Dataset[dict[str, torch.Tensor]]):
    """What most training code does: decode three whole PNGs, crop, mirror, make tensors."""

    def __init__(self, folder: Path, pairs: int) -> None:
        self.folder, self.pairs = folder, pairs

    def __len__(self) -> int:
        return self.pairs

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng(index)
        images = [
            cv2.imread(str(self.folder / f"{index % self.pairs}_{kind}.png"), cv2.IMREAD_UNCHANGED)
            for kind in ("blurred", "sharp", "mask")
        ]
        height, width = images[0].shape[:2]
        y, x = (int(random.integers(0, size - PATCH_PX)) for size in (height, width))
        crops = [
            np.atleast_3d(image[y : y + PATCH_PX, x : x + PATCH_PX])[:, :: 1 - 2 * (index % 2)] for image in images
        ]
        planes = [torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float() / 255 for crop in crops]
        return dict(zip(("blurred", "sharp", "mask"), planes, strict=True))


def write_data(folder: Path, pairs: int = 4) -> None:
    """The same pairs as PNG files and as pairs files."""
    with PairsWriter(folder / "gzip.h5", StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for index in range(pairs):
            pair = make_pair(index)
            writer.add(pair, "train")
            for kind, image in (("blurred", pair.blurred), ("sharp", pair.sharp), ("mask", pair.mask)):
                cv2.imwrite(str(folder / f"{index}_{kind}.png"), image)
    repack(folder / "gzip.h5", folder / "fast.h5", "bitshuffle-lz4")


def batches(source: Path, workers: int, count: int) -> Callable[[], Any]:
    """`count` batches from a loader that is running already."""
    torch.set_num_threads(1)
    data: Dataset[dict[str, torch.Tensor]]
    data = PatchDataset([source], patch_px=PATCH_PX) if source.suffix == ".h5" else PngPatches(source, 4)
    ahead = 1 if workers else None  # batches that wait when timing begins, in favour of the slower side
    loader = iter(DataLoader(data, batch_size=BATCH, sampler=range(10**6), num_workers=workers, prefetch_factor=ahead))

    def run() -> None:
        for batch in itertools.islice(loader, count):
            assert batch["blurred"].shape[0] == BATCH

    return run


def write_many(path: Path, count: int) -> None:
    """A pairs file of `count` pairs of 16x16 in scenes of 1000, pictures all black."""
    row = np.zeros(1000, PAIR_ROW)
    row["complete"], row["valid_box"], row["verdict"] = 1, (0, 0, 16, 16), b"accept"
    row["name"] = [f"{number:06d}".encode() for number in range(len(row))]
    with h5py.File(path, "w", libver=LIBVER) as file:
        write_header(file, StoreHeader(encoding="srgb", bit_depth=8), "now")
        for number in range(count // len(row)):
            group = create_scene(file, f"s{number}", "train", (16, 16, 3), np.uint8, "gzip")
            for dataset in group.values():
                dataset.resize(len(row), axis=0)
            group["pairs"][:] = row


def first_batch(path: Path) -> Callable[[], Any]:
    """Open a file and take a batch, both timed."""
    opened: list[PatchDataset] = []

    def run() -> int:
        opened[:] = [PatchDataset([path], patch_px=16)]
        return int(next(iter(DataLoader(opened[0], batch_size=BATCH)))["blurred"].shape[0])

    return run


def chosen_workers(source: Path) -> str:
    """What `choose_workers` makes of this machine, in words."""
    sample_ms = measure_sample_ms(PatchDataset([source], patch_px=PATCH_PX))
    steps_ms = (20, 100, 500)
    counts = [choose_workers(sample_ms, BATCH, step_ms).workers for step_ms in steps_ms]
    return f"{sample_ms:.1f} ms per sample; workers chosen for steps of {steps_ms} ms: {counts}"


def alternate(*variants: Variant, rounds: int) -> list[Measured]:
    """As `side_by_side`, in this process: those that it starts may have no children of their own."""
    runs = [variant.prepare(*variant.arguments) for variant in variants]
    measured = [Measured(name=variant.name) for variant in variants]
    for timed in range(-1, rounds):
        for variant, values, call in zip(variants, measured, runs, strict=True):
            started = time.perf_counter()
            call()
            if timed >= 0:
                values.seconds.append((time.perf_counter() - started) / variant.units)
    return measured


def run(rounds: int) -> Section:
    """Milliseconds per batch, and to the first batch of many pairs."""
    many = max(2, min(4, default_workers()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        variants = [
            Variant(
                name=f"{kind}, {workers} workers",
                prepare=batches,
                arguments=(folder / source, workers, BATCHES),
                units=BATCHES,
            )
            for kind, source in SOURCES.items()
            for workers in (0, many)
        ]
        png = Variant(
            name=f"PNGs, {many} workers", prepare=batches, arguments=(folder, many, PNG_BATCHES), units=PNG_BATCHES
        )
        loaded = {found.name: found for found in alternate(*variants, png, rounds=rounds)}
        for count in COUNTS:
            write_many(folder / f"{count}.h5", count)
        opening = [
            Variant(name=f"{count} pairs", prepare=first_batch, arguments=(folder / f"{count}.h5",)) for count in COUNTS
        ]
        few, lots = side_by_side(*opening, rounds=rounds)
        choices = [f"{kind}: {chosen_workers(folder / source)}" for kind, source in SOURCES.items()]
    per_pair_kib = 1024 * (lots.peak_mib - few.peak_mib) / (COUNTS[1] - COUNTS[0])
    rows = [_row(f"batch of {BATCH} patches", loaded, f"{kind}, {many} workers", png.name) for kind in SOURCES]
    rows += [
        _row("the same, more workers", loaded, f"{kind}, {many} workers", f"{kind}, 0 workers") for kind in SOURCES
    ]
    rows.append(Row(what="opening and first batch", ours=lots, other=few, unit="ms", scale=1000, note="2 s allowed"))
    return Section(
        title="Loading with workers",
        text=f"{PATCH_PX} px blur-aware patches of 2152x1436 pairs as tensors through torch's DataLoader, which does"
        " nothing else; PNGs by OpenCV. Memory is measured for opening only.",
        rows=rows,
        facts=[*choices, f"{COUNTS[1]} pairs take {per_pair_kib:.2f} KiB of memory each, opening included"],
    )


def _row(what: str, loaded: dict[str, Measured], ours: str, other: str) -> Row:
    return Row(what=what, ours=loaded[ours], other=loaded[other], unit="ms", scale=1000)

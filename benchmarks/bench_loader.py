"""Loading batches with worker processes, and importing pictures with them."""

import itertools
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import Measured, Row, Section, Variant
from patch_stores import make_pair
from torch.utils.data import DataLoader, Dataset

from localblur.common.parallel import default_workers, open_executor
from localblur.datasets.import_run import ImportSettings, import_dataset
from localblur.datasets.pairs_copies import repack
from localblur.datasets.patches import PatchDataset
from localblur.datasets.store import PairsWriter, StoreHeader

BATCH, BATCHES, PNG_BATCHES, PATCH_PX = 12, 20, 8, 256
IMPORTED, IMPORTED_SIZE = 48, (1280, 720)


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


def write_pictures(folder: Path) -> None:
    """PNG pairs of 1280x720, photographs with noise."""
    source = make_pair(0)
    for index in range(IMPORTED):
        y, x = 10 * index % 700, 17 * index % 800
        for kind, image in (("blur", source.blurred), ("sharp", source.sharp)):
            crop = np.ascontiguousarray(image[y : y + IMPORTED_SIZE[1], x : x + IMPORTED_SIZE[0]])
            path = folder / "set" / kind / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), crop)


def imports(folder: Path, output: str, executor: Executor | None, threads: int) -> Callable[[], Any]:
    """Importing all pictures, the start of the workers left out."""
    if executor is not None:
        list(executor.map(_wake, range(16)))

    def run() -> int:
        settings = ImportSettings()
        done = import_dataset(
            folder / "set", folder / output, settings, overwrite=True, executor=executor, threads=threads
        )
        return done.pairs

    return run


def _wake(number: int) -> int:
    import localblur.datasets.import_run as needed

    return number + len(needed.__name__)


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
    """Milliseconds per batch and per imported pair."""
    many = max(2, min(4, default_workers()))
    units = BATCHES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        write_pictures(folder)
        sources = {"pairs file, gzip": "gzip.h5", "pairs file, bitshuffle-lz4": "fast.h5"}
        variants = [
            Variant(
                name=f"{kind}, {workers} workers",
                prepare=batches,
                arguments=(folder / source, workers, units),
                units=units,
            )
            for kind, source in sources.items()
            for workers in (0, many)
        ]
        png = Variant(
            name=f"PNGs, {many} workers", prepare=batches, arguments=(folder, many, PNG_BATCHES), units=PNG_BATCHES
        )
        loaded = {found.name: found for found in alternate(*variants, png, rounds=rounds)}
        with open_executor(2) as pool:
            one, two = alternate(
                Variant(name="2 workers", prepare=imports, arguments=(folder, "two.h5", pool, 2), units=IMPORTED),
                Variant(name="in place", prepare=imports, arguments=(folder, "one.h5", None, 1), units=IMPORTED),
                rounds=rounds,
            )
    rows = [
        Row(
            what=f"batch of {BATCH} patches",
            ours=loaded[f"{kind}, {many} workers"],
            other=loaded[f"PNGs, {many} workers"],
            unit="ms",
            scale=1000,
        )
        for kind in sources
    ]
    rows += [
        Row(
            what="the same, more workers",
            ours=loaded[f"{kind}, {many} workers"],
            other=loaded[f"{kind}, 0 workers"],
            unit="ms",
            scale=1000,
            note="a loader that does nothing else",
        )
        for kind in sources
    ]
    rows.append(
        Row(what="import of a 1280x720 PNG pair", ours=one, other=two, unit="ms", scale=1000, note="decode, pack, sync")
    )
    return Section(
        title="Loading and importing with workers",
        text=f"{PATCH_PX} px blur-aware patches of 2152x1436 pairs as tensors through torch's DataLoader; PNGs by"
        " OpenCV. Memory is not measured here.",
        rows=rows,
    )

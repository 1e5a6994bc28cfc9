"""Reading training patches: a pairs file against the layout the field uses, three PNG files per pair."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import Row, Section, Variant, side_by_side

from localblur.datasets.images import read_image
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.photographs import bundled_photographs
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader

WIDTH, HEIGHT, PAIRS = 2152, 1436, 4
PATCH_PX, PATCHES = 256, 24


def make_pair(index: int) -> Pair:
    """A picture of ReLoBlur's size: an enlarged photograph with sensor noise, part of it blurred."""
    rng = np.random.default_rng(index)
    photographs = bundled_photographs("train", frame_filling=True)
    photograph = read_image(photographs[index % len(photographs)])
    large = cv2.resize(photograph, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[400:800, 600:1300] = 255
    blurred = np.where(mask[..., None] > 0, cv2.blur(large, (31, 1)), large)
    noisy = [np.clip(image + rng.normal(0, 1.5, image.shape), 0, 255).astype(np.uint8) for image in (blurred, large)]
    return Pair(scene="scene", info=PairInfo(name=f"{index:02d}"), blurred=noisy[0], sharp=noisy[1], mask=mask)


def write_data(folder: Path) -> None:
    """The same pairs as a pairs file and as PNG files."""
    with PairsWriter(folder / "pairs.h5", StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for index in range(PAIRS):
            pair = make_pair(index)
            writer.add(pair, "train")
            for name, image in (("blurred", pair.blurred), ("sharp", pair.sharp), ("mask", pair.mask)):
                cv2.imwrite(str(folder / f"{index}_{name}.png"), image)


def windows() -> list[tuple[int, int, int]]:
    """The same random windows for both: pair, y, x."""
    rng = np.random.default_rng(7)
    highs = (PAIRS, HEIGHT - PATCH_PX, WIDTH - PATCH_PX)
    return [
        (int(rng.integers(highs[0])), int(rng.integers(highs[1])), int(rng.integers(highs[2]))) for _ in range(PATCHES)
    ]


def from_pairs_file(folder: Path) -> Callable[[], Any]:
    """Windows through `PairsFile.read_crop`."""
    pairs = PairsFile.open(folder / "pairs.h5")

    def run() -> int:
        total = 0
        for index, y, x in windows():
            blurred, sharp, mask = pairs.read_crop("scene", index, y, x, PATCH_PX, PATCH_PX)
            total += int(blurred.sum()) + int(sharp.sum()) + (0 if mask is None else int(mask.sum()))
        return total

    return run


def from_png_files(folder: Path) -> Callable[[], Any]:
    """Decode three whole PNG files, cut the window out."""

    def run() -> int:
        total = 0
        for index, y, x in windows():
            for name in ("blurred", "sharp", "mask"):
                image = cv2.imread(str(folder / f"{index}_{name}.png"), cv2.IMREAD_UNCHANGED)
                total += int(image[y : y + PATCH_PX, x : x + PATCH_PX].sum())
        return total

    return run


def run(rounds: int) -> Section:
    """Milliseconds per patch of blurred, sharp and mask."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        ours, other = side_by_side(
            Variant(name="pairs file, gzip-1", prepare=from_pairs_file, arguments=(folder,), units=PATCHES),
            Variant(name="three PNGs", prepare=from_png_files, arguments=(folder,), units=PATCHES),
            rounds=rounds,
        )
    if ours.result != other.result:
        raise RuntimeError("the two readers did not read the same pixels")
    what = f"{PATCH_PX} px patch of {WIDTH}x{HEIGHT} pairs"
    return Section(
        title="Reading patches",
        text="One process, the same random windows of blurred, sharp and mask; equal pixels are checked.",
        rows=[Row(what=what, ours=ours, other=other, unit="ms", scale=1000)],
    )

"""The same pairs stored as other projects store them, and reading random windows from each."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import numpy.typing as npt
from PIL import Image

from localblur.datasets.images import read_image
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.scenes.photographs import bundled_photographs

WIDTH, HEIGHT, PAIRS = 2152, 1436, 4
PATCH_PX, PATCHES = 256, 24
CROP_PX, CROP_STEP = 512, 256
HAS_ZARR = find_spec("zarr") is not None
"""pip install '.[bench]'"""
KINDS = ("blurred", "sharp", "mask")


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


def windows() -> list[tuple[int, int, int]]:
    """The same random windows for all: pair, y, x."""
    rng = np.random.default_rng(7)
    highs = (PAIRS, HEIGHT - PATCH_PX, WIDTH - PATCH_PX)
    return [
        (int(rng.integers(highs[0])), int(rng.integers(highs[1])), int(rng.integers(highs[2]))) for _ in range(PATCHES)
    ]


def write_stores(folder: Path, pairs: Sequence[Pair]) -> None:
    """PNG files in two ways, an LMDB of overlapping PNG crops (as BasicSR's scripts make them), zarr and npy arrays."""
    images = {kind: [image_of(pair, kind) for pair in pairs] for kind in KINDS}
    for name in ("png", "png-quick"):
        (folder / name).mkdir()
    for kind, stack in images.items():
        for index, image in enumerate(stack):
            Image.fromarray(image).save(folder / "png" / f"{index}_{kind}.png")
            cv2.imwrite(str(folder / "png-quick" / f"{index}_{kind}.png"), bgr(image))
        np.save(folder / f"{kind}.npy", np.stack(stack))
        if HAS_ZARR:
            write_zarr(folder / "zarr" / kind, np.stack(stack))
    write_crops(folder / "crops.lmdb", images)


def write_zarr(path: Path, stack: npt.NDArray[np.uint8]) -> None:
    """Chunks of 128 px, blosc-zstd with bitshuffle."""
    import zarr

    compressor = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")
    chunks = (1, 128, 128, 3)[: stack.ndim]
    array = zarr.create_array(path, shape=stack.shape, chunks=chunks, dtype="uint8", compressors=compressor)
    array[:] = stack


def write_crops(path: Path, images: dict[str, list[npt.NDArray[np.uint8]]]) -> None:
    """512 px crops every 256 px, the last at the border, keyed by kind, pair and corner."""
    with lmdb.open(str(path), map_size=1 << 31) as store, store.begin(write=True) as transaction:
        for kind, stack in images.items():
            for index, image in enumerate(stack):
                for y in crop_starts(HEIGHT):
                    for x in crop_starts(WIDTH):
                        crop = np.ascontiguousarray(bgr(image[y : y + CROP_PX, x : x + CROP_PX]))
                        transaction.put(f"{kind}_{index}_{y}_{x}".encode(), cv2.imencode(".png", crop)[1].tobytes())


def crop_starts(size: int) -> list[int]:
    """Where crops begin: any window of 256 px lies inside one."""
    return [*range(0, size - CROP_PX, CROP_STEP), size - CROP_PX]


def crop_of(position: int, size: int) -> int:
    """Begin of the last crop that holds a window at `position`."""
    return max(start for start in crop_starts(size) if start <= position)


def image_of(pair: Pair, kind: str) -> npt.NDArray[Any]:
    """The picture of a pair by name."""
    images = {"blurred": pair.blurred, "sharp": pair.sharp, "mask": pair.mask}
    found = images[kind]
    if found is None:
        raise ValueError(f"pair {pair.info.name} has no {kind}")
    return found


def bgr(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colour order of OpenCV."""
    return image[..., ::-1] if image.ndim == 3 else image


def summed(window: npt.NDArray[Any]) -> int:
    """A check that the same pixels were read, cheap beside reading them."""
    return int(window[::16].sum())


def from_png_reference(folder: Path) -> Callable[[], Any]:
    """As published readers do: decode three whole PNGs with Pillow, repeat the mask, look for blurred pixels, crop.

    The PNGs are as Pillow saves them unless told otherwise.
    """

    def run() -> int:
        total = 0
        for index, y, x in windows():
            images = [np.asarray(Image.open(folder / "png" / f"{index}_{kind}.png")) for kind in KINDS]
            mask = np.repeat(images[2][..., None], 3, axis=2)
            half = PATCH_PX // 2
            np.where(mask[half:-half, half:-half, 0] > 0)
            total += sum(summed(image[y : y + PATCH_PX, x : x + PATCH_PX]) for image in (*images[:2], mask[..., 0]))
        return total

    return run


def from_png_opencv(folder: Path) -> Callable[[], Any]:
    """Decode three whole PNG files, cut the window out, nothing else. The PNGs are as OpenCV saves them: compressed
    little, and decoded nearly twice as fast as Pillow's."""

    def run() -> int:
        total = 0
        for index, y, x in windows():
            for kind in KINDS:
                image = cv2.imread(str(folder / "png-quick" / f"{index}_{kind}.png"), cv2.IMREAD_UNCHANGED)
                total += summed(image[y : y + PATCH_PX, x : x + PATCH_PX])
        return total

    return run


def from_crops_lmdb(folder: Path) -> Callable[[], Any]:
    """Decode the crop that holds the window, cut the window out."""
    store = lmdb.open(str(folder / "crops.lmdb"), readonly=True, lock=False)

    def run() -> int:
        total = 0
        for index, y, x in windows():
            top, left = crop_of(y, HEIGHT), crop_of(x, WIDTH)
            for kind in KINDS:
                with store.begin(buffers=True) as transaction:
                    encoded = np.frombuffer(transaction.get(f"{kind}_{index}_{top}_{left}".encode()), np.uint8)
                image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
                total += summed(image[y - top : y - top + PATCH_PX, x - left : x - left + PATCH_PX])
        return total

    return run


def from_zarr(folder: Path) -> Callable[[], Any]:
    """Chunks of 128 px, blosc-zstd with bitshuffle: zarr's counterpart of a pairs file."""
    import zarr

    arrays = [zarr.open_array(folder / "zarr" / kind, mode="r") for kind in KINDS]

    def run() -> int:
        return sum(
            summed(np.asarray(array[index, y : y + PATCH_PX, x : x + PATCH_PX]))
            for index, y, x in windows()
            for array in arrays
        )

    return run


def from_memmap(folder: Path, repeats: int) -> Callable[[], Any]:
    """Raw arrays in memory-mapped files: nothing to decode, nothing to look up."""
    arrays = [np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in KINDS]

    def run() -> int:
        total = 0
        for _ in range(repeats):
            total = sum(
                summed(np.array(array[index, y : y + PATCH_PX, x : x + PATCH_PX]))
                for index, y, x in windows()
                for array in arrays
            )
        return total

    return run

"""Where photographic textures come from: scikit-image's bundled pictures, or a folder of one's own.

Training and test pictures are never shared: the bundled ones are divided by two fixed lists, a folder's by a stable
hash of the file name.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import IMAGE_SUFFIXES, FloatArray, read_image, srgb_decode

Split = Literal["train", "test"]

# Both motorcycle views show one scene and stay together. Only files inside scikit-image's wheel are named: nothing is
# downloaded. The second group is too dark or too plain to fill a frame and serves for objects and panels only.
BUNDLED: dict[Split, tuple[str, ...]] = {
    "train": ("coffee.png", "motorcycle_left.png", "motorcycle_right.png", "brick.png", "gravel.png", "ihc.png"),
    "test": ("astronaut.png", "rocket.jpg", "camera.png", "grass.png"),
}
BUNDLED_SMALL: dict[Split, tuple[str, ...]] = {
    "train": ("chelsea.png", "hubble_deep_field.jpg"),
    "test": ("coins.png", "retina.jpg"),
}
TEST_SHARE = 0.25
_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)


def bundled_photographs(split: Split, *, frame_filling: bool) -> list[Path]:
    """Paths of the pictures in scikit-image's wheel that belong to `split`.

    Args:
        split: `train` or `test`.
        frame_filling: only those that make a background; otherwise all.
    """
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    names = BUNDLED[split] if frame_filling else BUNDLED[split] + BUNDLED_SMALL[split]
    return [folder / name for name in names if (folder / name).is_file()]


def split_of(name: str) -> Split:
    """The split a file belongs to: a stable hash of its name, about a quarter are for testing."""
    digest = hashlib.sha256(name.casefold().encode("utf-8")).digest()
    return "test" if int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32 else "train"


def folder_photographs(folder: Path, split: Split) -> list[Path]:
    """The photographs of `folder` (not its sub-folders) that belong to `split`, sorted by name.

    Raises:
        LocalblurError: if there is no such folder, or no photograph of this split in it.
    """
    if not folder.is_dir():
        raise LocalblurError(f"no folder of photographs {folder}; give an existing folder, or train or test")
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    chosen = [path for path in pictures if split_of(path.name) == split]
    if not chosen:
        raise LocalblurError(
            f"{folder} holds {len(pictures)} photographs but none falls into the {split} split"
            f" (a hash of the name puts {TEST_SHARE:.0%} into test); add more photographs"
        )
    return chosen


@lru_cache(maxsize=6)
def load_coded(path: Path) -> npt.NDArray[np.uint8]:
    """The sRGB-coded picture, uint8, shape (H, W, 3); the last few are kept in memory."""
    image = read_image(path)
    coded: npt.NDArray[np.uint8] = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    return coded


def decode_levels(coded: npt.NDArray[np.uint8]) -> FloatArray:
    """sRGB-coded uint8 of any shape to linear light, float32 in [0, 1]."""
    table = srgb_decode(_LEVELS)
    return np.ascontiguousarray(table[coded])

"""A set of masks somebody made: a pairs file, a folder of pictures, or of plain arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import IMAGE_SUFFIXES, read_plane
from localblur.datasets.storage.mask_confidence import MASK_CONFIDENCE
from localblur.datasets.storage.reader import natural_key
from localblur.datasets.store import PairsFile

Mask = npt.NDArray[np.uint8]
Binary = Literal["half", "nonzero"]
Key = tuple[str, str]
"""Scene and pair."""

ARRAY_SUFFIX = ".npy"
MASK_SUFFIXES = IMAGE_SUFFIXES | {ARRAY_SUFFIX}

_WRAPPERS = ("masks", "train", "test", "val", "scenes")
"""Folders that group scenes; no part of a scene's name."""
_OTHERS = ("_blur", "_blurred", "_sharp")
"""Ends of names of pictures that are no masks."""


def _half(mask: npt.NDArray[Any]) -> Mask:
    """As it is, brought to 8 bit so that the upper half stays the upper half."""
    if mask.dtype == np.bool_:
        return _nonzero(mask)
    if mask.dtype == np.uint16:
        return np.asarray(mask >> 8, np.uint8)
    if mask.dtype.kind == "f":
        return np.asarray(np.floor(np.clip(mask, 0, 1) * 255 + 0.5), np.uint8)
    return np.asarray(mask, np.uint8)


def _nonzero(mask: npt.NDArray[Any]) -> Mask:
    blurred: Mask = np.where(mask > 0, 255, 0).astype(np.uint8)
    return blurred


BINARY: Mapping[str, Callable[[npt.NDArray[Any]], Mask]] = MappingProxyType({"half": _half, "nonzero": _nonzero})
"""What is blurred in a stored mask: its upper `half`, the rule everywhere in this project, or all that is `nonzero`, as
the code released with the ReLoBlur data set does, and as masks stored as 0 and 1 need. The result is a soft mask."""


class MaskSet:
    """Masks by scene and pair.

    Of a folder, every picture, and every plain array in a `.npy` file, is one mask: `<scene>/<pair>.png`, or
    `<scene>/<pair>/<pair>.png` as in the ReLoBlur and LMD-ViT downloads. Folders `masks`, `train`, `test`, `val` and
    `scenes` only group scenes; if there is a folder `masks`, only what is in it counts. `_mask` at the end of a name is
    dropped, pictures ending in `_blur` or `_sharp` are passed over. The scene of a pairs file is the last part of its
    name.

    Args:
        path: the pairs file or the folder.
        binary: key of `BINARY`.

    Raises:
        LocalblurError: if there are no masks, or two of one scene and pair.
    """

    def __init__(self, path: Path, binary: Binary = "half") -> None:
        self.path, self._soft = path, BINARY[binary]
        self._files: dict[Key, Path] = {}
        self._rows: dict[Key, tuple[str, int]] = {}
        self._pairs: PairsFile | None = None
        if path.is_dir():
            self._find_files()
        else:
            self._find_rows()
        if not self.keys:
            raise LocalblurError(f"{path} holds no masks; expected SCENE/PAIR.png, or a pairs file with masks")

    @property
    def keys(self) -> list[Key]:
        """Scene and pair of every mask, in order."""
        return sorted(self._files or self._rows, key=lambda key: (natural_key(key[0]), natural_key(key[1])))

    def read(self, key: Key) -> Mask:
        """One soft mask, uint8 (H, W): 128 and above is blurred.

        Raises:
            LocalblurError: if it cannot be read.
        """
        if key in self._files:
            return self._soft(read_mask_file(self._files[key]))
        scene, index = self._rows[key]
        mask = self._opened().read(scene, index).mask
        if mask is None:
            raise LocalblurError(f"{self.path}: {scene} lost its mask while it was read; run again")
        return self._soft(mask)

    def confidence(self, key: Key) -> float | None:
        """The stored confidence of a mask of a pairs file; None for pictures."""
        if key in self._files:
            return None
        return self._opened().pair_info(*self._rows[key]).quality.get(MASK_CONFIDENCE)

    def valid_box(self, key: Key) -> tuple[int, int, int, int] | None:
        """The valid box of a pair of a pairs file; None for pictures."""
        if self._pairs is None:
            return None
        return self._pairs.valid_box(*self._rows[key])

    def _opened(self) -> PairsFile:
        return self._pairs or PairsFile.open(self.path)

    def _find_files(self) -> None:
        root = self.path / "masks" if (self.path / "masks").is_dir() else self.path
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() not in MASK_SUFFIXES or path.name.startswith(".") or not path.is_file():
                continue
            name = path.stem.removesuffix("_mask")
            if path.stem.lower().endswith(_OTHERS):
                continue
            parts = [part for part in path.parent.relative_to(root).parts if part.lower() not in _WRAPPERS]
            if parts and parts[-1] == name:
                parts = parts[:-1]
            key = (parts[-1] if parts else root.name, name)
            if key in self._files:
                raise LocalblurError(
                    f"two masks of {'/'.join(key)}: {self._files[key]} and {path}; compare one of them"
                )
            self._files[key] = path

    def _find_rows(self) -> None:
        self._pairs = PairsFile.open(self.path)
        for entry in self._pairs.scenes:
            for index, name in enumerate(self._pairs.names(entry.name)):
                if self._pairs.has_mask(entry.name, index):
                    self._rows[entry.name.split("/")[-1], name] = entry.name, index


def read_mask_file(path: Path) -> npt.NDArray[Any]:
    """Read a mask as stored, (H, W): a picture (of a colour one the first channel), or a plain array in a `.npy` file.

    Raises:
        LocalblurError: if it is missing, damaged, or holds anything but one mask; Python objects are never loaded.
    """
    if path.suffix.lower() != ARRAY_SUFFIX:
        return read_plane(path)
    try:
        # maps the file: nothing is allocated for the size its header claims
        stored = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        if "Python objects" in str(error):
            raise LocalblurError(
                f"{path} holds Python objects (a dict?), which can run code when they are loaded; if you trust it, save"
                " its mask alone: np.save(FILE, np.load(FILE, allow_pickle=True).item()['blur_mask'])"
            ) from error
        raise LocalblurError(f"{path} is damaged or no .npy file: {' '.join(str(error).split())}") from error
    plane = stored[..., 0] if stored.ndim == 3 and stored.shape[2] in (1, 3) else stored
    if plane.ndim != 2 or not (plane.dtype in (np.uint8, np.uint16, np.bool_) or plane.dtype.kind == "f"):
        raise LocalblurError(
            f"{path} holds {stored.dtype} {stored.shape}; a mask is (H, W), bool, uint8, uint16 or float in [0, 1]"
        )
    if plane.dtype.kind == "f" and not (np.isfinite(plane).all() and plane.min() >= 0 and plane.max() <= 1):
        raise LocalblurError(f"{path} holds values outside [0, 1]; store 8-bit masks as uint8")
    return np.array(plane)

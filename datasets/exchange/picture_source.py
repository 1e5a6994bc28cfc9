"""Where a picture to be imported lies: a file, or an entry of an LMDB; and its size without decoding it.

LMDBs are as BasicSR makes them: a folder `NAME.lmdb`, encoded pictures as values. Their entries are written as paths,
`NAME.lmdb/KEY`.
"""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from localblur.common.errors import LocalblurError
from localblur.datasets.images import (
    PNG_SUFFIXES,
    TIFF_SUFFIXES,
    as_rgb,
    read_image,
    read_plane,
)

PNG_HEAD = struct.Struct(">8s4s4sII")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


LMDB_SUFFIX = ".lmdb"


def is_entry(path: Path) -> bool:
    """Whether `path` means an entry of an LMDB, `NAME.lmdb/KEY`, and not a file."""
    return any(parent.suffix == LMDB_SUFFIX for parent in path.parents)


def read_source(source: Path) -> npt.NDArray[Any]:
    """The picture, RGB (H, W, 3), uint8 or uint16.

    Raises:
        LocalblurError: if it is missing or damaged, or LMDB is not installed.
    """
    return _decoded(source) if is_entry(source) else read_image(source)


def read_mask_source(source: Path) -> npt.NDArray[Any]:
    """A mask, (H, W), uint8 or uint16; also from a plain `.npy` array. Pickles are never opened.

    Raises:
        LocalblurError: if it is missing, damaged, a pickle, or no plane.
    """
    if source.suffix.lower() == ".npy":
        try:
            with np.errstate(over="raise"):  # mapped: a header may claim more than the file, and the memory, has
                found: npt.NDArray[Any] = np.load(source, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, ArithmeticError) as error:
            raise LocalblurError(
                f"{source} is no plain array (pickled objects can run code and are not opened): convert it to PNG"
            ) from error
        if found.ndim != 2 or found.dtype not in (np.uint8, np.uint16, np.bool_):
            raise LocalblurError(f"{source} must hold (H, W) 8-bit or boolean values, got {found.dtype} {found.shape}")
        return found.astype(np.uint8) if found.dtype == np.bool_ else np.array(found)
    return read_source(source)[..., 0] if is_entry(source) else read_plane(source)


def size_of(source: Path) -> tuple[int, int] | None:
    """(H, W) from the header where there is one to trust, else by decoding; None if neither can be read."""
    try:
        if is_entry(source):
            return _png_size(_value(source)[: PNG_HEAD.size])
        if source.suffix.lower() in PNG_SUFFIXES:
            with source.open("rb") as file:
                return _png_size(file.read(PNG_HEAD.size))
        if source.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(source) as tiff:
                page = tiff.pages[0]
                return int(page.shape[0]), int(page.shape[1])
        height, width = read_image(source).shape[:2]
        return int(height), int(width)
    except Exception:  # tifffile raises many kinds on damaged files; the damage is told when the picture is read
        return None


def file_of(source: Path) -> Path:
    """The file that changes when the picture does."""
    return _folder(source) / "data.mdb" if is_entry(source) else source


def import_lmdb() -> Any:
    """The module `lmdb`, or a `LocalblurError` that says what to install."""
    try:
        import lmdb
    except ImportError as error:
        raise LocalblurError("LMDB needs the lmdb extra: pip install 'localblur[lmdb]'") from error
    return lmdb


def open_lmdb(folder: Path) -> Any:
    """Open an LMDB for reading, a context manager; nothing is written beside it.

    Raises:
        LocalblurError: if it cannot be opened, or `lmdb` is not installed.
    """
    lmdb = import_lmdb()
    try:
        return lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
    except (lmdb.Error, OSError) as error:
        raise LocalblurError(f"cannot open {folder} as an LMDB: {error}") from error


def _decoded(source: Path) -> npt.NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(_value(source), np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise LocalblurError(f"cannot decode image {source}: the value is empty, truncated or not an image")
    return as_rgb(image)


def _folder(source: Path) -> Path:
    return next(parent for parent in source.parents if parent.suffix == LMDB_SUFFIX)


def _value(source: Path) -> bytes:
    folder = _folder(source)
    key = source.relative_to(folder).as_posix()
    try:
        with open_lmdb(folder) as store, store.begin() as transaction:
            value = transaction.get(key.encode())
    except import_lmdb().Error as error:
        raise LocalblurError(f"cannot read {source}: {error}; copy or make the LMDB again") from error
    if value is None:
        raise LocalblurError(f"{folder} has no {key}, though its meta_info.txt lists it")
    return bytes(value)


def _png_size(head: bytes) -> tuple[int, int] | None:
    if len(head) < PNG_HEAD.size:
        return None
    signature, _, kind, width, height = PNG_HEAD.unpack(head)
    return (height, width) if (signature, kind) == (PNG_SIGNATURE, b"IHDR") else None

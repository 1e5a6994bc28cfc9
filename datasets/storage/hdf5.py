"""Small HDF5 helpers: errors in words, and refusing files that point outside themselves."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from localblur.common.errors import LocalblurError
from localblur.common.files import NO_SPACE, sync_folder
from localblur.datasets.storage.names import PAIRS_SUFFIXES

DISK_FULL = (*NO_SPACE, errno.EFBIG)

REFUSALS = (*DISK_FULL, errno.EROFS, errno.EACCES)

# Readable by HDF5 1.8 (2008) and later; unlike the oldest layout it checksums its metadata and takes long attributes.
LIBVER = ("v108", "v108")

CHUNK_CACHE_BYTES = 1 << 20
"""Per open dataset. Random crops find next to nothing in a cache, whatever its size; without any, uncompressed files
read at half the speed."""


def refuse_foreign(path: Path) -> None:
    """Refuse to replace what can be no pairs file, by name and content: `--overwrite` must not cost a photograph."""
    if path.is_file() and path.suffix.lower() not in PAIRS_SUFFIXES and not h5py.is_hdf5(path):
        raise LocalblurError(f"{path} is no pairs file, and not replaced; give --output a name that ends in .h5")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever h5py raises on a damaged file into one `LocalblurError` naming `path`."""
    try:
        yield
    except LocalblurError:
        raise
    except BlockingIOError as error:
        raise LocalblurError(f"{path} is being written by another process; wait until it has finished") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, UnicodeError) as error:
        raise LocalblurError(f"{path} is damaged or incomplete: {_first_line(error)}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Give what the system refuses its proper errno and name `path` (HDF5 hides both in the text), so that commands put
    it in words."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        stated = error.errno if isinstance(error, OSError) else None
        hidden = [code for code in REFUSALS if f"errno = {code}," in str(error)]
        code = stated if stated in REFUSALS else next(iter(hidden), None)
        if code is None or (stated == code and isinstance(error, OSError) and error.filename is not None):
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


def open_for_reading(path: Path) -> Any:
    """Open an HDF5 file read-only.

    Raises:
        LocalblurError: if it is missing, no HDF5 file, truncated, or locked by a writer.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise LocalblurError(f"{path} {what}; give a pairs file (.h5)")
    try:
        return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES)
    except BlockingIOError as error:
        raise LocalblurError(f"{path} is being written by another process; wait until it has finished") from error
    except OSError as error:
        detail = str(error)
        if "file signature not found" in detail:
            raise LocalblurError(f"{path} is not an HDF5 file; give a pairs file (.h5)") from error
        if "truncated" in detail:
            raise LocalblurError(f"{path} is truncated (an incomplete copy?); copy or make it again") from error
        raise LocalblurError(f"cannot open {path}: {_first_line(error)}") from error


def child(parent: Any, name: str, kind: type[Any]) -> Any:
    """The group or dataset `name` in `parent`; only if it is really stored there.

    Raises:
        KeyError: if it is missing.
        ValueError: if it is of another kind, or a link or storage in another file (a hostile file could so make a
            reader open, or a writer change, any file).
    """
    try:
        link = parent.get(name, getlink=True)
    except KeyError:
        raise KeyError(f"{parent.name} has no {name!r}") from None
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{parent.name}/{name} is a link, not data")
    found = parent[name]
    if not isinstance(found, kind):
        raise ValueError(f"{parent.name}/{name} is not a {kind.__name__.lower()}")
    if kind is h5py.Dataset and (found.external or found.is_virtual):
        raise ValueError(f"{parent.name}/{name} is stored in another file")
    return found


@contextmanager
def reserved(file: Any, path: Path, needed_bytes: int) -> Iterator[None]:
    """Reserve room behind the end of the open HDF5 file before it grows, and give back what was not needed.

    HDF5 (2.0 at least) crashes the process when a flush meets a full disk. So the disk has to say no before, here.

    Raises:
        OSError: with ENOSPC, if the disk, a quota or a size limit has no room for `needed_bytes`.
    """
    end = file.id.get_filesize()
    _reserve(path, end, needed_bytes)
    try:
        yield
    finally:
        end = file.id.get_filesize()
        if path.stat().st_size > end:
            os.truncate(path, end)


def publish(finished: Path, path: Path) -> None:
    """Sync a finished file to disk and rename it onto `path`."""
    with writing(path), finished.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(finished, path)  # noqa: PTH105 - Path.replace has the same effect; os.replace states atomicity
    sync_folder(path.parent)


def _reserve(path: Path, end: int, needed_bytes: int) -> None:
    with writing(path):
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as handle:
                try:
                    os.posix_fallocate(handle.fileno(), end, needed_bytes)
                    return
                except OSError as error:
                    handle.truncate(end)
                    if error.errno in DISK_FULL:
                        raise
        # no such call on this system or file system
        if shutil.disk_usage(path.parent).free < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

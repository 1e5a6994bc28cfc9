"""Writing files so that a kill or a full disk never leaves half a file in place of something good."""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError

NO_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""What the system says when no file can be written any more: the disk, or a quota of it, is used up."""
_SYNC_REFUSED = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
_LONG_NAME_BYTES = 100
"""Longer names are not carried into the temporary one: file systems take 255 bytes, eCryptfs 143."""


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed onto `path`.

    On any exception the temporary file is removed and `path` keeps what it held; errors of the system name `path`.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace has the same effect; os.replace states atomicity
    except OSError as error:
        if error.filename != str(temporary):
            raise
        try:
            error.filename = str(path)
        except AttributeError:  # PyAV's errors keep their name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make new names in `folder` survive a power loss, where the system and the file system offer it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folder
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _SYNC_REFUSED:  # some network file systems refuse to sync folders
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented for people."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; unreadable or malformed files are a `LocalblurError` naming the path."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LocalblurError(f"cannot read {path}: {' '.join(str(error).split())}") from error


def ensure_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Refuse to start work that cannot fit: `needed_bytes` plus 5 % must be free where `folder` is (or will be)."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes * 1.05:
        raise LocalblurError(
            f"{purpose} needs about {_size_text(needed_bytes)} but only {_size_text(free)} are free on {existing};"
            " free some space or choose another output"
        )


def _size_text(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def inside(root: Path, relative: str) -> Path:
    """Join a path read from a manifest to its folder; one that would leave the folder is an error."""
    joined = (root / relative).resolve()
    if not joined.is_relative_to(root.resolve()):
        raise LocalblurError(f"path {relative!r} leaves its folder {root}; the manifest is damaged or hostile")
    return joined


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse to replace an existing output unless `--overwrite` was given."""
    if not overwrite and _exists(path):
        raise LocalblurError(f"{path} exists already; choose another --output or pass --overwrite")


def _temporary(path: Path) -> Path:
    name = os.fsencode(path.name)
    stem = path.stem if len(name) <= _LONG_NAME_BYTES else f"{zlib.crc32(name):08x}"
    return path.with_name(f".{stem}.{os.getpid()}.part{path.suffix}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # nothing can have such a name
            raise
        return False

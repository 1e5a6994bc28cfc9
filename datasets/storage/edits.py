"""The edits journal of a pairs file: what a person decided, written beside the file at once and never into it.

    pairs.h5.edits.jsonl    first line: format, version, journal (random id), identity of the pairs file;
                            then one line per edit, appended and synced: verdict, note or mask, of which pair, who, when
    pairs.h5.edits/         the masks, 8-bit gray PNG, one per line that speaks of one; never changed, only removed

An edit exists if and only if its line does: a mask is on disk, synced, before its line is. A kill leaves at most a torn
last line, which readers pass over and the next writer removes, or a PNG that no line names. Later lines win. Readers
see the edits through `edits_overlay`; `edits_fold` puts them into the pairs file.
"""

import errno
import getpass
import io
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.files import sync_folder, write_text
from localblur.common.locking import LOCK_NAME, FolderLock
from localblur.common.settings import Settings, validate
from localblur.datasets.images import write_image
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.schema import NAME_BYTES, crc32

NOTE_BYTES = 480
"""A note is folded into the reasons of its pair, which have room for 1024 bytes."""


class Edit(Settings):
    """One line of the journal.

    Attributes:
        event: what was changed.
        scene, name: the pair.
        user, time: who, and when (ISO 8601, UTC).
        verdict: of a verdict line.
        note: of a note line; "" takes the note back.
        file, crc32: of a mask line: name of the PNG and CRC-32 of its pixels; None goes back to the stored mask.
    """

    event: Literal["verdict", "note", "mask"]
    scene: str
    name: str
    user: str
    time: str
    verdict: Verdict | None = None
    note: str | None = None
    file: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+\.png$")
    crc32: int | None = None


class EditsHeader(Settings):
    """The first line: which journal this is, and of which pairs file."""

    format: Literal["localblur-edits"] = "localblur-edits"
    version: Literal[1] = 1
    journal: str
    identity: str
    time: str


Line = TypeVar("Line", EditsHeader, Edit)


@dataclass(frozen=True, kw_only=True)
class EditsJournal:
    """A journal as read: `good_bytes` is its length without a torn last line."""

    header: EditsHeader
    edits: list[Edit]
    good_bytes: int


def edits_path(path: Path) -> Path:
    """The journal of the pairs file `path`: `<path>.edits.jsonl`."""
    return path.with_name(path.name + ".edits.jsonl")


def edits_folder(path: Path) -> Path:
    """The folder of edited masks of the pairs file `path`: `<path>.edits`."""
    return path.with_name(path.name + ".edits")


def read_edits(path: Path) -> EditsJournal | None:
    """Read the journal of the pairs file `path`; None if there is none (or not even its first line is whole).

    Raises:
        LocalblurError: if it cannot be read, is of another format, or a line before the last is damaged.
    """
    file = edits_path(path)
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise LocalblurError(f"{file} is no regular file; move it away")
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalblurError(f"cannot read {file}: {error.strerror}") from error
    *lines, torn = content.split(b"\n")
    if not lines:
        return None
    header = _parse(file, 1, lines[0], EditsHeader)
    edits = [_parse(file, number, line, Edit) for number, line in enumerate(lines[1:], start=2)]
    return EditsJournal(header=header, edits=edits, good_bytes=len(content) - len(torn))


def _parse(file: Path, number: int, line: bytes, kind: type[Line]) -> Line:
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        parsed = validate(kind, values, "entry")
        if isinstance(parsed, Edit):
            _checked(parsed)
        return parsed
    except (ValueError, RecursionError, LocalblurError) as error:
        raise LocalblurError(
            f"{file} line {number} is damaged ({' '.join(str(error).split())[:200]}); mend the line, restore the file"
            " from a backup, or move it away to go on without the edits"
        ) from error


def _checked(edit: Edit) -> Edit:
    if edit.event == "verdict" and edit.verdict is None:
        raise ValueError("a verdict line without a verdict")
    if edit.event == "note" and edit.note is None:
        raise ValueError("a note line without a note")
    if (edit.file is None) != (edit.crc32 is None):
        raise ValueError("a mask needs both file and crc32")
    return edit


def check_user(user: str) -> str:
    """Return `user` if it can be stored as who decided, else raise a `LocalblurError`."""
    if not user.strip() or not user.isprintable() or len(user.encode()) > NAME_BYTES or user == "auto":
        raise LocalblurError(
            f"user {user!r} cannot be stored: give 1 to {NAME_BYTES} bytes of printable text other than 'auto'"
        )
    return user


def default_user() -> str:
    """The name of the user who runs this."""
    try:
        return check_user(getpass.getuser())
    except (OSError, KeyError, ImportError, LocalblurError):  # a container without a user database
        return "unnamed"


def tidy_note(note: str) -> str:
    """`note` on one line; "; " separates reasons, so it becomes ", ".

    Raises:
        LocalblurError: if it is longer than 480 bytes.
    """
    tidy = " ".join("".join(c if c.isprintable() else " " for c in note).split()).replace("; ", ", ")
    if len(tidy.encode()) > NOTE_BYTES:
        raise LocalblurError(f"the note takes {len(tidy.encode())} bytes, the limit is {NOTE_BYTES}; shorten it")
    return tidy


class EditsWriter:
    """Appends edits to the journal of a pairs file; a context manager, usable from several threads, one at a time.

    Args:
        path: the pairs file.
        identity: `PairsFile.identity` of it.
        user: who edits.
        folded: how far the file holds the journal already, see `PairsFile.folded_edits`.

    Raises:
        LocalblurError: if another process edits the file, or the journal is damaged or of another file.
    """

    def __init__(self, path: Path, identity: str, user: str, folded: Mapping[str, Any] | None = None) -> None:
        self.path, self.user = path, check_user(user)
        self._identity = identity
        self._mutex = threading.Lock()
        self._file: io.FileIO | None = None
        self.folder = edits_folder(path)
        self._lock = lock_edits(path)
        try:
            journal = read_edits(path)
            check_identity(path, journal, identity)
            if journal is not None and journal.edits and not unfolded(journal, folded):
                edits_path(path).unlink()  # a kill came between folding the edits and removing them
                journal = None
            self._lines = len(journal.edits) if journal else 0
            self._size = journal.good_bytes if journal else 0
            if journal is not None:
                self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "EditsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the next one edit; everything is on the disk already."""
        if self._file is not None:
            self._file.close()
            self._file = None
        release_folder(self.folder, self._lock)

    def set_verdict(self, scene: str, name: str, verdict: Verdict) -> Edit:
        """Decide about a pair."""
        return self._append(scene, name, "verdict", {"verdict": Verdict(verdict)})

    def set_note(self, scene: str, name: str, note: str) -> Edit:
        """Give a pair a note in words, see `tidy_note`; "" removes it."""
        return self._append(scene, name, "note", {"note": tidy_note(note)})

    def set_mask(self, scene: str, name: str, mask: npt.NDArray[np.uint8] | None) -> Edit:
        """Give a pair a soft mask, uint8 (H, W); None goes back to the one in the pairs file."""
        if mask is None:
            return self._append(scene, name, "mask", {})
        with self._mutex:
            readable = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{scene}-{name}")[:80]
            file = f"{self._lines:06d}-{readable}.png"
            write_image(self.folder / file, mask)
            sync_folder(self.folder)
            return self._append_locked(scene, name, "mask", {"file": file, "crc32": crc32(mask)})

    def _append(self, scene: str, name: str, event: str, content: dict[str, Any]) -> Edit:
        with self._mutex:
            return self._append_locked(scene, name, event, content)

    def _append_locked(self, scene: str, name: str, event: str, content: dict[str, Any]) -> Edit:
        values = {"event": event, "scene": scene, "name": name, "user": self.user, "time": _now(), **content}
        edit = _checked(validate(Edit, values, "edit"))
        file = self._file or self._begin()
        line = memoryview((edit.model_dump_json(exclude_none=True) + "\n").encode())
        try:
            written = 0
            while written < len(line):
                written += file.write(line[written:])
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(self._size)  # half a line must not stay for the next one to be glued to
            raise
        self._size += len(line)
        self._lines += 1
        return edit

    def _begin(self) -> io.FileIO:
        """The journal begins with the first edit: looking at a file leaves nothing beside it."""
        header = EditsHeader(journal=secrets.token_hex(8), identity=self._identity, time=_now())
        text = header.model_dump_json() + "\n"
        write_text(edits_path(self.path), text)
        sync_folder(self.path.parent)
        self._size, self._lines = len(text.encode()), 0
        return self._open()

    def _open(self) -> io.FileIO:
        self._file = edits_path(self.path).open("ab", buffering=0)
        self._file.truncate(self._size)  # a torn last line goes
        return self._file


def lock_edits(path: Path) -> FolderLock:
    """Make the edits folder of the pairs file `path` and lock it; a second one is refused."""
    folder = edits_folder(path)
    try:
        folder.mkdir(exist_ok=True)
        return FolderLock(folder, "edited")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise LocalblurError(
            f"cannot keep edits in {folder}: {error.strerror}; look with view-dataset --read-only, or copy {path.name}"
            " to where you may write"
        ) from error
    except LocalblurError as error:
        raise LocalblurError(
            f"{path} is being edited by another process; close that view-dataset first, or look with --read-only"
        ) from error


def release_folder(folder: Path, lock: FolderLock) -> None:
    """Release the lock of an edits folder; an empty folder is removed."""
    if {entry.name for entry in folder.iterdir()} == {LOCK_NAME}:
        try:
            (folder / LOCK_NAME).unlink()
        except OSError:  # Windows removes no open file: once more after the release
            lock.release()
            (folder / LOCK_NAME).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # somebody else came
            folder.rmdir()
    lock.release()


def refuse_edited(path: Path) -> None:
    """Raise a `LocalblurError` if there are edits of a pairs file that is to be written at `path`."""
    if edits_path(path).exists():
        raise LocalblurError(
            f"{edits_path(path)} holds a person's edits of the file to be replaced;"
            " fold them in (pairs-file fold-edits) or move them away"
        )


def check_identity(path: Path, journal: EditsJournal | None, identity: str) -> None:
    """Raise a `LocalblurError` if the journal speaks of other pairs than those in the file."""
    if journal is not None and journal.header.identity != identity:
        raise LocalblurError(
            f"{edits_path(path)} belongs to another file than {path.name} (its pairs are {journal.header.identity},"
            f" the file's are {identity}); put that file back or move the edits away"
        )


def unfolded(journal: EditsJournal, folded: Mapping[str, Any] | None) -> list[Edit]:
    """The edits that are not in the pairs file yet; `folded` says how far this journal was folded in."""
    if folded is None or folded.get("journal") != journal.header.journal:
        return journal.edits
    return journal.edits[int(folded["lines"]) :]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""The list of SHA-256 checksums of a recording, in the form that `sha256sum -c` reads.

`sha256sum -c sha256sums.txt` inside the folder of a complete recording checks it without this package, for example
after it was copied to an archive.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from localblur.common.errors import LocalblurError
from localblur.common.files import inside, write_text
from localblur.datasets.recordings.frame_store import sync_folder
from localblur.datasets.recordings.journal import read_journal
from localblur.datasets.recordings.recording_files import CHECKSUMS_NAME, JOURNAL_NAME, MANIFEST_NAME, recorded_files

logger = logging.getLogger(__name__)

HashProgress = Callable[[int, int], None]
"""Called with how many of how many files have been read."""

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]([^\x00-\x1f\\]+)")


def write_checksums(folder: Path, *, manifest: bytes | None = None, progress: HashProgress | None = None) -> int:
    """Write the list for a recording in which nothing changes meanwhile.

    What is written once only (frames, camera settings, truth) keeps the checksum of an earlier list, unless it was
    modified since then, or is a frame of another size than the journal says. A damaged list is made anew.

    Args:
        folder: the recording.
        manifest: content the manifest is about to get, in place of the one it has.
        progress: called after each file that is read.

    Returns:
        The number of files on the list.

    Raises:
        LocalblurError: if a journal is damaged.
        OSError: if a file cannot be read or the list not be written; the earlier list stays.
    """
    names = recorded_files(folder)
    digests = _still_valid(folder, names)
    wanted = [name for name in names if name not in digests]
    for count, name in enumerate(wanted, start=1):
        content = manifest if name == MANIFEST_NAME else None
        digests[name] = _digest(folder / name) if content is None else hashlib.sha256(content).hexdigest()
        if progress is not None:
            progress(count, len(wanted))
    write_text(folder / CHECKSUMS_NAME, "".join(f"{digests[name]}  {name}\n" for name in names))
    sync_folder(folder)
    return len(names)


def read_checksums(folder: Path) -> dict[str, str]:
    """The list of a recording: SHA-256 in hexadecimal digits by relative POSIX path.

    Raises:
        LocalblurError: if it cannot be read, a line is damaged, or a path is named twice or leaves the folder.
    """
    path, digests = folder / CHECKSUMS_NAME, dict[str, str]()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    *lines, tail = text.split("\n")
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in digests:
            raise LocalblurError(f"{path} line {number} is damaged or repeated; restore the file from a backup")
        inside(folder, match[2])
        digests[match[2]] = match[1].lower()
    if tail:
        raise LocalblurError(f"{path} ends in half a line; restore the file from a backup")
    return digests


def check_checksums(folder: Path, known: Mapping[str, str | None] | None = None) -> list[str]:
    """Compare a recording with its list.

    Args:
        folder: the recording.
        known: SHA-256 of files that were read already; None for those of which something was said already.

    Returns:
        One line for each file that is missing, altered, or not on the list, or for a list that cannot be used.
    """
    try:
        listed = read_checksums(folder)
    except LocalblurError as error:
        return [str(error)]
    known, problems = known or {}, list[str]()
    for name, digest in listed.items():
        if name in known and known[name] is None:
            continue
        path = folder / name
        try:
            found = known.get(name) or _digest(path)
        except FileNotFoundError:
            problems.append(f"{path} is missing: {CHECKSUMS_NAME} lists it")
        except OSError as error:
            problems.append(f"cannot read {path}: {error.strerror}")
        else:
            if found != digest:
                problems.append(f"{path} is altered: its content does not match {CHECKSUMS_NAME}")
    unlisted = [name for name in recorded_files(folder) if name not in listed and known.get(name, "") is not None]
    return problems + [f"{folder / name} is not on the list {CHECKSUMS_NAME}" for name in unlisted]


def _still_valid(folder: Path, names: list[str]) -> dict[str, str]:
    """Checksums of the earlier list that need not be computed again."""
    path = folder / CHECKSUMS_NAME
    if not path.exists():
        return {}
    try:
        listed = read_checksums(folder)
    except LocalblurError as error:
        logger.warning("%s; all files are read again", error)
        return {}
    written_ns, sizes = path.stat().st_mtime_ns, _journalled_bytes(folder)
    kept = {}
    for name in names:
        if name not in listed or name == MANIFEST_NAME or name.endswith(JOURNAL_NAME):
            continue
        stat = (folder / name).stat()
        if stat.st_mtime_ns <= written_ns and stat.st_size == sizes.get(name, stat.st_size):
            kept[name] = listed[name]
    return kept


def _journalled_bytes(folder: Path) -> dict[str, int]:
    """Size of every journalled frame file by relative POSIX path."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.glob(f"*/*/{JOURNAL_NAME}")):
        group, journal = path.parent.relative_to(folder).as_posix(), read_journal(path)
        for pair in [*journal.pairs, *journal.replaced]:
            sizes |= {f"{group}/{record.name}": record.bytes for record in pair.frames.values()}
    return sizes


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

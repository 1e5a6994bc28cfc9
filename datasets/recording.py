"""The recording: one folder with what two cameras captured, written by `capture`, read by `align-dataset`.

recording.json                          the manifest: cameras, rig, settings, versions, state
scenes/NAME/NNNNNN_{B,S}.tif            frames, uncompressed TIFF, right-aligned DN; journal.jsonl beside them
calibration/KIND/...                    static, dark, flat, chart or bracket, in the same form
truth/NAME/NNNNNN.npz                   simulated rigs only
"""

import re
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile
from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.files import inside, read_json, write_json
from localblur.common.locking import FolderLock
from localblur.common.settings import Settings, validate
from localblur.datasets.journal import (
    JOURNAL_NAME,
    ROLES,
    BayerPattern,
    CameraRecord,
    Frame,
    FrameRecord,
    FrameStore,
    JournalWriter,
    PairRecord,
    Role,
    now,
    read_journal,
)

__all__ = [
    "CALIBRATION_KINDS",
    "FEED_PREFIX",
    "MANIFEST_NAME",
    "ROLES",
    "BayerPattern",
    "CameraRecord",
    "Frame",
    "FrameRecord",
    "JournalWriter",
    "PairRecord",
    "Recording",
    "RecordingManifest",
    "RecordingWriter",
    "RecoveryReport",
    "Role",
    "check_group",
    "recover",
    "verify",
]

CALIBRATION_KINDS = ("static", "dark", "flat", "chart", "bracket")
MANIFEST_NAME = "recording.json"
FEED_PREFIX = ".feed-"
"""Folders of this name inside a recording hold frames waiting to be fed to simulated cameras; recovery removes them."""
SCHEMA_VERSION = 1

State = Literal["running", "complete", "aborted"]

_FRAME_FILE = re.compile(r"\d{6}_[BS]\.tif(\.part)?")
_GROUP = re.compile(rf"scenes/[A-Za-z0-9][A-Za-z0-9._-]*|calibration/({'|'.join(CALIBRATION_KINDS)})")


def check_group(group: str) -> None:
    """Refuse names that are not of the form `scenes/NAME` or `calibration/KIND`."""
    if not _GROUP.fullmatch(group):
        raise LocalblurError(
            f"{group!r} cannot be a group: use scenes/NAME (letters, digits, . _ -) or"
            f" calibration/{'|'.join(CALIBRATION_KINDS)}"
        )


class RecordingManifest(Settings):
    """`recording.json`.

    Attributes:
        state: running while a writer is at work (or was killed), then complete or aborted.
        rig: simulated rigs: the resolved rig settings; empty for real cameras.
        settings: the capture settings the recording began with.
    """

    format: Literal["localblur-recording"] = "localblur-recording"
    schema_version: Literal[1] = 1
    created: str = Field(default_factory=now)
    state: State = "running"
    versions: dict[str, str] = {}
    camera_B: CameraRecord  # noqa: N815 - the cameras are called B and S everywhere
    camera_S: CameraRecord  # noqa: N815
    rig: dict[str, Any] = {}
    settings: dict[str, Any] = {}

    @property
    def cameras(self) -> dict[Role, CameraRecord]:
        """Both cameras by role."""
        return {"B": self.camera_B, "S": self.camera_S}


class Recording:
    """A recording opened for reading; it may still be growing."""

    def __init__(self, folder: Path, manifest: RecordingManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._pairs: dict[str, list[PairRecord]] = {}

    @classmethod
    def open(cls, folder: Path) -> "Recording":
        """Open a recording folder.

        Raises:
            LocalblurError: if it is no recording, of a newer schema, or its manifest is damaged.
        """
        return cls(folder, _read_manifest(folder))

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes that hold at least one pair."""
        return self._groups("scenes")

    @property
    def calibrations(self) -> list[str]:
        """Kinds of calibration that hold at least one pair."""
        return self._groups("calibration")

    def pairs(self, group: str) -> list[PairRecord]:
        """Committed pairs of `scenes/NAME` or `calibration/KIND`, in order; a group never captured has none."""
        if group not in self._pairs:
            path = self.folder / group / JOURNAL_NAME
            self._pairs[group] = read_journal(path).pairs if path.exists() else []
        return self._pairs[group]

    def frames(self, group: str, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Both raw frames (B, S) of a pair: right-aligned DN, uint8 or uint16, (H, W) mosaics or (H, W, 3).

        Raises:
            LocalblurError: if there is no such pair or a file is missing, damaged or of another size.
        """
        pair = next((pair for pair in self.pairs(group) if pair.index == index), None)
        if pair is None:
            raise LocalblurError(f"{self.folder / group} holds no pair {index}, only {len(self.pairs(group))} pairs")
        return self._frame(group, "B", pair.B), self._frame(group, "S", pair.S)

    def _frame(self, group: str, role: Role, record: FrameRecord) -> npt.NDArray[Any]:
        path, camera = inside(self.folder / group, record.name), self.manifest.cameras[role]
        content = _checked_content(path, record)
        try:
            frame = np.asarray(tifffile.imread(BytesIO(content)))
        except Exception as error:  # tifffile raises many kinds
            raise LocalblurError(f"cannot decode frame {path}: {' '.join(str(error).split())}") from error
        if frame.shape != camera.shape or frame.dtype != camera.dtype:
            raise LocalblurError(
                f"frame {path} is {frame.shape} {frame.dtype}, but {MANIFEST_NAME} says {camera.shape}"
                f" {np.dtype(camera.dtype)}; the manifest or the frame is not from this recording"
            )
        return frame

    def _groups(self, kind: str) -> list[str]:
        found = sorted(path.parent.name for path in (self.folder / kind).glob(f"*/{JOURNAL_NAME}"))
        return [name for name in found if self.pairs(f"{kind}/{name}")]


class RecordingWriter:
    """The one writer of a recording; holds its lock until closed."""

    def __init__(self, folder: Path, manifest: RecordingManifest, lock: FolderLock, recovery: "RecoveryReport") -> None:
        self.folder, self.manifest, self.recovery = folder, manifest, recovery
        self._lock = lock
        self._journals: list[JournalWriter] = []

    @classmethod
    def create(cls, folder: Path, manifest: RecordingManifest) -> "RecordingWriter":
        """Begin a recording in a new or empty folder.

        Raises:
            LocalblurError: if the folder holds something already.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise LocalblurError(f"{folder} exists and is not empty; choose a new folder for the recording")
        lock = FolderLock(folder, "recorded to")
        try:
            writer = cls(folder, manifest, lock, RecoveryReport())
            writer._set_state("running")
        except BaseException:
            lock.release()
            raise
        return writer

    @classmethod
    def open(cls, folder: Path) -> "RecordingWriter":
        """Continue a recording: recover it if its last writer was killed, and mark it running."""
        manifest = _read_manifest(folder)
        lock = FolderLock(folder, "recorded to")
        try:
            writer = cls(folder, manifest, lock, _recover(folder))
            writer._set_state("running")
        except BaseException:
            lock.release()
            raise
        return writer

    def journal(self, group: str, store: FrameStore | None = None) -> JournalWriter:
        """Open the journal of `scenes/NAME` or `calibration/KIND` for appending; `close` closes it."""
        check_group(group)
        journal = JournalWriter(self.folder / group, self.manifest.cameras, store)
        self._journals.append(journal)
        return journal

    def close(self, state: State) -> None:
        """Close all journals, store the state and let go of the lock."""
        try:
            for journal in self._journals:
                journal.close()
            self._set_state(state)
        finally:
            self._lock.release()

    def _set_state(self, state: State) -> None:
        self.manifest = self.manifest.model_copy(update={"state": state})
        write_json(self.folder / MANIFEST_NAME, self.manifest.model_dump(mode="json"))


@dataclass
class RecoveryReport:
    """What recovery found: journals that ended in a torn line, and files without a journal line, both removed."""

    torn: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.torn or self.removed)


def recover(folder: Path) -> RecoveryReport:
    """Bring a recording whose writer was killed back to order; a journalled pair is never touched.

    Cuts off torn last journal lines and removes frames and truth files without a journal line, and waiting feeds.

    Raises:
        LocalblurError: if another process is recording, or a journal is damaged before its last line.
    """
    _read_manifest(folder)
    lock = FolderLock(folder, "recorded to")
    try:
        return _recover(folder)
    finally:
        lock.release()


def verify(folder: Path) -> tuple[int, list[str]]:
    """Check every committed pair: files there, size, CRC-32, decodable, indices without a gap.

    Returns:
        The number of pairs checked, and one line per problem.
    """
    recording, problems, checked = Recording.open(folder), list[str](), 0
    groups = [*(f"scenes/{name}" for name in recording.scenes)]
    groups += [f"calibration/{kind}" for kind in recording.calibrations]
    for group in groups:
        pairs = recording.pairs(group)
        if [pair.index for pair in pairs] != list(range(len(pairs))):
            problems.append(f"{group}: indices are not 0 to {len(pairs) - 1} in order")
        for pair in pairs:
            checked += 1
            try:
                recording.frames(group, pair.index)
            except LocalblurError as error:
                problems.append(str(error))
    return checked, problems


def _recover(folder: Path) -> RecoveryReport:
    report = RecoveryReport()
    for path in sorted(folder.glob(f"*/*/{JOURNAL_NAME}")):
        journal = read_journal(path)
        if journal.torn:
            with path.open("rb+") as file:
                file.truncate(journal.good_bytes)
            report.torn.append(path)
        group, pairs = path.parent, journal.pairs
        kept = {record.name for pair in pairs for record in (pair.B, pair.S)}
        orphans = [file for file in group.iterdir() if _FRAME_FILE.fullmatch(file.name) and file.name not in kept]
        if group.parent.name == "scenes":
            numbers = {pair.index for pair in pairs}
            truths = (folder / "truth" / group.name).glob("*.npz")
            orphans += [file for file in truths if file.stem.isdigit() and int(file.stem) not in numbers]
        for orphan in sorted(orphans):
            orphan.unlink()
            report.removed.append(orphan)
    for feed in sorted(folder.glob(f"{FEED_PREFIX}*")):
        rmtree(feed)
        report.removed.append(feed)
    return report


def _read_manifest(folder: Path) -> RecordingManifest:
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise LocalblurError(f"{folder} is no recording: it has no {MANIFEST_NAME}")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != "localblur-recording":
        raise LocalblurError(f"{path} is not the manifest of a recording")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise LocalblurError(f"{path} has schema version {version!r}; this localblur reads {SCHEMA_VERSION}: update it")
    return validate(RecordingManifest, content, str(path))


def _checked_content(path: Path, record: FrameRecord) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LocalblurError(f"cannot read frame {path}: {error.strerror}") from error
    if len(content) != record.bytes:
        raise LocalblurError(f"frame {path} is damaged: {len(content)} bytes instead of {record.bytes}")
    if zlib.crc32(content) != record.crc32:
        raise LocalblurError(f"frame {path} is damaged: its content does not match the journal's checksum")
    return content

"""The recording: one folder with what two cameras captured, written by `capture`, read by `align-dataset`.

recording.json                          the manifest: cameras, rig, settings, versions, state
scenes/NAME/NNNNNN_{B,S}.tif            frames, uncompressed TIFF, right-aligned DN; journal.jsonl beside them
calibration/KIND/...                    static, dark, flat, chart or bracket, in the same form
truth/NAME/NNNNNN.npz                   simulated rigs only
sha256sums.txt                          checksums of all these, once a recording is complete
"""

import contextlib
import hashlib
import json
import shutil
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile
from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.files import inside, read_json, write_text
from localblur.common.locking import FolderLock
from localblur.common.settings import Settings, validate
from localblur.datasets.recordings.checksums import HashProgress, check_checksums, write_checksums
from localblur.datasets.recordings.frame_store import sync_folder
from localblur.datasets.recordings.journal import (
    ROLES,
    BayerPattern,
    CameraRecord,
    Frame,
    FrameRecord,
    FrameStore,
    Journal,
    JournalWriter,
    PairRecord,
    Replaced,
    Role,
    now,
    read_journal,
)
from localblur.datasets.recordings.recording_files import (
    CALIBRATION_KINDS,
    CHECKSUMS_NAME,
    FEED_PREFIX,
    JOURNAL_NAME,
    MANIFEST_NAME,
    check_group,
    frame_number,
)
from localblur.datasets.recordings.recovery import RecoveryReport, recover_files

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
    "Replaced",
    "Role",
    "check_group",
    "recover",
    "space_for",
    "verify",
]

SCHEMA_VERSION = 1

State = Literal["running", "complete", "aborted"]


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
        self._journals: dict[str, Journal] = {}

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

    def journal(self, group: str) -> Journal:
        """The journal of `scenes/NAME` or `calibration/KIND`; that of a group never captured is empty."""
        if group not in self._journals:
            path = self.folder / group / JOURNAL_NAME
            self._journals[group] = read_journal(path) if path.exists() else Journal()
        return self._journals[group]

    def pairs(self, group: str) -> list[PairRecord]:
        """Committed pairs of `scenes/NAME` or `calibration/KIND`, in order; a group never captured has none."""
        return self.journal(group).pairs

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
        path, content = _checked_content(self.folder / group, record)
        return _decoded(path, content, self.manifest.cameras[role])

    def groups(self) -> list[str]:
        """All groups that hold at least one pair: `scenes/NAME`, then `calibration/KIND`."""
        return [f"scenes/{name}" for name in self.scenes] + [f"calibration/{kind}" for kind in self.calibrations]

    def _groups(self, kind: str) -> list[str]:
        found = sorted(path.parent.name for path in (self.folder / kind).glob(f"*/{JOURNAL_NAME}"))
        return [name for name in found if self.pairs(f"{kind}/{name}")]


class RecordingWriter:
    """The one writer of a recording; holds its lock until closed."""

    def __init__(self, folder: Path, manifest: RecordingManifest, lock: FolderLock, recovery: RecoveryReport) -> None:
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
        sync_folder(folder.parent)
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
            writer = cls(folder, manifest, lock, recover_files(folder))
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

    def close(self, state: State, progress: HashProgress | None = None) -> None:
        """Close all journals, store the state and let go of the lock.

        A complete recording gets its list of checksums first; frames that are on the list are not read again. If that
        fails or is interrupted, the recording is left as aborted and can be continued.

        Args:
            progress: called with how many of how many files have been read for the list.
        """
        try:
            for journal in self._journals:
                journal.close()
            if state == "complete":
                try:
                    write_checksums(self.folder, manifest=self._manifest_text(state).encode(), progress=progress)
                except BaseException:
                    with contextlib.suppress(OSError):
                        self._set_state("aborted")
                    raise
            self._set_state(state)
        finally:
            self._lock.release()

    def _set_state(self, state: State) -> None:
        write_text(self.folder / MANIFEST_NAME, self._manifest_text(state))
        sync_folder(self.folder)
        self.manifest = self.manifest.model_copy(update={"state": state})

    def _manifest_text(self, state: State) -> str:
        manifest = self.manifest.model_copy(update={"state": state})
        return json.dumps(manifest.model_dump(mode="json"), indent=2, allow_nan=False, default=str) + "\n"


def recover(folder: Path) -> RecoveryReport:
    """Bring a recording whose writer was killed back to order; a journalled pair is never touched.

    Cuts off torn last journal lines and removes frames and truth files without a journal line, and waiting feeds.

    Raises:
        LocalblurError: if another process is recording, or a journal is damaged before its last line.
    """
    _read_manifest(folder)
    lock = FolderLock(folder, "recorded to")
    try:
        return recover_files(folder)
    finally:
        lock.release()


def verify(folder: Path) -> tuple[int, list[str]]:
    """Check every committed pair: files there, size, CRC-32, decodable, indices without a gap.

    Frames of replaced pairs are checked too. A complete recording is compared with its list of checksums as well, if
    it has one; every file is read once.

    Returns:
        The number of pairs checked, and one line per problem.
    """
    recording, problems, checked = Recording.open(folder), list[str](), 0
    listed = recording.manifest.state == "complete" and (folder / CHECKSUMS_NAME).exists()
    known: dict[str, str | None] = {}
    for group in recording.groups():
        pairs = recording.pairs(group)
        checked += len(pairs)
        if [pair.index for pair in pairs] != list(range(len(pairs))):
            problems.append(f"{group}: indices are not 0 to {len(pairs) - 1} in order")
        problems += _verify_frames(recording, group, known if listed else None)
    problems += [
        f"{path} holds frames but no {JOURNAL_NAME}; restore it from a backup" for path in _without_journal(folder)
    ]
    return checked, problems + (check_checksums(folder, known) if listed else [])


def _verify_frames(recording: Recording, group: str, known: dict[str, str | None] | None) -> list[str]:
    """Problems of a group's frames; SHA-256 goes into `known`, None for a frame that has a problem."""
    problems, journal = list[str](), recording.journal(group)
    for pair in [*journal.pairs, *journal.replaced]:
        for role, record in pair.frames.items():
            digest = None
            try:
                path, content = _checked_content(recording.folder / group, record)
                _decoded(path, content, recording.manifest.cameras[role])
                digest = hashlib.sha256(content).hexdigest() if known is not None else None
            except LocalblurError as error:
                problems.append(str(error))
            if known is not None:
                known[f"{group}/{record.name}"] = digest
    return problems


def space_for(folder: Path) -> int:
    """Bytes that are free where `folder` is, or will be."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def _without_journal(folder: Path) -> list[Path]:
    groups = sorted(path for kind in ("scenes", "calibration") for path in folder.glob(f"{kind}/*") if path.is_dir())
    return [
        group
        for group in groups
        if not (group / JOURNAL_NAME).exists() and any(frame_number(file.name) for file in group.iterdir())
    ]


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


def _checked_content(group: Path, record: FrameRecord) -> tuple[Path, bytes]:
    path = inside(group, record.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LocalblurError(f"cannot read frame {path}: {error.strerror}") from error
    if len(content) != record.bytes:
        raise LocalblurError(f"frame {path} is damaged: {len(content)} bytes instead of {record.bytes}")
    if zlib.crc32(content) != record.crc32:
        raise LocalblurError(f"frame {path} is damaged: its content does not match the journal's checksum")
    return path, content


def _decoded(path: Path, content: bytes, camera: CameraRecord) -> npt.NDArray[Any]:
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

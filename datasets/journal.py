"""The journal of one scene or calibration: frames are files, and a pair exists if and only if its journal line does.

A pair is committed in this order: both frames as `.part` files, synced, renamed; the folder synced; then one line
`{"event": "pair", ...}` appended to `journal.jsonl` and synced. A kill at any moment leaves at most one torn last line
and a few files without a line, which `recover` removes. Other events are start, lost, note and stop.
"""

import io
import json
import os
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings, validate

Role = Literal["B", "S"]
"""B: long exposure, blurred. S: short exposure, sharp."""
BayerPattern = Literal["RGGB", "GRBG", "GBRG", "BGGR"]
"""The mosaic's first 2x2 block, row by row."""

ROLES: tuple[Role, Role] = ("B", "S")
JOURNAL_NAME = "journal.jsonl"
EVENTS = ("start", "pair", "lost", "note", "stop")
SATURATED_SHARE = 0.98
"""A value of at least this share of the white level counts as saturated."""


class CameraRecord(Settings):
    """What the recording knows about one camera.

    Attributes:
        pixel_format: the camera's name for it, for example BayerRG12; `bayer` is None for RGB frames.
        black_level, white_level: DN at `bit_depth`.
        exposure_ms: as read back from the camera.
        features: every other setting read back from the camera.
    """

    role: Role
    model: str
    serial: str
    pixel_format: str
    bit_depth: int
    bayer: BayerPattern | None
    width: int
    height: int
    black_level: float
    white_level: float
    exposure_ms: float
    features: dict[str, Any] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame: (H, W), or (H, W, 3) for RGB."""
        return (self.height, self.width) if self.bayer else (self.height, self.width, 3)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of a frame's values, right-aligned."""
        return np.uint8 if self.bit_depth <= 8 else np.uint16

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One exposure of one camera.

    Attributes:
        data: uint8 or uint16, right-aligned DN, (H, W) mosaic or (H, W, 3).
        block_id: the camera's frame counter since the last start, None when it has none.
        host_time_ns: wall clock of the host when the frame had arrived.
        camera_time_ns: the camera's own clock, None when it has none.
        exposure_ms: exposure time in milliseconds.
    """

    role: Role
    data: npt.NDArray[Any]
    block_id: int | None
    host_time_ns: int
    camera_time_ns: int | None
    exposure_ms: float


class FrameRecord(Settings):
    """A committed frame: its file, checked by size and CRC-32, and what is known about the exposure.

    `mean` (DN) and `saturated` (share of pixels at 98 % of the white level or above) come from one pixel in sixteen,
    every Bayer site alike.
    """

    name: str
    bytes: int
    crc32: int
    block_id: int | None
    host_time_ns: int
    camera_time_ns: int | None
    exposure_ms: float
    mean: float
    saturated: float


class PairRecord(Settings):
    """A committed pair. `gap_ms` is the host time of S's trigger minus that of B's, in milliseconds."""

    index: int
    B: FrameRecord
    S: FrameRecord
    gap_ms: float


@dataclass
class Journal:
    """A journal as read: settings of each start, committed pairs, lost events, and whether the last line is torn."""

    starts: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[PairRecord] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)
    good_bytes: int = 0
    torn: bool = False


def read_journal(path: Path) -> Journal:
    """Read a journal; a torn last line is reported, not an error, because a kill leaves one.

    Raises:
        LocalblurError: if the file cannot be read or a line before the last is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LocalblurError(f"cannot read {path}: {error.strerror}") from error
    journal = Journal()
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            _add_event(journal, json.loads(line))
        except (ValueError, LocalblurError) as error:
            raise LocalblurError(
                f"{path} line {number} is damaged ({' '.join(str(error).split())}); mend the line or restore the file"
                " from a backup, the frames beside it are untouched"
            ) from error
    journal.torn = bool(tail)
    journal.good_bytes = len(content) - len(tail)
    return journal


def _add_event(journal: Journal, event: Any) -> None:
    if not isinstance(event, dict) or event.get("event") not in EVENTS:
        raise LocalblurError(f"no event of the kinds {', '.join(EVENTS)}")
    if event["event"] == "pair":
        values = {key: value for key, value in event.items() if key not in ("event", "time")}
        journal.pairs.append(validate(PairRecord, values, "pair"))
    elif event["event"] == "lost":
        journal.lost.append(event)
    elif event["event"] == "start":
        journal.starts.append(dict(event.get("settings") or {}))


class FrameStore:
    """Puts bytes on the disk so that a file is there whole or not at all."""

    def write(self, path: Path, content: memoryview) -> None:
        """Write `content` to `<path>.part`, sync it, rename it onto `path`; on failure the `.part` is removed."""
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb", buffering=0) as file:
                self.put(file, content)
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def put(self, file: io.FileIO, content: memoryview) -> None:
        """Write all of `content` to an unbuffered file."""
        written = 0
        while written < len(content):
            written += file.write(content[written:])


class JournalWriter:
    """Appends to one group's journal. `commit_pair` may run in another thread than the other methods.

    Args:
        folder: the group's folder, created if needed; `recover` must have run since the last kill.
        cameras: the two cameras' records; frames that do not fit them are refused.
        store: writes the frame files.
    """

    def __init__(self, folder: Path, cameras: Mapping[Role, CameraRecord], store: FrameStore | None = None) -> None:
        self.folder = folder
        self._cameras = cameras
        self._store = store or FrameStore()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / JOURNAL_NAME
        journal = read_journal(path) if path.exists() else Journal()
        if journal.torn:
            raise LocalblurError(f"{path} ends in a torn line; open the recording with --resume to recover it")
        self.next_index = 1 + max((pair.index for pair in journal.pairs), default=-1)
        self._size = journal.good_bytes
        self._file: io.FileIO = path.open("ab", buffering=0)
        sync_folder(folder)

    def start(self, settings: Mapping[str, Any]) -> None:
        """Record that capturing begins, with the settings in force."""
        self._append({"event": "start", "settings": dict(settings)})

    def commit_pair(self, blurred: Frame, sharp: Frame, gap_ms: float) -> PairRecord:
        """Store both frames and then the line that makes the pair exist, as number `next_index`.

        Raises:
            OSError: if the disk is full or fails; no file of this pair is left then.
            LocalblurError: if a frame does not fit its camera's record.
        """
        index, written = self.next_index, list[Path]()
        try:
            records = {}
            for role, frame in zip(ROLES, (blurred, sharp), strict=True):
                path = self.folder / f"{index:06d}_{role}.tif"
                content = self._encode(role, frame)
                written.append(path)
                self._store.write(path, memoryview(content))
                records[role] = self._frame_record(role, frame, path.name, content)
            sync_folder(self.folder)
            record = PairRecord(index=index, B=records["B"], S=records["S"], gap_ms=gap_ms)
            self._append({"event": "pair", **record.model_dump()})
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        self.next_index = index + 1
        return record

    def lost(self, index: int, reason: str) -> None:
        """Record that an attempt at pair `index` failed, and why; the number is used again."""
        self._append({"event": "lost", "index": index, "reason": " ".join(reason.split())})

    def note(self, text: str) -> None:
        """Record a remark."""
        self._append({"event": "note", "text": text})

    def stop(self, status: str) -> None:
        """Record how capturing ended: complete, interrupted or aborted."""
        self._append({"event": "stop", "status": status, "committed": self.next_index})

    def close(self) -> None:
        """Close the file; everything appended is on the disk already."""
        self._file.close()

    def _encode(self, role: Role, frame: Frame) -> bytes:
        camera = self._cameras[role]
        if frame.role != role or frame.data.shape != camera.shape or frame.data.dtype != camera.dtype:
            raise LocalblurError(
                f"camera {role} delivered a frame of {frame.data.shape} {frame.data.dtype}, but the recording holds"
                f" {camera.shape} {np.dtype(camera.dtype)}; use the size and pixel format the recording began with"
            )
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, frame.data, photometric="minisblack" if frame.data.ndim == 2 else "rgb")
        return buffer.getvalue()

    def _frame_record(self, role: Role, frame: Frame, name: str, content: bytes) -> FrameRecord:
        sample = np.concatenate([frame.data[y::8, x::8].ravel() for y in (0, 1) for x in (0, 1)])
        return FrameRecord(
            name=name,
            bytes=len(content),
            crc32=zlib.crc32(content),
            block_id=frame.block_id,
            host_time_ns=frame.host_time_ns,
            camera_time_ns=frame.camera_time_ns,
            exposure_ms=frame.exposure_ms,
            mean=round(float(sample.mean()), 3),
            saturated=round(float((sample >= SATURATED_SHARE * self._cameras[role].white_level).mean()), 6),
        )

    def _append(self, event: Mapping[str, Any]) -> None:
        stamped = {"event": event["event"], "time": now(), **event}
        line = (json.dumps(stamped, allow_nan=False, default=str) + "\n").encode()
        with self._lock:
            try:
                self._store.put(self._file, memoryview(line))
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(self._size)  # half a line must not stay for the next one to be glued to
                raise
            self._size += len(line)


def now() -> str:
    """The time as ISO 8601 text, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power loss, where the system offers it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

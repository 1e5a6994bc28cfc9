"""The journal of one scene or calibration: frames are files, and a pair exists if and only if its journal line does.

A pair is committed in this order: both frames as `.part` files, synced, renamed; the folder synced; then one line
`{"event": "pair", ...}` appended to `journal.jsonl` and synced. A kill at any moment leaves at most one torn last line
and the two files of one pair without a line, which `recover` removes. A pair recorded again is one such line too: it
takes the index of the old pair, whose files stay and which counts as lost from then on. Other events are start, lost,
note, status and stop.
"""

import contextlib
import io
import json
import math
import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.recordings.capture_records import (
    ROLES,
    BayerPattern,
    CameraRecord,
    Frame,
    FrameRecord,
    PairRecord,
    Replaced,
    Role,
)
from localblur.datasets.recordings.frame_store import FrameStore, sync_folder
from localblur.datasets.recordings.recording_files import JOURNAL_NAME, frame_name, frame_number
from localblur.datasets.recordings.sharpness import focus_measure
from localblur.datasets.recordings.tiff_frames import content_crc32, tiff_content, tiff_header

__all__ = [
    "EVENTS",
    "JOURNAL_NAME",
    "ROLES",
    "SATURATED_SHARE",
    "BayerPattern",
    "CameraRecord",
    "Frame",
    "FrameRecord",
    "FrameStore",
    "Journal",
    "JournalWriter",
    "PairRecord",
    "Replaced",
    "Role",
    "now",
    "read_journal",
]

EVENTS = ("start", "pair", "lost", "note", "status", "stop")
_VALUES = {"lost": ("index", "reason"), "note": ("text",), "status": ("when", "values")}
"""What an event of a kind has at least; a pair is checked by its record."""
SATURATED_SHARE = 0.98
"""A value of at least this share of the white level counts as saturated."""


@dataclass
class Journal:
    """A journal as read.

    Attributes:
        starts: the settings of each start.
        pairs: the committed pairs; one that was recorded again is there as it is now, in its old place.
        replaced: pairs that were recorded again, as they were, in the order in which that happened.
        lost: events with `index`, `reason` and `count` of what was lost; replaced pairs are among them, with the
            names `B` and `S` of their frames.
        notes: events with `text`.
        statuses: events with `when` and `values`.
        good_bytes: length up to the end of the last whole line; `torn` if there is more.
    """

    starts: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[PairRecord] = field(default_factory=list)
    replaced: list[PairRecord] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    good_bytes: int = 0
    torn: bool = False

    @property
    def next_index(self) -> int:
        """Number of the next pair."""
        return 1 + max((pair.index for pair in self.pairs), default=-1)


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
    kind = event["event"]
    missing = [name for name in _VALUES.get(kind, ()) if name not in event]
    if missing:
        raise LocalblurError(f"a {kind} without {', '.join(missing)}")
    if kind == "pair":
        values = {key: value for key, value in event.items() if key not in ("event", "time")}
        _add_pair(journal, validate(PairRecord, values, "pair"), event.get("time"))
    elif kind == "lost":
        journal.lost.append({"count": 1, **event})
    elif kind == "note":
        journal.notes.append(event)
    elif kind == "status":
        journal.statuses.append(event)
    elif kind == "start":
        journal.starts.append(dict(event.get("settings") or {}))


def _add_pair(journal: Journal, pair: PairRecord, time: Any) -> None:
    if pair.replaces is None:
        journal.pairs.append(pair)
        return
    names = (pair.replaces.B, pair.replaces.S)
    for place, old in enumerate(journal.pairs):
        if old.index == pair.index and (old.B.name, old.S.name) == names:
            journal.pairs[place] = pair
            journal.replaced.append(old)
            reason, index = f"replaced: {pair.replaces.reason}", pair.index
            files = {"B": old.B.name, "S": old.S.name}
            journal.lost.append({"event": "lost", "time": time, "index": index, "reason": reason, "count": 1, **files})
            return
    raise LocalblurError(f"pair {pair.index} replaces {names[0]} and {names[1]}, which are not the pair {pair.index}")


class JournalWriter:
    """Appends to one group's journal. `commit_pair` may run in another thread than the other methods.

    Args:
        folder: the group's folder, created if needed; `recover` must have run since the last kill.
        cameras: the two cameras' records; frames that do not fit them are refused.
        store: writes the frame files, both of a pair at the same time.
    """

    def __init__(self, folder: Path, cameras: Mapping[Role, CameraRecord], store: FrameStore | None = None) -> None:
        self.folder = folder
        self._cameras = cameras
        self._store = store or FrameStore()
        self._lock = threading.Lock()
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="frame writer")
        for camera in cameras.values():
            tiff_header(camera.shape, np.dtype(camera.dtype))  # made before the first frame is waiting for it
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL_NAME
        journal = _continued(self._path)
        self.next_index = journal.next_index
        self._size, self._torn = journal.good_bytes, False
        self._file: io.FileIO = self._path.open("ab", buffering=0)
        for changed in (folder, folder.parent, folder.parent.parent):  # each may have a new name in it
            sync_folder(changed)

    def start(self, settings: Mapping[str, Any]) -> None:
        """Record that capturing begins, with the settings in force."""
        self._append({"event": "start", "settings": dict(settings)})

    def commit_pair(
        self,
        blurred: Frame,
        sharp: Frame,
        gap_ms: float,
        *,
        averaged: int = 1,
        replaces: tuple[int, str] | None = None,
    ) -> PairRecord:
        """Store both frames and then the line that makes the pair exist, as number `next_index`.

        Args:
            gap_ms: host time of S's trigger minus that of B's, in milliseconds.
            averaged: number of exposures each frame is the mean of.
            replaces: (index, reason): the pair takes this index in place of the one that has it. The frames of that
                one stay; a kill leaves the one pair or the other in force, never none and never both.

        Raises:
            OSError: if the disk is full or fails; no file of this pair is left then.
            LocalblurError: if a frame does not fit its camera's record, or there is no pair to replace.
        """
        index, take, replaced = self._place(replaces)
        names = {role: frame_name(index, role, take) for role in ROLES}
        try:
            record_b, record_s = self._write_both(blurred, sharp, names)
            sync_folder(self.folder)
            record = PairRecord(
                index=index, B=record_b, S=record_s, gap_ms=gap_ms, averaged=averaged, replaces=replaced
            )
            self._append({"event": "pair", **record.model_dump()})
        except BaseException:
            self._discard(names.values())
            raise
        self.next_index = max(self.next_index, index + 1)
        return record

    def lost(self, index: int, reason: str, *, count: int = 1) -> None:
        """Record that `count` attempts at pair `index` failed, and why; the number is used again."""
        self._append({"event": "lost", "index": index, "reason": _one_line(reason), "count": count})

    def status(self, values: Mapping[str, float], when: str) -> None:
        """Record what changes while recording, such as temperatures.

        Args:
            values: by name; those that are not finite are left out.
            when: `begin` or `end` of a group, or another moment in words.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._append({"event": "status", "when": when, "values": finite})

    def note(self, text: str) -> None:
        """Record a remark."""
        self._append({"event": "note", "text": text})

    def stop(self, status: str) -> None:
        """Record how capturing ended: complete, interrupted or aborted."""
        self._append({"event": "stop", "status": status, "committed": self.next_index})

    def close(self) -> None:
        """Close the file; everything appended is on the disk already."""
        self._helper.shutdown()
        self._file.close()

    def _place(self, replaces: tuple[int, str] | None) -> tuple[int, int, Replaced | None]:
        """Index and take of a pair that is about to be committed, and what it replaces."""
        if replaces is None:
            return self.next_index, 0, None
        index, reason = replaces
        journal = read_journal(self._path)
        old = next((pair for pair in journal.pairs if pair.index == index), None)
        if old is None:
            raise LocalblurError(f"{self.folder} holds no pair {index} to replace, only {len(journal.pairs)} pairs")
        takes = [number[1] for record in old.frames.values() if (number := frame_number(record.name))]
        return index, 1 + max(takes, default=0), Replaced(reason=_one_line(reason), B=old.B.name, S=old.S.name)

    def _write_both(self, blurred: Frame, sharp: Frame, names: Mapping[Role, str]) -> tuple[FrameRecord, FrameRecord]:
        """Write both frames at the same time: the disk is waited for once instead of twice."""
        second = self._helper.submit(self._write, "S", sharp, names["S"])
        try:
            first = self._write("B", blurred, names["B"])
        finally:
            wait([second])  # neither file changes any more when a failure is cleaned up
        return first, second.result()

    def _write(self, role: Role, frame: Frame, name: str) -> FrameRecord:
        content = self._content(role, frame)
        self._store.write(self.folder / name, content)
        return self._frame_record(role, frame, name, content)

    def _content(self, role: Role, frame: Frame) -> tuple[memoryview, memoryview]:
        camera = self._cameras[role]
        if frame.role != role or frame.data.shape != camera.shape or frame.data.dtype != camera.dtype:
            raise LocalblurError(
                f"camera {role} delivered a frame of {frame.data.shape} {frame.data.dtype}, but the recording holds"
                f" {camera.shape} {np.dtype(camera.dtype)}; use the size and pixel format the recording began with"
            )
        return tiff_content(frame.data)

    def _frame_record(self, role: Role, frame: Frame, name: str, content: tuple[memoryview, ...]) -> FrameRecord:
        camera = self._cameras[role]
        sample = np.concatenate([frame.data[y::8, x::8].ravel() for y in (0, 1) for x in (0, 1)])
        return FrameRecord(
            name=name,
            bytes=sum(len(buffer) for buffer in content),
            crc32=content_crc32(content),
            block_id=frame.block_id,
            host_time_ns=frame.host_time_ns,
            camera_time_ns=frame.camera_time_ns,
            exposure_ms=frame.exposure_ms,
            mean=round(float(sample.mean()), 3),
            saturated=round(float((sample >= SATURATED_SHARE * camera.white_level).mean()), 6),
            clipped=round(float((sample == 0).mean()), 6),
            focus=round(focus_measure(frame.data, camera.black_level), 4),
        )

    def _append(self, event: Mapping[str, Any]) -> None:
        stamped = {"event": event["event"], "time": now(), **event}
        line = (json.dumps(stamped, allow_nan=False, default=str) + "\n").encode()
        with self._lock:
            if self._torn:
                self._cut()
            try:
                self._store.put(self._file, memoryview(line))
                os.fsync(self._file.fileno())
            except BaseException:
                self._torn = True  # half a line must not stay for the next one to be glued to
                with contextlib.suppress(OSError):
                    self._cut()
                raise
            self._size += len(line)

    def _cut(self) -> None:
        self._file.truncate(self._size)
        self._torn = False

    def _discard(self, names: Iterable[str]) -> None:
        """Remove the frames of a pair that failed, unless its line may be in the journal and cannot be taken back."""
        if not self._torn:
            with contextlib.suppress(OSError):  # what went wrong first says more
                for name in names:
                    (self.folder / name).unlink(missing_ok=True)


def _continued(path: Path) -> Journal:
    """The journal at `path` as it is before writing goes on.

    Raises:
        LocalblurError: if it is damaged or torn, or missing beside frames that were recorded with it.
    """
    if path.exists():
        journal = read_journal(path)
        if journal.torn:
            raise LocalblurError(f"{path} ends in a torn line; open the recording with --resume to recover it")
        return journal
    if any(frame_number(file.name) for file in path.parent.iterdir()):
        raise LocalblurError(
            f"{path.parent} holds frames but no {path.name}; restore it from a backup, or move the frames away"
        )
    return Journal()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def now() -> str:
    """The time as ISO 8601 text, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")

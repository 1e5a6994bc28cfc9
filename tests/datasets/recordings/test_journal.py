"""Journals: pairs recorded again, what else is written down, and what a kill or a failing disk leaves of it."""

import errno
import json
import os
import shutil
import threading

import numpy as np
import pytest
from camera_records import camera_record

from localblur.common.errors import LocalblurError
from localblur.datasets.recording import Recording, RecordingManifest, RecordingWriter, recover, verify
from localblur.datasets.recordings.journal import Frame, FrameStore, JournalWriter, read_journal
from localblur.datasets.recordings.sharpness import focus_measure

GROUP = "scenes/street"
SHAPE = (32, 40)
OLD_LINES = """\
{"event": "start", "time": "2025-11-20T23:40:00.000+00:00", "settings": {"count": 1}}
{"event": "lost", "time": "2025-11-20T23:40:01.000+00:00", "index": 0, "reason": "no frame in time"}
{"event": "pair", "time": "2025-11-20T23:40:02.000+00:00", "index": 0, "B": {"name": "000000_B.tif", "bytes": 640, \
"crc32": 1, "block_id": 0, "host_time_ns": 5, "camera_time_ns": null, "exposure_ms": 20.0, "mean": 7.5, \
"saturated": 0.0}, "S": {"name": "000000_S.tif", "bytes": 640, "crc32": 2, "block_id": null, "host_time_ns": 5, \
"camera_time_ns": 17, "exposure_ms": 2.0, "mean": 7.0, "saturated": 0.25}, "gap_ms": 0.1}
{"event": "stop", "time": "2025-11-20T23:40:03.000+00:00", "status": "complete", "committed": 1}
"""
"""As written before pairs could be recorded again."""


def camera(role):
    return camera_record(role, SHAPE)


def pixels(role, code):
    return np.random.default_rng(code + 1000 * (role == "S")).integers(64, 4096, SHAPE).astype(np.uint16)


def commit(journal, code, **options):
    """Commit a pair whose frames tell `code`."""
    frames = [
        Frame(role=role, data=pixels(role, code), block_id=0, host_time_ns=0, camera_time_ns=None, exposure_ms=2)
        for role in "BS"
    ]
    return journal.commit_pair(*frames, 0.0, **options)


def assert_holds(folder, codes):
    """The recording is in order and its pairs are those of `codes`."""
    recording = Recording.open(folder)
    assert [pair.index for pair in recording.pairs(GROUP)] == list(range(len(codes)))
    for index, code in enumerate(codes):
        for role, frame in zip("BS", recording.frames(GROUP, index), strict=True):
            np.testing.assert_array_equal(frame, pixels(role, code))
    assert verify(folder) == (len(codes), [])


def frame_names(folder):
    return {path.name for path in (folder / GROUP).glob("*.tif*")}


@pytest.fixture
def writer(tmp_path):
    manifest = RecordingManifest(camera_B=camera("B"), camera_S=camera("S"))
    return RecordingWriter.create(tmp_path / "recording", manifest)


@pytest.fixture
def recorded(writer):
    """A recording of three pairs whose writer is gone without having closed it."""
    journal = writer.journal(GROUP)
    for code in (0, 1, 2):
        commit(journal, code)
    writer.close("running")
    return writer.folder


def test_there_must_be_a_pair_to_replace(recorded):
    writer = RecordingWriter.open(recorded)
    journal = writer.journal(GROUP)
    before = (recorded / GROUP / "journal.jsonl").read_bytes()
    for index in (-1, 3):
        with pytest.raises(LocalblurError, match=f"holds no pair {index} to replace, only 3 pairs"):
            commit(journal, 7, replaces=(index, "blurred"))
    assert (recorded / GROUP / "journal.jsonl").read_bytes() == before
    assert len(frame_names(recorded)) == 6
    writer.close("complete")


@pytest.mark.parametrize(
    "damage",
    [
        lambda event: event.update(index=0),
        lambda event: event.update(index=9),
        lambda event: event["replaces"].update(B="000002_B.tif"),
        lambda event: event["replaces"].pop("S"),
        lambda event: event["replaces"].pop("reason"),
        lambda event: event["replaces"].update(surprise=1),
        lambda event: event.update(replaces="000001_B.tif"),
        lambda event: event.update(averaged="many"),
    ],
)
def test_a_replacement_that_does_not_fit_is_a_damaged_line(recorded, damage):
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP), 7, replaces=(1, "blurred"))
    writer.close("running")
    path = recorded / GROUP / "journal.jsonl"
    *lines, last = path.read_text().splitlines()
    event = json.loads(last)
    damage(event)
    path.write_text("\n".join([*lines, json.dumps(event)]) + "\n")
    with pytest.raises(LocalblurError, match="line 4 is damaged"):
        read_journal(path)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "lost", "index": 1},
        {"event": "lost", "reason": "x"},
        {"event": "note"},
        {"event": "status", "when": "end"},
        {"event": "other"},
    ],
)
def test_events_that_say_too_little_are_damaged_lines(tmp_path, event):
    path = tmp_path / "journal.jsonl"
    path.write_text(OLD_LINES + json.dumps(event) + "\n")
    with pytest.raises(LocalblurError, match="line 5 is damaged"):
        read_journal(path)


def test_journals_of_before_are_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(OLD_LINES)
    journal = read_journal(path)
    assert journal.starts == [{"count": 1}]
    assert journal.lost[0]["count"] == 1
    (pair,) = journal.pairs
    assert (pair.averaged, pair.replaces, pair.B.focus) == (1, None, None)
    assert (pair.S.camera_time_ns, pair.S.saturated) == (17, 0.25)
    assert (journal.replaced, journal.notes, journal.statuses, journal.next_index) == ([], [], [], 1)


def test_a_pair_recorded_again_takes_the_place_of_the_old_one_which_stays_and_is_lost(recorded):
    writer = RecordingWriter.open(recorded)
    journal = writer.journal(GROUP)
    record = commit(journal, 7, replaces=(1, "somebody\nwalked through"))
    assert (record.index, record.B.name, record.S.name) == (1, "000001-1_B.tif", "000001-1_S.tif")
    assert journal.next_index == 3
    commit(journal, 3)
    writer.close("complete")
    assert_holds(recorded, [0, 7, 2, 3])
    read = Recording.open(recorded).journal(GROUP)
    assert read.pairs[1] == record
    assert [(pair.index, pair.B.name) for pair in read.replaced] == [(1, "000001_B.tif")]
    (lost,) = read.lost
    assert lost.pop("time")
    assert lost == {
        "event": "lost",
        "index": 1,
        "reason": "replaced: somebody walked through",
        "count": 1,
        "B": "000001_B.tif",
        "S": "000001_S.tif",
    }
    assert not recover(recorded)
    assert len(frame_names(recorded)) == 10


def test_a_pair_can_be_recorded_again_and_again(recorded):
    for take in (1, 2, 3):
        writer = RecordingWriter.open(recorded)
        assert not writer.recovery
        record = commit(writer.journal(GROUP), 10 * take, replaces=(2, f"take {take}"))
        assert record.S.name == f"000002-{take}_S.tif"
        writer.close("complete")
        assert_holds(recorded, [0, 1, 10 * take])
    read = Recording.open(recorded).journal(GROUP)
    assert [event["reason"] for event in read.lost] == [f"replaced: take {take}" for take in (1, 2, 3)]
    assert [pair.B.name for pair in read.replaced] == ["000002_B.tif", "000002-1_B.tif", "000002-2_B.tif"]


def test_frames_that_were_replaced_are_still_verified(recorded):
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP), 7, replaces=(0, "blurred"))
    writer.close("running")
    (recorded / GROUP / "000000_S.tif").unlink()
    old = recorded / GROUP / "000000_B.tif"
    old.write_bytes(old.read_bytes()[:-1] + b"\x99")
    checked, problems = verify(recorded)
    assert checked == 3
    assert len(problems) == 2
    assert "000000_B.tif is damaged" in problems[0]
    assert "cannot read frame" in problems[1]
    np.testing.assert_array_equal(Recording.open(recorded).frames(GROUP, 0)[0], pixels("B", 7))


def test_a_torn_replacement_leaves_the_old_pair_in_force(recorded, tmp_path):
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP), 7, replaces=(1, "blurred"))
    writer.close("running")
    content = (recorded / GROUP / "journal.jsonl").read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    for cut in (start, start + 1, (start + len(content)) // 2, len(content) - 1):
        folder = shutil.copytree(recorded, tmp_path / f"cut{cut}")
        (folder / GROUP / "journal.jsonl").write_bytes(content[:cut])
        report = recover(folder)
        assert {path.name for path in report.removed} == {"000001-1_B.tif", "000001-1_S.tif"}
        assert_holds(folder, [0, 1, 2])


class Watched(FrameStore):
    """Calls `moment` before, in the middle of and after everything it writes, one file after the other."""

    def __init__(self, moment):
        self._moment = moment
        self._lock = threading.Lock()

    def write(self, path, content):
        with self._lock:
            self._moment()
            super().write(path, content)
            self._moment()

    def put(self, file, content):
        self._moment()
        super().put(file, content[: len(content) // 2])
        self._moment()
        super().put(file, content[len(content) // 2 :])
        self._moment()


@pytest.mark.parametrize("early", ["B", "S"])
def test_one_frame_failing_while_the_other_is_being_written_leaves_neither(recorded, early):
    failed = threading.Event()

    class OneFails(FrameStore):
        def write(self, path, content):
            if path.name.endswith(f"{early}.tif"):
                failed.set()
                raise OSError(errno.ENOSPC, "No space left on device")
            assert failed.wait(10)
            super().write(path, content)
            assert path.exists()

    writer = RecordingWriter.open(recorded)
    with pytest.raises(OSError, match="No space left"):
        commit(writer.journal(GROUP, OneFails()), 7)
    assert len(frame_names(recorded)) == 6
    commit(writer.journal(GROUP), 8)
    writer.close("complete")
    assert_holds(recorded, [0, 1, 2, 8])


@pytest.mark.parametrize("replaces", [None, (1, "blurred")])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(recorded, tmp_path, replaces):
    """What the folder holds at a moment is what a kill at that moment leaves."""
    snapshots = []

    def snapshot():
        snapshots.append(shutil.copytree(recorded, tmp_path / f"at{len(snapshots)}"))

    old = [0, 1, 2]
    new = [0, 1, 2, 7] if replaces is None else [0, 7, 2]
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP, Watched(snapshot)), 7, replaces=replaces)
    snapshot()
    writer.close("running")
    assert len(snapshots) == 2 * (2 + 6) + 3 + 1
    for number, folder in enumerate(snapshots):
        complete = number >= len(snapshots) - 2
        report = recover(folder)
        assert len(report.removed) <= 2
        assert_holds(folder, new if complete else old)
        assert frame_names(folder) >= {f"{index:06d}_{role}.tif" for index in range(3) for role in "BS"}
        assert len(frame_names(folder)) == (8 if complete else 6)
        if not complete:
            again = RecordingWriter.open(folder)
            commit(again.journal(GROUP), 7, replaces=replaces)
            again.close("complete")
            assert_holds(folder, new)


class FailsAt:
    """Raises when it is called for the `number`th time, counted from 0."""

    def __init__(self, number):
        self._number = number

    def __call__(self):
        self._number -= 1
        if self._number == -1:
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("replaces", [None, (1, "blurred")])
def test_a_disk_that_fails_at_any_moment_leaves_the_old_and_can_be_tried_again(recorded, replaces):
    new = [0, 1, 2, 7] if replaces is None else [0, 7, 2]
    before = (recorded / GROUP / "journal.jsonl").read_bytes()
    failures, succeeded = 0, False
    while not succeeded:
        writer = RecordingWriter.open(recorded)
        assert not writer.recovery
        journal = writer.journal(GROUP, Watched(FailsAt(failures)))
        try:
            commit(journal, 7, replaces=replaces)
            succeeded = True
        except OSError:
            assert (recorded / GROUP / "journal.jsonl").read_bytes() == before
            assert len(frame_names(recorded)) == 6
            assert journal.next_index == 3
            failures += 1
        writer.close("running")
        assert_holds(recorded, new if succeeded else [0, 1, 2])
    assert failures == 2 * (2 + 6) + 3


def test_a_line_that_cannot_be_taken_back_keeps_its_frames(recorded):
    """The disk takes the whole line, says it did not, and then refuses to cut it off."""

    class Liar(FrameStore):
        def put(self, file, content):
            super().put(file, content)
            if str(file.name).endswith("journal.jsonl"):
                read_only = os.open(file.name, os.O_RDONLY)
                os.dup2(read_only, file.fileno())
                os.close(read_only)
                raise OSError(errno.EIO, "Input/output error")

    writer = RecordingWriter.open(recorded)
    journal = writer.journal(GROUP, Liar())
    with pytest.raises(OSError, match="Input/output error"):
        commit(journal, 7)
    with pytest.raises(OSError, match="Invalid argument|Bad file"):
        journal.lost(3, "nothing may be glued to a line of unknown state")
    writer.close("running")
    assert_holds(recorded, [0, 1, 2, 7])


def test_half_a_line_is_cut_off_before_the_next(recorded):
    class FailsOnce(FrameStore):
        failed = False

        def put(self, file, content):
            if str(file.name).endswith("journal.jsonl") and not self.failed:
                self.failed = True
                super().put(file, content[:20])
                raise OSError(errno.ENOSPC, "No space left on device")
            super().put(file, content)

    writer = RecordingWriter.open(recorded)
    journal = writer.journal(GROUP, FailsOnce())
    with pytest.raises(OSError, match="No space left"):
        journal.note("x" * 100)
    journal.note("short")
    writer.close("running")
    read = read_journal(recorded / GROUP / "journal.jsonl")
    assert [note["text"] for note in read.notes] == ["short"]
    assert_holds(recorded, [0, 1, 2])


def test_losses_notes_and_statuses_are_read_back(recorded):
    writer = RecordingWriter.open(recorded)
    journal = writer.journal(GROUP)
    journal.status({"B temperature_c": 41.5, "S temperature_c": float("nan")}, "begin")
    journal.lost(3, "ring full\n", count=4)
    journal.lost(3, "no frame")
    journal.note("lamp changed")
    journal.status({"B temperature_c": 44.0, "S failed_buffers": 2.0}, "end")
    writer.close("complete")
    read = Recording.open(recorded).journal(GROUP)
    assert [(event["index"], event["reason"], event["count"]) for event in read.lost] == [
        (3, "ring full", 4),
        (3, "no frame", 1),
    ]
    assert [event["text"] for event in read.notes] == ["lamp changed"]
    assert [(event["when"], event["values"]) for event in read.statuses] == [
        ("begin", {"B temperature_c": 41.5}),
        ("end", {"B temperature_c": 44.0, "S failed_buffers": 2.0}),
    ]
    assert all(event["time"] for event in [*read.lost, *read.notes, *read.statuses])


def test_focus_and_the_number_of_averaged_exposures_are_recorded(tmp_path):
    journal = JournalWriter(tmp_path / "a" / "group", {"B": camera("B"), "S": camera("S")})
    ramp = np.tile(np.where(np.arange(SHAPE[1]) % 8 < 4, 400, 1200).astype(np.uint16), (SHAPE[0], 1))
    frames = [
        Frame(role=role, data=data, block_id=0, host_time_ns=0, camera_time_ns=None, exposure_ms=2)
        for role, data in (("B", np.full(SHAPE, 500, np.uint16)), ("S", ramp))
    ]
    record = journal.commit_pair(*frames, 0.0, averaged=16)
    journal.close()
    (read,) = read_journal(tmp_path / "a" / "group" / "journal.jsonl").pairs
    assert read == record
    assert read.averaged == 16
    assert read.B.focus == 0
    assert read.S.focus == pytest.approx(focus_measure(ramp, 64), abs=1e-4)
    assert read.S.focus > 10

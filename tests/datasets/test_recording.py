"""The recording format: what is journalled exists, what is not does not, whatever happened in between."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from localblur.common.errors import LocalblurError
from localblur.datasets.recording import (
    CameraRecord,
    Frame,
    Recording,
    RecordingManifest,
    RecordingWriter,
    recover,
    space_for,
    verify,
)
from localblur.datasets.recordings.journal import FrameStore, read_journal

GROUP = "scenes/street"
SHAPE = (12, 16)


def camera(role, **changes):
    values = {
        "role": role,
        "model": "test",
        "serial": f"serial-{role}",
        "pixel_format": "BayerRG12",
        "bit_depth": 12,
        "bayer": "RGGB",
        "width": SHAPE[1],
        "height": SHAPE[0],
        "black_level": 64.0,
        "white_level": 4095.0,
        "exposure_ms": 20.0 if role == "B" else 2.0,
    }
    return CameraRecord(**{**values, **changes})


def manifest(**changes):
    return RecordingManifest(camera_B=camera("B", **changes), camera_S=camera("S", **changes))


def pixels(role, index, shape=SHAPE, dtype=np.uint16):
    """Different in every frame, and the same each time."""
    seed = 2 * index + (role == "S")
    return np.random.default_rng(seed).integers(0, 4096 if dtype == np.uint16 else 256, shape).astype(dtype)


def frame(role, index, data=None):
    return Frame(
        role=role,
        data=pixels(role, index) if data is None else data,
        block_id=index,
        host_time_ns=1_000_000 * index,
        camera_time_ns=None,
        exposure_ms=20.0,
    )


def commit(journal, count):
    for _ in range(count):
        index = journal.next_index
        journal.commit_pair(frame("B", index), frame("S", index), 0.25)


@pytest.fixture
def recorded(tmp_path):
    """A recording with three pairs, closed well."""
    writer = RecordingWriter.create(tmp_path / "recording", manifest())
    journal = writer.journal(GROUP)
    journal.start({"count": 3})
    commit(journal, 3)
    journal.stop("complete")
    writer.close("complete")
    return writer.folder


def left_by_a_kill(folder):
    """Make it look as if its writer had been killed: the state says so, and no list of checksums is believed."""
    path = folder / "recording.json"
    path.write_text(path.read_text().replace('"state": "complete"', '"state": "running"'))
    return folder


def names(folder):
    return sorted(path.name for path in (folder / GROUP).glob("*.tif*"))


class FullDisk(FrameStore):
    """A disk with room for so many more bytes."""

    def __init__(self, room):
        self.room = room

    def put(self, file, content):
        super().put(file, content[: self.room])
        if len(content) > self.room:
            self.room = 0
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(content)


def test_what_was_committed_is_read_back(recorded):
    recording = Recording.open(recorded)
    assert recording.manifest.state == "complete"
    assert recording.scenes == ["street"]
    assert recording.calibrations == []
    pairs = recording.pairs(GROUP)
    assert [pair.index for pair in pairs] == [0, 1, 2]
    assert pairs[1].gap_ms == 0.25
    for index in range(3):
        blurred, sharp = recording.frames(GROUP, index)
        np.testing.assert_array_equal(blurred, pixels("B", index))
        np.testing.assert_array_equal(sharp, pixels("S", index))
        assert blurred.dtype == np.uint16
    assert verify(recorded) == (3, [])


def test_frames_are_plain_tiff_files(recorded):
    np.testing.assert_array_equal(tifffile.imread(recorded / GROUP / "000002_S.tif"), pixels("S", 2))


@pytest.mark.parametrize(
    ("changes", "shape", "dtype"),
    [
        ({"bit_depth": 8, "white_level": 255.0, "pixel_format": "BayerRG8"}, SHAPE, np.uint8),
        ({"bit_depth": 8, "bayer": None, "white_level": 255.0, "pixel_format": "RGB8"}, (*SHAPE, 3), np.uint8),
    ],
)
def test_8_bit_mosaics_and_rgb_frames_are_kept_as_they_are(tmp_path, changes, shape, dtype):
    writer = RecordingWriter.create(tmp_path / "recording", manifest(**changes))
    journal = writer.journal("calibration/static")
    blurred, sharp = (pixels(role, 0, shape, dtype) for role in "BS")
    journal.commit_pair(frame("B", 0, blurred), frame("S", 0, sharp), 0.0)
    writer.close("complete")
    recording = Recording.open(writer.folder)
    assert recording.calibrations == ["static"]
    for read, written in zip(recording.frames("calibration/static", 0), (blurred, sharp), strict=True):
        np.testing.assert_array_equal(read, written)


def test_statistics_tell_level_and_saturation(tmp_path):
    writer = RecordingWriter.create(tmp_path / "recording", manifest(width=64, height=64))
    dark, bright = np.full((64, 64), 100, np.uint16), np.full((64, 64), 1000, np.uint16)
    bright[:32] = 4095
    record = writer.journal(GROUP).commit_pair(frame("B", 0, bright), frame("S", 0, dark), 0.0)
    writer.close("complete")
    assert record.B.saturated == 0.5
    assert record.B.mean == pytest.approx((4095 + 1000) / 2)
    assert (record.S.mean, record.S.saturated) == (100, 0)


def test_a_recording_grows_over_several_sessions(recorded):
    writer = RecordingWriter.open(recorded)
    assert not writer.recovery
    assert Recording.open(recorded).manifest.state == "running"
    commit(writer.journal(GROUP), 2)
    commit(writer.journal("calibration/dark"), 1)
    writer.close("complete")
    recording = Recording.open(recorded)
    assert [pair.index for pair in recording.pairs(GROUP)] == [0, 1, 2, 3, 4]
    assert recording.calibrations == ["dark"]


def test_lost_notes_and_starts_are_journalled_beside_the_pairs(recorded):
    writer = RecordingWriter.open(recorded)
    journal = writer.journal(GROUP)
    journal.lost(3, "no frame\nin time")
    journal.note("lamp changed")
    writer.close("complete")
    read = read_journal(recorded / GROUP / "journal.jsonl")
    assert read.lost[0]["index"] == 3
    assert read.lost[0]["reason"] == "no frame in time"
    assert read.starts == [{"count": 3}]
    assert len(read.pairs) == 3


def test_a_kill_at_any_byte_of_the_last_line_costs_that_pair_and_no_other(recorded, tmp_path):
    lines = (recorded / GROUP / "journal.jsonl").read_bytes().splitlines(keepends=True)
    before, last = b"".join(lines[:3]), lines[3]
    assert b'"pair"' in last
    for cut in (0, 1, len(last) // 2, len(last) - 1, len(last)):
        folder = left_by_a_kill(shutil.copytree(recorded, tmp_path / f"cut{cut}"))
        (folder / GROUP / "journal.jsonl").write_bytes(before + last[:cut])
        report = recover(folder)
        whole = cut == len(last)
        expected = 3 if whole else 2
        assert bool(report.torn) == (0 < cut < len(last))
        assert len(report.removed) == (0 if whole else 2)
        assert verify(folder) == (expected, [])
        assert len(names(folder)) == 2 * expected
        writer = RecordingWriter.open(folder)
        journal = writer.journal(GROUP)
        assert journal.next_index == expected
        commit(journal, 1)
        writer.close("complete")
        assert verify(folder) == (expected + 1, [])


def test_recovery_removes_only_what_a_kill_can_leave(recorded):
    group = left_by_a_kill(recorded) / GROUP
    (group / "000003_B.tif").write_bytes(b"whole but not journalled")
    (group / "000003_S.tif.part").write_bytes(b"half")
    (group / "notes.txt").write_text("the user's")
    (group / "copy of 000001_B.tif").write_bytes(b"the user's")
    truth = recorded / "truth" / "street"
    truth.mkdir(parents=True)
    for index in (2, 3):
        (truth / f"{index:06d}.npz").write_bytes(b"truth")
    (recorded / ".feed-17" / "B").mkdir(parents=True)
    (recorded / ".recording.17.part.json").write_text("{")
    report = recover(recorded)
    removed = {path.relative_to(recorded).as_posix() for path in report.removed}
    names = {"truth/street/000003.npz", ".feed-17", ".recording.17.part.json"}
    assert removed == {f"{GROUP}/000003_B.tif", f"{GROUP}/000003_S.tif.part", *names}
    assert (group / "notes.txt").exists()
    assert (group / "copy of 000001_B.tif").exists()
    assert (truth / "000002.npz").exists()
    assert verify(recorded) == (3, [])
    assert not recover(recorded)


def test_frames_without_any_journal_are_left_alone_and_never_overwritten(recorded):
    (left_by_a_kill(recorded) / GROUP / "journal.jsonl").unlink()
    assert not recover(recorded)
    assert len(names(recorded)) == 6
    assert verify(recorded) == (0, [f"{recorded / GROUP} holds frames but no journal.jsonl; restore it from a backup"])
    writer = RecordingWriter.open(recorded)
    with pytest.raises(LocalblurError, match="street holds frames but no journal.jsonl; restore it"):
        writer.journal(GROUP)
    writer.close("aborted")
    assert len(names(recorded)) == 6


def test_frames_that_a_damaged_journal_has_forgotten_are_not_removed(recorded):
    path = left_by_a_kill(recorded) / GROUP / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]) + b'{"event": "pa')
    before = path.read_bytes()
    for action in (recover, RecordingWriter.open):
        with pytest.raises(LocalblurError, match=r"000002_B\.tif has no line in journal.jsonl, and no kill leaves it"):
            action(recorded)
    assert len(names(recorded)) == 6
    assert path.read_bytes() == before


def test_a_damaged_line_in_the_middle_is_an_error_and_nothing_is_removed(recorded):
    path = recorded / GROUP / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:20] + b"\n"
    path.write_bytes(b"".join(lines))
    for action in (recover, RecordingWriter.open, verify):
        with pytest.raises(LocalblurError, match=r"journal\.jsonl line 3 is damaged"):
            action(recorded)
    assert len(names(recorded)) == 6


def test_a_reader_does_not_mind_a_line_being_written(recorded):
    with (recorded / GROUP / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "pa')
    assert len(Recording.open(recorded).pairs(GROUP)) == 3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot read frame"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "bytes instead of"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x99"), "does not match the journal's checksum"),
    ],
)
def test_damaged_frames_are_named(recorded, damage, message):
    damage(recorded / GROUP / "000001_S.tif")
    with pytest.raises(LocalblurError, match=rf"000001_S\.tif.*{message}|{message}.*000001_S\.tif"):
        Recording.open(recorded).frames(GROUP, 1)
    checked, problems = verify(recorded)
    assert checked == 3
    assert len(problems) == 1
    assert "000001_S.tif" in problems[0]
    Recording.open(recorded).frames(GROUP, 0)


def test_a_frame_of_another_size_is_refused_on_reading_and_writing(recorded):
    content = json.loads((recorded / "recording.json").read_text())
    content["camera_S"]["width"] = 18
    (recorded / "recording.json").write_text(json.dumps(content))
    with pytest.raises(
        LocalblurError, match=r"000000_S\.tif is \(12, 16\) uint16, but recording\.json says \(12, 18\)"
    ):
        Recording.open(recorded).frames(GROUP, 0)
    writer = RecordingWriter.open(recorded)
    with pytest.raises(LocalblurError, match="camera S delivered a frame of"):
        commit(writer.journal(GROUP), 1)
    writer.close("aborted")
    assert len(names(recorded)) == 6


def test_a_hostile_file_name_does_not_leave_the_folder(recorded):
    path = recorded / GROUP / "journal.jsonl"
    path.write_text(path.read_text().replace("000000_B.tif", "../../../secret"))
    with pytest.raises(LocalblurError, match="leaves its folder"):
        Recording.open(recorded).frames(GROUP, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no recording.json"),
        ("{ torn", "cannot read .*recording.json"),
        ("[]", "not the manifest of a recording"),
        ('{"format": "localblur-pairs"}', "not the manifest of a recording"),
        ('{"format": "localblur-recording", "schema_version": 2}', "schema version 2.*reads 1.*update"),
        ('{"format": "localblur-recording", "schema_version": 1}', "camera_B: Field required"),
    ],
)
def test_manifests_that_are_none(recorded, content, message):
    path = recorded / "recording.json"
    path.unlink() if content is None else path.write_text(content)
    for action in (Recording.open, RecordingWriter.open, recover, verify):
        with pytest.raises(LocalblurError, match=message):
            action(recorded)


def test_an_unknown_key_in_the_manifest_is_an_error(recorded):
    path = recorded / "recording.json"
    path.write_text(path.read_text().replace('"created"', '"surprise": 1, "created"'))
    with pytest.raises(LocalblurError, match="surprise"):
        Recording.open(recorded)


def test_only_one_writer_at_a_time(recorded):
    writer = RecordingWriter.open(recorded)
    for second in (RecordingWriter.open, recover):
        with pytest.raises(LocalblurError, match="is being recorded to by another process"):
            second(recorded)
    writer.close("complete")
    RecordingWriter.open(recorded).close("complete")


def test_a_recording_is_not_begun_in_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(LocalblurError, match="is not empty"):
        RecordingWriter.create(tmp_path, manifest())
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("group", ["street", "scenes/../x", "scenes/", "calibration/other", "scenes/a/b", "scenes/.x"])
def test_group_names(recorded, group):
    writer = RecordingWriter.open(recorded)
    with pytest.raises(LocalblurError, match="cannot be a group"):
        writer.journal(group)
    writer.close("complete")


def test_missing_pairs_and_groups(recorded):
    recording = Recording.open(recorded)
    assert recording.pairs("scenes/other") == []
    with pytest.raises(LocalblurError, match="holds no pair 7, only 3 pairs"):
        recording.frames(GROUP, 7)


@pytest.mark.parametrize(
    ("files", "bytes_more"),
    [(0, 0), (0, 100), (1, 0), (1, 100), (2, 0), (2, 40)],
    ids=["nothing fits", "half of B", "B", "B and half of S", "both and no line", "both and half a line"],
)
def test_a_full_disk_leaves_committed_pairs_and_no_rubbish(recorded, files, bytes_more):
    room = files * (recorded / GROUP / "000000_B.tif").stat().st_size + bytes_more
    journal_before = (recorded / GROUP / "journal.jsonl").read_bytes()
    writer = RecordingWriter.open(recorded)
    disk = FullDisk(room)
    journal = writer.journal(GROUP, disk)
    with pytest.raises(OSError, match="No space left"):
        commit(journal, 1)
    assert len(names(recorded)) == 6
    assert (recorded / GROUP / "journal.jsonl").read_bytes() == journal_before
    disk.room = 10**9
    commit(journal, 1)
    writer.close("complete")
    assert verify(recorded) == (4, [])


def test_verify_notices_a_gap_in_the_numbers(recorded):
    path = recorded / GROUP / "journal.jsonl"
    lines = [line for line in path.read_text().splitlines() if '"index": 1' not in line]
    path.write_text("\n".join(lines) + "\n")
    checked, problems = verify(left_by_a_kill(recorded))
    assert checked == 2
    assert problems == ["scenes/street: indices are not 0 to 1 in order"]


def test_nothing_is_opened_for_writing_by_a_reader(recorded):
    before = {path: path.stat().st_mtime_ns for path in Path(recorded).rglob("*")}
    Recording.open(recorded).frames(GROUP, 0)
    verify(recorded)
    assert {path: path.stat().st_mtime_ns for path in Path(recorded).rglob("*")} == before


def test_free_space_is_that_of_the_nearest_folder_there_is(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    assert space_for(tmp_path / "not" / "yet" / "there") == pytest.approx(free, rel=0.05)

"""The recording format: what is journalled exists and is read back; what is wrong is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from written_recordings import GROUP, SHAPE, commit, frame, left_by_a_kill, manifest, names, pixels

from localblur.common.errors import LocalblurError
from localblur.datasets.recording import (
    Recording,
    RecordingWriter,
    recover,
    space_for,
    verify,
)
from localblur.datasets.recordings.journal import read_journal


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

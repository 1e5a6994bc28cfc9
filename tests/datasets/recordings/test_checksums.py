"""The list of checksums: what is on it, what it notices, and that it is never half made."""

import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from camera_records import camera_record

from localblur.common.errors import LocalblurError
from localblur.datasets.recording import Frame, Recording, RecordingManifest, RecordingWriter, verify
from localblur.datasets.recordings.checksums import check_checksums, read_checksums, write_checksums

GROUP = "scenes/street"
SHAPE = (8, 8)
ALWAYS_READ = 3
"""Manifest and two journals."""


def manifest():
    return RecordingManifest(**{f"camera_{role}": camera_record(role, SHAPE) for role in "BS"})


def commit(journal, **options):
    def frame(role):
        rng = np.random.default_rng(journal.next_index + 1000 * (role == "S"))
        data = rng.integers(0, 4096, SHAPE).astype(np.uint16)
        return Frame(role=role, data=data, block_id=0, host_time_ns=0, camera_time_ns=None, exposure_ms=2)

    journal.commit_pair(frame("B"), frame("S"), 0.0, **options)


@pytest.fixture
def recorded(tmp_path):
    """A complete recording with everything a list covers: three pairs, one recorded again, settings files, truth."""
    writer = RecordingWriter.create(tmp_path / "recording", manifest())
    for group, count in ((GROUP, 2), ("calibration/dark", 1)):
        journal = writer.journal(group)
        for _ in range(count):
            commit(journal)
    commit(journal, replaces=(0, "lamp off"))
    (writer.folder / "camera_B.pfs").write_text("Gain\t0\n")
    truth = writer.folder / "truth" / "street"
    truth.mkdir(parents=True)
    (truth / "000000.npz").write_bytes(b"truth")
    (writer.folder / "notes.txt").write_text("the user's own")
    writer.close("complete")
    return writer.folder


def lines(folder):
    return (folder / "sha256sums.txt").read_text().splitlines(keepends=True)


def rewrite(folder, *content):
    (folder / "sha256sums.txt").write_text("".join(content))


def test_a_complete_recording_has_a_list_of_all_that_was_recorded(recorded):
    listed = read_checksums(recorded)
    assert sorted(listed) == [
        "calibration/dark/000000-1_B.tif",
        "calibration/dark/000000-1_S.tif",
        "calibration/dark/000000_B.tif",
        "calibration/dark/000000_S.tif",
        "calibration/dark/journal.jsonl",
        "camera_B.pfs",
        "recording.json",
        "scenes/street/000000_B.tif",
        "scenes/street/000000_S.tif",
        "scenes/street/000001_B.tif",
        "scenes/street/000001_S.tif",
        "scenes/street/journal.jsonl",
        "truth/street/000000.npz",
    ]
    for name, digest in listed.items():
        assert hashlib.sha256((recorded / name).read_bytes()).hexdigest() == digest
    assert check_checksums(recorded) == []
    assert verify(recorded) == (3, [])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_the_list_and_notices_what_we_notice(recorded):
    command = ["sha256sum", "--strict", "--quiet", "-c", "sha256sums.txt"]
    assert subprocess.run(command, cwd=recorded, capture_output=True).returncode == 0
    (recorded / "camera_B.pfs").write_text("Gain\t6\n")
    result = subprocess.run(command, cwd=recorded, capture_output=True, text=True)
    assert result.returncode == 1
    assert "camera_B.pfs" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["{}  ../outside.tif\n"], "path '../outside.tif' leaves its folder"),
        (["{}  /etc/passwd\n"], "path '/etc/passwd' leaves its folder"),
        (["{}  scenes\\street\\journal.jsonl\n"], "line 1 is damaged"),
        (["{}  null\0byte\n"], "line 1 is damaged"),
        (["{}  recording.json\n", "zz  camera_B.pfs\n"], "line 2 is damaged"),
        (["{}  recording.json\n", "\n"], "line 2 is damaged"),
        (["{}  recording.json\n", "{}  recording.json\n"], "line 2 is damaged or repeated"),
        (["{}  recording.json\n", "{}  camera_B"], "ends in half a line"),
    ],
)
def test_a_damaged_or_hostile_list_is_one_line_and_is_made_anew(recorded, caplog, content, message):
    good = lines(recorded)
    rewrite(recorded, *(line.format("0" * 64) for line in content))
    with pytest.raises(LocalblurError, match=message):
        read_checksums(recorded)
    problems = check_checksums(recorded)
    assert len(problems) == 1
    assert message in problems[0]
    assert verify(recorded) == (3, problems)
    assert write_checksums(recorded) == len(good)
    assert "all files are read again" in caplog.text
    assert lines(recorded) == good


def test_a_list_that_is_no_text_is_one_line(recorded):
    (recorded / "sha256sums.txt").write_bytes(b"\xff\xfe\n")
    checked, problems = verify(recorded)
    assert checked == 3
    assert len(problems) == 1
    assert "cannot read" in problems[0]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_out_of_the_folder_is_not_followed(recorded, tmp_path):
    (tmp_path / "outside").mkdir()
    (recorded / "link").symlink_to(tmp_path / "outside")
    rewrite(recorded, f"{'0' * 64}  link/secret\n")
    assert "leaves its folder" in check_checksums(recorded)[0]


def test_what_is_missing_altered_or_unlisted_is_named_once_each(recorded):
    (recorded / "camera_B.pfs").write_text("Gain\t6\n")
    (recorded / "truth/street/000000.npz").unlink()
    path = recorded / GROUP / "000001_S.tif"
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    (recorded / GROUP / "000000_B.tif").unlink()
    rewrite(recorded, *(line for line in lines(recorded) if "dark/journal" not in line))
    checked, problems = verify(recorded)
    assert checked == 3
    for name, words in [
        ("camera_B.pfs", "is altered: its content does not match sha256sums.txt"),
        ("truth/street/000000.npz", "is missing: sha256sums.txt lists it"),
        ("000001_S.tif", "does not match the journal's checksum"),
        ("000000_B.tif", "cannot read frame"),
        ("calibration/dark/journal.jsonl", "is not on the list"),
    ]:
        assert len([problem for problem in problems if name in problem and words in problem]) == 1, name
    assert len(problems) == 5


def test_a_journal_that_forgets_a_pair_is_noticed(recorded):
    """Whole lines that vanish leave a journal that reads well, and frames that no pair mentions."""
    path = recorded / GROUP / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    checked, problems = verify(recorded)
    assert checked == 2
    assert problems == [f"{path} is altered: its content does not match sha256sums.txt"]


def test_only_a_complete_recording_is_held_to_its_list(recorded):
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP))
    assert verify(recorded) == (4, [])
    writer.close("aborted")
    assert verify(recorded) == (4, [])
    assert len(check_checksums(recorded)) == 4  # two frames not listed, journal and manifest changed
    RecordingWriter.open(recorded).close("complete")
    assert check_checksums(recorded) == []
    assert verify(recorded) == (4, [])


def test_recordings_without_a_list_verify_too(recorded):
    (recorded / "sha256sums.txt").unlink()
    assert verify(recorded) == (3, [])
    assert "cannot read" in check_checksums(recorded)[0]


def test_frames_on_the_list_are_not_read_again(recorded):
    seen = []
    assert write_checksums(recorded, progress=lambda *counts: seen.append(counts)) == 13
    assert seen == [(1, ALWAYS_READ), (2, ALWAYS_READ), (3, ALWAYS_READ)]
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP))
    seen.clear()
    writer.close("complete", progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (ALWAYS_READ + 2, ALWAYS_READ + 2)
    assert check_checksums(recorded) == []


def test_decay_is_not_blessed_by_a_new_list(recorded):
    """A frame that rots on the disk keeps its time and size, and the checksum of when it was good."""
    path = recorded / GROUP / "000001_S.tif"
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    write_checksums(recorded)
    assert check_checksums(recorded) == [f"{path} is altered: its content does not match sha256sums.txt"]


@pytest.mark.parametrize("name", ["truth/street/000000.npz", f"{GROUP}/000001_S.tif"])
def test_what_was_written_again_since_the_list_is_read_again(recorded, name):
    path, later = recorded / name, (recorded / "sha256sums.txt").stat().st_mtime_ns + 1_000_000
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    os.utime(path, ns=(later, later))
    write_checksums(recorded)
    assert check_checksums(recorded) == []


def test_a_frame_of_another_size_is_read_again(recorded):
    path = recorded / GROUP / "000001_S.tif"
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    write_checksums(recorded)
    assert read_checksums(recorded)[f"{GROUP}/000001_S.tif"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(verify(recorded)[1]) == 1


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupted_close_keeps_the_earlier_list_and_can_be_made_up_for(recorded, at):
    before = lines(recorded)

    def interrupt(count, total):
        if count == at:
            raise KeyboardInterrupt

    writer = RecordingWriter.open(recorded)
    with pytest.raises(KeyboardInterrupt):
        writer.close("complete", progress=interrupt)
    assert lines(recorded) == before
    assert Recording.open(recorded).manifest.state == "aborted"
    assert verify(recorded) == (3, [])
    assert not list(recorded.glob(".*.part*"))
    RecordingWriter.open(recorded).close("complete")
    assert Recording.open(recorded).manifest.state == "complete"
    assert check_checksums(recorded) == []


def test_a_kill_between_list_and_manifest_raises_no_false_alarm(recorded):
    writer = RecordingWriter.open(recorded)
    commit(writer.journal(GROUP))
    snapshot = recorded.parent / "snapshot"
    write_checksums(recorded, manifest=b"what it would have been")
    shutil.copytree(recorded, snapshot)
    writer.close("aborted")
    assert Recording.open(snapshot).manifest.state == "running"
    assert verify(snapshot) == (4, [])


def test_what_was_read_already_is_not_read_again(recorded):
    name = f"{GROUP}/000000_B.tif"
    digest = read_checksums(recorded)[name]
    (recorded / name).unlink()
    assert check_checksums(recorded, {name: digest}) == []
    assert check_checksums(recorded, {name: None}) == []
    assert "is altered" in check_checksums(recorded, {name: "0" * 64})[0]
    assert "is missing" in check_checksums(recorded)[0]

"""What a kill, a full disk or a damaged journal leaves of a recording."""

import shutil

import pytest
from written_recordings import GROUP, FullDisk, commit, left_by_a_kill, names

from localblur.common.errors import LocalblurError
from localblur.datasets.recording import (
    Recording,
    RecordingWriter,
    recover,
    verify,
)


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

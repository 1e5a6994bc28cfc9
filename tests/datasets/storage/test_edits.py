import errno
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from edited_file import SIZE, make_mask, write_file, writer

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.pairs_file import main
from localblur.datasets.patches import PatchDataset
from localblur.datasets.storage.check import find_damage
from localblur.datasets.storage.edits import check_user, default_user, edits_folder, edits_path, read_edits
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.storage.edits_overlay import split_note, with_note
from localblur.datasets.storage.schema import crc32
from localblur.datasets.store import MasksWriter, PairsFile, blur_cells
from localblur.training.running.data import fingerprint


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    return write_file(tmp_path, make_pair, make_file)


@pytest.fixture
def mask(rng):
    return make_mask(rng)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless file here")
def test_journal_that_is_no_file_is_not_read_without_end(path):
    edits_path(path).symlink_to("/dev/zero")
    assert "no regular file" in complaint_about(path)


def complaint_about(path):
    with pytest.raises(LocalblurError) as caught:
        PairsFile(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- bad input ---


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_line_that_tells_of_read_only(path, monkeypatch, code):
    def refused(folder, *_arguments, **_options):
        raise OSError(code, os.strerror(code), str(folder))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(LocalblurError, match="look with view-dataset --read-only") as caught:
        writer(path)
    assert str(edits_folder(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_edit_of_a_pair_that_does_not_exist_is_one_line(path):
    with writer(path) as edits:
        edits.set_verdict("s1", "9", Verdict.REJECT)
    assert "a.h5.edits.jsonl edits pair s1/9, which a.h5 does not have" in complaint_about(path)


def test_the_journal_of_another_file_is_one_line(path, tmp_path, make_pair, make_file):
    other = make_file(tmp_path / "b.h5", {"train": [make_pair(name="0", size=(20, 20))]})
    with writer(path) as edits:
        edits.set_verdict("s1", "1", Verdict.REJECT)
    edits_path(path).rename(edits_path(other))
    assert "b.h5.edits.jsonl belongs to another file than b.h5" in complaint_about(other)
    with pytest.raises(LocalblurError, match="belongs to another file"):
        writer(other)
    assert not edits_folder(other).exists()
    with PairsFile(other, edits=False) as pairs:
        assert pairs.names("s1") == ["0"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nonsense", "line 2 is damaged"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "line 2 is damaged"),
        (b'{"event": "jump"}', "line 2 is damaged"),
        (b'{"event": "verdict", "scene": "s1", "name": "1", "user": "u", "time": "t"}', "without a verdict"),
        (b'{"event": "verdict", "scene": "s1", "name": "1", "user": "u", "time": "t", "verdict": "maybe"}', "maybe"),
        (b'{"event": "note", "scene": "s1", "name": "1", "user": "u", "time": "t"}', "without a note"),
        (
            b'{"event": "mask", "scene": "s1", "name": "1", "user": "u", "time": "t", "file": "../x.png", "crc32": 1}',
            "line 2 is damaged",
        ),
        (b'{"event": "mask", "scene": "s1", "name": "1", "user": "u", "time": "t", "file": "x.png"}', "needs both"),
    ],
)
def test_a_damaged_line_before_the_last_is_named(path, line, complaint):
    with writer(path) as edits:
        edits.set_verdict("s1", "1", Verdict.REJECT)
    first, second = edits_path(path).read_bytes().splitlines()
    edits_path(path).write_bytes(b"\n".join([first, line, second]) + b"\n")
    assert complaint in complaint_about(path)


def test_a_journal_of_a_newer_version_is_named(path):
    with writer(path) as edits:
        edits.set_verdict("s1", "1", Verdict.REJECT)
    content = edits_path(path).read_text().replace('"version":1', '"version":2')
    edits_path(path).write_text(content)
    assert "line 1 is damaged (entry: version" in complaint_about(path)


def test_two_cannot_edit_a_file_at_once(path):
    with writer(path), pytest.raises(LocalblurError, match="is being edited by another process"):
        writer(path)
    with writer(path) as edits:
        edits.set_note("s1", "1", "x")
        with pytest.raises(LocalblurError, match="is being edited by another process"):
            fold_edits(path)
    assert fold_edits(path).notes == 1


@pytest.mark.parametrize("user", ["", "  ", "auto", "x" * 65, "a\nb"])
def test_a_user_name_that_cannot_be_stored_is_refused(user):
    with pytest.raises(LocalblurError, match="cannot be stored"):
        check_user(user)
    assert check_user(default_user())


def test_a_long_note_is_refused(path):
    with writer(path) as edits, pytest.raises(LocalblurError, match="the note takes 482 bytes, the limit is 480"):
        edits.set_note("s1", "1", "ä" * 241)
    assert not edits_path(path).exists()
    with pytest.raises(LocalblurError, match="beside the reasons there is room for 16"):
        with_note("r" * 1000, "n" * 17)


@pytest.mark.parametrize("how", ["missing", "damaged", "other size", "colour"])
def test_an_edited_mask_that_is_not_what_was_written_is_named(path, mask, how):
    with writer(path) as edits:
        edits.set_mask("s1", "0", mask)
    (file,) = edits_folder(path).glob("*.png")
    if how == "missing":
        file.unlink()
    else:
        spoiled = {"damaged": mask ^ 1, "other size": mask[1:], "colour": np.repeat(mask[..., None], 3, 2)}[how]
        cv2.imwrite(str(file), spoiled)
    with PairsFile(path) as pairs, pytest.raises(LocalblurError, match="the edited mask of s1/0, is"):
        pairs.read("s1", 0)
    with pytest.raises(LocalblurError, match="the edited mask of s1/0, is"):
        fold_edits(path)
    assert edits_path(path).exists()


# --- what readers see ---


def test_every_reader_sees_the_edits(path, mask):
    mask[:] = 255
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
        edits.set_verdict("s1", "1", Verdict.REJECT)
        edits.set_verdict("s1", "1", Verdict.ACCEPT)
        edits.set_note("s1", "1", " checked;  fine\nreally ")
        edits.set_mask("s1", "2", mask)
    with PairsFile(path) as pairs:
        first, second, third = pairs.info("s1")
        assert (first.verdict, first.decided_by, first.reasons) == (Verdict.REJECT, "kim", "")
        assert second.verdict is Verdict.ACCEPT
        assert second.reasons == "too dark; note: checked, fine really"
        assert split_note(second.reasons) == ("too dark", "checked, fine really")
        assert third.decided_by == "auto"
        assert [pairs.is_rejected("s1", n) for n in range(3)] == [True, False, False]
        assert [pairs.has_mask("s1", n) for n in range(3)] == [False, True, True]
        assert [pairs.is_mended("s1", n) for n in range(3)] == [False, False, True]
        assert pairs.scene("s1").masked == 2
        np.testing.assert_array_equal(pairs.read("s1", 2).mask, mask)
        np.testing.assert_array_equal(pairs.read_mask("s1", 2, 3, 4, 5, 6), mask[3:8, 4:10])
        np.testing.assert_array_equal(pairs.read_crop("s1", 2, 3, 4, 5, 6)[2], mask[3:8, 4:10])
        np.testing.assert_array_equal(pairs.blur_cells("s1", 2), blur_cells(mask))
        assert pairs.checksums("s1", 2)["mask"] == pairs.checksum_table("s1")[2, 2] == crc32(mask)
        assert pairs.read("s1", 1).info == pairs.pair_info("s1", 1) == second
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(pairs)).read("s1", 2).mask, mask)  # noqa: S301
    assert find_damage(path) == []
    with PairsFile(path, edits=False) as stored:
        assert [info.verdict for info in stored.info("s1")] == [Verdict.ACCEPT] * 3
        assert not stored.has_mask("s1", 2)


def test_a_mask_read_cannot_be_used_to_change_the_edit(path, mask):
    with writer(path) as edits:
        edits.set_mask("s1", "2", mask)
    with PairsFile(path) as pairs:
        for got in (pairs.read("s1", 2).mask, pairs.read_mask("s1", 2, 0, 0, *SIZE)):
            got[:] = 7
        np.testing.assert_array_equal(pairs.read("s1", 2).mask, mask)


def test_training_patches_follow_the_edits(path, mask):
    mask[:] = 0
    mask[40:, 60:] = 255
    assert len(PatchDataset([path], patch_px=32)) == 3
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
        edits.set_verdict("s1", "1", Verdict.REJECT)
        edits.set_mask("s1", "2", mask)
    patches = PatchDataset([path], patch_px=16, blur_aware_probability=1.0, require_masks=True)
    assert len(patches) == 1
    assert all(patches[n]["has_mask"] and patches[n]["mask"].sum() >= 64 for n in range(20))


def test_inspect_counts_the_edits(path, mask):
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
        edits.set_mask("s1", "2", mask)
    text = CliRunner().invoke(main, ["inspect", str(path)]).stdout
    assert "3 accept, 1 reject, 0 undecided" in text
    assert "2 of 4; blurred area" in text
    assert "of 2 pairs, in a.h5.edits.jsonl" in text


def test_training_on_other_edits_is_training_on_other_pairs(path, mask):
    found = []
    for change in (
        lambda _: None,
        lambda e: e.set_verdict("s1", "0", Verdict.REJECT),
        lambda e: e.set_mask("s1", "1", mask),
    ):
        with writer(path) as edits:
            change(edits)
        with PairsFile(path) as pairs:
            found.append(fingerprint([pairs]))
    assert len(set(found)) == 3
    fold_edits(path)
    with PairsFile(path) as pairs:
        assert fingerprint([pairs]) == found[-1]


def test_going_back_to_the_stored_mask(path, mask, make_pair):
    with writer(path) as edits:
        edits.set_mask("s1", "1", mask)
        edits.set_mask("s1", "1", None)
        edits.set_mask("s1", "0", mask)
        edits.set_mask("s1", "0", None)
    with PairsFile(path) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 1).mask, make_pair(name="1", size=SIZE).mask)
        assert not pairs.is_mended("s1", 1)
        assert not pairs.has_mask("s1", 0)


def test_identity_is_about_pictures_and_names_only(path, tmp_path, mask, make_pair, make_file):
    before = PairsFile(path).identity
    with MasksWriter(path, {"method": "x"}) as masks:
        masks.add("s1", "0", mask)
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
    fold_edits(path)
    assert PairsFile(path).identity == before
    other = make_file(tmp_path / "b.h5", {"train": [make_pair(name="other", size=SIZE)]})
    assert PairsFile(other).identity != before


# --- kills ---


@pytest.mark.parametrize("kept", [0, 1, 40, -2, -1])
def test_a_torn_last_line_is_passed_over_and_written_over(path, kept):
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
        size = edits_path(path).stat().st_size
        edits.set_verdict("s1", "1", Verdict.REJECT)
    content = edits_path(path).read_bytes()
    edits_path(path).write_bytes(content[:size] + content[size:][:kept])
    with PairsFile(path) as pairs:
        assert [pairs.is_rejected("s1", n) for n in range(3)] == [True, False, False]
    with writer(path) as edits:
        edits.set_verdict("s1", "2", Verdict.REJECT)
    with PairsFile(path) as pairs:
        assert [pairs.is_rejected("s1", n) for n in range(3)] == [True, False, True]


def test_a_journal_torn_in_its_first_line_holds_no_edit(path):
    edits_path(path).write_bytes(b'{"format":"localblur-ed')
    with PairsFile(path) as pairs:
        assert not pairs.is_rejected("s1", 0)
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
    with PairsFile(path) as pairs:
        assert pairs.is_rejected("s1", 0)


def test_a_mask_whose_line_was_never_written_does_not_exist(path, mask, monkeypatch):
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.ACCEPT)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", _refuse_journal(edits_path(path)))
            with pytest.raises(OSError, match="cut"):
                edits.set_mask("s1", "0", mask)
    assert len(list(edits_folder(path).glob("*.png"))) == 1
    with PairsFile(path) as pairs:
        assert not pairs.has_mask("s1", 0)
    with writer(path) as edits:
        edits.set_mask("s1", "0", 255 - mask)
    with PairsFile(path) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 0).mask, 255 - mask)
    assert fold_edits(path).masks == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["a.h5"]


def _refuse_journal(journal):
    inode, real = journal.stat().st_ino, os.fsync

    def fsync(descriptor):
        if os.fstat(getattr(descriptor, "fileno", lambda: descriptor)()).st_ino == inode:
            raise OSError("cut")
        real(descriptor)

    return fsync


EDIT = """
    import sys
    from pathlib import Path
    import numpy as np
    from localblur.datasets.storage.edits import EditsWriter
    from localblur.datasets.store import PairsFile

    path = Path(sys.argv[1])
    with PairsFile(path, edits=False) as pairs:
        identity = pairs.identity
    writer = EditsWriter(path, identity, "kim")
    for number in range(10_000):
        mask = np.full((70, 90), number % 256, np.uint8)
        edit = writer.set_mask("s1", str(number % 3), mask)
        print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_kills_while_masks_are_edited_lose_nothing_that_was_confirmed(path):
    for lines in (1, 3, 6):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(EDIT), str(path)], stdout=subprocess.PIPE
        ) as process:
            confirmed = [int(process.stdout.readline()) for _ in range(lines)]
            time.sleep(0.002 * lines)
            process.send_signal(signal.SIGKILL)
            confirmed += [int(line) for line in process.stdout if line.endswith(b"\n")]
        journal = read_edits(path)
        last = {edit.name: edit for edit in journal.edits}
        with PairsFile(path) as pairs:
            for index, name in enumerate(pairs.names("s1")):
                numbers = [number for number in confirmed if str(number % 3) == name]
                if numbers and name in last:
                    assert int(pairs.read("s1", index).mask[0, 0]) in (numbers[-1], numbers[-1] + 3)
        assert find_damage(path) == []
    fold_edits(path)
    assert find_damage(path) == []
    assert [entry.name for entry in path.parent.iterdir()] == ["a.h5"]


def test_looking_leaves_nothing_behind(path):
    with writer(path):
        pass
    assert [entry.name for entry in path.parent.iterdir()] == ["a.h5"]

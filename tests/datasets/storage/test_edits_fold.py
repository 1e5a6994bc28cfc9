import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from edited_file import SIZE, make_mask, write_file, writer

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.pairs_file import main
from localblur.datasets.storage import edits_fold
from localblur.datasets.storage.check import find_damage
from localblur.datasets.storage.edits import edits_folder, edits_path
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.store import MasksWriter, PairsFile


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    return write_file(tmp_path, make_pair, make_file)


@pytest.fixture
def mask(rng):
    return make_mask(rng)


@pytest.fixture
def edited(path, mask):
    with writer(path) as edits:
        edits.set_verdict("s1", "0", Verdict.REJECT)
        edits.set_note("s1", "1", "window flickers")
        edits.set_mask("s1", "1", mask)
        edits.set_mask("s2", "00", 255 - mask)
    return path


def seen(path):
    with PairsFile(path) as pairs:
        return [
            (info, pairs.is_rejected(entry.name, n), pairs.is_mended(entry.name, n), pairs.checksums(entry.name, n))
            for entry in pairs.scenes
            for n, info in enumerate(pairs.info(entry.name))
        ]


def test_folding_changes_nothing_for_readers_and_leaves_one_file(edited):
    before = seen(edited)
    folded = fold_edits(edited)
    assert (folded.verdicts, folded.notes, folded.masks) == (1, 1, 2)
    assert [entry.name for entry in edited.parent.iterdir()] == ["a.h5"]
    assert seen(edited) == before
    assert find_damage(edited) == []
    assert fold_edits(edited).masks == 0
    with h5py.File(edited) as file:
        assert json.loads(file.attrs["edits_folded"])["lines"] == 4


@pytest.mark.parametrize("moment", ["copyfile", "_put", "_mark", "_compare", "publish"])
def test_folding_that_fails_at_any_moment_loses_nothing(edited, monkeypatch, moment):
    before, stored = seen(edited), edited.read_bytes()
    owner = edits_fold.shutil if moment == "copyfile" else edits_fold

    def fail(*_arguments):
        raise RuntimeError("cut")

    with monkeypatch.context() as patched:
        patched.setattr(owner, moment, fail)
        with pytest.raises(RuntimeError, match="cut"):
            fold_edits(edited)
    assert edited.read_bytes() == stored
    assert seen(edited) == before
    fold_edits(edited)
    assert seen(edited) == before


FOLD = """
    import sys
    from pathlib import Path
    from localblur.datasets.storage.edits_fold import fold_edits

    print("begins", flush=True)
    fold_edits(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_kills_while_folding_lose_nothing(edited):
    before = seen(edited)
    for delay_ms in range(0, 24, 3):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(FOLD), str(edited)], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            time.sleep(delay_ms / 1000)
            process.send_signal(signal.SIGKILL)
        assert seen(edited) == before
        assert find_damage(edited) == []
    fold_edits(edited)
    assert seen(edited) == before
    assert [entry.name for entry in edited.parent.iterdir()] == ["a.h5"]


def test_what_a_kill_left_behind_is_removed(edited):
    before = seen(edited)
    (edits_folder(edited) / "copy.h5").write_bytes(b"half a copy")
    (edits_folder(edited) / ".000009-s1-0.123.part.png").write_bytes(b"half a mask")
    fold_edits(edited)
    assert seen(edited) == before
    assert [entry.name for entry in edited.parent.iterdir()] == ["a.h5"]
    edits_folder(edited).mkdir()
    (edits_folder(edited) / "000000-s1-0.png").write_bytes(b"a mask that was folded in")
    fold_edits(edited)
    assert [entry.name for entry in edited.parent.iterdir()] == ["a.h5"]


def test_a_kill_between_folding_and_removing_the_journal_applies_nothing_twice(edited, mask):
    content = edits_path(edited).read_bytes()
    fold_edits(edited)
    before = seen(edited)
    edits_path(edited).write_bytes(content)
    # the masks are gone, as a kill in the middle of tidying up leaves them
    assert seen(edited) == before
    with MasksWriter(edited, {"method": "x"}) as masks:
        masks.add("s1", "1", 255 - mask)
    with PairsFile(edited) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 1).mask, 255 - mask)
        assert not pairs.is_mended("s1", 1)
    with writer(edited) as edits:
        edits.set_verdict("s1", "0", Verdict.ACCEPT)
    with PairsFile(edited) as pairs:
        assert not pairs.is_rejected("s1", 0)
    fold_edits(edited)
    assert [entry.name for entry in edited.parent.iterdir()] == ["a.h5"]


def test_a_file_that_changes_meanwhile_is_not_replaced(edited, monkeypatch):
    real = edits_fold._compare

    def change(*arguments):
        real(*arguments)
        os.utime(edited, ns=(1, 1))

    monkeypatch.setattr(edits_fold, "_compare", change)
    with pytest.raises(LocalblurError, match="was changed while edits were folded in"):
        fold_edits(edited)
    assert edits_path(edited).exists()


def test_edited_masks_outlive_new_ones_made_by_a_method(edited, mask, caplog):
    with MasksWriter(edited, {"method": "x"}) as masks:
        masks.add("s1", "1", np.zeros(SIZE, np.uint8))
        masks.add("s1", "2", np.zeros(SIZE, np.uint8))
    assert "1 of the new masks stays behind one that a person edited" in caplog.text
    with PairsFile(edited) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 1).mask, mask)


def test_the_command_says_what_was_folded(edited):
    result = CliRunner().invoke(main, ["fold-edits", str(edited)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{edited}: 1 verdict, 1 note and 2 masks folded in\n"
    assert CliRunner().invoke(main, ["fold-edits", str(edited)]).stdout == f"{edited}: no edits\n"
    missing = CliRunner().invoke(main, ["fold-edits", str(edited.with_name("no.h5"))])
    assert missing.exit_code == 1
    assert "does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr

"""Going on after an interruption, a kill, a full disk."""

import logging
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from equal_pairs import assert_equal_pairs

from localblur.common.errors import LocalblurError
from localblur.datasets.store import PairsFile, PairsWriter, parts_folder, write_part


def interrupted(path, header, pairs, **options):
    with pytest.raises(KeyboardInterrupt), PairsWriter(path, header, **options) as writer:
        for pair in pairs:
            writer.add(pair, "train")
        raise KeyboardInterrupt
    assert parts_folder(path).exists()


def crash(path):
    """What a kill leaves: a building.h5 that nobody closed well, here one that still opens but is wrong."""
    parts = parts_folder(path)
    (parts / "closed-well").unlink()
    with h5py.File(parts / "building.h5", "r+") as file:
        file["scenes/s1/blurred"][0] = 0
        del file["scenes/s1/sharp"]


@pytest.mark.parametrize("kind", ["interrupted", "crashed", "torn", "gone"])
def test_an_unfinished_run_goes_on_where_it_stopped(tmp_path, make_pair, header, kind):
    path = tmp_path / "a.h5"
    originals = [make_pair(name=f"{n}") for n in range(4)]
    interrupted(path, header, originals[:2])
    assert not path.exists()
    if kind == "crashed":
        crash(path)
    elif kind != "interrupted":
        (parts_folder(path) / "closed-well").unlink()
        building = parts_folder(path) / "building.h5"
        building.write_bytes(building.read_bytes()[:3000]) if kind == "torn" else building.unlink()
    with PairsWriter(path, header) as writer:
        assert writer.finished == {("s1", "0"), ("s1", "1")}
        for pair in originals[2:]:
            writer.add(pair, "train")
    with PairsFile(path) as pairs:
        assert pairs.scene("s1").count == 4
        for index, pair in enumerate(originals):
            assert_equal_pairs(pairs.read("s1", index), pair)
    assert list(tmp_path.iterdir()) == [path]


def test_parts_that_were_never_folded_are_taken_up(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair(name="0")])
    write_part(parts_folder(path), make_pair(name="1"), "train")
    with PairsWriter(path, header) as writer:
        assert writer.finished == {("s1", "0"), ("s1", "1")}
    assert PairsFile(path).names("s1") == ["0", "1"]


def test_bad_parts_of_an_earlier_run_are_done_again_with_a_warning(tmp_path, make_pair, header, caplog):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair(name="0")])
    crash(path)
    parts = parts_folder(path)
    (parts / "torn.npz").write_bytes(b"PK")
    (parts / ".left.123.part.npz").write_bytes(b"half")
    write_part(parts, make_pair(name="1", size=(20, 20)), "train")
    with caplog.at_level(logging.WARNING), PairsWriter(path, header) as writer:
        assert writer.finished == {("s1", "0")}
        assert not (parts / "torn.npz").exists()
    assert len(caplog.records) == 2
    assert "torn.npz is torn or foreign" in caplog.text
    assert "is 20x20 but its scene is 90x70" in caplog.text


def test_a_calibration_survives_a_crash(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt), PairsWriter(path, header) as writer:
        writer.set_calibration({"rig": {"field": np.ones(3)}})
        writer.add(make_pair(), "train")
        raise KeyboardInterrupt
    crash(path)
    with PairsWriter(path, header):
        pass
    np.testing.assert_array_equal(PairsFile(path).calibration()["rig"]["field"], np.ones(3))


def test_other_settings_do_not_continue_an_unfinished_run(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair(name="0")])
    other = header.model_copy(update={"settings": {"seed": 4, "gain": 1.5}})
    with pytest.raises(LocalblurError, match=r"another settings\.seed \(3, now 4\).*--overwrite"):
        PairsWriter(path, other).__enter__()
    with pytest.raises(LocalblurError, match="compression"):
        PairsWriter(path, header, compression="lzf").__enter__()
    with PairsWriter(path, other, overwrite=True) as writer:
        assert writer.finished == set()
        writer.add(make_pair(name="1"), "train")
    with PairsFile(path) as pairs:
        assert (pairs.names("s1"), pairs.header) == (["1"], other)


def test_parts_cut_into_other_chunks_are_not_mixed_in(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair(name="0")])
    run = path.with_name("a.h5.parts") / "header.json"  # as a version with larger chunks left it
    run.write_text(run.read_text().replace('"chunk_px": 64', '"chunk_px": 96'))
    with pytest.raises(LocalblurError, match=r"another chunk_px \(96, now 64\).*--overwrite"):
        PairsWriter(path, header).__enter__()


def test_a_run_that_finished_nothing_does_not_stand_in_the_way(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [])
    other = header.model_copy(update={"source": "elsewhere"})
    with PairsWriter(path, other) as writer:
        writer.add(make_pair(), "train")


def test_a_file_that_came_after_an_interrupted_run_is_not_replaced(tmp_path, make_pair, make_file, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair(name="0")])
    make_file(tmp_path / "b.h5", {"train": [make_pair(name="other")]}).rename(path)
    with pytest.raises(LocalblurError, match="exists already"):
        PairsWriter(path, header).__enter__()
    with PairsFile(path) as pairs:
        assert pairs.names("s1") == ["other"]


def test_a_kill_between_rename_and_clean_up_costs_nothing(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair()])
    (parts_folder(path) / "building.h5").rename(path)
    with PairsWriter(path, header) as writer:
        assert writer.finished == {("s1", "00")}
    assert_equal_pairs(PairsFile(path).read("s1", 0), make_pair())


def test_an_interrupt_in_mid_fold_leaves_no_ghost(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    interrupted(path, header, [make_pair(name="0")])
    with h5py.File(parts_folder(path) / "building.h5", "r+") as file:  # as an interrupt between resize and row does
        for name in ("blur_cells", "blurred", "mask", "pairs"):
            file["scenes/s1"][name].resize(2, axis=0)
    with PairsWriter(path, header) as writer:
        assert writer.finished == {("s1", "0")}
        writer.add(make_pair(name="1"), "train")
    with PairsFile(path) as pairs:
        assert pairs.names("s1") == ["0", "1"]
        assert_equal_pairs(pairs.read("s1", 1), make_pair(name="1"))
    with h5py.File(path) as file:
        assert len(file["scenes/s1/pairs"]) == 2


FILE_LIMIT = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    import click
    from localblur.common.command import Command
    from localblur.datasets.pair import Pair, PairInfo
    from localblur.datasets.store import PairsWriter, StoreHeader

    @click.command(cls=Command)
    @click.argument("path", type=click.Path(path_type=Path))
    @click.argument("limit", type=int)
    def main(path, limit):
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8), compression="none") as writer:
            print(len(writer.finished))
            for number in range(12):
                image = np.full((256, 256, 3), number, np.uint8)
                if ("s", str(number)) not in writer.finished:
                    info = PairInfo(name=str(number))
                    writer.add(Pair(scene="s", info=info, blurred=image, sharp=image), "train")

    main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_no_room_for_the_file_is_one_line_and_the_next_run_goes_on(tmp_path):
    """HDF5 2.0 crashes the process when a flush meets a full disk; a file size limit is met the same way."""
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", textwrap.dedent(FILE_LIMIT), str(path)]
    full = subprocess.run([*command, str(5 << 20)], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stdout) == (1, "0\n")
    assert len(full.stderr.splitlines()) == 1
    assert f"{path}.parts" in full.stderr
    assert "would become larger than a file may be here" in full.stderr
    assert not path.exists()
    again = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    assert 3 <= int(again.stdout) <= 8
    with PairsFile(path) as pairs:
        assert [pairs.read("s", n).sharp[0, 0, 0] for n in range(12)] == list(range(12))


def test_an_unfinished_run_of_other_inputs_is_not_continued(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    first, other = {"inputs": {"pairs": "dayA/pairs"}}, {"inputs": {"pairs": "dayB/pairs"}}
    interrupted(path, header, [make_pair(name="A")], identity=first)
    with (
        pytest.raises(LocalblurError, match=r"another inputs\.pairs \('dayA/pairs', now 'dayB/pairs'\).*delete"),
        PairsWriter(path, header, identity=other),
    ):
        pass
    for finished in (set(), {("s1", "B")}):  # --overwrite drops the others' part, and repeated goes on with its own
        with pytest.raises(RuntimeError), PairsWriter(path, header, identity=other, overwrite=True) as writer:
            assert writer.finished == finished
            if not finished:
                writer.add(make_pair(name="B"), "train")
            raise RuntimeError
    with PairsWriter(path, header, identity=other):
        pass
    assert PairsFile(path).names("s1") == ["B"]
    assert b"dayB" not in path.read_bytes()


def test_a_run_begins_once_even_if_it_finished_nothing(tmp_path, header):
    path = tmp_path / "a.h5"
    assert PairsWriter(path, header).begins()
    interrupted(path, header, [])
    assert not PairsWriter(path, header).begins()
    assert PairsWriter(path, header, identity={"report": "r"}).begins()

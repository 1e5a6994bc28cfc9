import json
import logging
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import h5py
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.edits import EditsWriter, edits_path
from localblur.datasets.storage.schema import PAIR_ROW
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader, parts_folder, write_part


def assert_equal_pairs(left, right):
    assert (left.scene, left.info.name) == (right.scene, right.info.name)
    assert left.blurred.dtype == right.blurred.dtype
    np.testing.assert_array_equal(left.blurred, right.blurred)
    np.testing.assert_array_equal(left.sharp, right.sharp)
    assert (left.mask is None) == (right.mask is None)
    if left.mask is not None:
        np.testing.assert_array_equal(left.mask, right.mask)


# --- what is refused ---


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ({}, {"dtype": np.uint16}, "is uint16 but the file stores 8-bit srgb"),
        ({}, {"size": (80, 90)}, "is 90x80 but its scene is 90x70"),
        ({}, {"split": "test"}, "meant for split test but its scene is in train"),
        ({}, {"split": "holdout"}, "split must be one of train, val, test"),
        ({}, {"name": "00"}, "already"),
        ({}, {"name": "a/b"}, "pair name 'a/b' cannot be stored"),
        ({}, {"scene": ".."}, r"scene name '\.\.' cannot be stored"),
        ({}, {"valid_box": (0, 0, 71, 90)}, "does not lie in the 90x70 picture"),
        ({}, {"valid_box": (5, 5, 5, 9)}, "does not lie in"),
        ({}, {"reasons": "r" * 2000}, "reasons take 2000 bytes"),
    ],
)
@pytest.mark.parametrize("by_part", [False, True])
def test_a_pair_that_does_not_fit_is_one_line_and_the_rest_goes_on(
    tmp_path, make_pair, header, first, second, complaint, by_part
):
    path = tmp_path / "a.h5"
    options = {"name": "01", **second}
    split = options.pop("split", "train")
    with PairsWriter(path, header) as writer:
        writer.add(make_pair(**first), "train")
        with pytest.raises(LocalblurError, match=complaint) as caught:
            if by_part:
                writer.fold(write_part(writer.parts, make_pair(**options), split))
            else:
                writer.add(make_pair(**options), split)
        assert "\n" not in str(caught.value)
        writer.add(make_pair(name="02"), "train")
    with PairsFile.open(path) as pairs:
        assert pairs.names("s1") == ["00", "02"]
        assert_equal_pairs(pairs.read("s1", 0), make_pair())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"foreign"])
def test_a_torn_or_foreign_part_is_named(tmp_path, header, make_pair, content):
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        part = writer.parts / "torn.npz"
        part.write_bytes(content)
        with pytest.raises(LocalblurError, match=r"torn\.npz is torn or foreign"):
            writer.fold(part)
        with pytest.raises(LocalblurError, match=r"none\.npz is torn or foreign"):
            writer.fold(writer.parts / "none.npz")
        writer.add(make_pair(), "train")


def test_a_part_with_a_flipped_bit_is_noticed(tmp_path, header, make_pair):
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        part = write_part(writer.parts, make_pair(), "train")
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
        with pytest.raises(LocalblurError, match="torn or foreign"):
            writer.fold(part)
        writer.add(make_pair(), "train")


def test_a_part_that_would_run_code_is_refused(tmp_path, header, make_pair):
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        part = writer.parts / "evil.npz"
        np.savez(part, meta=np.array([{"format": "localblur-part"}], dtype=object))
        with pytest.raises(LocalblurError, match=r"evil\.npz is torn or foreign"):
            writer.fold(part)
        writer.add(make_pair(), "train")


def test_an_existing_output_is_kept_unless_overwritten(tmp_path, make_pair, make_file, header):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair()]})
    before = path.read_bytes()
    with pytest.raises(LocalblurError, match="--overwrite"), PairsWriter(path, header):
        pass
    assert path.read_bytes() == before
    assert not parts_folder(path).exists()
    make_file(path, {"train": [make_pair(name="new")]}, overwrite=True)
    assert PairsFile(path).names("s1") == ["new"]


def test_a_failed_overwrite_keeps_the_old_file(tmp_path, make_pair, make_file, header):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair()]})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), PairsWriter(path, header, overwrite=True) as writer:
        writer.add(make_pair(name="new"), "train")
        raise RuntimeError
    assert path.read_bytes() == before


def test_nothing_is_written_without_a_pair(tmp_path, header):
    with pytest.raises(LocalblurError, match="no pair was finished"), PairsWriter(tmp_path / "a.h5", header):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_left_alone(tmp_path, header):
    path = tmp_path / "a.h5"
    parts_folder(path).mkdir()
    (parts_folder(path) / "thesis.txt").write_text("precious")
    with pytest.raises(LocalblurError, match="is in the way"), PairsWriter(path, header, overwrite=True):
        pass
    assert (parts_folder(path) / "thesis.txt").read_text() == "precious"
    path.mkdir()
    with pytest.raises(LocalblurError, match="is a folder"), PairsWriter(path, header):
        pass


def test_a_second_writer_is_refused(tmp_path, header, make_pair):
    path = tmp_path / "a.h5"
    script = f"""
        from pathlib import Path
        from localblur.common.errors import LocalblurError
        from localblur.datasets.store import PairsWriter, StoreHeader
        try:
            PairsWriter(Path({str(path)!r}), StoreHeader.model_validate({header.plain()!r}), overwrite=True).__enter__()
        except LocalblurError as error:
            print(error)
    """
    with PairsWriter(path, header) as writer:
        writer.add(make_pair(), "train")
        answer = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        ).stdout
        assert "another process is writing" in answer
        writer.add(make_pair(name="01"), "train")
    assert PairsFile(path).names("s1") == ["00", "01"]


def test_an_unknown_compression_names_the_known_ones(tmp_path, header):
    with pytest.raises(LocalblurError, match="gzip, lzf, none"):
        PairsWriter(tmp_path / "a.h5", header, compression="zip")


# --- what is stored ---


@pytest.mark.parametrize("compression", ["gzip", "lzf", "none"])
@pytest.mark.parametrize(("depth", "encoding"), [(8, "srgb"), (16, "linear")])
def test_pairs_come_back_bit_for_bit(tmp_path, make_pair, make_file, compression, depth, encoding):
    head = StoreHeader(encoding=encoding, bit_depth=depth, creator="c", source="s", licence="CC0", settings={"a": [1]})
    dtype = np.uint8 if depth == 8 else np.uint16
    originals = [
        make_pair("s1", "00", dtype=dtype, size=(130, 150)),
        make_pair("s1", "01", dtype=dtype, size=(130, 150), masked=False),
        make_pair("s2", "00", dtype=dtype, masked=False),
    ]
    path = make_file(tmp_path / "a.h5", {"train": originals[:2], "val": originals[2:]}, head, compression=compression)
    with PairsFile.open(path) as pairs:
        assert pairs.header == head
        assert [(s.name, s.split, s.height, s.width, s.count, s.masked) for s in pairs.scenes] == [
            ("s1", "train", 130, 150, 2, 1),
            ("s2", "val", 70, 90, 1, 0),
        ]
        for pair, index in zip(originals, (0, 1, 0), strict=True):
            assert_equal_pairs(pairs.read(pair.scene, index), pair)


def test_everything_known_about_a_pair_comes_back(tmp_path, make_pair, make_file):
    pair = make_pair(
        name="07",
        exposure_long_ms=20.0,
        exposure_short_ms=1.25,
        valid_box=(3, 4, 60, 80),
        quality={"epe_px": 0.08, "nothing": float("nan")},
        verdict=Verdict.REJECT,
        reasons="größer als erlaubt; too dark",
        decided_by="Zoë",
    )
    path = make_file(tmp_path / "a.h5", {"test": [pair]})
    (info,) = PairsFile(path).info("s1")
    assert np.isnan(info.quality.pop("nothing"))
    expected = pair.info
    expected.quality.pop("nothing")
    assert info == expected


def test_the_file_is_laid_out_as_the_schema_says(tmp_path, make_pair, make_file):
    pairs = [make_pair(name=f"{n:02}", size=(260, 300)) for n in range(3)]
    path = make_file(tmp_path / "a.h5", {"train": [*pairs, make_pair("bare", masked=False)]})
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert attributes["format"] == "localblur-pairs"
        assert attributes["schema_version"] == 1
        assert (attributes["encoding"], attributes["bit_depth"]) == ("srgb", 8)
        assert json.loads(attributes["settings"]) == {"seed": 3, "gain": 1.5}
        assert {"created", "creator", "source", "licence"} <= set(attributes)
        scene = file["scenes/s1"]
        assert scene.attrs["split"] == "train"
        shapes = {name: (data.shape, data.dtype.str, data.chunks) for name, data in scene.items() if name != "pairs"}
        assert shapes == {
            "blurred": ((3, 260, 300, 3), "|u1", (1, 64, 64, 3)),
            "sharp": ((3, 260, 300, 3), "|u1", (1, 64, 64, 3)),
            "mask": ((3, 260, 300), "|u1", (1, 64, 64)),
            "blur_cells": ((3, 17, 19), "|u1", (1, 17, 19)),
            "thumbnails": ((3, 222, 256, 3), "|u1", (1, 64, 64, 3)),
        }
        assert (scene["blurred"].compression, scene["blurred"].compression_opts) == ("gzip", 1)
        assert scene["pairs"].dtype == PAIR_ROW
        assert h5py.check_string_dtype(scene["pairs"].dtype["name"]).encoding == "utf-8"
        assert scene["pairs"]["complete"].tolist() == [1, 1, 1]
        assert scene["pairs"]["name"].tolist() == [b"00", b"01", b"02"]
        assert set(file["scenes/bare"]) == {"blurred", "sharp", "thumbnails", "pairs"}
        assert "calibration" not in file


def test_long_settings_are_stored_whole(tmp_path, make_pair, make_file, header):
    long = header.model_copy(update={"settings": {"inputs": [f"/data/recording_{n}" for n in range(10_000)]}})
    path = make_file(tmp_path / "a.h5", {"train": [make_pair()]}, long)
    assert PairsFile(path).header == long


def test_a_calibration_comes_back(tmp_path, make_pair, header, rng):
    field = rng.random((5, 6, 2), dtype=np.float32)
    content = {
        "rig": {"field": field, "residual_px": 0.03, "inner": {"matrix": np.eye(3)}},
        "note": "ä",
        "list": [1, 2],
    }
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        writer.set_calibration({"rig": {"old": np.zeros(3)}})
        writer.set_calibration(content)
        writer.add(make_pair(), "train")
    back = PairsFile(tmp_path / "a.h5").calibration()
    np.testing.assert_array_equal(back["rig"].pop("field"), field)
    np.testing.assert_array_equal(back["rig"]["inner"].pop("matrix"), np.eye(3))
    assert back == {"rig": {"residual_px": 0.03, "inner": {}}, "note": "ä", "list": [1, 2]}


def test_parts_from_worker_processes_are_folded(tmp_path, make_pair, header):
    path = tmp_path / "a.h5"
    originals = [make_pair(name=f"{n}") for n in range(4)]
    with PairsWriter(path, header) as writer, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for future in reversed([pool.submit(write_part, writer.parts, pair, "train") for pair in originals]):
            writer.fold(future.result())
    assert not parts_folder(path).exists()
    with PairsFile(path) as pairs:
        for index, pair in enumerate(originals):
            assert_equal_pairs(pairs.read("s1", index), pair)


# --- going on after an interruption ---


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


# --- a person's edits are never orphaned ---


@pytest.mark.parametrize("pairs_file_is_there", [True, False])
def test_a_file_with_edits_is_not_replaced(tmp_path, make_pair, make_file, header, pairs_file_is_there):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair()]})
    before = path.read_bytes()
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim") as edits:
        edits.set_note("s1", "00", "keep me")
    if not pairs_file_is_there:
        path.unlink()
    with pytest.raises(LocalblurError, match="holds a person's edits"):
        make_file(path, {"train": [make_pair(name="01")]}, overwrite=True)
    assert not pairs_file_is_there or path.read_bytes() == before
    assert edits_path(path).exists()
    edits_path(path).unlink()
    make_file(path, {"train": [make_pair(name="01")]}, overwrite=True)
    with PairsFile(path) as pairs:
        assert pairs.names("s1") == ["01"]

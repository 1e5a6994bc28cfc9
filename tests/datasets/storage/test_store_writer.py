import json
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import h5py
import numpy as np
import pytest
from equal_pairs import assert_equal_pairs

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.edits import EditsWriter, edits_path
from localblur.datasets.storage.schema import PAIR_ROW
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader, parts_folder, write_part

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

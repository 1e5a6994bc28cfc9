"""merge, subset, split and repack: nothing is lost or changed on the way, and nothing half done is left."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from localblur.datasets.pair import Verdict
from localblur.datasets.pairs_file import main
from localblur.datasets.storage.check import find_damage
from localblur.datasets.storage.compression import compression_of
from localblur.datasets.storage.edits import EditsWriter, edits_path
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.store import MasksWriter, PairsFile, PairsWriter, StoreHeader

SIZE = (140, 150)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result, complaint):
    assert result.exit_code == 1, result.output
    assert len(result.stderr.splitlines()) == 1
    assert complaint in result.stderr


@pytest.fixture
def first(tmp_path, make_pair, header):
    with PairsWriter(tmp_path / "monday.h5", header) as writer:
        writer.set_calibration({"rig": {"field": np.arange(6.0).reshape(2, 3), "name": "table"}})
        for number, verdict in enumerate(Verdict):
            masked = number != 1
            writer.add(make_pair("street", f"{number}", verdict=verdict, size=SIZE, masked=masked), "train")
        writer.add(make_pair("kitchen", masked=False), "test")
    with MasksWriter(writer.path, {"method": "pair"}) as masks:
        masks.add("street", "1", np.full(SIZE, 130, np.uint8))
    return writer.path


@pytest.fixture
def second(tmp_path, make_pair, make_file):
    head = StoreHeader(encoding="srgb", bit_depth=8, creator="other", source="lab 2", licence="CC0", settings={"a": 1})
    pairs = {"train": [make_pair("garden", "0", size=(33, 45))], "val": [make_pair("hall", "7")]}
    return make_file(tmp_path / "tuesday.h5", pairs, head, compression="lzf")


def everything(path, names=None):
    """All that readers see of a file, pixels included, by (scene, pair)."""
    with PairsFile(path) as pairs:
        found = {}
        for entry in pairs.scenes:
            for index in range(entry.count):
                pair = pairs.read(entry.name, index)
                cells = pairs.blur_cells(entry.name, index)
                found[entry.name, pair.info.name] = (
                    entry.split,
                    repr(pair.info),
                    pair.blurred.tobytes(),
                    pair.sharp.tobytes(),
                    None if pair.mask is None else (pair.mask.tobytes(), pairs.is_mended(entry.name, index)),
                    None if cells is None else cells.tobytes(),
                    pairs.thumbnail(entry.name, index).tobytes(),
                    tuple(pairs.checksums(entry.name, index).items()),
                )
    return found


def edit(path, mask):
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim", pairs.folded_edits) as edits:
        edits.set_verdict("street", "0", Verdict.REJECT)
        edits.set_note("street", "2", "cat")
        edits.set_mask("street", "0", mask)
        edits.set_mask("kitchen", "00", mask[:70, :90])


# --- bad input ---


@pytest.mark.parametrize("command", [["merge"], ["subset"], ["repack", "--compression", "lzf"]])
def test_bad_files_outputs_and_existing_files_are_refused_in_one_line(tmp_path, first, command):
    (tmp_path / "text.h5").write_text("no")
    refused(run(*command, tmp_path / "none.h5", "-o", tmp_path / "x.h5"), "does not exist")
    refused(run(*command, tmp_path / "text.h5", "-o", tmp_path / "x.h5"), "not an HDF5 file")
    refused(run(*command, first, "-o", tmp_path), "is a folder")
    refused(run(*command, first, "-o", first, "--overwrite"), "one of the files to be copied from")
    (tmp_path / "x.h5").write_text("precious")
    refused(run(*command, first, "-o", tmp_path / "x.h5"), "exists already")
    assert (tmp_path / "x.h5").read_text() == "precious"
    assert run(*command, first, "-o", tmp_path / "x.h5", "--overwrite").exit_code == 0


def test_what_does_not_fit_together_is_refused_and_nothing_is_left(tmp_path, first, make_pair, make_file):
    deep = make_file(
        tmp_path / "deep.h5",
        {"train": [make_pair("a", dtype=np.uint16)]},
        StoreHeader(encoding="linear", bit_depth=16),
    )
    before = sorted(tmp_path.iterdir())
    refused(run("merge", first, deep, "-o", tmp_path / "x.h5"), "deep.h5 stores 16-bit linear pictures")
    refused(run("merge", first, first, "-o", tmp_path / "x.h5"), "given twice")
    refused(run("subset", first, "-o", tmp_path / "x.h5", "--scene", "moon"), "it has the scenes kitchen, street")
    refused(run("split", first, "--split", "train=2"), "--split")
    assert sorted(tmp_path.iterdir()) == before


def test_a_source_that_is_damaged_in_the_middle_leaves_no_file(tmp_path, first):
    with h5py.File(first) as file:
        offset = file["scenes/street/pairs"].id.get_chunk_info(0).byte_offset
    content = bytearray(first.read_bytes())
    content[offset : offset + 40] = bytes(40)
    first.write_bytes(content)
    refused(run("repack", first, "-o", tmp_path / "x.h5", "--compression", "lzf"), "damaged")
    assert list(tmp_path.glob("*x*")) == []


# --- what comes out ---


@pytest.mark.parametrize("compression", ["gzip", "none", "lzf", "bitshuffle-lz4"])
def test_repack_changes_the_compression_and_nothing_else(tmp_path, first, compression):
    out = tmp_path / "x.h5"
    result = run("repack", first, "-o", out, "--compression", compression)
    assert result.exit_code == 0, result.output
    assert everything(out) == everything(first)
    assert find_damage(out) == []
    with PairsFile(first) as before, PairsFile(out) as after:
        assert (after.header, after.created, after.identity) == (before.header, before.created, before.identity)
        assert after.mask_settings == before.mask_settings == {"method": "pair"}
        np.testing.assert_array_equal(after.calibration()["rig"]["field"], np.arange(6.0).reshape(2, 3))
        assert after.calibration()["rig"]["name"] == "table"
    with h5py.File(out) as file:
        assert compression_of(file["scenes/street/mask"]) == compression


def test_merge_keeps_every_pair_its_split_and_where_it_comes_from(tmp_path, first, second):
    out = tmp_path / "week.h5"
    result = run("merge", first, second, "-o", out)
    assert result.exit_code == 0, result.output
    assert everything(out) == everything(first) | everything(second)
    assert find_damage(out) == []
    assert "train: 4 pairs in 2 scenes; val: 1 pairs in 1 scenes; test: 1 pairs in 1 scenes" in result.stdout
    with PairsFile(out) as pairs:
        origins = pairs.header.settings["merged"]
        assert [origin["file"] for origin in origins] == ["monday.h5", "tuesday.h5"]
        assert origins[1]["settings"] == {"a": 1}
        assert pairs.header.source == "lab 2"
        assert pairs.header.licence == "not stated; CC0"
        assert list(pairs.calibration()) == ["monday"]
        assert pairs.mask_settings == {"monday": {"method": "pair"}}


def test_scenes_of_one_name_need_a_prefix(tmp_path, first, make_pair, make_file):
    other = make_file(tmp_path / "sunday.h5", {"val": [make_pair("street", "9", size=(20, 20))]})
    out = tmp_path / "x.h5"
    refused(run("merge", first, other, "-o", out), "pass --prefix")
    assert run("merge", first, other, "-o", out, "--prefix").exit_code == 0
    with PairsFile(out) as pairs:
        assert [entry.name for entry in pairs.scenes] == ["monday-kitchen", "monday-street", "sunday-street"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--split", "test"], ["kitchen/00"]),
        (["--scene", "str*"], ["street/0", "street/1", "street/2"]),
        (["--verdict", "accept", "--verdict", "undecided"], ["kitchen/00", "street/0", "street/2"]),
        (["--masked"], ["street/0", "street/1", "street/2"]),
        (["--per-scene", "2"], ["kitchen/00", "street/0", "street/2"]),
        (["--scene", "street", "--verdict", "reject"], ["street/1"]),
    ],
)
def test_a_subset_holds_what_was_asked_for(tmp_path, first, options, kept):
    out = tmp_path / "x.h5"
    assert run("subset", first, "-o", out, *options).exit_code == 0
    wanted = {key: value for key, value in everything(first).items() if "/".join(key) in kept}
    assert everything(out) == wanted
    assert len(wanted) == len(kept)
    assert find_damage(out) == []
    with PairsFile(out) as pairs:
        assert pairs.header.settings["seed"] == 3
        assert "subset" in pairs.header.settings["derived"]


def test_the_edits_of_a_person_become_part_of_every_copy(tmp_path, first, rng):
    edit(first, rng.integers(0, 256, SIZE, dtype=np.uint8))
    seen = everything(first)
    for command in (["repack", "--compression", "lzf"], ["repack", "--compression", "gzip"], ["merge"]):
        out = tmp_path / "x.h5"
        assert run(*command, first, "-o", out, "--overwrite").exit_code == 0
        assert not edits_path(out).exists()
        assert everything(out) == seen
        assert find_damage(out) == []
    assert run("subset", first, "-o", out, "--verdict", "reject", "--overwrite").exit_code == 0
    assert sorted(everything(out)) == [("street", "0"), ("street", "1")]


def test_a_mask_that_a_person_mended_stays_marked_so(tmp_path, first, rng):
    edit(first, rng.integers(0, 256, SIZE, dtype=np.uint8))
    fold_edits(first)
    assert run("repack", first, "-o", tmp_path / "x.h5", "--compression", "none").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [pairs.is_mended("street", index) for index in range(3)] == [True, False, False]


def test_split_divides_scenes_anew_and_keeps_everything_else(tmp_path, make_pair, make_file, rng):
    members = [make_pair(f"s{number}", size=(20, 24)) for number in range(10)]
    path = make_file(tmp_path / "a.h5", {"train": members})
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim") as edits:
        edits.set_note("s3", "00", "cat")
    before = everything(path)
    result = run("split", path, "--split", "train=0.6,val=0.2,test=0.2", "--seed", "4")
    assert result.exit_code == 0
    assert "train: 6 pairs in 6 scenes; val: 2" in result.stdout
    after = everything(path)
    assert {key: value[1:] for key, value in after.items()} == {key: value[1:] for key, value in before.items()}
    run("split", path, "--split", "train=0.6,val=0.2,test=0.2", "--seed", "4")
    assert everything(path) == after
    (tmp_path / "list.txt").write_text("".join(f"s{number} val\n" for number in range(10)))
    assert run("split", path, "--split", tmp_path / "list.txt").exit_code == 0
    with PairsFile(path) as pairs:
        assert {entry.split for entry in pairs.scenes} == {"val"}


def test_a_scene_that_two_splits_share_is_told(tmp_path, make_pair, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair("s1")]})
    with PairsFile(path) as pairs:
        twin = pairs.read("s1", 0)
    twin = type(twin)(scene="s2", info=twin.info, blurred=twin.blurred, sharp=twin.sharp, mask=twin.mask)
    other = make_file(tmp_path / "b.h5", {"test": [twin, make_pair("s3")]})
    result = run("merge", path, other, "-o", tmp_path / "x.h5")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith("warning: scenes s1 (train) and s2 (test) look like one scene (0")
    assert result.stderr.count("warning") == 1


def test_a_mended_mask_loses_its_confidence_in_copies(tmp_path, make_pair, make_file, rng):
    members = [make_pair("street", f"{n}", size=SIZE, quality={"mask_confidence": 0.4, "gain": 1.0}) for n in range(2)]
    path = make_file(tmp_path / "a.h5", {"train": members})
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim", pairs.folded_edits) as edits:
        edits.set_mask("street", "0", rng.integers(0, 256, SIZE, dtype=np.uint8))
    assert run("repack", path, "-o", tmp_path / "x.h5", "--compression", "none").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [sorted(pairs.pair_info("street", n).quality) for n in range(2)] == [
            ["gain"],
            ["gain", "mask_confidence"],
        ]

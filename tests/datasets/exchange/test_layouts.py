"""Every public layout on a generated miniature with a missing partner and a damaged file in it."""

import json
import pickle
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dataset_damage import damage
from dataset_miniatures import (
    BLURRED,
    MINIATURES,
    SHARP,
    SIZE,
    basicsr,
    gopro,
    hide,
    imagefolder,
    put,
    put_pair,
    realblur,
    reloblur,
)

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange.importers import LayoutOptions
from localblur.datasets.exchange.layouts import LAYOUTS
from localblur.datasets.import_dataset import main
from localblur.datasets.store import PairsFile


def run(layout, path, output, *options):
    arguments = [layout, path, "-o", output, "--workers", "0", *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def held(path):
    with PairsFile(path) as pairs:
        return [f"{entry.split} {entry.name}/{name}" for entry in pairs.scenes for name in pairs.names(entry.name)]


@pytest.mark.parametrize("miniature", MINIATURES)
def test_a_miniature_is_imported_but_for_what_is_missing_or_damaged(tmp_path, miniature):
    layout, make, options = MINIATURES[miniature]
    expected = make(tmp_path / "in")
    result = run(layout, tmp_path / "in", tmp_path / "x.h5", *options)
    assert result.exit_code == 3, result.output
    assert sorted(held(tmp_path / "x.h5")) == sorted(expected)
    told = result.stderr[result.stderr.index("left out") :].splitlines()[1:]
    assert any("partner" in line or "missing" in line for line in told)
    assert any("decode" in line for line in told)
    with PairsFile(tmp_path / "x.h5") as pairs:
        for entry in pairs.scenes:
            pair = pairs.read(entry.name, 0)
            assert (int(pair.blurred[0, 0, 0]), int(pair.sharp[0, 0, 0])) == (BLURRED, SHARP)
        known = LAYOUTS[layout]
        assert pairs.header.licence == known.licence
        assert pairs.header.settings.get("citation", "") == known.citation
    assert known.citation in result.stdout


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_an_empty_or_missing_folder_is_one_line(tmp_path, layout):
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        result = run(layout, tmp_path / name, tmp_path / "x.h5")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1), result.output
        assert str(tmp_path / name) in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_the_kind_of_blurred_pictures_has_to_be_chosen(tmp_path):
    gopro(tmp_path / "in")
    result = run("gopro", tmp_path / "in", tmp_path / "x.h5")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "choose --variant blur or blur_gamma" in result.stderr
    assert "no variant 'sharp'" in run("gopro", tmp_path / "in", tmp_path / "x.h5", "--variant", "sharp").stderr
    assert "only one kind" in run("hide", tmp_path / "in", tmp_path / "x.h5", "--variant", "blur").stderr
    assert run("gopro", tmp_path / "in", tmp_path / "x.h5", "--variant", "blur_gamma").exit_code == 3
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert int(pairs.read("GOPR0374_11_00", 0).blurred[0, 0, 0]) == BLURRED + 5
        assert pairs.header.settings["variant"] == "blur_gamma"


def test_what_is_missing_of_the_published_pairs_is_said(tmp_path):
    hide(tmp_path / "in")
    result = run("hide", tmp_path / "in", tmp_path / "x.h5")
    assert "note: test: 3 pairs found, 2025 are published (2022 missing)" in result.stderr


def test_masks_of_reloblur_mark_by_any_value_and_may_lie_elsewhere(tmp_path):
    reloblur(tmp_path / "in")
    assert run("reloblur", tmp_path / "in", tmp_path / "x.h5").exit_code == 3
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.read("s01", 0).mask.sum() == 5 * SIZE[1] * 255
        assert [pairs.has_mask("s02", index) for index in range(2)] == [False, True]
    other = tmp_path / "lmd"
    mask = np.zeros(SIZE, np.uint8)
    mask[:, :3] = 1
    (other / "test/s02/00").mkdir(parents=True)
    (other / "test/s02/01").mkdir(parents=True)
    np.save(other / "test/s02/00/00.npy", mask)
    (other / "test/s02/01/01.npy").write_bytes(pickle.dumps({"blur_mask": mask}))
    result = run("reloblur", tmp_path / "in", tmp_path / "y.h5", "--masks", other)
    assert result.exit_code == 3
    assert "s01/00: imported without its mask" in result.stderr
    assert "pickled objects can run code and are not opened" in result.stderr
    with PairsFile(tmp_path / "y.h5") as pairs:
        assert pairs.read("s02", 0).mask.sum() == 3 * SIZE[0] * 255
        assert not pairs.has_mask("s02", 1)


@pytest.mark.parametrize("shape", ["(100000, 100000)", "(9999999999999, 9999999999999)", "(20,)", "(0, 0)"])
def test_arrays_of_masks_that_claim_another_size_are_told(tmp_path, shape):
    reloblur(tmp_path / "in")
    here = tmp_path / "lmd/test/s02"
    here.mkdir(parents=True)
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    content = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117).encode() + b"\n" + bytes(20)
    (here / "01.npy").write_bytes(content)
    result = run("reloblur", tmp_path / "in", tmp_path / "y.h5", "--masks", tmp_path / "lmd")
    assert result.exit_code == 3, result.output
    assert any("s02/01: imported without its mask" in line for line in result.stderr.splitlines()), result.stderr
    assert "test s02/01" in held(tmp_path / "y.h5")


def test_lists_reach_nothing_outside_their_folder(tmp_path):
    put_pair(tmp_path / "secret/scene009/blur/blur_1.png", tmp_path / "secret/scene009/gt/gt_1.png")
    realblur(tmp_path / "in")
    found = LAYOUTS["realblur-j"].find(tmp_path / "in", LayoutOptions())
    assert not any("secret" in str(pair.sharp) for pair in found.pairs)
    assert any("leaves its folder" in reason for reason in found.left_out)


def test_a_scene_in_two_published_splits_becomes_two_scenes(tmp_path):
    for split in ("train", "test"):
        here = tmp_path / "in/dataset" / split / "s01/00"
        put_pair(here / "00_blur.png", here / "00_sharp.png")
    result = run("reloblur", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 0, result.output
    assert held(tmp_path / "x.h5") == ["test s01/00", "train s01-train/00"]
    assert "look like one scene" in result.stderr


def test_an_lmdb_without_its_list_or_of_another_kind_is_one_line(tmp_path):
    basicsr(tmp_path / "in")
    (tmp_path / "in/train/blur_crops.lmdb/meta_info.txt").unlink()
    result = run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "the list of keys" in result.stderr
    (tmp_path / "in/train/blur_crops.lmdb/meta_info.txt").write_text("000_00000000.png (20,26,3) 1")
    (tmp_path / "in/train/blur_crops.lmdb/data.mdb").write_bytes(b"nonsense" * 1000)
    assert "as an LMDB" in run("lmdb", tmp_path / "in", tmp_path / "x.h5").stderr


def test_lmdbs_of_different_folders_are_not_mixed(tmp_path):
    basicsr(tmp_path / "in/a")
    basicsr(tmp_path / "in/b")
    shutil.rmtree(tmp_path / "in/b/train/sharp_crops.lmdb")  # its blurred pictures have no partners
    result = run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 3
    told = [line for line in result.stderr.replace("\\", "/").splitlines() if "b/train/blur_crops.lmdb" in line]
    assert len(told) == 4
    assert all("it has no sharp partner" in line for line in told)
    run("lmdb", tmp_path / "in/a", tmp_path / "a.h5")
    assert sorted(held(tmp_path / "x.h5")) == sorted(held(tmp_path / "a.h5"))


def test_a_second_lmdb_of_the_same_pictures_is_told(tmp_path):
    basicsr(tmp_path / "in")
    shutil.copytree(tmp_path / "in/train/blur_crops.lmdb", tmp_path / "in/train/blur_gamma_crops.lmdb")
    result = run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 3
    assert "blur_gamma_crops.lmdb: 4 blurred pictures of pairs that have one" in result.stderr


@pytest.mark.parametrize(("kept_bytes", "complaint"), [(3000, "as an LMDB"), (8192, "copy or make it again")])
def test_a_truncated_lmdb_is_one_line_and_not_the_end_of_the_process(tmp_path, kept_bytes, complaint):
    basicsr(tmp_path / "in")
    data = tmp_path / "in/train/sharp_crops.lmdb/data.mdb"
    data.write_bytes(data.read_bytes()[:kept_bytes])
    result = run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1), result.output
    assert "sharp_crops.lmdb" in result.stderr
    assert complaint in result.stderr


def test_keys_of_an_lmdb_are_only_keys(tmp_path):
    basicsr(tmp_path / "in")
    for folder in sorted((tmp_path / "in/train").iterdir()):
        with (folder / "meta_info.txt").open("a") as file:
            file.write("\n../../../../etc/passwd.png (1,1,3) 1\n/etc/passwd.png (1,1,3) 1\n a (b) c.png (20,26,3) 1\n")
    result = run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 3
    assert sorted(held(tmp_path / "x.h5")) == ["train 000/00000000", "train 001/00000000"]
    assert "has no ../../../../etc/passwd" in result.stderr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"blurred_file_name": "../../secret.png"}, "leaves its folder"),
        ({"blurred_file_name": "x" * 5000}, "cannot be a file"),
        ({"valid_box": [0, 0, 1e400, 4]}, "infinity"),
        ({"exposure_long_ms": -3}, "an exposure of -3 ms"),
        ({"reasons": "\ud800"}, "surrogates"),
        ({"quality": [1]}, "list"),
        ({"quality": {"a": 10**400}}, "too large"),
        ({"verdict": "perhaps"}, "perhaps"),
    ],
)
def test_a_line_of_metadata_that_makes_no_sense_is_told(tmp_path, change, complaint):
    imagefolder(tmp_path / "in")
    put(tmp_path / "secret.png", 99)
    listed = tmp_path / "in/val/metadata.jsonl"
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    listed.write_text("".join(json.dumps(line | change if n == 0 else line) + "\n" for n, line in enumerate(lines)))
    result = run("imagefolder", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 3, result.output
    assert any("line 1:" in line and complaint in line for line in result.stderr.splitlines()), result.stderr
    assert held(tmp_path / "x.h5") == ["val s1/03"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_to_themselves_or_nothing_are_told(tmp_path):
    hide(tmp_path / "in")
    for name, target in (("a.png", "a.png"), ("b.png", "gone.png")):
        (tmp_path / "in/HIDE/input" / name).symlink_to(tmp_path / "in/HIDE/input" / target)
    result = run("hide", tmp_path / "in", tmp_path / "x.h5")
    assert result.exit_code == 3
    for name in ("a.png", "b.png"):
        assert f"input/{name}: a link that leaves the folder, or leads nowhere" in result.stderr


def test_an_import_writes_nothing_into_the_data_set(tmp_path):
    basicsr(tmp_path / "in")
    before = sorted(path for path in (tmp_path / "in").rglob("*"))
    run("lmdb", tmp_path / "in", tmp_path / "x.h5")
    assert sorted(path for path in (tmp_path / "in").rglob("*")) == before


# --- damage at random; `python benchmarks/fuzz_datasets.py` does it 500 times ---


@pytest.mark.parametrize("miniature", MINIATURES)
def test_damaged_trees_never_give_a_traceback_or_a_file_elsewhere(tmp_path, miniature):
    layout, make, options = MINIATURES[miniature]
    make(tmp_path / "whole")
    put(tmp_path / "secret.png", 99)
    for number in range(3):
        tree, out = tmp_path / f"tree{number}", tmp_path / f"out{number}"
        shutil.copytree(tmp_path / "whole", tree)
        out.mkdir()
        damage(tree, random.Random(f"{miniature} {number}"))
        before = {path for path in tmp_path.rglob("*") if out not in path.parents}
        result = run(layout, tree, out / "x.h5", *options)
        assert result.exit_code in (0, 1, 3), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        assert {path for path in tmp_path.rglob("*") if out not in path.parents} == before


def test_roots_that_are_files_are_refused(tmp_path):
    Path(tmp_path / "file").write_text("no")
    for layout in LAYOUTS.values():
        with pytest.raises(LocalblurError, match="not a folder"):
            layout.find(tmp_path / "file", LayoutOptions())

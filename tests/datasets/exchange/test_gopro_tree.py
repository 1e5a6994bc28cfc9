"""The tree of GOPRO_Large: what begins, continues and refuses a run."""

import json

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange.gopro_tree import (
    MARKER,
    begin_tree,
    finish_tree,
    finished_pairs,
    tree_paths,
    write_tree_pair,
)
from localblur.datasets.images import read_image


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(LocalblurError, match="is a file"):
        begin_tree(tmp_path / "x", {}, overwrite=True)


def test_a_damaged_marker_is_other_peoples(tmp_path):
    (tmp_path / MARKER).write_text("[1]")
    with pytest.raises(LocalblurError, match="other files"):
        begin_tree(tmp_path, {}, overwrite=True)


def test_the_same_run_continues_until_it_is_finished(tmp_path):
    folder = tmp_path / "tree"
    begin_tree(folder, {"seed": 1}, overwrite=False)
    begin_tree(folder, {"seed": 1}, overwrite=False)
    with pytest.raises(LocalblurError, match="unfinished run with another seed"):
        begin_tree(folder, {"seed": 2}, overwrite=False)
    finish_tree(folder)
    with pytest.raises(LocalblurError, match="a finished run"):
        begin_tree(folder, {"seed": 1}, overwrite=False)
    begin_tree(folder, {"seed": 2}, overwrite=True)
    assert json.loads((folder / MARKER).read_text())["run"] == {"seed": 2}


def test_a_pair_is_finished_when_its_sharp_picture_is_there(tmp_path, make_pair, rng):
    pair = make_pair("s", "000003")
    codes = rng.integers(0, 256, pair.blurred.shape, dtype=np.uint8)
    write_tree_pair(tmp_path, pair, codes, "train")
    paths = tree_paths(tmp_path, "train", "s", "000003", masked=True)
    assert [path.relative_to(tmp_path).as_posix() for path in paths.values()] == [
        f"train/s/{role}/000003.png" for role in ("blur", "blur_gamma", "sharp", "mask")
    ]
    np.testing.assert_array_equal(read_image(paths["blur"]), codes)
    np.testing.assert_array_equal(read_image(paths["blur_gamma"]), pair.blurred)
    wanted = [("train", "s", "000003"), ("train", "s", "000004"), ("test", "s", "000003")]
    assert finished_pairs(tmp_path, wanted) == {("s", "000003")}
    paths["sharp"].unlink()
    assert finished_pairs(tmp_path, wanted) == set()


def test_overwriting_removes_the_pictures_of_the_other_run_alone(tmp_path, make_pair):
    begin_tree(tmp_path, {"seed": 1}, overwrite=False)
    pair = make_pair("s", "000003")
    write_tree_pair(tmp_path, pair, pair.sharp, "test")
    (tmp_path / "notes.txt").write_text("mine")
    begin_tree(tmp_path, {"seed": 2}, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != MARKER] == ["notes.txt"]

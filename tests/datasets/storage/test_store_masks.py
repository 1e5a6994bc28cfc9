import logging

import h5py
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.storage.check import find_damage
from localblur.datasets.store import MasksWriter, PairsFile, blur_cells, masks_folder, write_mask_part

SIZE = (70, 90)


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    members = [make_pair(name=f"{n}", masked=n == 1, reasons=f"r{n}", size=SIZE) for n in (10, 9, 1)]
    return make_file(tmp_path / "a.h5", {"train": members, "test": [make_pair("s2", masked=False, size=SIZE)]})


@pytest.fixture
def mask(rng):
    return rng.integers(0, 256, SIZE, dtype=np.uint8)


@pytest.mark.parametrize(
    ("scene", "name", "wrong", "complaint"),
    [
        ("s1", "8", np.zeros(SIZE, np.uint8), "no pair s1/8"),
        ("s9", "1", np.zeros(SIZE, np.uint8), "no pair s9/1"),
        ("s1", "9", np.zeros((90, 70), np.uint8), r"s1/9 must be uint8 \(70, 90\), got uint8 \(90, 70\)"),
        ("s1", "9", np.zeros(SIZE, bool), "got bool"),
    ],
)
@pytest.mark.parametrize("by_part", [False, True])
def test_a_mask_that_fits_no_pair_is_one_line(path, scene, name, wrong, complaint, by_part):
    before = path.read_bytes()
    with pytest.raises(LocalblurError, match=complaint), MasksWriter(path, {}) as writer:
        if by_part:
            writer.fold(write_mask_part(writer.folder, scene, name, wrong))
        else:
            writer.add(scene, name, wrong)
    assert path.read_bytes() == before


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(LocalblurError, match="does not exist"):
        MasksWriter(tmp_path / "none.h5", {})


def test_masks_arrive_and_everything_else_stays(path, mask):
    old = PairsFile(path)
    pairs_before = {(s.name, n): old.read(s.name, n) for s in old.scenes for n in range(s.count)}
    old.close()
    with MasksWriter(path, {"method": "pair", "threshold": 3.5}) as writer:
        writer.add("s1", "10", mask)
        writer.fold(write_mask_part(writer.folder, "s2", "00", 255 - mask))
    assert list(path.parent.iterdir()) == [path]
    assert find_damage(path) == []
    with PairsFile.open(path) as pairs:
        assert pairs.mask_settings == {"method": "pair", "threshold": 3.5}
        assert [(s.name, s.masked) for s in pairs.scenes] == [("s1", 2), ("s2", 1)]
        for (scene, index), before in pairs_before.items():
            after = pairs.read(scene, index)
            assert after.info == before.info
            np.testing.assert_array_equal(after.blurred, before.blurred)
            np.testing.assert_array_equal(after.sharp, before.sharp)
        np.testing.assert_array_equal(pairs.read("s1", 2).mask, mask)
        np.testing.assert_array_equal(pairs.blur_cells("s1", 2), blur_cells(mask))
        np.testing.assert_array_equal(pairs.read("s2", 0).mask, 255 - mask)
        np.testing.assert_array_equal(pairs.read("s1", 0).mask, pairs_before["s1", 0].mask)
        assert pairs.read("s1", 1).mask is None


def test_new_masks_replace_old_ones(path, mask):
    for value in (mask, 255 - mask):
        with MasksWriter(path, {"round": int(value[0, 0])}) as writer:
            writer.add("s1", "1", value)
    assert find_damage(path) == []
    with PairsFile.open(path) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 0).mask, 255 - mask)
        assert pairs.mask_settings == {"round": 255 - int(mask[0, 0])}


def test_an_interrupted_run_goes_on_and_the_file_is_untouched_until_the_end(path, mask, caplog):
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), MasksWriter(path, {"a": 1}) as writer:
        writer.add("s1", "10", mask)
        raise KeyboardInterrupt
    (masks_folder(path) / "torn.npz").write_bytes(b"PK")
    (masks_folder(path) / "copy.h5").write_bytes(before[:1000])
    assert path.read_bytes() == before
    with caplog.at_level(logging.WARNING), MasksWriter(path, {"a": 1}) as writer:
        assert writer.finished == {("s1", "10")}
        writer.add("s1", "9", mask)
    assert "torn.npz is torn or foreign" in caplog.text
    with PairsFile.open(path) as pairs:
        assert pairs.scene("s1").masked == 3
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("change", ["settings", "file"])
def test_masks_made_otherwise_or_for_another_file_are_not_mixed_in(path, mask, make_pair, make_file, change):
    with pytest.raises(KeyboardInterrupt), MasksWriter(path, {"a": 1}) as writer:
        writer.add("s1", "10", mask)
        raise KeyboardInterrupt
    if change == "file":
        make_file(path, {"train": [make_pair(name="10", size=SIZE)]}, overwrite=True)
    with MasksWriter(path, {"a": 2 if change == "settings" else 1}) as writer:
        assert writer.finished == set()


def test_a_reader_that_has_the_file_open_is_not_disturbed(path, mask):
    with PairsFile.open(path) as pairs:
        before = pairs.read("s1", 1).blurred
        with MasksWriter(path, {}) as writer:
            writer.add("s1", "9", mask)
        np.testing.assert_array_equal(pairs.read("s1", 1).blurred, before)
        assert not pairs.has_mask("s1", 1)


@pytest.mark.parametrize(("compression", "chunk"), [("gzip", (64, 64)), ("lzf", (64, 64)), ("none", (70, 90))])
def test_masks_are_compressed_as_the_pictures_are(tmp_path, make_pair, make_file, mask, compression, chunk):
    path = make_file(tmp_path / "b.h5", {"train": [make_pair(masked=False, size=SIZE)]}, compression=compression)
    with MasksWriter(path, {}) as writer:
        writer.add("s1", "00", mask)
    with h5py.File(path) as file:
        scene = file["scenes/s1"]
        assert scene["mask"].compression == scene["blurred"].compression
        assert scene["mask"].chunks == scene["blurred"].chunks[:3] == (1, *chunk)


def test_a_second_writer_is_refused_and_costs_the_first_nothing(path, mask):
    with MasksWriter(path, {"a": 1}) as writer:
        writer.add("s1", "9", mask)
        with pytest.raises(LocalblurError, match="is being given masks by another process"), MasksWriter(path, {}):
            pass
    with PairsFile.open(path) as pairs:
        np.testing.assert_array_equal(pairs.read("s1", 1).mask, mask)
        assert pairs.mask_settings == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_dropped_run_leaves_nothing_behind(path, mask):
    before = path.read_bytes()
    with MasksWriter(path, {"a": 1}) as writer:
        writer.add("s1", "9", mask)
        writer.drop()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_foreign_folder_in_the_way_is_left_alone(path):
    foreign = masks_folder(path) / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with pytest.raises(LocalblurError, match="is in the way"), MasksWriter(path, {}):
        pass
    assert [entry.name for entry in masks_folder(path).iterdir()] == ["notes.txt"]

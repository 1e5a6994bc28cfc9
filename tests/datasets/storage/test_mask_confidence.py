"""How far masks can be trusted: stored with the pairs, gone when a person takes the mask over, counted."""

import h5py
import numpy as np
import pytest

from localblur.datasets.curation.stats import measure_pairs
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.storage.edits import EditsWriter
from localblur.datasets.storage.edits_fold import fold_edits
from localblur.datasets.storage.mask_confidence import DOUBTFUL_BELOW, doubtful_below, with_confidence
from localblur.datasets.store import MasksWriter, PairsFile, write_mask_part

SIZE = (40, 50)
MASK = np.full(SIZE, 200, np.uint8)


@pytest.fixture
def path(tmp_path, make_file):
    picture = np.zeros((*SIZE, 3), np.uint8)
    pairs = [
        Pair(scene="s", info=PairInfo(name=f"{n}", quality={"gain": 1.5}), blurred=picture, sharp=picture)
        for n in range(3)
    ]
    return make_file(tmp_path / "a.h5", {"train": pairs})


@pytest.fixture
def masked(path):
    """Confidences 0.2, 0.6544, and a mask without one."""
    with MasksWriter(path, {"doubtful_below": 0.5}) as writer:
        writer.add("s", "0", MASK, 0.2)
        writer.fold(write_mask_part(writer.folder, "s", "1", MASK, 0.65444))
        writer.add("s", "2", MASK)
    return path


def qualities(path, **options):
    with PairsFile(path, **options) as pairs:
        return [info.quality for info in pairs.info("s")]


def test_it_is_a_measure_of_the_pair_beside_the_others(masked):
    assert qualities(masked) == [
        {"gain": 1.5, "mask_confidence": 0.2},
        {"gain": 1.5, "mask_confidence": 0.654},
        {"gain": 1.5},
    ]


def test_a_new_mask_brings_its_own_or_none(masked):
    with MasksWriter(masked, {}) as writer:
        writer.add("s", "0", MASK)
        writer.add("s", "1", MASK, 1.0)
    assert qualities(masked) == [{"gain": 1.5}, {"gain": 1.5, "mask_confidence": 1.0}, {"gain": 1.5}]


def test_masks_by_hand_have_none_before_and_after_folding(masked):
    with PairsFile(masked) as pairs, EditsWriter(masked, pairs.identity, "kim") as edits:
        edits.set_mask("s", "0", 255 - MASK)
    expected = [{"gain": 1.5}, {"gain": 1.5, "mask_confidence": 0.654}, {"gain": 1.5}]
    assert qualities(masked) == expected
    fold_edits(masked)
    assert qualities(masked, edits=False) == expected


def test_doubtful_masks_are_counted_by_the_limit_of_their_settings(masked):
    with PairsFile(masked) as pairs:
        assert measure_pairs(pairs).splits["all"].doubtful == 1
    with h5py.File(masked, "r+") as file:
        del file.attrs["mask_settings"]
    with PairsFile(masked) as pairs:
        assert measure_pairs(pairs).splits["all"].doubtful == 2  # the usual limit is 0.7


def test_where_there_is_no_room_among_the_measures_the_mask_still_arrives(tmp_path, make_file, caplog):
    picture, many = np.zeros((*SIZE, 3), np.uint8), {f"measure {n:03d}": 0.5 for n in range(113)}
    pair = Pair(scene="s", info=PairInfo(name="0", quality=many), blurred=picture, sharp=picture)
    path = make_file(tmp_path / "a.h5", {"train": [pair]})
    with MasksWriter(path, {}) as writer:
        writer.add("s", "0", MASK, 0.2)
    assert "no room" in caplog.text
    assert qualities(path) == [many]
    with PairsFile(path) as pairs:
        np.testing.assert_array_equal(pairs.read("s", 0).mask, MASK)


def test_limits_come_from_the_first_settings_that_state_one():
    assert doubtful_below(None, {}) == DOUBTFUL_BELOW
    assert doubtful_below({"doubtful_below": "often"}, {"doubtful_below": 0.25}) == 0.25
    assert doubtful_below({"doubtful_below": 1}, {"doubtful_below": 0.25}) == 1.0


def test_without_one_the_old_one_goes():
    assert with_confidence({"mask_confidence": 0.5, "gain": 2.0}, None) == {"gain": 2.0}

"""Near-duplicate scenes across splits: found whatever happened to the pictures, different things left alone."""

import cv2
import numpy as np
import pytest

from localblur.datasets.curation import leakage
from localblur.datasets.curation.leakage import find_leaks, leak_lines, picture_hash
from localblur.datasets.images import read_image
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.scenes.photographs import bundled_photographs
from localblur.datasets.store import PairsFile


def pair(scene, picture):
    return Pair(scene=scene, info=PairInfo(name="0"), blurred=picture, sharp=picture)


@pytest.fixture
def photographs():
    pictures = [read_image(path) for path in bundled_photographs("train", frame_filling=True)[:4]]
    return [cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA) for picture in pictures]


def test_another_exposure_with_noise_and_a_small_shift_is_the_same_scene(tmp_path, make_file, photographs, rng):
    one, *others = photographs
    changed = np.roll(one, (2, -3), (0, 1)) * 0.8 + rng.normal(0, 5, one.shape)
    train = [pair(f"train{number}", picture) for number, picture in enumerate([one, *others[:2]])]
    test = [pair("again", np.clip(changed, 0, 255).astype(np.uint8)), pair("new", others[2])]
    path = make_file(tmp_path / "a.h5", {"train": train, "test": test})
    with PairsFile(path) as pairs:
        leaks = find_leaks(pairs)
    assert [{leak.first, leak.second} for leak in leaks] == [{"again", "train0"}]
    assert 0 < leaks[0].bits < 60
    assert "put them into one split" in leak_lines(leaks)[0]


def test_one_split_cannot_leak_and_flat_pictures_say_nothing(tmp_path, make_file, photographs):
    flat = np.full((64, 64, 3), 90, np.uint8)
    twins = [pair("a", photographs[0]), pair("b", photographs[0]), pair("flat1", flat)]
    path = make_file(tmp_path / "a.h5", {"train": twins, "test": [pair("flat2", flat)]})
    with PairsFile(path) as pairs:
        assert find_leaks(pairs) == []
    assert picture_hash(flat) is None


@pytest.mark.parametrize("block", [3, leakage.BLOCK])
def test_many_leaks_are_counted_not_all_shown(tmp_path, make_file, photographs, monkeypatch, block):
    monkeypatch.setattr(leakage, "BLOCK", block)
    scenes = {split: [pair(f"{split}{n}", photographs[0]) for n in range(4)] for split in ("train", "test")}
    with PairsFile(make_file(tmp_path / "a.h5", scenes)) as pairs:
        leaks = find_leaks(pairs)
    assert len(leaks) == 16
    assert leak_lines(leaks, shown=3)[3:] == ["and 13 more"]

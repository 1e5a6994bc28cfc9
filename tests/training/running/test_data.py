"""What a run learns from and is validated on."""

import numpy as np
import pytest

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader
from localblur.training.running.config import DataSettings, TrainingSettings, ValidationSettings
from localblur.training.running.data import hold_out, open_data

SIDE = 48


@pytest.fixture
def path(tmp_path):
    """Ten training scenes of one pair; scene k is of gray level 10 k."""
    header = StoreHeader(encoding="srgb", bit_depth=8, creator="test", source="test", settings={})
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        for level in range(10):
            picture = np.full((SIDE, SIDE, 3), 10 * level, np.uint8)
            info = PairInfo(name="0")
            writer.add(Pair(scene=f"s{level}", info=info, blurred=picture, sharp=picture, mask=None), "train")
        writer.add(Pair(scene="t", info=PairInfo(name="0"), blurred=picture + 9, sharp=picture + 9, mask=None), "test")
    return writer.path


def levels(patches, count):
    return {round(float(patches[number]["sharp"].mean()) * 255) for number in range(count)}


def settings(held_out):
    return TrainingSettings(
        data=DataSettings(patch_px=44, batch=2), validation=ValidationSettings(patch_px=44, held_out=held_out)
    )


def test_without_a_val_split_training_scenes_are_held_out(path):
    data = open_data([path], settings(0.3))
    learnt, validated = levels(data.training, 7), levels(data.validation, 3)
    assert len(learnt) == 7 and len(validated) == 3
    assert learnt | validated == {10 * level for level in range(10)}


def test_nothing_is_held_out_when_that_is_asked_for_or_one_scene_is_all(path, tmp_path):
    assert open_data([path], settings(0.0)).validation is None
    with PairsFile(path) as pairs:
        assert [len(part) for part in hold_out([pairs], 0.01)] == [9, 1]
        assert [len(part) for part in hold_out([pairs], 0.999)] == [1, 9]
        one = [scene for scene in pairs.scenes if scene.name in ("s1", "t")]
    header = StoreHeader(encoding="srgb", bit_depth=8, creator="test", source="test", settings={})
    with PairsWriter(tmp_path / "b.h5", header) as writer:
        for scene in one:
            with PairsFile(path) as pairs:
                writer.add(pairs.read(scene.name, 0), scene.split)
    with PairsFile(writer.path) as pairs:
        learnt, kept = hold_out([pairs], 0.5)
    assert (len(learnt), len(kept)) == (1, 0)


def test_which_scenes_are_held_out_depends_on_names_alone(path):
    with PairsFile(path) as first, PairsFile(path) as second:
        assert hold_out([first], 0.4) == hold_out([second], 0.4)
        assert hold_out([first], 0.2)[1] < hold_out([first], 0.4)[1]

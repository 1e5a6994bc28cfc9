"""What a run learns from and is validated on."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from localblur.common.errors import LocalblurError
from localblur.datasets.loading.patch_batches import CODED_ATOL, on_device
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader
from localblur.training.running.config import DataSettings, TrainingSettings, ValidationSettings
from localblur.training.running.data import hold_out, open_data

SIDE = 48
ALL_THAT_CAN_WAIT = {"channel_order": True, "exposure_stops": 1.0}


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
        assert [len(part) for part in hold_out([pairs], 0.01, 44)] == [9, 1]
        assert [len(part) for part in hold_out([pairs], 0.999, 44)] == [1, 9]
        one = [scene for scene in pairs.scenes if scene.name in ("s1", "t")]
    header = StoreHeader(encoding="srgb", bit_depth=8, creator="test", source="test", settings={})
    with PairsWriter(tmp_path / "b.h5", header) as writer:
        for scene in one:
            with PairsFile(path) as pairs:
                writer.add(pairs.read(scene.name, 0), scene.split)
    with PairsFile(writer.path) as pairs:
        learnt, kept = hold_out([pairs], 0.5, 44)
    assert (len(learnt), len(kept)) == (1, 0)


def test_which_scenes_are_held_out_depends_on_names_alone(path):
    with PairsFile(path) as first, PairsFile(path) as second:
        assert hold_out([first], 0.4, 44) == hold_out([second], 0.4, 44)
        assert hold_out([first], 0.2, 44)[1] < hold_out([first], 0.4, 44)[1]


def write_levels(path, scenes, verdict=Verdict.ACCEPT, valid_box=None, split="train"):
    header = StoreHeader(encoding="srgb", bit_depth=8, creator="test", source="test", settings={})
    with PairsWriter(path, header) as writer:
        for scene in scenes:
            picture = np.full((SIDE, SIDE, 3), 10 * int(scene[1:]), np.uint8)
            info = PairInfo(name="0", verdict=verdict, valid_box=valid_box)
            writer.add(Pair(scene=scene, info=info, blurred=picture, sharp=picture, mask=None), split)
    return path


def test_a_scene_of_several_files_is_held_out_of_all_of_them(path, tmp_path):
    other = write_levels(tmp_path / "b.h5", [f"s{level}" for level in range(3, 13)])
    with PairsFile(path) as first, PairsFile(other) as second:
        (learnt, kept), (_, turned) = hold_out([first, second], 0.5, 44), hold_out([second, first], 0.5, 44)
        alone = hold_out([first], 0.999, 44)[0]
    assert len({name for _, name in kept}) == 6
    assert not {name for _, name in kept} & {name for _, name in learnt}
    assert len(learnt | kept) == 20
    assert turned == {(1 - number, name) for number, name in kept}
    assert not {name for _, name in alone} & {name for _, name in kept}


@pytest.mark.parametrize("left_out", [{"verdict": Verdict.REJECT}, {"valid_box": (0, 0, SIDE, 20)}])
def test_scenes_without_a_usable_pair_are_not_held_out(path, tmp_path, left_out):
    with PairsFile(path) as pairs:
        ((_, first),) = hold_out([pairs], 0.1, 44)[1]
    names = [f"s{level}" for level in range(20, 25)]
    files = [write_levels(tmp_path / "a1.h5", [first], **left_out), write_levels(tmp_path / "a2.h5", names)]
    chosen = open_data(files, settings(0.1))
    assert len(levels(chosen.validation, 5)) == 1
    assert len(levels(chosen.training, 8)) == 4


def test_a_val_split_of_rejected_pairs_alone_is_none(path, tmp_path):
    rejected = write_levels(tmp_path / "v.h5", ["s20", "s21"], Verdict.REJECT, split="val")
    chosen = open_data([path, rejected], settings(0.1))
    assert levels(chosen.validation, 5) < {10 * level for level in range(10)}


def test_a_train_split_of_rejected_pairs_alone_is_refused(tmp_path):
    with pytest.raises(LocalblurError, match="no usable pair in the train split"):
        open_data([write_levels(tmp_path / "r.h5", ["s1", "s2"], Verdict.REJECT)], settings(0.1))


def test_patches_to_validate_on_that_fit_into_no_picture_are_refused(path):
    chosen = TrainingSettings(data=DataSettings(patch_px=44), validation=ValidationSettings(patch_px=64))
    with pytest.raises(LocalblurError, match="48x48"):
        open_data([path], chosen)


@pytest.fixture
def varied(tmp_path, rng):
    """Two scenes with masks and one pair without."""
    header = StoreHeader(encoding="srgb", bit_depth=8, creator="test", source="test", settings={})
    with PairsWriter(tmp_path / "v.h5", header) as writer:
        for number in range(5):
            blurred, sharp = rng.integers(0, 256, (2, 60, 70, 3), dtype=np.uint8)
            mask = rng.integers(0, 256, (60, 70), dtype=np.uint8) if number else None
            info = PairInfo(name=f"{number}")
            writer.add(Pair(scene=f"s{number % 2}", info=info, blurred=blurred, sharp=sharp, mask=mask), "train")
    return writer.path


@pytest.mark.parametrize(
    ("augment", "tolerance"), [({}, 0.0), ({"turn": "mirror"}, 0.0), (ALL_THAT_CAN_WAIT, CODED_ATOL)]
)
@pytest.mark.parametrize("stages", [(), ((0.5, 44, 2), (0.5, 48, 2))], ids=["one stage", "two stages"])
def test_patches_finished_on_the_device_are_those_that_the_loader_makes(varied, augment, tolerance, stages):
    parts = [{"duration": share, "patch_px": px, "batch": batch} for share, px, batch in stages]
    chosen = TrainingSettings(
        steps=8,
        data={"patch_px": 44, "batch": 2, "augment": augment, "stages": parts},
        validation=ValidationSettings(patch_px=44, held_out=0.0),
    )
    plain, waiting = (open_data([varied], chosen, deferred=deferred).training for deferred in (False, True))
    for numbers in (range(6), range(10, 16)):
        expected = default_collate([plain[number] for number in numbers])
        stored = default_collate([waiting[number] for number in numbers])
        assert stored["blurred"].dtype == torch.uint8
        found = on_device(stored, "cpu")
        assert found.keys() == expected.keys() == on_device(expected, "cpu").keys()
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    "augment",
    [
        {"noise": 0.1},
        {"saturation": (0.5, 1.5)},
        {"local_blur": 0.5},
        {"still": 0.5},
        {"glow": 0.5},
        {"defocus": 0.5},
        {"warp": 0.5},
        {"tone": 1.5},
    ],
)
def test_changes_that_need_finished_patches_do_not_wait(varied, augment):
    chosen = TrainingSettings(
        data=DataSettings(patch_px=44, batch=2, augment=augment),
        validation=ValidationSettings(patch_px=44, held_out=0.0),
    )
    plain, asked = (open_data([varied], chosen, deferred=deferred).training for deferred in (False, True))
    for number in range(4):
        assert asked[number].keys() == plain[number].keys()
        for name, values in plain[number].items():
            assert torch.equal(asked[number][name], values), name

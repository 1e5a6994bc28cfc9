from collections import Counter

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.storage.splits import assign_splits

SCENES = [f"s{n:02}" for n in range(20)]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("train=0.5", "sum to 0.5"),
        ("train=0.8,val=0.1,test=0.2", "sum to 1.1"),
        ("train=1,holdout=0", "'holdout=0' is wrong"),
        ("train=0.5,train=0.5", "'train=0.5' is wrong"),
        ("train=x,val=1", "'train=x' is wrong"),
        ("train=1.5,val=-0.5", "'train=1.5' is wrong"),
        ("train=nan,val=1", "'train=nan' is wrong"),
        ("train=1,", "'' is wrong"),
        ("no/such/file.txt", "neither shares like .* nor a readable file"),
    ],
)
def test_a_spec_that_makes_no_sense_is_named(spec, complaint):
    with pytest.raises(LocalblurError, match=complaint) as caught:
        assign_splits(SCENES, spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("s1 train\ns2\n", "line 2: need 'SCENE train|val|test'"),
        ("s1 train\ns2 holdout\n", "line 2"),
        ("s1 train\n\ns1 val\n", "line 3: scene s1 is listed for train and for val"),
        ("s1 train\n", "no split for scene s2, s3; add"),
    ],
)
def test_a_file_that_is_wrong_or_incomplete_names_the_line(tmp_path, content, complaint):
    path = tmp_path / "splits.txt"
    path.write_text(content)
    with pytest.raises(LocalblurError) as caught:
        assign_splits(["s1", "s2", "s3"], str(path))
    assert complaint in str(caught.value)
    assert "splits.txt" in str(caught.value)


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LocalblurError, match="neither shares"):
        assign_splits(["s1"], str(tmp_path / "a"))


def test_a_file_decides_names_may_hold_spaces_and_strangers_are_no_matter(tmp_path):
    path = tmp_path / "train=all.txt"
    path.write_text("# made by hand\n\ns1   train\nwhite car\ttest  # night\nstranger val\n")
    assert assign_splits(["white car", "s1"], str(path)) == {"s1": "train", "white car": "test"}


def test_shares_are_kept_and_every_scene_is_assigned_once():
    assigned = assign_splits(SCENES, "train=0.8,val=0.1,test=0.1", seed=3)
    assert list(assigned) == SCENES
    assert Counter(assigned.values()) == {"train": 16, "val": 2, "test": 2}


@pytest.mark.parametrize("count", range(3, 12))
def test_every_share_gets_a_scene_when_there_are_enough(count):
    assigned = assign_splits(SCENES[:count], "train=0.98,val=0.01,test=0.01")
    assert set(assigned.values()) == {"train", "val", "test"}


@pytest.mark.parametrize(("count", "expected"), [(0, set()), (1, {"train"}), (2, {"train", "test"})])
def test_with_too_few_scenes_the_larger_shares_come_first(count, expected):
    assert set(assign_splits(SCENES[:count], "train=0.7,val=0.1,test=0.2").values()) == expected


def test_a_share_of_zero_gets_nothing():
    assert set(assign_splits(SCENES, "train=1,val=0").values()) == {"train"}


def test_the_seed_decides_and_not_the_order_of_the_scenes():
    spec = "train=0.5,test=0.5"
    assert assign_splits(SCENES, spec, 1) == assign_splits(SCENES[::-1] + SCENES, spec, 1)
    assert len({str(assign_splits(SCENES, spec, seed)) for seed in range(5)}) == 5


def test_stratified_splits_see_the_whole_range_and_stay_random():
    """Every split's mean lies near that of all scenes, which shares alone do not promise."""
    areas = {f"s{number:02d}": number / 40 for number in range(40)}
    shares = "train=0.8,val=0.1,test=0.1"
    seen = set()
    for seed in range(20):
        assigned = assign_splits(list(areas), shares, seed, areas)
        means = {
            split: np.mean([area for scene, area in areas.items() if assigned[scene] == split])
            for split in ("train", "val", "test")
        }
        assert max(abs(mean - np.mean(list(areas.values()))) for mean in means.values()) < 0.14
        assert [list(assigned.values()).count(split) for split in means] == [32, 4, 4]
        seen.add(tuple(assigned.values()))
    assert len(seen) == 20
    assert assign_splits(list(areas), shares, 3, areas) == assign_splits(list(areas), shares, 3, areas)


def test_scenes_without_a_measure_are_spread_too():
    areas = {f"s{number}": float("nan") for number in range(10)}
    assigned = assign_splits(list(areas), "train=0.5,test=0.5", 0, areas)
    assert list(assigned.values()).count("train") == 5

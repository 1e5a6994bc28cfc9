"""Changes of patches, and patches whose size changes during a run."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from localblur.training.running.augmentation import AugmentedPatches, locally_blurred, saturated, while_reading
from localblur.training.running.data import StagedPatches
from localblur.training.running.data_settings import AugmentSettings


class Ramps(Dataset):
    """The same patch for every number: a ramp to the right, coloured."""

    def __getitem__(self, number):
        ramp = torch.linspace(0.1, 0.6, 8).expand(3, 8, 8) * torch.tensor([1.0, 0.7, 0.4])[:, None, None]
        mask = torch.zeros(1, 8, 8)
        mask[..., :3] = 1
        return {"blurred": ramp, "sharp": ramp + 0.1, "mask": mask, "has_mask": torch.tensor(True)}


def augmented(**settings):
    return AugmentedPatches(Ramps(), AugmentSettings(**settings), seed=5)


def test_mirroring_turns_all_alike_half_of_the_time():
    plain, patches = Ramps()[0], augmented(turn="mirror")
    turned = 0
    for number in range(60):
        patch = patches[number]
        flips = {name: torch.equal(patch[name], plain[name].flip(-1)) for name in ("blurred", "sharp", "mask")}
        assert len(set(flips.values())) == 1
        assert flips["mask"] or all(torch.equal(patch[name], plain[name]) for name in flips)
        turned += flips["mask"]
    assert 18 <= turned <= 42


def test_a_patch_is_a_function_of_seed_and_number():
    patches = augmented(turn="mirror", saturation=(0.5, 1.5), noise=0.02)
    for name in ("blurred", "sharp"):
        assert torch.equal(patches[3][name], patches[3][name])
        assert not torch.equal(patches[3][name], patches[4][name])


def test_noise_is_in_the_blurred_picture_alone_and_as_strong_as_said():
    patches, plain = augmented(turn="none", noise=0.01), Ramps()[0]
    assert torch.equal(patches[0]["sharp"], plain["sharp"])
    sigmas = [float((patches[number]["blurred"] - plain["blurred"]).std()) for number in range(400)]
    # the mean of |N(0, 1)|
    assert np.mean(sigmas) == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.1)


def test_saturation_keeps_gray_and_goes_from_none_to_more():
    image = torch.tensor([0.8, 0.4, 0.2])[:, None, None]
    gray = saturated(image, 0.0)
    assert float(gray.std()) == pytest.approx(0, abs=1e-6)
    assert torch.equal(saturated(image, 1.0), image)
    assert float(saturated(image, 1.4).std()) > float(image.std())
    assert torch.allclose(saturated(gray, 1.5), gray)


@pytest.mark.parametrize(("turn", "expected"), [("all", True), ("mirror", False), ("none", False)])
def test_turning_eight_ways_is_left_to_the_data_set(turn, expected):
    assert while_reading(AugmentSettings(turn=turn)).turn is expected


def test_synthetic_patches_are_sharp_outside_their_mask_and_replace_the_share_asked_for():
    class Noise(Dataset):
        def __getitem__(self, number):
            sharp = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(number))
            none = torch.zeros(1, 48, 48)
            return {"blurred": sharp, "sharp": sharp, "mask": none, "has_mask": torch.tensor(False)}

    settings = AugmentSettings(turn="none", local_blur=0.5, local_blur_px=(6.0, 12.0))
    patches = [AugmentedPatches(Noise(), settings, seed=1)[number] for number in range(40)]
    made = [patch for patch in patches if patch["has_mask"]]
    assert 10 <= len(made) <= 30
    for patch in made:
        outside = (patch["mask"] == 0).expand(3, -1, -1)
        # the faintest rim of an object, covered for less than half of the time, is outside
        assert float((patch["blurred"] - patch["sharp"]).abs()[outside].mean()) < 0.01
    moved = [patch for patch in made if patch["mask"].any()]
    assert len(moved) > len(made) / 2
    assert all(float((patch["blurred"] - patch["sharp"]).abs().max()) > 0.1 for patch in moved)


def test_synthetic_blur_joins_the_own_blur_of_a_masked_patch():
    random = np.random.default_rng(3)
    sharp, blurred = (torch.from_numpy(random.random((3, 64, 64), dtype=np.float32)) for _ in range(2))
    own = torch.zeros(1, 64, 64)
    own[..., :20, :20] = 1
    patch = {"blurred": blurred, "sharp": sharp, "mask": own, "has_mask": torch.tensor(True)}
    added = 0
    for seed in range(6):
        made = locally_blurred(patch, np.random.default_rng(seed), (6.0, 12.0))
        assert bool((made["mask"] >= own).all())
        added += int((made["mask"] > own).sum())
        covered = (made["sharp"] - sharp).abs().amax(0) > 2e-3  # a part of the picture stands there
        same = ~covered & ~made["mask"][0].bool() | (own[0].bool() & ~covered)
        # rims that cover a pixel for a small part of the time are in no mask
        assert float((made["blurred"] - blurred).abs().amax(0)[same].median()) < 2e-3
    assert added > 100


def test_numbers_come_from_the_stage_they_belong_to():
    class Named(Dataset):
        def __init__(self, name):
            self.name = name

        def __getitem__(self, number):
            return (self.name, number)

    patches = StagedPatches([Named("small"), Named("large")], [0, 8])
    assert [patches[number] for number in (0, 7, 8, 20)] == [
        ("small", 0),
        ("small", 7),
        ("large", 8),
        ("large", 20),
    ]

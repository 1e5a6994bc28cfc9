"""Changes of patches, and patches whose size changes during a run."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from localblur.datasets.images import srgb_decode, srgb_encode
from localblur.training.running.augmentation import AugmentedPatches, locally_blurred, saturated, while_reading
from localblur.training.running.data import StagedPatches
from localblur.training.running.data_settings import AugmentSettings
from localblur.training.running.shared_defocus import defocused, softened, strength_map
from localblur.training.running.shared_glow import glowing, spot


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


class Alike(Dataset):
    """Patches of one pair: a sharp picture, a blurred one, and a mask."""

    def __getitem__(self, number):
        random = np.random.default_rng(0)
        pictures = {
            name: torch.from_numpy(random.random((3, 64, 64), dtype=np.float32)) for name in ("blurred", "sharp")
        }
        return pictures | {"mask": torch.ones(1, 64, 64), "has_mask": torch.tensor(True)}


def test_still_patches_show_the_sharp_picture_twice_under_an_empty_mask():
    patches = [
        AugmentedPatches(Alike(), AugmentSettings(turn="none", still=0.4), seed=1)[number] for number in range(60)
    ]
    still = [patch for patch in patches if torch.equal(patch["blurred"], patch["sharp"])]
    assert 12 <= len(still) <= 36
    assert all(not patch["mask"].any() and bool(patch["has_mask"]) for patch in still)
    assert sum(int(patch["mask"].all()) for patch in patches) == 60 - len(still)


def test_defocus_takes_detail_from_both_pictures_alike_and_leaves_their_light():
    plain = Alike()[0]
    changed = AugmentedPatches(Alike(), AugmentSettings(turn="none", defocus=1.0, defocus_px=(3.0, 3.0)), seed=1)
    for number in range(12):
        patch = changed[number]
        assert torch.equal(patch["mask"], plain["mask"])  # all of it
        for name in ("blurred", "sharp"):
            before, after = (torch.pow(values, 2.2) for values in (plain[name], patch[name]))
            assert float(after.mean()) == pytest.approx(float(before.mean()), abs=0.02)
            assert float(after.std()) < 0.9 * float(before.std())
            assert float(patch[name].min()) >= 0 and float(patch[name].max()) <= 1


def test_what_moved_out_of_focus_is_inside_the_mask_and_little_else_is():
    mask = torch.zeros(1, 64, 64)
    mask[:, 24:40, 14:50] = 1
    sharp = torch.full((3, 64, 64), 0.2)
    blurred = torch.where(mask > 0, 0.9, sharp)
    patch = {"blurred": blurred, "sharp": sharp, "mask": mask, "has_mask": torch.tensor(True)}
    grown = []
    for seed in range(12):
        made = defocused(patch, np.random.default_rng(seed), (6.0, 6.0))
        assert made["mask"].dtype == mask.dtype and set(made["mask"].unique().tolist()) == {0.0, 1.0}
        assert bool((made["mask"] >= mask).all())
        difference = (made["blurred"] - made["sharp"]).abs().amax(0, keepdim=True)
        assert float(difference[made["mask"] == 0].quantile(0.99)) < 0.1  # a fiftieth of the light, coded, and noise
        rim = difference[(made["mask"] > mask)]
        assert rim.numel() == 0 or float(rim.quantile(0.1)) > 0.03
        grown.append(int((made["mask"] > mask).sum()))
    assert max(grown) > 300


def test_defocus_is_that_of_one_lens_and_its_noise_that_of_two_exposures():
    sharp = Alike()[0]["sharp"]
    patch = {"blurred": sharp, "sharp": sharp, "mask": torch.zeros(1, 64, 64), "has_mask": torch.tensor(True)}
    for seed in range(8):
        made = defocused(patch, np.random.default_rng(seed), (2.0, 4.0))
        difference = made["blurred"] - made["sharp"]
        # noise, and nothing that has a shape: neighbours differ by as much as far pixels
        assert 1e-4 < float(difference.std()) < 0.04
        assert abs(float((difference[..., 1:] * difference[..., :-1]).mean())) < 0.1 * float(difference.var())


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.625])
@pytest.mark.parametrize("disc", [True, False])
def test_defocus_spreads_a_point_over_its_radius(disc, strength):
    light = np.zeros((41, 81, 3), np.float32)
    light[20, 20] = light[20, 60] = 1.0
    share = np.zeros((41, 81), np.float32)
    share[:, 40:] = strength
    soft = softened(light, share, 5.0 / strength, disc=disc)
    assert np.array_equal(soft[:, :40], light[:, :40])
    rows, columns = np.mgrid[:41, 40:81]
    spot = soft[:, 40:, 0]
    assert float(spot.sum()) == pytest.approx(1.0, abs=1e-3)
    spread = float((spot * np.hypot(rows - 20, columns - 60) ** 2).sum()) ** 0.5
    # root mean square: radius / sqrt(2) of a disc, sqrt(2) sigma of a Gaussian
    assert spread == pytest.approx(5 / 2**0.5, rel=0.1)


def test_defocus_grows_across_a_line_or_is_everywhere():
    maps = [strength_map(48, 64, np.random.default_rng(seed)) for seed in range(40)]
    whole = [values for values in maps if (values == 1).all()]
    assert 10 <= len(whole) <= 30
    for values in maps:
        assert values.shape == (48, 64) and values.min() >= 0 and values.max() <= 1
    assert all(values.min() < 0.5 < values.max() for values in maps if values.min() < 1)


def test_glow_is_in_both_pictures_alike_and_leaves_the_mask():
    sharp = torch.full((3, 64, 64), 0.4)
    patch = {"blurred": sharp, "sharp": sharp, "mask": torch.zeros(1, 64, 64), "has_mask": torch.tensor(True)}
    brighter = darker = 0
    for seed in range(40):
        made = glowing(patch, np.random.default_rng(seed), (4.0, 12.0))
        assert made["mask"] is patch["mask"]
        change = made["sharp"] - sharp
        difference = made["blurred"] - made["sharp"]
        assert float(made["sharp"].min()) >= 0 and float(made["sharp"].max()) <= 1
        # they differ by photon noise alone
        assert float(difference.std()) < 0.03
        assert abs(float((difference[..., 1:] * difference[..., :-1]).mean())) <= 0.1 * float(difference.var()) + 1e-9
        brighter += float(change.max()) > 0.05
        darker += float(change.min()) < -0.05
    assert brighter > 15 and darker > 15


def test_glow_over_a_moving_thing_is_the_mean_of_what_each_moment_showed():
    bright, dark = (torch.full((3, 48, 48), value) for value in (0.9, 0.3))
    mean = torch.from_numpy(srgb_encode((srgb_decode(bright.numpy()) + srgb_decode(dark.numpy())) / 2))
    for seed in range(8):
        # the same spots and the same noise each time
        first, second, blurred = (
            srgb_decode(
                glowing({"blurred": shown, "sharp": shown}, np.random.default_rng(seed), (4.0, 8.0))["sharp"].numpy()
            )
            for shown in (bright, dark, mean)
        )
        unclipped = (first < 0.999) & (second < 0.999) & (first > 0.001) & (second > 0.001)
        np.testing.assert_allclose(blurred[unclipped], ((first + second) / 2)[unclipped], atol=2e-4)


def test_spots_are_soft_and_of_the_breadth_asked_for():
    areas = {
        breadth: np.mean([spot(96, 96, np.random.default_rng(seed), (breadth, breadth)).sum() for seed in range(60)])
        for breadth in (2.0, 6.0)
    }
    assert areas[6.0] > 4 * areas[2.0]
    for seed in range(40):
        values = spot(96, 96, np.random.default_rng(seed), (6.0, 6.0))
        assert values.dtype == np.float32 and values.min() >= 0 and values.max() <= 1
        steps = max(np.abs(np.diff(values, axis=axis)).max() for axis in (0, 1))
        assert steps < 0.45  # no edge


def test_a_small_spot_in_a_large_patch_raises_no_warning_and_fades_to_nothing():
    for seed in range(30):
        values = spot(512, 512, np.random.default_rng(seed), (3.0, 3.0))
        assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
        assert np.median(values) < 0.01


def test_glow_touches_the_share_of_patches_asked_for():
    plain = Alike()[0]
    patches = AugmentedPatches(Alike(), AugmentSettings(turn="none", glow=0.5), seed=2)
    changed = sum(not torch.equal(patches[number]["sharp"], plain["sharp"]) for number in range(60))
    assert 18 <= changed <= 42


def test_a_range_of_glows_that_is_none_is_refused():
    with pytest.raises(ValueError, match="glow_px must be a range of numbers above 0"):
        AugmentSettings(glow_px=(5.0, 2.0))

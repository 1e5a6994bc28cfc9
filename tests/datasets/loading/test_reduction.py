"""Patches that show more of a picture, made smaller."""

import numpy as np
import pytest
import torch

from localblur.datasets.images import to_coded, to_tensor, to_unit
from localblur.datasets.loading.augmentation import Augmentation
from localblur.datasets.loading.reduction import draw_reduction, reduced_mask, reduced_picture
from localblur.datasets.pair import MASK_THRESHOLD
from localblur.datasets.patches import PatchDataset
from localblur.datasets.store import PairsFile

ALWAYS = Augmentation(turn=False, reduced=1.0, most_reduced=3)


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    return make_file(tmp_path / "a.h5", {"train": [make_pair(name=f"{n}", size=(80, 100)) for n in range(3)]})


def test_a_picture_is_reduced_to_means_of_blocks():
    patch = np.random.default_rng(0).integers(0, 65536, (12, 18, 3), dtype=np.uint16)
    means = patch.reshape(4, 3, 6, 3, 3).mean((1, 3))
    assert np.abs(reduced_picture(patch, 3, "srgb") - means).max() <= 0.5
    assert reduced_picture(patch, 1, "linear") is patch


def test_linear_light_is_reduced_as_deblur_would_the_coded_picture():
    light = np.random.default_rng(0).integers(0, 65536, (12, 18, 3), dtype=np.uint16)
    means = to_coded(light, "linear").reshape(4, 3, 6, 3, 3).mean((1, 3))
    np.testing.assert_allclose(to_coded(reduced_picture(light, 3, "linear"), "linear"), means, atol=1e-4)


def test_a_block_is_blurred_where_any_of_its_pixels_is():
    mask = np.zeros((8, 8), np.uint8)
    mask[5, 2] = 200
    expected = np.zeros((4, 4), np.uint8)
    expected[2, 1] = 200
    np.testing.assert_array_equal(reduced_mask(mask, 2), expected)
    assert reduced_mask(mask, 1) is mask


@pytest.mark.parametrize(("most", "expected"), [(1, {1}), (2, {2}), (3, {2, 3}), (9, {2, 3, 4})])
def test_reductions_are_whole_numbers_that_fit(most, expected):
    random = np.random.default_rng(0)
    settings = Augmentation(reduced=1.0, most_reduced=4)
    assert {draw_reduction(settings, most, random) for _ in range(60)} == expected


def test_a_share_is_reduced_and_none_draws_nothing():
    random = np.random.default_rng(0)
    drawn = [draw_reduction(Augmentation(reduced=0.25), 4, random) for _ in range(2000)]
    assert np.mean([times > 1 for times in drawn]) == pytest.approx(0.25, abs=0.03)
    before = random.bit_generator.state
    assert draw_reduction(Augmentation(), 4, random) == 1
    assert random.bit_generator.state == before


def test_patches_show_windows_of_the_pictures_made_smaller(path):
    """Each patch equals some window of its pictures, in all three of its images at the same place."""
    dataset = PatchDataset([path], patch_px=24, augment=ALWAYS, blur_aware_probability=0.5)
    file = PairsFile.open(path)
    pairs = [file.read("s1", number) for number in range(3)]
    for index in range(24):
        patch = dataset[index]
        assert patch["blurred"].shape == (3, 24, 24)
        assert patch["mask"].shape == (1, 24, 24)
        assert any(shows(pair, patch, times) for pair in pairs for times in (2, 3)), index


def shows(pair, patch, times):
    """Whether `patch` is a window of `pair` made `times` smaller."""
    side = 24 * times
    for y in range(80 - side + 1):
        for x in range(100 - side + 1):
            window = np.s_[y : y + side, x : x + side]
            if all(
                torch.equal(to_tensor(to_unit(reduced_picture(picture[window], times, "srgb"))), patch[name])
                for name, picture in (("blurred", pair.blurred), ("sharp", pair.sharp))
            ):
                mask = reduced_mask(pair.mask[window], times) >= MASK_THRESHOLD
                return bool((patch["mask"][0].numpy() == mask).all())
    return False


def test_pictures_too_small_to_be_reduced_are_shown_as_they_are(path):
    plain = PatchDataset([path], patch_px=60, augment=Augmentation(turn=False), blur_aware_probability=0.0)
    reduced = PatchDataset([path], patch_px=60, augment=ALWAYS, blur_aware_probability=0.0)
    assert [reduced[index]["blurred"].shape for index in range(4)] == [plain[0]["blurred"].shape] * 4


def test_samples_finished_on_a_device_are_reduced_too(path):
    now, later = (PatchDataset([path], patch_px=24, augment=ALWAYS, deferred=deferred) for deferred in (False, True))
    for index in range(6):
        torch.testing.assert_close(later[index]["blurred"] / 255, now[index]["blurred"])

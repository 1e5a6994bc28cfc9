"""The fast way from stored pixels to tensors gives the same bits as the plain one."""

import numpy as np
import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_encode, to_coded, to_linear, to_tensor
from localblur.datasets.loading.augmentation import Augmentation, Change, draw_change
from localblur.datasets.loading.patch_tensors import add_noise, mask_tensor, picture_tensor
from localblur.datasets.pair import binary_mask
from localblur.datasets.storage.patch_choice import turn


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_equal_the_plain_way_bit_for_bit(rng, dtype, encoding):
    patch = rng.integers(0, np.iinfo(dtype).max + 1, (37, 37, 3)).astype(dtype)
    patch[0, :3] = np.iinfo(dtype).max
    patch[1, :3] = 0
    for way in range(8):
        found = picture_tensor(patch, encoding, Change(way=way))
        assert found.is_contiguous()
        assert torch.equal(found, to_tensor(turn(to_coded(patch, encoding), way)))


def test_masks_equal_the_plain_way(rng):
    mask = rng.integers(0, 256, (21, 21), dtype=np.uint8)
    mask[0, :2] = 127, 128
    for way in range(8):
        assert torch.equal(mask_tensor(mask, way), to_tensor(turn(binary_mask(mask).astype(np.float32), way)))


def test_views_that_are_not_contiguous_are_taken(rng):
    patch = rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)[:, ::2]
    assert torch.equal(picture_tensor(patch, "srgb", Change(way=3)), to_tensor(turn(to_coded(patch, "srgb"), 3)))


def test_what_cannot_be_coded_is_named():
    with pytest.raises(LocalblurError, match="encoding must be srgb or linear"):
        picture_tensor(np.zeros((2, 2, 3), np.uint8), "log")


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exposure_changes_linear_light_and_channels_are_exchanged(rng, dtype, encoding):
    patch = rng.integers(0, np.iinfo(dtype).max + 1, (9, 9, 3)).astype(dtype)
    found = picture_tensor(patch, encoding, Change(gain=1.7, channels=(2, 0, 1)))
    expected = srgb_encode(1.7 * to_linear(patch, encoding))[..., [2, 0, 1]]
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_noise_has_the_deviation_asked_for_and_stays_in_range(rng):
    gray = torch.full((3, 64, 64), 0.5)
    noisy = add_noise(gray, 0.05, rng)
    assert abs(float((noisy - gray).std()) - 0.05) < 0.002
    assert add_noise(torch.ones(3, 64, 64), 0.2, rng).max() <= 1


def test_what_is_drawn_lies_in_its_range_and_uses_it():
    random = np.random.default_rng(0)
    settings = Augmentation(channel_order=True, exposure_stops=1.0, noise=0.1)
    drawn = [draw_change(settings, random) for _ in range(400)]
    assert {change.way for change in drawn} == set(range(8))
    assert len({change.channels for change in drawn}) == 6
    assert 0.5 <= min(change.gain for change in drawn) < 0.55
    assert 1.9 < max(change.gain for change in drawn) <= 2
    assert 0 <= min(change.noise for change in drawn) < 0.01 < 0.09 < max(change.noise for change in drawn) <= 0.1


def test_what_is_off_draws_nothing():
    """So that samples of runs without it stay what they were."""
    for settings, draws in ((Augmentation(turn=False), 0), (Augmentation(), 1)):
        one, other = np.random.default_rng(3), np.random.default_rng(3)
        draw_change(settings, one)
        for _ in range(draws):
            other.integers(8)
        assert one.random() == other.random()

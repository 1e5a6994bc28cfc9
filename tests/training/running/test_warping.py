"""Turned, stretched and enlarged patches: both pictures and the mask by one map, which never leaves the patch."""

import numpy as np
import pytest
import torch

from localblur.training.running.augmentation import AugmentedPatches, draw_exponents
from localblur.training.running.data_settings import AugmentSettings
from localblur.training.running.warping import STRETCH, draw_map, warped

SIDE = 64


def ramps():
    """Blurred: across in red, down in green. Sharp: the same, half as high. Mask: the right half."""
    place = (torch.arange(SIDE) + 0.5) / SIDE
    across, down = place.expand(SIDE, SIDE), place[:, None].expand(SIDE, SIDE)
    blurred = torch.stack([across, down, torch.full((SIDE, SIDE), 0.5)])
    mask = (across > 0.5).float()[None]
    return {"blurred": blurred, "sharp": blurred / 2, "mask": mask, "has_mask": torch.tensor(True)}


@pytest.mark.parametrize("seed", range(8))
def test_pictures_and_mask_follow_one_linear_map(seed):
    patch = warped(ramps(), np.random.default_rng(seed), 1.5)
    matrix = draw_map(np.random.default_rng(seed), 1.5)
    place = (2 * (torch.arange(SIDE) + 0.5) / SIDE - 1).expand(SIDE, SIDE)
    expected = torch.einsum("ij,jhw->ihw", matrix, torch.stack([place, place.T])) / 2 + 0.5
    # cubic interpolation mirrors what lies beyond the outermost pixel
    inner = ((expected > 2 / SIDE) & (expected < 1 - 2 / SIDE)).all(0)
    assert float(inner.float().mean()) > 0.8
    assert float((patch["blurred"][:2] - expected).abs()[:, inner].max()) < 1e-3
    torch.testing.assert_close(patch["sharp"], patch["blurred"] / 2, rtol=0, atol=1e-6)
    sure = (patch["blurred"][0] - 0.5).abs() > 0.02
    assert torch.equal(patch["mask"][0][sure], (patch["blurred"][0] > 0.5).float()[sure])
    assert patch["mask"].shape == (1, SIDE, SIDE) and bool(patch["has_mask"])


def test_no_pixel_comes_from_outside_and_none_is_made_smaller_than_the_stretch():
    random = np.random.default_rng(0)
    maps = torch.stack([draw_map(random, 2.0) for _ in range(2000)])
    assert float(maps.abs().sum(2).max()) <= 1 + 1e-6
    sizes = torch.linalg.svdvals(maps)
    assert float(sizes.max()) <= STRETCH**0.5
    assert 0.25 < float(sizes.min()) < 0.35  # turned by 45 degrees, stretched, and twice enlarged
    turned = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    assert float(turned.min()) < -0.7 and float(turned.max()) > 0.7


class Gray(torch.utils.data.Dataset):
    def __getitem__(self, number):
        picture = torch.full((3, 44, 44), 0.5)
        mask = torch.zeros(1, 44, 44)
        return {"blurred": picture, "sharp": picture.clone(), "mask": mask, "has_mask": torch.tensor(True)}


def test_tone_is_one_curve_for_both_pictures_and_nearly_one_for_all_channels():
    patches = AugmentedPatches(Gray(), AugmentSettings(turn="none", tone=2.0), seed=0)
    exponents = []
    for number in range(200):
        patch = patches[number]
        assert torch.equal(patch["blurred"], patch["sharp"])
        exponents.append(torch.log2(torch.log(patch["blurred"][:, 0, 0]) / np.log(0.5)))
    drawn = torch.stack(exponents)
    assert float(drawn.abs().max()) <= 1.2 + 1e-5
    assert float(drawn.mean(1).min()) < -0.9 and float(drawn.mean(1).max()) > 0.9
    assert 0 < float((drawn - drawn.mean(1, keepdim=True)).abs().max()) <= 0.4


def test_exponents_are_as_likely_up_as_down():
    random = np.random.default_rng(0)
    drawn = torch.log2(torch.cat([draw_exponents(random, 2.0).flatten() for _ in range(3000)]))
    assert abs(float(drawn.mean())) < 0.05


@pytest.mark.parametrize("off", [{"warp": 0.0}, {"tone": 1.0}])
def test_what_is_off_changes_nothing(off):
    patch = AugmentedPatches(Gray(), AugmentSettings(turn="none", **off), seed=0)[3]
    assert torch.equal(patch["blurred"], Gray()[3]["blurred"])

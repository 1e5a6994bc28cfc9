"""Figures and pictures of fixed patches."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from localblur.training.networks.base import Restored
from localblur.training.running.config import ValidationSettings
from localblur.training.running.validation import score, validate
from localblur.training.runtime import Runtime


class Brighter(nn.Module):
    """Adds a hundredth everywhere; its gate is a half."""

    def forward(self, image):
        return Restored([image + 0.01], [torch.full_like(image[:, :1], 0.5)])


class Gray(Dataset):
    """Gray patches, darker by a tenth in the left half where the mask is; patch 1 has no mask."""

    def __getitem__(self, number):
        mask = torch.zeros(1, 16, 16)
        mask[..., :8] = number != 1
        sharp = torch.full((3, 16, 16), 0.5)
        return {"blurred": sharp - 0.1 * mask, "sharp": sharp, "mask": mask, "has_mask": torch.tensor(number != 1)}


@pytest.fixture(scope="module")
def runtime():
    return Runtime("cpu")


def settings(**changes):
    return ValidationSettings(**({"samples": 10, "pictures": 3, "patch_px": 48} | changes))


def test_figures_tell_inside_from_outside(runtime):
    figures, strips = validate(Brighter(), Gray(), settings(), runtime, "fp32")
    assert figures["weighted_count"] == 9
    # 8-bit rounding: 0.5 is 128, 0.4 is 102, 0.41 is 105 of 255
    assert figures["weighted_psnr_blurred"] == pytest.approx(20 * math.log10(255 / 26), abs=1e-4)
    assert figures["weighted_psnr_restored"] == pytest.approx(20 * math.log10(255 / 23), abs=1e-4)
    assert figures["outside_change"] == pytest.approx(2.55, rel=1e-4)
    assert score(figures) == figures["weighted_psnr_restored"]
    assert len(strips) == 3


def test_a_strip_is_blurred_restored_gate_sharp(runtime):
    _, strips = validate(Brighter(), Gray(), settings(samples=1), runtime, "fp32")
    means = strips[0].reshape(3, 16, 4, 16).mean(dim=(0, 1, 3))
    assert tuple(strips[0].shape) == (3, 16, 64)
    assert means.tolist() == pytest.approx([0.45, 0.46, 0.5, 0.5], abs=1e-4)


def test_a_patch_on_which_the_network_fails_counts(runtime):
    class Failing(nn.Module):
        def forward(self, image):
            broken = image.clone()
            broken[0] = torch.nan
            return Restored([broken], [])

    figures, _ = validate(Failing(), Gray(), settings(), runtime, "fp32")
    good, _ = validate(Brighter(), Gray(), settings(), runtime, "fp32")
    assert figures["weighted_count"] == good["weighted_count"]
    assert score(figures) < figures["weighted_psnr_blurred"] - 1


def test_without_masks_the_whole_picture_decides(runtime):
    class Plain(Gray):
        def __getitem__(self, number):
            patch = super().__getitem__(1)
            return patch | {"blurred": patch["sharp"] - 0.1}

    figures, _ = validate(Brighter(), Plain(), settings(samples=2), runtime, "fp32")
    assert figures["weighted_count"] == 0
    assert math.isfinite(figures["psnr_restored"])
    assert math.isnan(figures["outside_change"])
    assert score(figures) == figures["psnr_restored"]


def test_a_patch_that_is_perfect_before_does_not_decide_what_is_best(runtime):
    class Clipped(Gray):
        """Patch 0 is white, blurred or not."""

        def __getitem__(self, number):
            patch = super().__getitem__(number)
            white = torch.ones_like(patch["sharp"])
            return patch if number else patch | {"blurred": white, "sharp": white}

    kept, _ = validate(Brighter(), Clipped(), settings(), runtime, "fp32")
    whole, _ = validate(Brighter(), Gray(), settings(), runtime, "fp32")
    assert kept["weighted_count"] == 8
    assert score(kept) == pytest.approx(score(whole))


def test_a_patch_restored_to_the_last_bit_counts_as_100_db(runtime):
    class Oracle(nn.Module):
        def forward(self, image):
            return Restored([torch.full_like(image, 0.5)], [])

    figures, _ = validate(Oracle(), Gray(), settings(samples=1), runtime, "fp32")
    assert figures["weighted_psnr_restored"] == 100


def test_the_module_is_left_in_its_mode(runtime):
    module = Brighter()
    for training in (True, False):
        module.train(training)
        validate(module, Gray(), settings(samples=1), runtime, "fp32")
        assert module.training is training

"""NAFNet's local averages and its own padding."""

import numpy as np
import pytest
import torch
from golden_networks import fill

from localblur.training.networks.nafnet import window_mean
from localblur.training.networks.table import NETWORKS


def mean_by_hand(image, side):
    """Each pixel's window begins half of it, rounded down, before the pixel, and is moved back into the image."""
    height, width = image.shape
    result = np.empty((height, width))
    for y, x in np.ndindex(height, width):
        top = min(max(y - (side - 1) // 2, 0), max(height - side, 0))
        left = min(max(x - (side - 1) // 2, 0), max(width - side, 0))
        result[y, x] = image[top : top + side, left : left + side].mean()
    return result


@pytest.mark.parametrize("size", [(9, 14), (5, 14), (4, 5)])
@pytest.mark.parametrize("side", [1, 4, 5, 8])
def test_window_means(size, side):
    image = np.random.default_rng(0).random(size)
    result = window_mean(torch.from_numpy(image)[None, None], side)
    np.testing.assert_allclose(result[0, 0], mean_by_hand(image, side), rtol=0, atol=1e-6)


def test_window_means_stay_exact_over_a_large_image():
    image = torch.ones(1, 1, 1500, 2200)
    image[..., ::2] = 1 / 3
    assert float((window_mean(image, 384) - 2 / 3).abs().max()) < 2e-6


@torch.no_grad()
def test_averages_are_local_at_test_and_global_in_training():
    options = {"width": 4, "encoder_blocks": [1, 1, 1, 1], "train_patch_px": 32}
    local = fill(NETWORKS["nafnet-w32"](options))
    whole = fill(NETWORKS["nafnet-w32"]({**options, "local_pooling": False}))
    torch.manual_seed(0)
    large, small = torch.rand(1, 3, 32, 128), torch.rand(1, 3, 48, 48)
    assert not torch.allclose(local(large).images[0], whole(large).images[0], atol=1e-4)
    assert torch.equal(local(small).images[0], whole(small).images[0])  # 1.5 times the patch it was trained on
    assert torch.equal(local.train()(large).images[0], whole(large).images[0])
    assert local.global_statistics and whole.global_statistics  # no window of a picture shows what it needs


@torch.no_grad()
def test_fresh_blocks_are_the_identity():
    network = NETWORKS["nafnet-w32"]({"width": 4, "encoder_blocks": [1, 1, 1, 1]})
    features = torch.rand(1, 4, 16, 16)
    assert torch.equal(network.encoders[0](features), features)

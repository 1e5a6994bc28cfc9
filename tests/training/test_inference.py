"""Images of any size go through a network and come back at their size, in windows or whole, without a seam."""

import numpy as np
import pytest
import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.training.inference import (
    automatic_tile,
    available_bytes,
    bytes_per_pixel,
    number_type,
    prepare,
    restore,
    restore_with_gate,
)
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.table import NETWORKS

CPU = torch.device("cpu")


class Sharpener(RestorationNetwork):
    """A tiny network: three convolutions, an optional gate, dropout that must be off at inference."""

    size_multiple = 8

    def __init__(self, gated: bool = True) -> None:
        super().__init__()
        self.gated = gated
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 4, 5, stride=2, padding=2))
        self.drop = nn.Dropout(0.5)
        self.head = nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1)

    def forward(self, image):
        self.check_size(image)
        head = self.head(self.drop(self.body(image)))
        gate = torch.sigmoid(head[:, :1])
        return Restored([image + head[:, 1:] * gate], [gate] if self.gated else [])


class Constant(RestorationNetwork):
    """Adds a constant to the image."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, image):
        return Restored([image + self.value], [])


class Starved(Constant):
    """Fails the way torch does when memory is exhausted."""

    def forward(self, image):
        return Restored([torch.empty(1 << 55)], [])


@pytest.fixture
def sharpener() -> Sharpener:
    torch.manual_seed(0)
    return Sharpener().eval()


def picture(rng, height, width):
    return torch.from_numpy(rng.random((1, 3, height, width), dtype=np.float32))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8), (0, 3, 8, 8)])
def test_images_of_another_shape_are_refused(sharpener, shape):
    with pytest.raises(LocalblurError, match=r"\(B, 3, H, W\), got"):
        restore(sharpener, torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_returns_nan_is_an_error_and_not_a_picture(value):
    with pytest.raises(LocalblurError, match="NaN or infinite"):
        restore(Constant(value), torch.zeros(1, 3, 8, 8))
    with pytest.raises(LocalblurError, match="--precision fp32"):
        restore(Constant(value), torch.zeros(1, 3, 8, 8), precision="bf16")


def test_exhausted_memory_names_the_remedy():
    with pytest.raises(LocalblurError, match=r"12x8 px; use a smaller --tile"):
        restore(Starved(0.0), torch.zeros(1, 3, 8, 12), tile="none")


def test_a_tile_below_the_overlap_is_refused(sharpener):
    with pytest.raises(LocalblurError, match="tile 100 px is too small"):
        restore(sharpener, torch.zeros(1, 3, 8, 8), tile=100)


def test_precisions_resolve():
    assert number_type("fp32", CPU) == torch.float32
    assert number_type("bf16", CPU) == torch.bfloat16
    assert number_type("auto", CPU) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 3), (7, 8), (8, 8), (13, 50), (65, 31)])
def test_any_size_comes_back_at_its_size(sharpener, rng, height, width):
    image = picture(rng, height, width)
    restored = restore_with_gate(sharpener, image)
    assert restored.image.shape == image.shape
    assert restored.gate is not None
    assert restored.gate.shape == (1, 1, height, width)
    assert restored.image.dtype == torch.float32


def test_sizes_the_network_takes_are_not_padded(sharpener, rng):
    image = picture(rng, 32, 48)
    expected = sharpener(image)
    restored = restore_with_gate(sharpener, image, tile="none")
    torch.testing.assert_close(restored.image, expected.images[-1].clamp(0, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(restored.gate, expected.gates[-1], rtol=0, atol=1e-6)


def test_networks_without_gates_return_none(rng):
    assert restore_with_gate(Sharpener(gated=False), picture(rng, 9, 9)).gate is None


def test_the_result_is_clamped_and_a_batch_stays_a_batch():
    assert float(restore(Constant(3.0), torch.zeros(2, 3, 5, 5)).min()) == 1
    assert float(restore(Constant(-3.0), torch.ones(2, 3, 5, 5)).max()) == 0
    assert restore(Constant(0.0), torch.ones(2, 3, 5, 5)).shape == (2, 3, 5, 5)


def test_the_mode_of_the_network_is_restored_and_dropout_is_off(sharpener, rng):
    image = picture(rng, 16, 16)
    expected = restore(sharpener, image)
    sharpener.train()
    torch.testing.assert_close(restore(sharpener, image), expected)
    assert sharpener.training


@pytest.mark.parametrize("name", ["lbag-small", "lbag"])
def test_windows_equal_the_whole_image_within_one_level(rng, name):
    torch.manual_seed(0)
    module = prepare(NETWORKS[name]({"num_res": 4, "identity_start": False}), CPU)
    image = picture(rng, 250, 331)
    whole = restore_with_gate(module, image, tile="none")
    tiled = restore_with_gate(module, image, tile=204)
    assert whole.gate is not None
    assert tiled.gate is not None
    assert float((whole.image - image).abs().max()) > 0.01
    assert float((tiled.image - whole.image).abs().max()) < 0.1 / 255
    assert float((tiled.gate - whole.gate).abs().max()) < 0.1 / 255


def test_bf16_is_close_to_fp32(rng):
    torch.manual_seed(0)
    module = prepare(NETWORKS["lbag-small"]({"identity_start": False}), CPU)
    image = picture(rng, 64, 64)
    exact, fast = restore(module, image), restore(module, image, precision="bf16")
    mean_square = float(((exact - fast) ** 2).mean())
    assert 0 < mean_square < 1e-5  # above 50 dB


def test_automatic_tiles_follow_the_budget():
    assert automatic_tile(720, 1280, budget_px=1_000_000, multiple=4) is None
    tile = automatic_tile(720, 1280, budget_px=500_000, multiple=4)
    assert tile is not None
    assert tile % 4 == 0
    assert tile * tile <= 500_000
    assert automatic_tile(10_000, 10_000, budget_px=10**9, multiple=4) == 2048
    assert automatic_tile(720, 1280, budget_px=10, multiple=4) == 2 * 164


def test_the_memory_estimate_grows_with_the_network():
    small, large = (NETWORKS[name]({"num_res": 1}) for name in ("lbag-small", "lbag"))
    estimates = [bytes_per_pixel(module, CPU, torch.float32) for module in (small, large)]
    assert 1000 < estimates[0] < estimates[1] < 5000
    assert not any(module._forward_hooks for module in small.modules())
    assert available_bytes(CPU) > 0

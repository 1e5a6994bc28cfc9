"""Images of any size go through a network and come back at their size, in windows or whole, without a seam."""

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.datasets.images import to_tensor, to_unit
from localblur.training.inference.engine import SelfEnsemble, TorchEngine, available_bytes, number_type, prepare
from localblur.training.inference.restore import (
    automatic_tile,
    choose_tiling,
    find_blur,
    restore,
    restore_pixels,
    restore_with_gate,
    window_deviation,
)
from localblur.training.inference.tiling import Tiling
from localblur.training.model_in_the_box import NAME
from localblur.training.networks.base import RestorationNetwork, Restored
from localblur.training.networks.table import NETWORKS
from localblur.training.published_weights import open_model
from localblur.training.simulated_scenes import scene_pairs, scene_settings

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


@pytest.mark.parametrize(("name", "tile"), [("lbag-small", 416), ("lbag", 204)])
def test_windows_equal_the_whole_image_within_one_level(rng, name, tile):
    torch.manual_seed(0)
    module = prepare(NETWORKS[name]({"num_res": 4, "identity_start": False}), CPU)
    image = picture(rng, 250, tile + 127)
    whole = restore_with_gate(module, image, tile="none")
    tiled = restore_with_gate(module, image, tile=tile)
    assert whole.gate is not None
    assert tiled.gate is not None
    assert float((whole.image - image).abs().max()) > 0.01
    assert float((tiled.image - whole.image).abs().max()) < 0.1 / 255
    assert float((tiled.gate - whole.gate).abs().max()) < 0.1 / 255


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_windows_of_the_model_in_the_box_equal_the_whole_image_within_one_level(seed):
    """Training makes a network look farther than it does with random weights."""
    module, _ = open_model(Path(NAME))
    scene = scene_settings("train", seed).model_copy(update={"coverage": 0.3})
    (pair,) = scene_pairs(scene, "s", 1, 480, 640)
    image = to_tensor(to_unit(pair.blurred))[None]
    whole, tiled = (restore_with_gate(module, image, tile=tile).image for tile in ("none", 416))
    assert float((whole - image).abs().max()) > 0.1
    assert float((tiled - whole).abs().max()) < 1 / 255


def test_bf16_is_close_to_fp32(rng):
    torch.manual_seed(0)
    module = prepare(NETWORKS["lbag-small"]({"identity_start": False}), CPU)
    image = picture(rng, 64, 64)
    exact, fast = restore(module, image), restore(module, image, precision="bf16")
    mean_square = float(((exact - fast) ** 2).mean())
    assert 0 < mean_square < 1e-5  # above 50 dB


def test_automatic_tiles_follow_the_budget():
    def tile(height, width, budget_bytes):
        return automatic_tile(height, width, budget_bytes=budget_bytes, pixel_bytes=1000, step=(4, 64))

    assert tile(720, 1280, 1e9) is None
    side = tile(720, 1280, 5e8)
    assert side is not None
    assert side % 4 == 0
    assert 0.9 * 5e8 < side**2 * 1000 + side * 1280 * 64 <= 5e8
    assert tile(10_000, 10_000, 1e13) == 2048
    assert tile(720, 1280, -1.0) == 2 * 148


def test_the_memory_estimate_grows_with_the_network():
    small, large = (NETWORKS["lbag"]({"num_res": 1, "width": width}) for width in (16, 32))
    estimates = [TorchEngine(module).bytes_per_pixel() for module in (small, large)]
    assert 1000 < estimates[0] < estimates[1] < 5000
    assert not any(module._forward_hooks for module in small.modules())
    assert available_bytes(CPU) > 0


def test_too_little_memory_is_refused_and_some_makes_smaller_windows(sharpener):
    engine = TorchEngine(sharpener)
    with pytest.raises(LocalblurError, match=r"allow more --memory"):
        choose_tiling(engine, 4000, 4000, memory_bytes=1000)
    held = psutil.Process().memory_info().rss
    tiling = choose_tiling(engine, 4000, 4000, memory_bytes=held + 700_000_000)
    assert tiling is not None
    assert 2 * tiling.smallest_tile < tiling.tile < 2048


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_restored_as_tensors_are(sharpener, rng, dtype):
    pixels = rng.integers(0, np.iinfo(dtype).max, (211, 333, 3), endpoint=True).astype(dtype)
    scale = float(np.iinfo(dtype).max)
    expected = restore_with_gate(sharpener, torch.from_numpy(np.moveaxis(pixels / scale, 2, 0)[None]).float())
    for tile in ("none", 360, 208):
        restored = restore_pixels(TorchEngine(sharpener), pixels, tile=tile)
        image = expected.image[0].permute(1, 2, 0).numpy() * scale
        assert restored.pixels.dtype == dtype
        assert float(np.abs(restored.pixels - image).max()) <= 0.5 + scale * 1e-6
        assert restored.gate is not None
        assert float(np.abs(restored.gate / 255 - expected.gate[0, 0].numpy()).max()) < 0.51 / 255


def test_the_self_ensemble_is_the_mean_over_eight_versions(sharpener, rng):
    image = picture(rng, 16, 24)
    engine = TorchEngine(sharpener)
    once, eight = engine.run(image), SelfEnsemble(engine).run(image)
    assert float((once - eight).abs().max()) > 1e-3
    turned = torch.rot90(image, 1, (-2, -1)).flip(-2)
    again = torch.rot90(SelfEnsemble(engine).run(turned).flip(-2), -1, (-2, -1))
    torch.testing.assert_close(again, eight, rtol=0, atol=1e-5)


class Levelling(Constant):
    """Subtracts the image's mean, as networks with global statistics do."""

    global_statistics = True

    def forward(self, image):
        return Restored([image - 0.5 * image.mean((2, 3), keepdim=True) + self.value], [])


def test_global_statistics_deviate_in_windows_and_convolutions_do_not(sharpener):
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[:, None], 256, 1)[..., None].repeat(3, 2)
    tiling = Tiling(tile=256, margin=0, blend=32, multiple=8)
    assert window_deviation(TorchEngine(Levelling(0.1)), ramp, tiling) > 10
    assert window_deviation(TorchEngine(sharpener), ramp, tiling) < 0.5


def test_float16_is_refused_on_a_processor():
    with pytest.raises(LocalblurError, match="needs a GPU"):
        number_type("fp16", CPU)


@torch.no_grad()
def test_blur_is_found_in_windows_as_at_once_and_where_the_coarsest_gate_is(rng):
    torch.manual_seed(0)
    network = NETWORKS["lbag-small"]({"width": 8}).eval()
    pixels = rng.integers(0, 256, (150, 700, 3), dtype=np.uint8)
    whole = find_blur(TorchEngine(network), pixels, tile="none")
    assert whole.shape == (150, 700) and whole.dtype == np.uint8
    inner = to_tensor(to_unit(pixels[:144, :688]))[None]
    coarse = TorchEngine(network).find(inner)
    assert coarse.shape == (1, 1, 144, 688)
    means = torch.nn.functional.avg_pool2d(coarse, 4)[..., 1:-1, 1:-1]
    both = torch.stack([means.flatten(), network.find_blur(inner)[..., 1:-1, 1:-1].flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.8  # enlarging smooths, a shift would leave next to nothing
    windows = find_blur(TorchEngine(network), pixels, tile=400).astype(int)
    assert np.abs(windows - whole).max() <= 1
    ensemble = SelfEnsemble(TorchEngine(network))
    torch.testing.assert_close(ensemble.find(inner), coarse, rtol=0, atol=0)


def test_blur_is_found_by_networks_with_gates_alone():
    with pytest.raises(LocalblurError, match="no gate"):
        find_blur(TorchEngine(Sharpener(gated=False)), np.zeros((16, 16, 3), np.uint8))


def test_a_gate_of_nan_is_refused():
    network = Sharpener()
    network.head.bias.data.fill_(float("nan"))
    with pytest.raises(LocalblurError, match="NaN"):
        TorchEngine(network).find(torch.zeros(1, 3, 16, 16))

"""Only what is blurred is restored; the rest comes back to the bit."""

import cv2
import numpy as np
import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.training.inference.engine import TorchEngine
from localblur.training.inference.restore import restore_pixels
from localblur.training.inference.selective import coarse_gate, restore_blurred, restore_selected
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.base import RestorationNetwork, Restored


class RedIsBlurred(RestorationNetwork):
    """Adds 0.2 to green where red is high, and says so; counts the pixels it has seen."""

    size_multiple = 4

    def __init__(self, gated: bool = True) -> None:
        super().__init__()
        self.gated, self.seen = gated, 0

    def forward(self, image):
        self.check_size(image)
        self.seen += image.shape[-1] * image.shape[-2]
        gate = (image[:, :1] > 0.5).float()
        change = torch.zeros_like(image)
        change[:, 1:2] = 0.2 * gate
        return Restored([image + change], [gate] if self.gated else [])


@pytest.fixture
def picture(rng):
    pixels = rng.integers(0, 100, (970, 1202, 3), dtype=np.uint8)
    pixels[100:250, 300:500, 0] = 200
    pixels[800:, 20:110, 0] = 200
    return pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blurred_parts_equal_the_dense_result_and_the_rest_the_input(picture, dtype):
    pixels = picture.astype(dtype) * (257 if dtype == np.uint16 else 1)
    network = RedIsBlurred()
    engine = TorchEngine(network)
    dense = restore_pixels(engine, pixels, tile="none")
    network.seen = 0
    found = restore_blurred(engine, pixels)
    red = picture[..., 0] > 127
    np.testing.assert_array_equal(found.pixels[red], dense.pixels[red])
    assert (found.pixels[red] != pixels[red]).any()
    np.testing.assert_array_equal(found.pixels[~found.restored], pixels[~found.restored])
    assert found.restored[red].all()
    assert found.restored.mean() < 0.15
    np.testing.assert_array_equal(found.gate[red], 255)
    # coarse pass, windows, and the engine's first look
    assert found.share < 0.25
    assert network.seen < (found.share + 1 / 9) * red.size + 2 * 64 * 64


def test_a_sharp_picture_comes_back_as_it_is(picture):
    picture[..., 0] = 50
    found = restore_blurred(TorchEngine(RedIsBlurred()), picture)
    np.testing.assert_array_equal(found.pixels, picture)
    assert found.share == 0
    assert not found.restored.any()


def test_a_small_picture_is_restored_at_once_and_blended_by_its_gate(picture):
    small = np.ascontiguousarray(picture[90:350, 290:530])
    found = restore_blurred(TorchEngine(RedIsBlurred()), small)
    assert found.share == 1
    red = small[..., 0] > 127
    assert found.restored[red].all()
    np.testing.assert_array_equal(found.pixels[~found.restored], small[~found.restored])
    assert (found.pixels[red][:, 1] > small[red][:, 1]).all()


def test_everything_open_is_the_dense_result(picture):
    engine = TorchEngine(RedIsBlurred())
    coarse = np.full((242, 300), 255, np.uint8)
    found = restore_selected(engine, picture, coarse, SkipSettings())
    np.testing.assert_array_equal(found.pixels, restore_pixels(engine, picture, tile="none").pixels)
    assert found.restored.all()


def test_a_network_without_gates_is_refused_with_the_remedy(picture):
    engine = TorchEngine(RedIsBlurred(gated=False))
    for pixels in (picture, picture[:100, :100]):
        with pytest.raises(LocalblurError, match="pass --dense"):
            restore_blurred(engine, np.ascontiguousarray(pixels))
    with pytest.raises(LocalblurError, match="no gate"):
        coarse_gate(engine, picture, 4)


class CloserLook(RedIsBlurred):
    """Finds a tenth of blur everywhere; its finest gate says half of what it finds."""

    def forward(self, image):
        images, (gate,) = super().forward(image)
        found = 0.1 + 0.9 * gate
        return Restored(images, [found, found / 2])


def test_the_finest_gate_is_shown_where_pixels_may_have_changed_and_nowhere_else(picture):
    found = restore_blurred(TorchEngine(CloserLook()), picture)
    red = picture[..., 0] > 127
    assert set(np.unique(found.gate[red])) <= {127, 128}
    assert 0 < found.restored.mean() < 0.2
    assert found.gate[~found.restored].min() >= 25


class Mean(RedIsBlurred):
    """Its red is the mean of the window it gets, so that windows which see different things differ everywhere."""

    def forward(self, image):
        restored = super().forward(image)
        restored.images[-1][:, :1] = image[:, :1].mean()
        return restored


def test_windows_that_meet_fade_into_each_other():
    """An L needs two windows or more."""
    picture = np.zeros((1300, 1300, 3), np.uint8)
    picture[40:1260, 40:240, 0] = 200
    picture[1060:1260, 40:1260, 0] = 255
    found = restore_blurred(TorchEngine(Mean()), picture, SkipSettings(threshold=0.3, seed_threshold=0.5))
    assert found.share < 0.6
    column = found.pixels[80:1220, 140, 0].astype(int)
    steps = np.abs(np.diff(column))
    apart = column.max() - column.min()
    assert apart > 20  # the windows' own means
    assert steps.max() <= apart / 8
    assert (steps > 0).sum() < 24  # and only where they meet
    farthest = cv2.dilate((picture[..., 0] > 0).astype(np.uint8), np.ones((161, 161), np.uint8)) > 0
    assert not found.restored[~farthest].any()


class SecondThoughts(RedIsBlurred):
    """Finds blur where red is high; its finest gate takes back half of that where blue is high too."""

    def forward(self, image):
        images, (gate,) = super().forward(image)
        return Restored(images, [gate, gate * (1 - 0.5 * (image[:, 2:] > 0.5).float())])

    def find_blur(self, image):
        return self(image).gates[0]


def test_what_the_finest_gate_does_not_confirm_comes_back_to_the_bit(picture):
    picture[100:250, 300:500, 2] = 200
    engine, red = TorchEngine(SecondThoughts()), picture[..., 0] > 127
    doubted = red & (picture[..., 2] > 127)
    believing = restore_blurred(engine, picture)
    strict = restore_blurred(engine, picture, SkipSettings(confirm_threshold=0.6))
    lenient = restore_blurred(engine, picture, SkipSettings(confirm_threshold=0.4))
    for found in (believing, lenient):
        assert found.restored[red].all()
    np.testing.assert_array_equal(lenient.pixels, believing.pixels)
    np.testing.assert_array_equal(strict.pixels[100:250, 300:500], picture[100:250, 300:500])
    assert not strict.restored[doubted].any()
    assert strict.restored[red & ~doubted].all()
    np.testing.assert_array_equal(strict.pixels[red & ~doubted], believing.pixels[red & ~doubted])
    np.testing.assert_array_equal(strict.gate[doubted], believing.gate[doubted])
    small = np.ascontiguousarray(picture[90:350, 290:530])
    np.testing.assert_array_equal(restore_blurred(engine, small, SkipSettings(confirm_threshold=0.6)).pixels, small)
    assert restore_blurred(engine, small).restored.any()

"""Windows cover the image, begin at the network's multiples, add up to one, and leave no seam."""

import pytest
import torch
import torch.nn.functional as F

from localblur.common.errors import LocalblurError
from localblur.training.inference.tiling import Tiling, apply_tiled, pad_to_multiple, smallest_tile, spans


def test_a_tile_smaller_than_its_overlap_is_refused_with_the_least_size():
    with pytest.raises(LocalblurError, match=r"tile 40 px is too small.*at least 44 px"):
        Tiling(tile=40, margin=16, blend=8, multiple=4)
    assert Tiling(tile=44, margin=16, blend=8, multiple=4).smallest_tile == smallest_tile(16, 8, 4) == 44


@pytest.mark.parametrize("values", [{"tile": 0}, {"margin": -1}, {"blend": 0}, {"multiple": 0}])
def test_senseless_lengths_are_refused(values):
    with pytest.raises(LocalblurError):
        Tiling(**{"tile": 64, "margin": 8, "blend": 4, "multiple": 4, **values})


@pytest.mark.parametrize("length", [4, 60, 64, 68, 100, 128, 500, 1284])
@pytest.mark.parametrize(("tile", "margin", "blend", "multiple"), [(64, 8, 8, 4), (61, 10, 5, 4), (48, 0, 1, 1)])
def test_spans_cover_the_axis_and_weights_add_up_to_one(length, tile, margin, blend, multiple):
    tiling = Tiling(tile=tile, margin=margin, blend=blend, multiple=multiple)
    found = spans(length, tiling)
    total = torch.zeros(length)
    for span in found:
        assert span.start % multiple == 0
        assert span.stop - span.start <= tile
        total[span.start : span.stop] += span.weight
        if span.start > 0:
            assert float(span.weight[:margin].abs().sum()) == 0
        if span.stop < length:
            assert float(span.weight[tile // multiple * multiple - margin :].abs().sum()) == 0
    assert found[0].start == 0
    assert found[-1].stop == length
    torch.testing.assert_close(total, torch.ones(length), rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", range(520, 2300, 148))
def test_windows_are_as_few_as_possible_and_no_larger_than_they_must_be(length):
    tiling = Tiling(tile=512, margin=64, blend=16, multiple=4)
    found = spans(length, tiling)
    sizes = {span.stop - span.start for span in found}
    assert len(sizes) == 1
    (size,) = sizes
    fewest = -(-(length - tiling.overlap) // (512 - tiling.overlap))
    assert len(found) == fewest
    assert size <= 512
    assert len(found) * (size - 4) - (len(found) - 1) * tiling.overlap < length
    overlaps = [before.stop - after.start for before, after in zip(found, found[1:], strict=False)]
    assert min(overlaps) >= tiling.overlap


def test_a_local_operation_is_exact_in_windows(rng):
    image = torch.from_numpy(rng.random((2, 3, 96, 140), dtype="float32"))
    kernel = torch.from_numpy(rng.random((5, 3, 7, 7), dtype="float32")) / 147

    def convolve(window):
        assert max(window.shape[-2:]) <= 48
        return F.conv2d(window, kernel, padding=3)

    tiled = apply_tiled(convolve, image, Tiling(tile=48, margin=3, blend=4, multiple=4))
    torch.testing.assert_close(tiled, F.conv2d(image, kernel, padding=3), rtol=0, atol=1e-5)


def test_a_margin_below_the_receptive_field_shows(rng):
    image = torch.from_numpy(rng.random((1, 1, 64, 96), dtype="float32")) + 1
    kernel = torch.ones(1, 1, 15, 15) / 225
    tiled = apply_tiled(lambda w: F.conv2d(w, kernel, padding=7), image, Tiling(tile=32, margin=2, blend=4))
    assert float((tiled - F.conv2d(image, kernel, padding=7)).abs().max()) > 0.05


def test_operations_that_take_every_fourth_pixel_see_the_same_pixels(rng):
    image = torch.from_numpy(rng.random((1, 3, 80, 112), dtype="float32"))

    def subsample(window):
        return F.interpolate(window[..., ::4, ::4], scale_factor=4, mode="nearest")

    tiled = apply_tiled(subsample, image, Tiling(tile=40, margin=4, blend=4, multiple=4))
    torch.testing.assert_close(tiled, subsample(image), rtol=0, atol=1e-6)


def test_the_number_of_channels_may_change():
    image = torch.rand(1, 3, 40, 40)
    result = apply_tiled(lambda w: w.mean(1, keepdim=True), image, Tiling(tile=24, margin=4, blend=4))
    torch.testing.assert_close(result, image.mean(1, keepdim=True))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (4, 4), (5, 9), (17, 30)])
@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_padding_keeps_the_image_and_reaches_the_multiple(height, width, multiple):
    image = torch.rand(1, 3, height, width)
    padded = pad_to_multiple(image, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    torch.testing.assert_close(padded[..., :height, :width], image)


def test_padding_reflects_where_there_are_pixels_enough():
    image = torch.arange(6.0).view(1, 1, 1, 6)
    torch.testing.assert_close(pad_to_multiple(image, 4)[0, 0, 0], torch.tensor([0.0, 1, 2, 3, 4, 5, 4, 3]))

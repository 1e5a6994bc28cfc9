"""Small pictures and noise from raw frames."""

import numpy as np
import pytest

from localblur.acquisition.measuring.raw_pictures import binned, cells, noise_levels, thinned

COLORS = {"R": 300, "G": 200, "B": 100}


def mosaic(pattern, height=12, width=20):
    """A frame in which every site has the value of its colour."""
    raw = np.empty((height, width), np.uint16)
    for site, name in enumerate(pattern):
        raw[site // 2 :: 2, site % 2 :: 2] = COLORS[name]
    return raw


@pytest.mark.parametrize("shape", [(24, 40), (24, 40, 3), (27, 43)])
def test_blocks_are_means(rng, shape):
    raw = rng.integers(0, 4096, shape).astype(np.uint16)
    small = binned(raw, 4)
    expected = raw[:24, :40].reshape(6, 4, 10, 4, -1).mean((1, 3, 4))
    np.testing.assert_allclose(small, expected, rtol=1e-5)


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_cells_know_their_colours(pattern):
    picture = cells(mosaic(pattern), pattern)
    assert picture.shape == (6, 10, 3)
    np.testing.assert_array_equal(picture.reshape(-1, 3), np.tile([300, 200, 100], (60, 1)))


def test_both_greens_count():
    raw = mosaic("GRBG")
    raw[0::2, 0::2] = 220
    assert (cells(raw, "GRBG")[..., 1] == 210).all()


def test_rgb_frames_are_thinned_out(rng):
    raw = rng.integers(0, 256, (12, 20, 3)).astype(np.uint8)
    np.testing.assert_array_equal(cells(raw, None), raw[::2, ::2])


@pytest.mark.parametrize("bayer", ["RGGB", "GBRG", None])
def test_noise_is_measured_beside_edges(rng, bayer):
    """Shot noise of 0.5 DN per electron and 3 DN of read noise, on a picture with a ramp and a hard edge."""
    light = np.tile(np.linspace(100, 3000, 640), (480, 1))
    light[200:280] *= 0.3
    shape = light.shape if bayer else (*light.shape, 3)
    light = light if bayer else np.repeat(light[..., None], 3, 2)
    raw = np.rint(0.5 * rng.poisson(light / 0.5) + rng.normal(0, 3, shape) + 64).astype(np.uint16)
    levels = noise_levels(raw, bayer)
    expected = np.sqrt(0.5 * (levels[:, 0] - 64) + 9)
    np.testing.assert_allclose(levels[:, 1], expected, rtol=0.15)
    assert (np.diff(levels[:, 0]) > 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(12, 20), (13, 23)])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_thinned_mosaics_are_copies_of_every_nth_cell(rng, dtype, shape, step):
    raw = rng.integers(0, 256, shape).astype(dtype)
    small = thinned(raw, step)
    rows, columns = shape[0] // (2 * step), shape[1] // (2 * step)
    assert small.shape == (2 * rows, 2 * columns)
    for y, x in np.ndindex(2, 2):
        np.testing.assert_array_equal(small[y::2, x::2], raw[y :: 2 * step, x :: 2 * step][:rows, :columns])
    assert not np.shares_memory(small, raw)


def test_thinned_rgb_frames_are_copies(rng):
    raw = rng.integers(0, 256, (12, 20, 3)).astype(np.uint8)
    small = thinned(raw, 2)
    np.testing.assert_array_equal(small, raw[::2, ::2])
    assert not np.shares_memory(small, raw)

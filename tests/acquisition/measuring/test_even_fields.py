"""Dark and flat frames: what is measured on them, against frames made to measure."""

import math

import numpy as np
import pytest

from localblur.acquisition.measuring.even_fields import measure_dark, measure_flat
from localblur.datasets.recording import CameraRecord

HEIGHT, WIDTH = 240, 320


def camera(bit_depth=12):
    return CameraRecord(
        role="B",
        model="synthetic",
        serial="1",
        pixel_format=f"BayerRG{bit_depth}",
        bit_depth=bit_depth,
        bayer="RGGB",
        width=WIDTH,
        height=HEIGHT,
        black_level=64 if bit_depth == 12 else 4,
        white_level=2**bit_depth - 1,
        exposure_ms=20,
    )


def dark(rng, level, sigma):
    return np.clip(np.rint(rng.normal(level, sigma, (HEIGHT, WIDTH))), 0, None).astype(np.uint16)


def flat(rng, level=2000.0, vignetting=0.25, tilt=0.0):
    """An even field with shot noise of 0.4 DN per electron."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = level * (1 - vignetting * (x * x + y * y) / 2) * (1 + tilt / 2 * x)
    return np.rint(64 + 0.4 * rng.poisson(light / 0.4)).astype(np.uint16), light


@pytest.mark.parametrize("sigma", [0.2, 3.0, 20.0])
def test_a_dark_frame_is_dark(rng, sigma):
    found = measure_dark(dark(rng, 64, sigma), camera())
    assert found.offset_dn == pytest.approx(0, abs=0.4)
    assert found.pattern_dn == 0
    assert found.clipped < 0.001


@pytest.mark.parametrize("offset", [-20, 7.5])
def test_the_offset_from_black_is_measured(rng, offset):
    assert measure_dark(dark(rng, 64 + offset, 4), camera()).offset_dn == pytest.approx(offset, abs=0.2)


def test_a_leak_is_found_where_it_is(rng):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    leak = 12 * np.exp(-((x - 280) ** 2 + (y - 40) ** 2) / (2 * 50**2))
    found = measure_dark(np.rint(rng.normal(64 + leak, 5)).astype(np.uint16), camera())
    assert found.pattern_dn == pytest.approx(11, abs=2)
    assert found.place == pytest.approx((280 / WIDTH, 40 / HEIGHT), abs=0.1)


def test_a_hot_pixel_is_no_leak(rng):
    raw = dark(rng, 64, 3)
    raw[100, 100] = 4095
    assert measure_dark(raw, camera()).pattern_dn == 0


@pytest.mark.parametrize(("level", "sigma"), [(4.0, 1.26), (64.0, 19.7), (10.0, 2.5)])
def test_zeros_by_rounding_are_not_cut_off(rng, level, sigma):
    assert measure_dark(dark(rng, level, sigma), camera()).clipped < 0.001


@pytest.mark.parametrize(("level", "sigma"), [(2.0, 5.0), (0.0, 0.1), (20.0, 30.0)])
def test_noise_that_is_cut_off_is_noticed(rng, level, sigma):
    assert measure_dark(dark(rng, level, sigma), camera()).clipped > 0.05


def test_of_averaged_frames_the_single_exposures_count(rng):
    """The mean of 16 exposures holds no zero; each of them had 3 %."""
    single = rng.normal(19, 10, (16, HEIGHT, WIDTH))
    mean = np.rint(single.mean(0)).astype(np.uint16)
    assert measure_dark(mean, camera(), averaged=1).clipped == 0
    expected = 0.5 * math.erfc(1.9 / math.sqrt(2))
    assert measure_dark(mean, camera(), averaged=16).clipped == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("level", [300.0, 2000.0])
@pytest.mark.parametrize("vignetting", [0.0, 0.4])
def test_vignetting_and_noise_are_even(rng, level, vignetting):
    found = measure_flat(flat(rng, level, vignetting)[0], camera())
    assert found.uneven == 0
    assert found.slant < 0.02


def test_an_object_before_the_field_is_found(rng):
    raw, _ = flat(rng)
    raw[150:170, 240:260] = 64 + 0.9 * (raw[150:170, 240:260] - 64.0)
    found = measure_flat(raw, camera())
    assert found.uneven == pytest.approx(400 / raw.size, rel=0.5)
    assert found.place == pytest.approx((250 / WIDTH, 160 / HEIGHT), abs=0.02)


def test_a_field_lit_from_one_side_is_slanted(rng):
    raw, light = flat(rng, vignetting=0.2, tilt=0.3)
    expected = 1 - light[HEIGHT // 2, 0] / light[HEIGHT // 2, -1]
    found = measure_flat(raw, camera())
    assert found.slant == pytest.approx(expected, abs=0.02)
    assert found.uneven == 0

"""Noise, colour bias and sharpness of what stood still, against closed forms."""

from typing import Any

import numpy as np
import pytest

from localblur.alignment.judging.fidelity import compare_still
from localblur.datasets.images import srgb_decode

HEIGHT, WIDTH = 240, 320
STILL = np.ones((HEIGHT, WIDTH), bool)
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)

Array = Any


def scene(contrast: float = 1.0) -> Array:
    """sRGB-coded levels, (H, W, 3): bright and dark, with texture in some places and none in others."""
    ramp = 60 + 120 * X / WIDTH
    texture = 25 * contrast * np.sin(X / 2.5) * np.cos(Y / 3.1) * (np.sin(Y / 40) > 0)
    return np.stack([ramp + texture, ramp, 0.8 * ramp - texture], -1)


def light(levels: Array) -> Array:
    return srgb_decode(levels / 255)


def grating(contrast: float, period_px: float) -> Array:
    """Grey light whose stabilised value is a wave, strong in the middle of the picture and weak at its sides."""
    strength = 0.12 * contrast * np.exp(-(((X - WIDTH / 2) / 70) ** 2))
    value = 0.5 + strength * np.sin(2 * np.pi * (X + 0.5 * Y) / period_px)
    return np.repeat((value**2 - 0.002)[..., None], 3, -1).astype(np.float32)


@pytest.mark.parametrize("still", [~STILL, (X < 40) & (Y < 40)])
def test_without_still_blocks_nothing_is_known(still: Array) -> None:
    found = compare_still(light(scene()), light(scene()), still)
    assert np.isnan([found.noise_sharp, found.noise_psnr_db, found.color_bias, *found.channel_bias]).all()
    assert np.isnan(found.sharpness)


@pytest.mark.parametrize(("sharp_levels", "blurred_levels"), [(2.0, 1.0), (0.8, 3.0)])
def test_noise_of_each_camera_is_told_apart(
    sharp_levels: float, blurred_levels: float, rng: np.random.Generator
) -> None:
    pictures = [scene() + rng.normal(0, sigma, (HEIGHT, WIDTH, 3)) for sigma in (sharp_levels, blurred_levels)]
    found = compare_still(light(pictures[0]), light(pictures[1]), STILL)
    assert found.noise_sharp == pytest.approx(sharp_levels, rel=0.06)
    assert found.noise_blurred == pytest.approx(blurred_levels, rel=0.06)
    expected = 10 * np.log10(255**2 / (sharp_levels**2 + blurred_levels**2))
    assert found.noise_psnr_db == pytest.approx(expected, abs=0.3)


def test_what_moved_unnoticed_in_a_few_blocks_is_no_noise(rng: np.random.Generator) -> None:
    pictures = [scene() + rng.normal(0, 2, (HEIGHT, WIDTH, 3)) for _ in range(2)]
    pictures[1][100:130, 60:120] += 60 * np.sin(X / 4)[100:130, 60:120, None]
    found = compare_still(light(pictures[0]), light(pictures[1]), STILL)
    assert found.noise_blurred == pytest.approx(2, rel=0.1)


def test_noise_that_grows_with_brightness_counts_where_it_is(rng: np.random.Generator) -> None:
    sigma = (1 + 3 * X / WIDTH)[..., None]
    pictures = [scene(0) + sigma * rng.normal(0, 1, (HEIGHT, WIDTH, 3)) for _ in range(2)]
    found = compare_still(light(pictures[0]), light(pictures[1]), STILL)
    assert found.noise_sharp == pytest.approx(float(np.sqrt((sigma**2).mean())), rel=0.06)


def test_pictures_without_noise_still_were_rounded() -> None:
    found = compare_still(light(scene()), light(scene()), STILL)
    assert found.noise_sharp == pytest.approx(np.sqrt(1 / 12), rel=1e-3)


@pytest.mark.parametrize("difference", [(3.0, 0.0, 0.0), (0.5, -1.5, 4.0)])
def test_color_bias_of_each_channel(difference: tuple[float, ...], rng: np.random.Generator) -> None:
    sharp = scene() + rng.normal(0, 2, (HEIGHT, WIDTH, 3))
    found = compare_still(light(sharp), light(scene() + difference), STILL)
    np.testing.assert_allclose(found.channel_bias, difference, atol=0.1)
    assert found.color_bias == pytest.approx(max(map(abs, difference)), abs=0.15)


def test_color_bias_that_cancels_over_the_picture_is_found() -> None:
    sided = np.where(X < WIDTH / 2, 3.0, -3.0)[..., None] * [1, 0, 0]
    found = compare_still(light(scene()), light(scene() + sided), STILL)
    assert abs(found.channel_bias[1]) < 0.1
    assert found.color_bias == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("defocus_px", [0.0, 0.5, 1.0, 1.4])
@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.01, 0.003), (0.003, 0.01)])
def test_sharpness_is_the_contrast_that_a_defocus_leaves(
    defocus_px: float, noise: tuple[float, float], rng: np.random.Generator
) -> None:
    """A Gaussian of sigma takes exp(-(sigma * k)^2 / 2) of a wave with wave number k, whatever the noise."""
    period = 7.0
    wave_number = 2 * np.pi / period * np.hypot(1, 0.5)
    left = np.exp(-((defocus_px * wave_number) ** 2) / 2)
    sharp, blurred = (
        grating(contrast, period) + (sigma * rng.normal(0, 1, (HEIGHT, WIDTH, 3))).astype(np.float32)
        for contrast, sigma in zip((1.0, left), noise, strict=True)
    )
    assert compare_still(sharp, blurred, STILL).sharpness == pytest.approx(left, abs=0.04)
    assert compare_still(blurred, sharp, STILL).sharpness == pytest.approx(1 / left, rel=0.05)


def test_a_bare_wall_has_no_sharpness(rng: np.random.Generator) -> None:
    pictures = [scene(0) + rng.normal(0, 2, (HEIGHT, WIDTH, 3)) for _ in range(2)]
    assert np.isnan(compare_still(light(pictures[0]), light(pictures[1]), STILL).sharpness)


def test_detail_of_the_sharper_picture_is_not_taken_for_noise(rng: np.random.Generator) -> None:
    sharp, blurred = (
        grating(contrast, 7) + rng.normal(0, 0.003, (HEIGHT, WIDTH, 3)).astype(np.float32) for contrast in (1.0, 0.6)
    )
    found = compare_still(sharp, blurred, STILL)
    assert np.isnan([found.noise_sharp, found.noise_blurred, found.noise_psnr_db]).all()


@pytest.mark.parametrize("exponent", [1.0, -0.5, 1.7])
def test_the_exponent_with_which_noise_grows_with_the_light(exponent: float, rng: np.random.Generator) -> None:
    """Shot noise in linear light has 1; coded values taken for linear less, linear values decoded more."""
    scene_light = np.repeat((0.04 + 0.8 * (X / WIDTH) ** 2)[..., None], 3, -1)
    sigma = 0.01 * scene_light ** (exponent / 2)
    pictures = [(scene_light + sigma * rng.normal(0, 1, (HEIGHT, WIDTH, 3))).astype(np.float32) for _ in range(2)]
    assert compare_still(pictures[0], pictures[1], STILL).noise_exponent == pytest.approx(exponent, abs=0.12)


def test_one_brightness_tells_no_exponent(rng: np.random.Generator) -> None:
    pictures = [(0.4 + rng.normal(0, 0.01, (HEIGHT, WIDTH, 3))).astype(np.float32) for _ in range(2)]
    assert np.isnan(compare_still(pictures[0], pictures[1], STILL).noise_exponent)

"""Tile residuals, the information test, the moving region, and parallax."""

from typing import Any

import cv2
import numpy as np
import pytest

from localblur.alignment.judging.parallax import ParallaxSettings, find_parallax
from localblur.alignment.registration.displacement import PolynomialField, warp
from localblur.alignment.registration.static_region import moving_region
from localblur.alignment.registration.tiles import TileResiduals, TileSettings, measure_tiles

SETTINGS = TileSettings()


def texture(rng: np.random.Generator, height: int = 240, width: int = 320) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.random((height, width, 3)).astype(np.float32), (0, 0), 2.0)
    return np.clip(0.4 + (noise - 0.5) * 2.5, 0.02, 0.9).astype(np.float32)


def moved(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """`image` displaced: what is at p in it lies at p + (x, y) in the result."""
    return warp(image, PolynomialField(np.array([[-x, -y]]), image.shape[1], image.shape[0]).positions())


def everywhere(image: np.ndarray) -> np.ndarray:
    return np.ones(image.shape[:2], bool)


def test_flat_tiles_are_not_usable() -> None:
    flat = np.full((240, 320, 3), 0.4, np.float32)
    tiles = measure_tiles(flat, flat, everywhere(flat), everywhere(flat), SETTINGS)
    assert tiles.considered.all()
    assert not tiles.usable.any()
    assert tiles.lengths_px().size == 0
    assert tiles.field_uncertainty_px(0, 320, 240) == float("inf")


def test_moving_and_invalid_tiles_do_not_count(rng: np.random.Generator) -> None:
    image = texture(rng)
    static, valid = everywhere(image), everywhere(image)
    static[:48, :96] = False
    valid[:, 240:] = False
    tiles = measure_tiles(image, image, static & valid, valid, SETTINGS)
    assert not tiles.usable[0, :2].any()
    assert not tiles.considered[:, 5].any()
    assert tiles.usable[1:, :4].all()


@pytest.mark.parametrize("shift", [(0.1, 0.0), (-0.05, 0.2), (0.0, -0.3)])
def test_known_shift_is_measured(shift: tuple[float, float], rng: np.random.Generator) -> None:
    image = texture(rng)
    tiles = measure_tiles(image, moved(image, *shift), everywhere(image), everywhere(image), SETTINGS)
    inner = tiles.shift_px[1:-1, 1:-1].reshape(-1, 2)
    # one linearised step: some per cent of the shift are left
    np.testing.assert_allclose(inner.mean(0), shift, atol=0.05)


def test_a_tile_whose_parts_disagree_is_not_usable(rng: np.random.Generator) -> None:
    """The rim of a moving thing that was not masked away must not stand for the bare wall behind it."""
    wall = np.full((240, 320, 3), 0.4, np.float32) + 0.05 * (texture(rng) - 0.4)
    sharp, blurred = wall.copy(), wall.copy()
    thing = texture(rng)
    sharp[60:84, 60:84] = thing[60:84, 60:84]
    blurred[60:84, 60:84] = moved(thing, 0.6, 0.3)[60:84, 60:84]
    noisy = [image + rng.normal(0, 0.004, image.shape).astype(np.float32) for image in (sharp, blurred)]
    tiles = measure_tiles(*noisy, everywhere(sharp), everywhere(sharp), SETTINGS)
    assert tiles.uncertainty_px[1, 1] < SETTINGS.max_uncertainty_px
    assert not tiles.usable[1, 1]


def test_a_tile_that_lies_off_as_a_whole_is_usable(rng: np.random.Generator) -> None:
    image = texture(rng)
    tiles = measure_tiles(image, moved(image, 0.5, -0.4), everywhere(image), everywhere(image), SETTINGS)
    assert tiles.usable[1:-1, 1:-1].all()


def test_information_grows_with_tiles_and_spread() -> None:
    shape = (8, 10)
    zeros = np.zeros((*shape, 2), np.float32)
    uncertainty = np.full(shape, 0.05, np.float32)

    def tiles(usable: np.ndarray) -> TileResiduals:
        return TileResiduals(zeros, uncertainty, usable, np.ones(shape, bool), 32)

    spread, corner = np.zeros(shape, bool), np.zeros(shape, bool)
    spread[::3, ::3] = True
    corner[:3, :3] = True
    few = np.zeros(shape, bool)
    few[0, :5] = True
    assert tiles(spread).field_uncertainty_px(1, 320, 256) < 0.06
    assert tiles(corner).field_uncertainty_px(1, 320, 256) > 0.1
    assert tiles(corner).field_uncertainty_px(0, 320, 256) < 0.03
    assert tiles(few).field_uncertainty_px(1, 320, 256) == float("inf")


def test_moving_region_finds_change_and_ignores_noise(rng: np.random.Generator) -> None:
    sharp = texture(rng)
    blurred = sharp.copy()
    blurred[80:160, 100:200] = cv2.blur(sharp, (25, 1))[80:160, 100:200]
    noisy = [np.clip(image + rng.normal(0, 0.01, image.shape), 0, 1).astype(np.float32) for image in (sharp, blurred)]
    found = moving_region(noisy[0], noisy[1], everywhere(sharp))
    assert found[85:155, 105:195].mean() > 0.7
    assert found[:60].mean() < 0.01
    assert not moving_region(noisy[0], noisy[1], np.zeros((240, 320), bool)).any()


def test_shifted_copy_is_parallax_and_blur_is_not(rng: np.random.Generator) -> None:
    sharp = texture(rng)
    near = np.zeros((240, 320), bool)
    near[60:200, 80:260] = True
    shifted = np.where(near[..., None], moved(sharp, 3.0, 1.5), sharp)
    kernel = np.zeros((31, 31), np.float32)
    kernel[15] = 1 / 31
    blurred = np.where(near[..., None], cv2.filter2D(sharp, -1, kernel), sharp)
    usable = everywhere(sharp)
    settings = ParallaxSettings()
    found = find_parallax(sharp, shifted, moving_region(sharp, shifted, usable), usable, settings)
    assert found.share > 0.3
    assert found.shift_px == pytest.approx(np.hypot(3.0, 1.5), abs=0.3)
    motion = find_parallax(sharp, blurred, moving_region(sharp, blurred, usable), usable, settings)
    assert motion.examined > 5
    assert motion.shifted == 0


def test_nothing_moving_examines_nothing(rng: np.random.Generator) -> None:
    image = texture(rng)
    found: Any = find_parallax(image, image, np.zeros((240, 320), bool), everywhere(image), ParallaxSettings())
    assert (found.examined, found.share, found.shift_px) == (0, 0.0, 0.0)

"""Colour matrix times vignetting, and the exposure gain."""

import numpy as np
import pytest

from localblur.alignment.light.brightness import exposure_gain, match_brightness
from localblur.alignment.light.color import ColorModel, ColorSamples, ColorSettings, block_samples, fit_color
from localblur.alignment.registration.displacement import monomials
from localblur.common.errors import LocalblurError

SETTINGS = ColorSettings()
MATRIX = np.array([[0.9, 0.08, 0.02], [0.05, 1.2, -0.05], [0.0, 0.1, 0.8]])
OFFSET = np.array([0.002, -0.001, 0.003])
VIGNETTING = np.array([1.0, 0.03, -0.02, -0.1, 0.02, -0.08])


def samples(rng: np.random.Generator, count: int = 4000, outliers: float = 0.0) -> ColorSamples:
    blurred = rng.uniform(0.02, 0.8, (count, 3))
    position = rng.uniform(0, [320, 240], (count, 2))
    ratio = monomials(position[:, 0], position[:, 1], 320, 240, 2) @ VIGNETTING
    sharp = (blurred @ MATRIX.T) * ratio[:, None] + OFFSET + rng.normal(0, 0.001, (count, 3))
    wrong = rng.random(count) < outliers
    sharp[wrong] = rng.uniform(0, 1, (int(wrong.sum()), 3))
    return ColorSamples(sharp, blurred, position)


def test_too_few_samples_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(LocalblurError, match="only 20 unsaturated"):
        fit_color(samples(rng, 20), 320, 240, SETTINGS, rng)


def test_identical_colors_do_not_break_the_fit(rng: np.random.Generator) -> None:
    flat = ColorSamples(np.full((200, 3), 0.3), np.full((200, 3), 0.2), rng.uniform(0, 200, (200, 2)))
    model = fit_color(flat, 320, 240, SETTINGS, rng)
    mapped = model.apply(np.full((240, 320, 3), 0.2, np.float32))
    assert np.isfinite(mapped).all()
    assert mapped[120, 160] == pytest.approx([0.3] * 3, abs=0.01)


@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_known_model_is_recovered(outliers: float, rng: np.random.Generator) -> None:
    model = fit_color(samples(rng, outliers=outliers), 320, 240, SETTINGS, rng)
    np.testing.assert_allclose(model.matrix, MATRIX, atol=0.002)
    np.testing.assert_allclose(model.offset, OFFSET, atol=0.0007)
    np.testing.assert_allclose(model.vignetting, VIGNETTING, atol=0.002)


def test_apply_equals_the_formula(rng: np.random.Generator) -> None:
    image = rng.random((24, 32, 3)).astype(np.float32)
    x, y = np.meshgrid(np.arange(32), np.arange(24))
    expected = (image @ MATRIX.T) * (monomials(x, y, 32, 24, 2) @ VIGNETTING)[..., None] + OFFSET
    np.testing.assert_allclose(ColorModel(MATRIX, OFFSET, VIGNETTING, 0.0).apply(image), expected, atol=1e-6)
    np.testing.assert_allclose(ColorModel.identity().apply(image), image, atol=1e-7)


def test_blocks_are_whole_or_left_out(rng: np.random.Generator) -> None:
    image = rng.random((16, 20, 3)).astype(np.float32)
    usable = np.ones((16, 20), bool)
    usable[5, 6] = False
    found = block_samples(image, image * 2, usable, 4)
    assert len(found.sharp) == 4 * 5 - 1
    np.testing.assert_allclose(found.blurred, 2 * found.sharp, rtol=1e-6)
    np.testing.assert_allclose(found.sharp[0], image[:4, :4].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found.position[0], [1.5, 1.5])
    with pytest.raises(LocalblurError, match="smaller than a block"):
        block_samples(image[:3], image[:3], usable[:3], 4)


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.4])
def test_gain_is_found_despite_motion_and_black_level(gain: float, rng: np.random.Generator) -> None:
    black = np.float32([0.01, 0.0, 0.02])
    sharp = (rng.uniform(0.05, 0.5, (30, 40, 1, 1, 3)) * np.ones((1, 1, 8, 8, 1))).swapaxes(1, 2).reshape(240, 320, 3)
    sharp = (sharp + rng.normal(0, 0.003, sharp.shape)).astype(np.float32)
    blurred = (sharp + rng.normal(0, 0.001, sharp.shape).astype(np.float32)) / np.float32(gain)
    blurred[40:140, 60:200] = 0.3
    adjusted, found, moving = match_brightness(sharp + black, blurred + black, black, np.ones((240, 320), bool))
    assert found == pytest.approx(gain, rel=0.005)
    assert np.abs((adjusted - black - sharp)[200:]).mean() < 0.01
    assert moving[60:120, 80:180].mean() > 0.9
    assert moving[180:].mean() < 0.02


def test_gain_is_one_when_it_cannot_be_measured() -> None:
    image = np.full((64, 64, 3), 0.3, np.float32)
    assert exposure_gain(image, image * 2, np.zeros((64, 64), bool)) == 1.0
    assert exposure_gain(image, image * 0, np.ones((64, 64), bool)) == 1.0

"""Finding the colour chart and reading its patches."""

import numpy as np
import pytest

from localblur.datasets.images import srgb_decode
from localblur.datasets.recordings.color_chart import CHART_SRGB, find_chart, read_patches

PATCH_PX, PITCH_PX, CORNER_PX = 38, 48, 58


def picture(gains=(1.0, 1.0, 1.0), exposure=0.8):
    """A chart on grey, linear RGB, and the colours of its patches in it."""
    light = np.full((300, 400, 3), 0.25, np.float32)
    light[50:250, 50:350] = 0.01
    colors = srgb_decode(CHART_SRGB / 255)
    for index, color in enumerate(colors):
        y, x = CORNER_PX + PITCH_PX * (index // 6), CORNER_PX + PITCH_PX * (index % 6)
        light[y : y + PATCH_PX, x : x + PATCH_PX] = color
    scale = exposure * np.array(gains, np.float32)
    return light * scale, colors * scale


def test_noise_is_no_chart(rng):
    assert find_chart(rng.uniform(0.2, 0.3, (200, 300, 3)).astype(np.float32)) is None


def test_a_black_picture_is_no_chart():
    assert find_chart(np.zeros((200, 300, 3), np.float32)) is None


def test_squares_of_other_colours_are_no_chart(rng):
    light, _ = picture()
    for index, color in enumerate(srgb_decode(rng.permutation(CHART_SRGB) / 255)):
        y, x = CORNER_PX + PITCH_PX * (index // 6), CORNER_PX + PITCH_PX * (index % 6)
        light[y : y + PATCH_PX, x : x + PATCH_PX] = color
    assert find_chart(light) is None


@pytest.mark.parametrize("exposure", [0.02, 0.8])
@pytest.mark.parametrize("gains", [(1.0, 1.0, 1.0), (0.45, 1.0, 0.6)])
def test_patches_are_found_in_their_order_whatever_balance_and_exposure(gains, exposure):
    light, colors = picture(gains, exposure)
    corners = find_chart(light)
    assert corners is not None
    index = np.arange(24)
    expected = CORNER_PX + PITCH_PX * np.stack([index % 6, index // 6], 1) + (PATCH_PX - 1) / 2
    np.testing.assert_allclose(corners.mean(1), expected, atol=4)
    read, clear = read_patches(light, np.zeros(light.shape[:2], bool), corners)
    assert clear.all()
    np.testing.assert_allclose(read, colors, rtol=1e-4)


def test_a_patch_with_one_clipped_pixel_or_without_light_is_not_clear():
    light, _ = picture()
    corners = find_chart(light)
    assert corners is not None
    saturated = np.zeros(light.shape[:2], bool)
    x, y = corners[18].mean(0).astype(int)
    saturated[y, x] = True
    x, y = corners[5].mean(0).astype(int)
    light[y - 15 : y + 16, x - 15 : x + 16, 2] = 0
    _, clear = read_patches(light, saturated, corners)
    assert np.flatnonzero(~clear).tolist() == [5, 18]


def test_the_rim_of_a_patch_does_not_count():
    light, colors = picture()
    corners = find_chart(light)
    assert corners is not None
    for quad in corners:
        x0, y0 = np.rint(quad.min(0)).astype(int)
        light[y0 : y0 + 3, x0 : x0 + PATCH_PX] = 1
    read, _ = read_patches(light, np.zeros(light.shape[:2], bool), corners)
    np.testing.assert_allclose(read, colors, rtol=1e-4)

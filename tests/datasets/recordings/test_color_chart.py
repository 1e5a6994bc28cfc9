"""Finding the colour chart and reading its patches."""

import cv2
import numpy as np
import pytest

from localblur.acquisition.rig.simulator import RigSimulator, SceneSettings, resolve_rig
from localblur.datasets.images import srgb_decode
from localblur.datasets.light.bayer import demosaic_edges
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


def test_a_chart_before_a_wall_of_bricks_is_found_wherever_it_hangs():
    """Bright lines between dark stones end in the chart's rim, and the detector takes stones for patches."""
    missed = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        chart, _ = picture()
        height, width = 480, 640
        wall = np.full((height, width, 3), 0.06, np.float32)
        for row in range(0, height, 48):
            wall[row : row + 6] = 0.3
            for column in range(int(rng.integers(0, 100)), width, 100):
                wall[row : row + 48, column : column + 6] = 0.3
        size = (300, round(300 * chart.shape[0] / chart.shape[1]))
        small = cv2.resize(chart, size, interpolation=cv2.INTER_AREA)
        angle, (x, y) = rng.uniform(-6, 6), rng.uniform((10, 10), (width - 330, height - 250))
        turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, 1.0)
        turn[:, 2] += (x + 10, y + 10)
        cv2.warpAffine(small, turn, (width, height), wall, borderMode=cv2.BORDER_TRANSPARENT)
        noisy = wall + rng.normal(0, 0.004, wall.shape).astype(np.float32)
        if find_chart(np.maximum(noisy, 0)) is None:
            missed.append(seed)
    assert not missed


def test_every_chart_of_a_simulated_rig_before_bricks_is_found():
    """The third one hid from the detector as a whole picture, at any scale."""
    simulator = RigSimulator(resolve_rig(seed=7, width=640, height=480), SceneSettings())
    for index in range(4):
        shot = simulator.shot(index, "chart")
        for raw in (shot.raw_B, shot.raw_S):
            mosaic = np.maximum(raw.astype(np.float32) - 64, 0) / 4031
            assert find_chart(demosaic_edges(mosaic, "RGGB")) is not None, index

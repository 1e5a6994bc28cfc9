"""Averaging frames in linear light."""

import tracemalloc

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.films import blending
from localblur.datasets.films.blending import Exposure, HalfInterval
from localblur.datasets.images import srgb_decode, srgb_encode
from localblur.datasets.light.camera_response import CAMERA_RESPONSES

SRGB = CAMERA_RESPONSES["srgb"]


def test_frames_of_another_size_are_refused():
    exposure = Exposure(SRGB)
    exposure.add(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(LocalblurError, match="cannot be averaged"):
        exposure.add(np.zeros((8, 9, 3), np.uint8))


def test_nothing_exposed_is_refused():
    with pytest.raises(LocalblurError, match="nothing was exposed"):
        Exposure(SRGB).blurred()
    with pytest.raises(LocalblurError, match="not tracked"):
        Exposure(SRGB).swing()


def test_black_and_white_average_to_half_the_light_not_half_the_code():
    exposure = Exposure(SRGB)
    for level in (0, 255):
        exposure.add(np.full((4, 4, 3), level, np.uint8))
    assert np.unique(exposure.blurred()).tolist() == [188]  # srgb_encode(0.5) * 255 = 187.5
    exposure = Exposure(CAMERA_RESPONSES["gamma2.2"])
    for level in (0, 255):
        exposure.add(np.full((4, 4, 3), level, np.uint8))
    assert np.unique(exposure.blurred()).tolist() == [186]  # 255 * 0.5 ** (1 / 2.2) = 186.1


def test_a_still_scene_stays_as_it_is(rng):
    frame, exposure = rng.integers(0, 256, (37, 41, 3), dtype=np.uint8), Exposure(SRGB)
    for _ in range(13):
        exposure.add(frame)
    np.testing.assert_array_equal(exposure.blurred(), frame)


def test_the_average_agrees_with_the_closed_form(rng):
    frames = rng.integers(0, 256, (11, 50, 60, 3), dtype=np.uint8)
    exposure = Exposure(SRGB)
    for frame in frames:
        exposure.add(frame)
    exact = np.rint(255 * srgb_encode(srgb_decode(frames / 255).mean(axis=0)))
    difference = np.abs(exposure.blurred() - exact)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


def test_the_swing_is_what_a_pixel_went_through():
    exposure = Exposure(SRGB, presmooth_px=0.5)
    for level in (100, 130, 90):
        frame = np.full((20, 20, 3), 50, np.uint8)
        frame[:, 10:] = level
        exposure.add(frame)
    assert exposure.swing()[10, 18].tolist() == [40, 40, 40]
    assert exposure.swing()[10, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_looking_up_two_frames_at_a_time_changes_nothing(rng, monkeypatch, count):
    frames = rng.integers(0, 256, (count, 41, 30, 3), dtype=np.uint8)
    results = []
    for pair_tables in (True, False):
        monkeypatch.setattr(blending, "WIDE_TABLES", pair_tables and blending.WIDE_TABLES)
        exposure = Exposure(SRGB)
        for frame in frames:
            exposure.add(frame)
        results.append(exposure.light())
    np.testing.assert_array_equal(*results)
    exact = srgb_decode(frames / 255).mean(axis=0)
    np.testing.assert_allclose(results[0], exact, atol=1e-6)


def test_averaging_codes_is_the_mean_of_the_codes(rng):
    frames = rng.integers(0, 256, (7, 20, 30, 3), dtype=np.uint8)
    exposure = Exposure(SRGB, coded=True)
    for frame in frames:
        exposure.add(frame)
    np.testing.assert_array_equal(exposure.blurred_codes(), np.rint(frames.mean(axis=0)))
    with pytest.raises(LocalblurError, match="coded=True"):
        Exposure(SRGB).blurred_codes()


def test_the_share_of_time_that_a_value_was_clipped_is_noted():
    exposure = Exposure(SRGB, clipping=True)
    for level in (255, 254, 253, 0):
        exposure.add(np.full((4, 4, 3), level, np.uint8))
    assert np.unique(exposure.clipped_share()).tolist() == [0.5]


def test_memory_does_not_grow_with_the_number_of_frames(rng):
    frame = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    peaks = []
    for count in (11, 111):
        tracemalloc.start()
        exposure = Exposure(SRGB, presmooth_px=0.7, coded=True)
        for _ in range(count):
            exposure.add(frame.copy())
        exposure.blurred()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_halves_of_intervals_replace_half_a_frame_each():
    exposure = Exposure(SRGB, coded=True)
    black, white = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.float32)
    exposure.add(black, (None, HalfInterval(light=white, coded=255 * white)))
    exposure.add(black)
    np.testing.assert_allclose(exposure.light(), 0.25)
    assert np.unique(exposure.blurred_codes()).tolist() == [64]

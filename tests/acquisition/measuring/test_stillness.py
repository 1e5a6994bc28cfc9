"""Movement between pictures: found where it is, and not where there is only noise, drift or flicker."""

import cv2
import numpy as np
import pytest

from localblur.acquisition.measuring.stillness import find_changes, largest_patch, view_shift

HEIGHT, WIDTH = 90, 120


def scene(seed=0, shift=(0.0, 0.0)):
    """A sum of waves, so that it can be shifted exactly; 100 to 900 DN."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    total = np.zeros((HEIGHT, WIDTH))
    for _ in range(40):
        length, angle, phase = rng.uniform(5, 60), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        along = (x - shift[0]) * np.cos(angle) + (y - shift[1]) * np.sin(angle)
        total += np.sin(2 * np.pi * along / length + phase)
    return 500 + 400 * np.clip(total / 12, -1, 1)


def noisy(light, rng):
    """Shot noise of blocks of 64 pixels, 2 DN per electron."""
    return (light + rng.normal(0, 1, light.shape) * np.sqrt(2 * light / 64)).astype(np.float32)


def changes(pictures):
    return find_changes(pictures, [np.ones(picture.shape, bool) for picture in pictures])


def test_one_picture_has_nothing_to_compare_with(rng):
    assert changes([noisy(scene(), rng)])[0].place is None


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_noise_drift_and_flicker_are_no_movement(rng, count, drift):
    for seed in range(8):
        gains = 1 + 0.3 * rng.uniform(-1, 1, count)
        pictures = [noisy(gain * scene(seed, rng.normal(0, drift, 2)), rng) for gain in gains]
        assert [change.place for change in changes(pictures)] == [None] * count
        expected = gains / np.median(gains) if count > 2 else gains / gains[0]
        np.testing.assert_allclose([change.gain for change in changes(pictures)], expected, rtol=0.03)


def test_a_small_object_in_one_picture_is_found_where_it_is(rng):
    for seed in range(8):
        light = [scene(seed) for _ in range(5)]
        light[3][40:44, 70:75] *= 1.2
        found = changes([noisy(picture, rng) for picture in light])
        assert [number for number, change in enumerate(found) if change.place is not None] == [3]
        assert found[3].place == pytest.approx((72, 41.5), abs=1)
        assert found[3].share == pytest.approx(20 / HEIGHT / WIDTH, rel=0.5)


def test_of_two_pictures_the_second_is_said_to_differ(rng):
    light = [scene(), scene()]
    light[0][20:30, 20:30] *= 0.7
    first, second = changes([noisy(picture, rng) for picture in light])
    assert first.place is None
    assert second.place == pytest.approx((24.5, 24.5), abs=1)


def test_what_is_saturated_does_not_count(rng):
    light = [scene() for _ in range(3)]
    light[1][40:50, 70:80] *= 2
    clear = np.ones((HEIGHT, WIDTH), bool)
    clear[38:52, 68:82] = False
    found = find_changes([noisy(picture, rng) for picture in light], [clear, clear, clear])
    assert [change.place for change in found] == [None] * 3


@pytest.mark.parametrize("shift", [(0.1, -0.05), (0.4, 0.3), (3.2, -5.1)])
def test_a_shift_of_the_whole_picture_is_measured(rng, shift):
    for seed in range(4):
        pictures = [noisy(scene(seed), rng), noisy(scene(seed, shift), rng)]
        assert changes(pictures)[1].shift == pytest.approx(shift, abs=0.1)


def test_views_are_told_apart(rng):
    for seed in range(8):
        here, moved, other = noisy(scene(seed), rng), noisy(scene(seed, (4, 2)), rng), noisy(scene(seed + 100), rng)
        assert view_shift(here, noisy(scene(seed), rng)) == (0, 0)
        assert view_shift(here, moved) == (4, 2)
        assert view_shift(here, other) is None


def test_vignetting_alone_is_no_common_view(rng):
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    falloff = 1 - 0.4 * (x * x + y * y)
    assert view_shift(noisy(falloff * scene(1), rng), noisy(falloff * scene(2), rng)) is None


def test_single_flags_are_chance():
    flags = np.zeros((20, 30), np.uint8)
    flags[3, 4] = flags[10, 10] = 1
    assert largest_patch(flags, 4) == (0.0, None)
    cv2.rectangle(flags, (15, 5), (19, 7), 1, -1)
    share, place = largest_patch(flags, 4)
    assert share == pytest.approx(15 / 600)
    assert place == pytest.approx((17, 6))

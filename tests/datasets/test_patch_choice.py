"""Where a patch is cut: blurred pixels from cells, windows around and anywhere."""

import numpy as np
import pytest

from localblur.datasets.pair import binary_mask
from localblur.datasets.storage.patch_choice import blurred_fraction, blurred_pixel, centred_window, random_window
from localblur.datasets.store import blur_cells


def test_blurred_pixels_are_about_equally_likely(rng):
    mask = np.zeros((64, 80), np.uint8)
    mask[3:40, 10:33] = 255
    mask[60:64, 78:80] = 255

    def read(y, x, height, width):
        assert height <= 16
        assert width <= 16
        return mask[y : y + height, x : x + width]

    counts = np.zeros(mask.shape, int)
    draws = 40 * int(binary_mask(mask).sum())
    cells = blur_cells(mask)
    for _ in range(draws):
        counts[blurred_pixel(cells, (0, 0, 64, 80), read, rng)] += 1
    assert not counts[~binary_mask(mask)].any()
    chosen = counts[binary_mask(mask)]
    assert chosen.min() > 10
    assert chosen.max() < 80


def test_no_blur_is_no_pixel_and_the_fraction_is_of_the_area(rng):
    nothing = np.zeros((32, 32), np.uint8)
    assert blurred_pixel(blur_cells(nothing), (0, 0, 32, 32), lambda *_: nothing, rng) is None
    assert blurred_fraction(blur_cells(nothing), 32, 32) == 0
    mask = np.zeros((40, 50), np.uint8)
    mask[:20] = 128
    assert blurred_fraction(blur_cells(mask), 40, 50) == pytest.approx(0.5, abs=0.004)
    assert blurred_fraction(blur_cells(np.full((40, 50), 255, np.uint8)), 40, 50) == 1


def test_windows_reach_every_position(rng):
    windows = {random_window((2, 3, 6, 9), 3, rng)[:2] for _ in range(400)}
    assert windows == {(y, x) for y in (2, 3) for x in (3, 4, 5, 6)}
    assert random_window((2, 3, 6, 7), 4, rng) == (2, 3, 4, 4)
    assert centred_window((5, 5), (0, 0, 11, 11), 3) == (4, 4, 3, 3)
    assert centred_window((5, 5), (0, 0, 11, 11), 4) == (3, 3, 4, 4)
    assert centred_window((0, 10), (0, 0, 11, 11), 4) == (0, 7, 4, 4)

"""Shaping binary masks."""

import numpy as np

from localblur.datasets.masks.mask_shapes import clean, fill_holes, hysteresis, scaled, soften
from localblur.datasets.pair import binary_mask


def test_hysteresis_keeps_only_regions_with_a_strong_seed():
    score = np.float32([[0, 2, 2, 0, 2, 9, 2]])
    assert hysteresis(score, 1, 5).tolist() == [[False, False, False, False, True, True, True]]


def test_confidence_is_128_and_above_exactly_where_the_decision_is_true(rng):
    binary = rng.random((40, 50)) > 0.5
    soft = soften(binary, rng.normal(0, 20, (40, 50)).astype(np.float32), 3)
    np.testing.assert_array_equal(binary_mask(soft), binary)
    assert len(np.unique(soft)) > 20


def test_holes_are_filled_unless_they_reach_the_border():
    ring = np.zeros((9, 9), bool)
    ring[2:7, 2:7] = True
    ring[4, 4] = False
    ring[2:7, 2] = False
    assert fill_holes(ring)[4, 4]
    cut = ring[4:]  # the hole now touches the border
    assert not fill_holes(cut)[0, 4]


def test_lengths_scale_with_the_width():
    assert [scaled(4, width) for width in (160, 640, 2560)] == [1, 4, 16]
    assert scaled(0.1, 640, smallest=2) == 2


def test_cleaning_closes_gaps_and_drops_specks():
    binary = np.zeros((200, 640), bool)
    binary[50:90, 100:200] = True
    binary[50:90, 148:152] = False  # a gap
    binary[150:155, 400:405] = True  # a speck
    cleaned = clean(binary, open_px=1, close_px=6, smallest_area=1e-3)
    assert cleaned[70, 100:200].all()
    assert not cleaned[140:].any()

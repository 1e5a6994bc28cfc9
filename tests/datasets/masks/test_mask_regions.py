"""Which silent regions belong to a mover: drawn by hand, so that the answer is known."""

import cv2
import numpy as np
import pytest

from localblur.datasets.masks.mask_regions import RimRule, fill_regions

SIZE = (200, 320)
RULE = RimRule(coverage=0.35, imbalance=0.1, border=0.5, largest_area=0.5)


def picture() -> np.ndarray:
    return np.zeros(SIZE, np.uint8)


def ring(centre=(160, 100), radius=50, width=8, start=0, end=360) -> np.ndarray:
    return cv2.ellipse(picture(), centre, (radius, radius), 0, start, end, 1, width) > 0


def disc_mask(centre=(160, 100), radius=50) -> np.ndarray:
    return cv2.circle(picture(), centre, radius, 1, -1) > 0


def test_the_inside_of_a_ring_is_filled():
    outline = ring()
    filled = fill_regions(outline, ~outline & disc_mask(), RULE)
    assert filled[100, 160]
    assert (filled == (disc_mask() | outline)).mean() > 0.99


def test_a_wall_with_a_mover_before_it_is_not():
    """The whole rest of the picture is plain; the mover's outline lies in a hole of it."""
    outline = ring()
    silent = ~(disc_mask() | outline)
    np.testing.assert_array_equal(fill_regions(outline, silent, RULE), outline)


@pytest.mark.parametrize(("ends", "expected"), [(((-45, 45), (135, 225)), True), (((-35, 35),), False)])
def test_opposite_ends_make_a_mover_and_one_side_does_not(ends, expected):
    outline = np.any([ring(start=a, end=b) for a, b in ends], axis=0)
    silent = cv2.circle(picture(), (160, 100), 46, 1, -1) > 0
    assert fill_regions(outline, silent, RULE)[100, 160] == expected


def test_an_object_cut_by_the_border_is_filled():
    outline = ring(centre=(0, 100))
    inside = disc_mask(centre=(0, 100), radius=46)
    assert fill_regions(outline, inside & ~outline, RULE)[100, 2]


def test_regions_too_large_are_background():
    outline = ring()
    rule = RimRule(coverage=0.35, imbalance=0.1, border=0.5, largest_area=0.05)
    np.testing.assert_array_equal(fill_regions(outline, disc_mask() & ~outline, rule), outline)


@pytest.mark.parametrize(("share", "expected"), [(0.2, False), (0.7, True)])
def test_a_region_needs_support(share, expected):
    outline = ring()
    support = np.zeros(SIZE, bool)
    support[:, : 110 + int(100 * share)] = True
    assert fill_regions(outline, disc_mask() & ~outline, RULE, support)[100, 160] == expected


def test_nothing_in_nothing_out():
    empty = np.zeros(SIZE, bool)
    assert not fill_regions(empty, ~empty, RULE).any()

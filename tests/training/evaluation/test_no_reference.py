"""Sharpness against scikit-image, and the estimated length of a blur against known ones."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from skimage.measure import blur_effect

from localblur.datasets.images import srgb_decode, srgb_encode
from localblur.datasets.local.trajectories import line_trajectory, rasterise
from localblur.datasets.pair import PairInfo
from localblur.training.evaluation.blur_length import blur_length_px, estimate_blur_px
from localblur.training.evaluation.no_reference import sharpness

IMAGE = (astronaut()[:200, 100:340] / 255).astype(np.float32)


def blurred_along(length_px: float, angle_deg: float) -> np.ndarray:
    kernel = rasterise(line_trajectory(length_px, angle_deg))
    return srgb_encode(cv2.filter2D(srgb_decode(IMAGE), -1, kernel))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 5)])
def test_sharpness_is_one_minus_the_blur_effect_of_scikit_image(size):
    image = cv2.blur(IMAGE, size)
    assert sharpness(image) == pytest.approx(1 - blur_effect(image, channel_axis=2), abs=1e-4)


def test_sharpness_of_a_part_does_not_see_the_rest():
    left = np.zeros(IMAGE.shape[:2], bool)
    left[:, :100] = True
    mixed = np.concatenate([IMAGE[:, :120], cv2.blur(IMAGE, (15, 15))[:, 120:]], axis=1)
    assert sharpness(mixed, left) == pytest.approx(sharpness(IMAGE, left), abs=1e-6)
    assert sharpness(mixed, ~left) < sharpness(IMAGE, ~left) - 0.1


def test_nothing_to_look_at_has_no_sharpness_and_a_flat_picture_none():
    assert np.isnan(sharpness(IMAGE, np.zeros(IMAGE.shape[:2], bool)))
    assert 0 <= sharpness(np.full((40, 40, 3), 0.5, np.float32)) <= 1


@pytest.mark.parametrize(("length", "angle"), [(5, 0), (9, 30), (18, 90), (30, 135)])
def test_the_length_of_a_straight_blur_is_found(length, angle):
    """The ten lengths that are tried have a ratio of 1.4."""
    found = estimate_blur_px(blurred_along(length, angle), IMAGE, None)
    assert length / 1.25 < found < length * 1.25


def test_the_length_is_that_of_the_largest_part_of_the_mask():
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[20:120, 30:180] = mask[150:170, 10:30] = True
    local = np.where(mask[..., None], blurred_along(13, 0), IMAGE)
    local[150:170, 10:30] = 0.5
    assert estimate_blur_px(local, IMAGE, mask) == pytest.approx(13)


def test_no_blur_no_length():
    info = PairInfo(name="0")
    assert blur_length_px(info, IMAGE, IMAGE, None) == (0.0, True)
    length, estimated = blur_length_px(info, IMAGE, IMAGE, np.zeros(IMAGE.shape[:2], bool))
    assert np.isnan(length)
    assert estimated


def test_a_recorded_length_is_believed():
    assert blur_length_px(PairInfo(name="0", quality={"travel_px": 7.5}), IMAGE, IMAGE, None) == (7.5, False)

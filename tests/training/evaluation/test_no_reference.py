"""Sharpness against scikit-image."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from skimage.measure import blur_effect

from localblur.training.evaluation.no_reference import sharpness

IMAGE = (astronaut()[:200, 100:340] / 255).astype(np.float32)


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

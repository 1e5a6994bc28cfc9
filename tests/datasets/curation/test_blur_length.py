"""The estimated length of a blur against known ones."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from localblur.datasets.curation.blur_length import blur_length_px, estimate_blur_px
from localblur.datasets.images import srgb_decode, srgb_encode
from localblur.datasets.pair import PairInfo
from localblur.datasets.scenes.trajectories import line_trajectory, rasterise

IMAGE = (astronaut()[:200, 100:340] / 255).astype(np.float32)


def blurred_along(length_px: float, angle_deg: float) -> np.ndarray:
    kernel = rasterise(line_trajectory(length_px, angle_deg))
    return srgb_encode(cv2.filter2D(srgb_decode(IMAGE), -1, kernel))


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

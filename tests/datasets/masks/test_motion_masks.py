"""Masks from frame differences."""

import numpy as np
import pytest

from localblur.datasets.films.blending import Exposure
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.masks.motion_masks import MotionMaskSettings, motion_mask
from localblur.datasets.pair import binary_mask

SETTINGS = MotionMaskSettings()


def mask_of(frames) -> np.ndarray:
    exposure = Exposure(CAMERA_RESPONSES["srgb"], SETTINGS.presmooth_px)
    for frame in frames:
        exposure.add(frame)
    return binary_mask(motion_mask(exposure.swing(), frames[len(frames) // 2], SETTINGS))


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0])
def test_noise_alone_is_no_motion(rng, sigma):
    scene = rng.integers(60, 190, (12, 16, 3)).repeat(10, axis=0).repeat(10, axis=1)
    frames = [np.clip(np.rint(scene + rng.normal(0, sigma, scene.shape)), 0, 255).astype(np.uint8) for _ in range(11)]
    assert mask_of(frames).mean() < 0.01


def test_the_extent_of_a_moving_object_is_masked(moving_frames):
    frames = moving_frames(11, step_px=3)
    truth = np.zeros(frames[0].shape[:2], bool)
    truth[30:60, 20:80] = True  # 30 px wide, moved by 30 px
    mask = mask_of(frames)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85


def test_a_tripod_that_sways_by_half_a_pixel_is_no_motion(rng):
    from scipy.ndimage import shift

    scene = np.kron(rng.integers(40, 210, (12, 16)), np.ones((10, 10)))
    sways = rng.uniform(-0.25, 0.25, (9, 2))
    frames = [np.repeat(np.rint(shift(scene, sway, order=1, mode="nearest"))[..., None], 3, axis=2) for sway in sways]
    assert mask_of([frame.astype(np.uint8) for frame in frames]).mean() < 0.02


def test_a_scene_that_moves_as_a_whole_is_masked_as_a_whole(rng):
    wide = np.kron(rng.integers(40, 210, (24, 50, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    assert mask_of([wide[:, 4 * step : 4 * step + 160] for step in range(11)]).mean() > 0.9

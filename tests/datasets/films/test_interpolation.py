"""In-between frames."""

import cv2
import numpy as np
import pytest

from localblur.datasets.films.blending import Exposure
from localblur.datasets.films.interpolation import Bridge, InterpolationSettings, bridge
from localblur.datasets.films.optical_flow import disagreement, flow_pair, pixel_grid, sample
from localblur.datasets.images import from_unit, srgb_encode
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.scenes.textures import TextureSource

SRGB = CAMERA_RESPONSES["srgb"]
HEIGHT, WIDTH, FRAMES = 120, 200, 5
SETTINGS = InterpolationSettings(frames=16)


@pytest.fixture(scope="module")
def wide():
    """A texture wider than a frame, linear light."""
    return TextureSource("train").background([4, 2], HEIGHT, WIDTH + 200)


def view(wide: np.ndarray, left_px: float) -> np.ndarray:
    matrix = np.array([[1, 0, left_px], [0, 1, 0]], float)
    return cv2.warpAffine(wide, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def pan(wide: np.ndarray, speed_px: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a pan, one before and one after the window included, and the exact picture of the exposure."""
    frames = [from_unit(srgb_encode(view(wide, 40 + speed_px * index)), 8) for index in range(-1, FRAMES + 1)]
    instants = (np.arange(FRAMES * 32) + 0.5) / 32 - 0.5
    light = np.mean([view(wide, 40 + speed_px * instant) for instant in instants], axis=0)
    return frames, 255 * srgb_encode(light)


def exposed(frames: list[np.ndarray], settings: InterpolationSettings | None) -> np.ndarray:
    exposure = Exposure(SRGB)
    bridges = [
        bridge(*two, SRGB, settings) if settings else Bridge() for two in zip(frames[:-1], frames[1:], strict=True)
    ]
    for index, frame in enumerate(frames[1:-1]):
        exposure.add(frame, (bridges[index].second, bridges[index + 1].first))
    return exposure.blurred()


def psnr_db(image: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((image - truth) ** 2)))


def test_frames_that_stand_still_are_left_alone(wide):
    frame = from_unit(srgb_encode(view(wide, 0)), 8)
    assert bridge(frame, frame, SRGB, SETTINGS) == Bridge()


@pytest.mark.parametrize("speed_px", [4, 8])
def test_a_fast_pan_becomes_a_smear(wide, speed_px):
    frames, truth = pan(wide, speed_px)
    plain, smooth = (psnr_db(exposed(frames, settings), truth) for settings in (None, SETTINGS))
    assert smooth > 45
    assert smooth > plain + 3


@pytest.mark.parametrize("speed_px", [0.5, 1.0, 2.0])
def test_slow_motion_is_not_made_worse(wide, speed_px):
    frames, truth = pan(wide, speed_px)
    plain, smooth = (psnr_db(exposed(frames, settings), truth) for settings in (None, SETTINGS))
    assert smooth > plain - 0.5


def test_a_still_background_keeps_its_pixels_beside_a_fast_object(wide):
    frames = []
    for index in range(2):
        frame = from_unit(srgb_encode(view(wide, 0)), 8)
        frame[40:80, 90 + 8 * index : 130 + 8 * index] = from_unit(srgb_encode(view(wide, 150)), 8)[40:80, 20:60]
        frames.append(frame)
    found = bridge(*frames, SRGB, SETTINGS, coded=True)
    assert found.first is not None
    assert found.first.coded is not None
    assert 30 * 40 < found.fast_px < 0.5 * HEIGHT * WIDTH
    np.testing.assert_array_equal(found.first.coded[:20, :40], frames[0][:20, :40])
    np.testing.assert_allclose(found.first.light[:20, :40], SRGB.decode(frames[0])[:20, :40])


def test_the_gate_tells_a_pan_from_frames_that_have_nothing_in_common(wide, rng):
    frames, _ = pan(wide, 8)
    good = bridge(frames[0], frames[1], SRGB, SETTINGS)
    assert good.unexplained_px < 0.02 * good.fast_px
    strangers = [
        cv2.resize(rng.integers(0, 256, (15, 25, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for _ in range(2)
    ]
    bad = bridge(*strangers, SRGB, SETTINGS)
    assert bad.unexplained_px > 0.3 * bad.fast_px


def test_flow_says_where_pixels_went_and_came_from(wide):
    frames, _ = pan(wide, 6)
    flow = flow_pair(frames[0], frames[1])
    inner = (slice(20, -20), slice(30, -30))
    np.testing.assert_allclose(np.median(flow.forward[inner], axis=(0, 1)), (-6, 0), atol=0.1)
    np.testing.assert_allclose(np.median(flow.backward[inner], axis=(0, 1)), (6, 0), atol=0.1)
    assert abs(np.median(flow.speed[inner]) - 6) < 0.1
    missed = disagreement(flow.forward, flow.backward, pixel_grid(HEIGHT, WIDTH))
    assert np.median(missed[inner]) < 0.1


def test_small_pictures_have_a_flow_too(rng):
    frame = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
    assert flow_pair(frame, frame).forward.shape == (10, 12, 2)


def test_sampling_takes_values_from_positions_and_the_edge_beyond():
    ramp = np.arange(40, dtype=np.float32).reshape(4, 10)
    grid = pixel_grid(4, 10)
    np.testing.assert_allclose(sample(ramp, grid + np.float32([0.5, 0]))[:, :-1], ramp[:, :-1] + 0.5)
    np.testing.assert_allclose(sample(ramp, grid - np.float32([100, 0])), np.repeat(ramp[:, :1], 10, axis=1))

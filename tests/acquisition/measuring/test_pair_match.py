"""Whether two cameras show the same, tile by tile."""

import numpy as np
import pytest

from localblur.acquisition.measuring.pair_match import match_pair, overall_match, overview
from localblur.acquisition.rig.simulator import RigSimulator, SceneSettings, resolve_rig
from localblur.datasets.recording import CameraRecord


def camera(role, width=640, height=480):
    return CameraRecord(
        role=role,
        model="simulated",
        serial=role,
        pixel_format="BayerRG12",
        bit_depth=12,
        bayer="RGGB",
        width=width,
        height=height,
        black_level=64,
        white_level=4095,
        exposure_ms=20,
    )


@pytest.fixture(scope="module")
def simulator():
    rig = resolve_rig(seed=2, width=320, height=240)
    return lambda **options: RigSimulator(rig, SceneSettings(seed=4, **options))


def match(blurred, sharp):
    return match_pair(blurred, sharp, camera("B", 320, 240), camera("S", 320, 240))


def test_cameras_before_one_target_agree_everywhere(simulator):
    for index in range(3):
        shot = simulator().shot(index, "static")
        found = match(shot.raw_B, shot.raw_S)
        assert found.overall > 0.9
        assert found.share_usable() > 0.8
        assert not found.differing.any()


@pytest.mark.parametrize("kind", ["flat", "dark"])
def test_an_even_field_has_no_texture_and_no_movement(simulator, kind):
    shot = simulator().shot(0, kind)
    found = match(shot.raw_B, shot.raw_S)
    assert found.overall < 0.5
    assert found.share_usable() < 0.1
    assert not found.differing.any()


def test_pictures_without_any_light_do_not_match():
    empty = np.zeros((240, 320), np.uint16)
    assert match(empty, empty).overall == 0


def test_a_moving_object_differs_where_it_moves():
    shot = RigSimulator(resolve_rig(seed=2), SceneSettings(seed=4, objects=1, blur_px=(20, 24))).shot(0)
    found = match_pair(shot.raw_B, shot.raw_S, camera("B"), camera("S"))
    rows, columns = found.differing.shape
    size = found.tile_px
    cut = shot.truth.motion_mask[: rows * size, : columns * size]
    moved = cut.reshape(rows, size, columns, size).mean((1, 3))
    assert found.differing.sum() >= 2
    assert (moved[found.differing] > 0).all()


def test_texture_on_one_side_only_is_told_by_quarters(simulator):
    shot = simulator().shot(0, "static")
    frames = []
    for raw in (shot.raw_B, shot.raw_S):
        half = raw.copy()
        half[:, 160:] = np.random.default_rng(0).normal(1000, 20, (240, 160))
        frames.append(half)
    quarters = dict(match(*frames).quarters())
    assert quarters["upper left quarter"] > 0.8
    assert quarters["lower left quarter"] > 0.8
    assert quarters["upper right quarter"] < 0.3
    assert quarters["lower right quarter"] < 0.3


@pytest.mark.parametrize("shift_px", [(0, 0), (60, -30), (-80, 40)])
def test_the_shift_between_whole_pictures_is_found(rng, shift_px):
    small = np.kron(rng.uniform(200, 3000, (90, 120)), np.ones((8, 8)))
    x, y = 160 + shift_px[0], 120 + shift_px[1]
    sharp = small[120:600, 160:800].astype(np.uint16)
    blurred = small[y : y + 480, x : x + 640].astype(np.uint16)
    score, shift = overall_match(overview(blurred, camera("B")), overview(sharp, camera("S")))
    assert score > 0.8
    assert np.array(shift) * 640 == pytest.approx(-np.array(shift_px), abs=5)

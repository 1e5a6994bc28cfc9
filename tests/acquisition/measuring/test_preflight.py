"""What is said before the first pair: cameras that do not fit, and flipped pictures."""

import numpy as np
import pytest

from localblur.acquisition.measuring.preflight import camera_warnings, mirror_warning
from localblur.acquisition.rig.simulator import RigSimulator, SceneSettings, resolve_rig
from localblur.datasets.recording import CameraRecord

FEATURES = {"SensorWidth": "2448", "SensorHeight": "2048", "Gain": "0.000e+00", "BinningHorizontal": "1", "Gamma": "1"}


def camera(role, **changes):
    features = {**FEATURES, **changes.pop("features", {})}
    given = {
        "role": role,
        "model": "a2A2448-75ucPRO",
        "serial": f"4000{role}",
        "pixel_format": "BayerRG12",
        "bit_depth": 12,
        "bayer": "RGGB",
        "width": 320,
        "height": 240,
        "black_level": 64,
        "white_level": 4095,
        "exposure_ms": 20 if role == "B" else 2,
        "features": features,
    }
    return CameraRecord(**{**given, **changes})


def warnings(blurred=None, sharp=None):
    return camera_warnings({"B": camera("B", **(blurred or {})), "S": camera("S", **(sharp or {}))})


def test_two_equal_cameras_give_nothing():
    assert warnings() == []


def test_a_flipped_order_of_colours_is_no_difference():
    assert warnings({"pixel_format": "BayerGR12", "bayer": "GRBG"}) == []


def test_features_that_are_no_numbers_or_missing_are_passed_over():
    assert warnings({"features": {"Gain": "unknown", "SensorWidth": None}}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"features": {"SensorShutterMode": "Rolling"}}, "has a Rolling shutter: rows are exposed one after the other"),
        ({"features": {"ShutterMode": "GlobalResetRelease"}}, "has a GlobalReset shutter: rows end their exposure"),
        (
            {"black_level": 0},
            "has black level 0: half of the noise in the dark is cut off; raise its black level to 64",
        ),
        (
            {"features": {"AcquisitionFrameRateEnable": "1", "AcquisitionFrameRate": "100"}},
            "is exposed for 20 ms, longer than the 10 ms between frames at 100 frames per second",
        ),
        ({"width": 318}, "unequal frame sizes (318x240 and 320x240); pass --size"),
        ({"features": {"SensorWidth": "1920"}}, "unequal sensor widths (1920 and 2448); use two cameras of one model"),
        ({"features": {"SensorHeight": "1200"}}, "unequal sensor heights (1200 and 2048)"),
        ({"features": {"Gain": "6.0"}}, "unequal gains (6 and 0); set both to the same"),
        ({"features": {"BinningHorizontal": "2"}}, "unequal horizontal binnings (2 and 1)"),
        ({"features": {"Gamma": "0.45"}}, "unequal gammas (0.45 and 1)"),
        ({"pixel_format": "BayerRG8", "bit_depth": 8}, "unequal pixel formats (Bayer8 and Bayer12)"),
    ],
)
def test_each_misfit_is_named_with_what_to_do(change, expected):
    found = warnings(change)
    assert len(found) == 1, found
    assert expected in found[0]
    assert "; " in found[0]


def test_a_model_known_to_roll_is_named_unless_it_says_otherwise():
    both = {"model": "acA2500-14gc"}
    assert [line.split(":")[0] for line in warnings(both, both)] == [
        f"camera {role} (acA2500-14gc) has a Rolling shutter" for role in "BS"
    ]
    says_global = {**both, "features": {"ShutterMode": "Global"}}
    assert warnings(says_global, says_global) == []


def test_two_models_are_a_misfit():
    assert warnings({"model": "a2A1920-51gcPRO"})[0].startswith("cameras B and S have unequal models")


def test_gains_within_what_cameras_round_to_are_equal():
    assert warnings({"features": {"Gain": "0.02"}}) == []


def test_a_rate_that_is_not_in_force_is_no_limit():
    assert warnings({"features": {"AcquisitionFrameRateEnable": "0", "AcquisitionFrameRate": "100"}}) == []


@pytest.fixture(scope="module")
def pairs():
    """Static pairs of eight rigs and targets."""
    shots = []
    for seed in range(8):
        rig = resolve_rig(seed=seed, width=320, height=240, preset=("nd", "gain")[seed % 2])
        shots.append(RigSimulator(rig, SceneSettings(seed=seed)).shot(seed, "static"))
    return [(shot.raw_B, shot.raw_S) for shot in shots]


CAMERAS = {"B": camera("B"), "S": camera("S")}


def test_unflipped_pairs_give_nothing(pairs):
    assert [mirror_warning(b, s, CAMERAS, None) for b, s in pairs] == [None] * 8


@pytest.mark.parametrize(
    ("axes", "mirrored", "expected"),
    [
        ((1,), None, "see the scene mirrored left to right (correlation"),
        ((1,), "S", "leave --mirror S out"),
        ((0,), None, "turn one of them by 180 degrees and pass --mirror B"),
        ((0,), "B", "turn one of them by 180 degrees and leave --mirror B out"),
        ((0, 1), None, "stands on its head"),
    ],
)
def test_each_flip_is_recognised(pairs, axes, mirrored, expected):
    for blurred, sharp in pairs:
        found = mirror_warning(np.flip(blurred, axes), sharp, CAMERAS, mirrored)
        assert found is not None
        assert expected in found
        assert "\n" not in found


def test_the_remedy_for_a_mirrored_pair_is_the_option(pairs):
    blurred, sharp = pairs[0]
    found = mirror_warning(blurred, sharp[:, ::-1], CAMERAS, None)
    assert found is not None
    assert found.endswith("; pass --mirror B")


@pytest.mark.parametrize("kind", ["flat", "dark"])
def test_a_picture_without_structure_cannot_tell(kind):
    shot = RigSimulator(resolve_rig(seed=0, width=320, height=240), SceneSettings()).shot(0, kind)
    for axes in ((1,), (0,), (0, 1)):
        assert mirror_warning(np.flip(shot.raw_B, axes), shot.raw_S, CAMERAS, None) is None


def test_a_symmetric_scene_cannot_tell(rng):
    half = np.kron(rng.uniform(300, 3000, (30, 20)), np.ones((8, 8)))
    scene = np.concatenate([half, half[:, ::-1]], 1)
    blurred, sharp = (np.rint(scene + rng.normal(0, 20, scene.shape)).astype(np.uint16) for _ in "BS")
    assert mirror_warning(blurred[:, ::-1], sharp, CAMERAS, None) is None


def test_two_different_scenes_are_not_called_flipped(pairs):
    for (blurred, _), (_, sharp) in zip(pairs, pairs[1:], strict=False):
        assert mirror_warning(blurred, sharp, CAMERAS, None) is None

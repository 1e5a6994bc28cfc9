import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from localblur.acquisition.measuring.exposure import BRACKET_FACTORS, BRACKET_LEVELS, BRACKET_SHOTS, bracket_factor
from localblur.acquisition.rig import optics
from localblur.acquisition.rig.scenes import BRACKET_RADIANCE, CHART_LEVEL, COLORCHECKER_SRGB
from localblur.acquisition.rig.sensor import mosaic
from localblur.acquisition.rig.simulator import RigSettings, RigShot, RigSimulator, RigTruth, SceneSettings, resolve_rig
from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.images import srgb_decode, srgb_encode

SMALL = {"width": 320, "height": 240}


def simulator(preset: str = "nd", *, seed: int = 3, rig_changes: dict[str, object] | None = None, **scene: object):  # type: ignore[no-untyped-def]
    rig = resolve_rig(seed=seed, preset=preset, **SMALL)  # type: ignore[arg-type]
    rig = validate(RigSettings, {**rig.model_dump(), **(rig_changes or {})}, "rig")
    return RigSimulator(rig, validate(SceneSettings, {"seed": 5, **scene}, "scene"))


@pytest.fixture(scope="module")
def moving() -> tuple[RigSimulator, RigShot]:
    made = simulator()
    return made, made.shot(1)


def psnr(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> float:
    error = (srgb_encode(one) - srgb_encode(two))[where]
    return float(-10 * np.log10(np.mean(error.astype(np.float64) ** 2)))


def plane_of(values: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.float32]:
    return mosaic(np.broadcast_to(np.asarray(values, np.float32), (height, width, 3)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exposure_short_ms": 30.0}, "exposure_short_ms=30.0 must be below exposure_long_ms=20.0"),
        ({"exposure_short_ms": 0.0}, "exposure_short_ms: Input should be greater than 0 .got 0.0"),
        ({"width": 321}, "even width and height, got 321x480"),
        ({"width": 20}, "width: Input should be greater than or equal to 64 .got 20"),
        ({"bit_depth": 10}, "bit_depth: .* 8 or 12"),
        ({"preset": "magic"}, "preset: .* 'nd' or 'gain'"),
        ({"seed": -1}, "seed: .* .got -1"),
    ],
)
def test_a_bad_rig_is_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(LocalblurError, match=message) as caught:
        resolve_rig(**values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blur_px": (9, 3)}, "blur_px must be a range from 0 up"),
        ({"coverage": 0}, "coverage: Input should be greater than 0"),
        ({"textures": "train", "split": "test"}, "contradicts split=test"),
        ({"speed": 3}, "speed: Extra inputs"),
    ],
)
def test_a_bad_scene_is_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(LocalblurError, match=message):
        validate(SceneSettings, values, "scene")


def test_a_missing_texture_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalblurError, match="no folder of photographs"):
        simulator(textures=str(tmp_path / "nowhere"))


def test_impossible_shots_are_refused(moving: tuple[RigSimulator, RigShot]) -> None:
    with pytest.raises(LocalblurError, match="0 or more, got -1"):
        moving[0].shot(-1)
    with pytest.raises(LocalblurError, match="one of scene, static, dark, flat, chart, bracket, got 'movie'"):
        moving[0].shot(0, "movie")  # type: ignore[arg-type]


def test_a_shot_depends_on_settings_kind_and_index_alone(moving: tuple[RigSimulator, RigShot]) -> None:
    made, shot = moving
    # the settings as a recording stores them, in another order of shots
    rig = RigSettings.model_validate(json.loads(made.rig.model_dump_json()))
    again = RigSimulator(rig, SceneSettings.model_validate(json.loads(made.scene.model_dump_json())))
    again.shot(0, "static")
    again.shot(3)
    repeated = again.shot(1)
    np.testing.assert_array_equal(repeated.raw_B, shot.raw_B)
    np.testing.assert_array_equal(repeated.raw_S, shot.raw_S)
    np.testing.assert_array_equal(repeated.truth.displacement, shot.truth.displacement)
    assert (again.shot(2).raw_S != shot.raw_S).mean() > 0.5


def test_another_rig_sees_the_same_motion(moving: tuple[RigSimulator, RigShot]) -> None:
    other = simulator(seed=4).shot(1)
    mask = moving[1].truth.motion_mask
    overlap = (other.truth.motion_mask & mask).sum() / (other.truth.motion_mask | mask).sum()
    assert overlap > 0.85


def test_raw_frames_are_right_aligned_rggb(moving: tuple[RigSimulator, RigShot]) -> None:
    made, shot = moving
    assert shot.raw_B.shape == (240, 320) and shot.raw_B.dtype == np.uint16
    assert shot.raw_B.max() <= 4095
    image = np.zeros((4, 6, 3), np.float32) + (1, 2, 3)
    np.testing.assert_array_equal(mosaic(image)[:2, :2], [[1, 2], [2, 3]])
    span = made.white_level["B"] - made.black_level["B"]
    expected = made.black_level["B"] + span * mosaic(shot.clean_blurred)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        error = shot.raw_B[y::2, x::2] - expected[y::2, x::2]
        assert abs(error.mean()) < 1.5
    # no other layout fits: every site's colour is the right one
    wrong = mosaic(np.ascontiguousarray(shot.clean_blurred[..., ::-1])) * span + made.black_level["B"]
    assert np.abs(shot.raw_B - wrong).mean() > 1.5 * np.abs(shot.raw_B - expected).mean()


def test_eight_bit_rigs_give_bytes() -> None:
    rig = resolve_rig(seed=1, bit_depth=8, **SMALL)  # type: ignore[arg-type]
    made = RigSimulator(rig, SceneSettings(seed=1))
    shot = made.shot(0)
    assert shot.raw_S.dtype == np.uint8
    assert made.black_level == {"B": 4.0, "S": 4.0} and made.white_level == {"B": 255.0, "S": 255.0}
    span = 251.0
    assert abs(float((shot.raw_S - (4 + span * mosaic(shot.truth.clean_sharp))).mean())) < 0.3


@pytest.mark.parametrize("preset", ["nd", "gain"])
@pytest.mark.parametrize("kind", ["flat", "dark"])
def test_noise_has_the_predicted_mean_and_variance(preset: str, kind: str) -> None:
    made = simulator(preset)
    shot = made.shot(2, kind)  # type: ignore[arg-type]
    span = made.rig.white_level - made.rig.black_level
    for role, raw, clean, offset in (
        ("B", shot.raw_B, shot.clean_blurred, shot.truth.offset_B),
        ("S", shot.raw_S, shot.truth.clean_sharp, shot.truth.offset_S),
    ):
        camera = getattr(made.rig, f"camera_{role}")
        level = mosaic(clean)
        light = level - plane_of(offset, *level.shape)
        variance = span**2 * (light / camera.full_scale_electrons)
        variance += (span * camera.read_noise_electrons / camera.full_scale_electrons) ** 2 + 1 / 12
        score = (raw - made.rig.black_level - span * level) / np.sqrt(variance)
        assert abs(score.mean()) < 4 / np.sqrt(score.size)
        assert score.var() == pytest.approx(1, abs=0.03)


def test_with_the_filter_both_cameras_are_alike_and_without_it_the_short_exposure_is_noisier() -> None:
    noise = {}
    for preset in ("nd", "gain"):
        made = simulator(preset)
        shot = made.shot(0, "flat")
        span = made.rig.white_level - made.rig.black_level
        blurred, sharp = mosaic(shot.clean_blurred), mosaic(shot.truth.clean_sharp)
        assert blurred.mean() / sharp.mean() == pytest.approx(1, abs=0.1)
        errors = [
            np.std(raw - made.rig.black_level - span * clean)
            for raw, clean in ((shot.raw_B, blurred), (shot.raw_S, sharp))
        ]
        noise[preset] = (errors[1] / errors[0]) ** 2
    assert noise["nd"] == pytest.approx(1, abs=0.25)
    # a tenth of the light is ten times the shot noise variance, a little more with read noise and the splitter
    assert 7 < noise["gain"] < 16


def test_bright_light_clips_at_white_level() -> None:
    shot = simulator(brightness=3.0, highlights=3).shot(0)
    assert shot.raw_B.max() == 4095 and shot.raw_S.max() == 4095
    assert (shot.raw_S == 4095).mean() > 0.005
    assert shot.truth.clean_sharp.max() == 1 and shot.clean_blurred.max() == 1


def test_distortion_is_inverted_exactly() -> None:
    camera = resolve_rig(seed=2).camera_B.model_copy(update={"k1": -0.12, "k2": 0.02, "p1": 0.003})
    grid = optics.pixel_grid(480, 640)
    there = optics.undistort(camera, grid, 480, 640)
    assert np.abs(there - grid).max() > 20
    assert np.abs(optics.distort(camera, there, 480, 640) - grid).max() < 1e-5


def test_hopeless_distortion_is_one_line() -> None:
    camera = resolve_rig(seed=2).camera_B.model_copy(update={"k1": -0.3, "k2": -0.1})
    far = optics.pixel_grid(480, 640) * 3
    with pytest.raises(LocalblurError, match="cannot be inverted"):
        optics.distort(camera, far, 480, 640)


def laid_on_sharp(shot: RigShot, shift_px: float = 0.0) -> npt.NDArray[np.float32]:
    """The noise-free blurred image on S's grid in S's colours, by the truth alone: one resampling."""
    truth = shot.truth
    warped = cv2.remap(shot.clean_blurred, truth.displacement + np.float32(shift_px), None, cv2.INTER_LANCZOS4)
    coloured = (warped - truth.offset_B) @ truth.color_matrix.T * truth.vignetting_ratio[..., None] + truth.offset_S
    return np.asarray(coloured, np.float32)


def comparable(shot: RigShot) -> npt.NDArray[np.bool_]:
    truth = shot.truth
    inner = np.zeros_like(truth.valid)
    inner[12:-12, 12:-12] = True
    clipped = (shot.clean_blurred.max(axis=2) > 0.97) | (truth.clean_sharp.max(axis=2) > 0.97)
    return inner & truth.valid & (cv2.dilate(clipped.astype(np.uint8), np.ones((25, 25))) == 0)


def still(shot: RigShot) -> npt.NDArray[np.bool_]:
    return cv2.dilate(shot.truth.motion_mask.astype(np.uint8), np.ones((9, 9))) == 0


@pytest.mark.parametrize("seed", [3, 8])
def test_the_true_displacement_and_colours_lay_the_blurred_image_onto_the_sharp_one(seed: int) -> None:
    shot = RigSimulator(resolve_rig(seed=seed), SceneSettings(seed=seed)).shot(1)
    inner = comparable(shot)
    assert inner.mean() > 0.4
    laid = laid_on_sharp(shot)
    # interpolation is what is left: facts of the aliasing optics put it near 49 dB
    assert psnr(laid, shot.truth.clean_blurred_on_sharp, inner) > 45
    assert psnr(laid, shot.truth.clean_sharp, inner & still(shot)) > 45


@pytest.mark.parametrize(("kind", "seed"), [("scene", 3), ("static", 3), ("scene", 8), ("chart", 9)])
def test_the_true_displacement_is_exact_where_optics_do_not_alias(kind: str, seed: int) -> None:
    rig = resolve_rig(seed=seed, **SMALL)  # type: ignore[arg-type]
    soft = {role: getattr(rig, role).model_copy(update={"psf_px": 1.0}) for role in ("camera_B", "camera_S")}
    shot = RigSimulator(rig.model_copy(update=soft), SceneSettings(seed=5)).shot(1, kind)  # type: ignore[arg-type]
    inner, on_sharp = comparable(shot), shot.truth.clean_blurred_on_sharp
    exact = psnr(laid_on_sharp(shot), on_sharp, inner)
    assert exact > 59
    assert psnr(laid_on_sharp(shot, 0.03), on_sharp, inner) < exact - 3
    # the cameras are far enough apart for this to mean something
    assert psnr(shot.clean_blurred, on_sharp, inner) < 34


def test_displacement_is_that_of_a_tracked_point() -> None:
    made = simulator()
    truth = made.shot(0, "chart").truth
    assert truth.patches_S is not None and truth.patches_B is not None
    found = cv2.remap(truth.displacement, truth.patches_S.astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]
    np.testing.assert_allclose(found, truth.patches_B, atol=2e-2)


def test_the_mask_tells_where_anything_moved(moving: tuple[RigSimulator, RigShot]) -> None:
    truth = moving[1].truth
    assert 0.03 < truth.motion_mask.mean() < 0.4
    change = np.abs(truth.clean_blurred_on_sharp - truth.clean_sharp).max(axis=2)
    assert change[~truth.motion_mask].max() < 0.01
    assert change[truth.motion_mask].mean() > 20 * change[~truth.motion_mask].mean()
    assert truth.soft_extent.max() > 0.99 and (truth.soft_extent[~truth.motion_mask] < 0.01).all()


def test_static_shots_hold_still_before_different_targets() -> None:
    made = simulator()
    one, two = made.shot(0, "static"), made.shot(1, "static")
    for shot in (one, two):
        assert not shot.truth.motion_mask.any()
        np.testing.assert_array_equal(shot.truth.clean_sharp, shot.truth.clean_blurred_on_sharp)
    assert np.abs(one.truth.clean_sharp - two.truth.clean_sharp).mean() > 0.03
    between = np.abs(one.truth.displacement - two.truth.displacement)
    assert 0 < between.max() < 0.5
    scene = np.abs(made.shot(0).truth.displacement - one.truth.displacement)
    assert 0.05 < scene.max() < 3


def test_the_chart_shows_the_published_colours() -> None:
    made = simulator()
    truth = made.shot(0, "chart").truth
    assert truth.patches_S is not None
    camera = made.rig.camera_S
    matrix = optics.response(camera, made.rig.light_per_ms, made.rig.exposure_short_ms)
    x, y = np.round(truth.patches_S).astype(int).T
    shade = optics.vignetting(camera, np.stack([x, y], axis=1).astype(float), 240, 320)
    radiance = ((truth.clean_sharp[y, x] - truth.offset_S) / shade[:, None]) @ np.linalg.inv(matrix).T
    expected = CHART_LEVEL * srgb_decode(np.array(COLORCHECKER_SRGB) / 255)
    np.testing.assert_allclose(radiance, expected, atol=0.004)


def test_a_bracket_is_one_even_field_at_growing_exposures() -> None:
    made = simulator("nd")
    span = made.white_level["B"] - made.black_level["B"]
    levels = []
    for index in range(BRACKET_LEVELS * BRACKET_SHOTS):
        shot = made.shot(index, "bracket")
        middle = shot.clean_blurred[100:140, 140:180], shot.truth.clean_sharp[100:140, 140:180]
        levels.append([image.mean(axis=(0, 1)) for image in middle])
        assert max(image.max() for image in (shot.clean_blurred, shot.truth.clean_sharp)) < 0.95
        assert not shot.truth.motion_mask.any()
        assert abs(float((shot.raw_B - 64 - span * mosaic(shot.clean_blurred)).mean())) < 0.5
    factors = [bracket_factor(index) for index in range(len(levels))]
    offsets = np.stack([made.shot(0, "dark").truth.offset_B, made.shot(0, "dark").truth.offset_S])
    light = np.array(levels) - offsets
    np.testing.assert_allclose(
        light / np.array(factors)[:, None, None], np.broadcast_to(light[-1] / 0.85, light.shape), rtol=1e-3
    )
    first, second = made.shot(0, "bracket"), made.shot(1, "bracket")
    assert (first.raw_B != second.raw_B).mean() > 0.5
    np.testing.assert_array_equal(first.truth.clean_sharp, second.truth.clean_sharp)


@pytest.mark.parametrize("seed", range(20))
def test_no_simulated_camera_clips_in_its_bracket(seed: int) -> None:
    for preset in ("nd", "gain"):
        rig = resolve_rig(seed=seed, preset=preset)  # type: ignore[arg-type]
        for camera, exposure_ms in ((rig.camera_B, rig.exposure_long_ms), (rig.camera_S, rig.exposure_short_ms)):
            white = optics.response(camera, rig.light_per_ms, exposure_ms) @ np.full(3, BRACKET_RADIANCE)
            assert 0.6 < white.max() * BRACKET_FACTORS[-1] < 0.9
            assert white.min() * BRACKET_FACTORS[0] > 0.012


def test_steady_objects_go_straight_at_constant_speed() -> None:
    scene = {"objects": 3, "blur_px": (20, 20), "pause": 0}
    steady, free = simulator(steady=True, **scene), simulator(**scene)
    for made, bent in ((steady, False), (free, True)):
        backdrop = made._backdrop("scene", 0)
        assert backdrop is not None and backdrop.cast is not None
        for moving_object in backdrop.cast.objects(2):
            poses = np.array([moving_object.path.pose(time) for time in (-10.0, 0.0, 10.0)])
            steps = np.diff(poses, axis=0)
            assert (np.abs(steps[1] - steps[0]).max() > 0.1) == bent
            assert bent or np.hypot(*steps[0, :2]) == pytest.approx(20)


@pytest.mark.parametrize(("alignment", "offset_ms"), [("start", -9.0), ("centre", 0.0), ("end", 9.0)])
def test_the_short_exposure_lies_where_the_setting_says(alignment: str, offset_ms: float) -> None:
    common = {"objects": 1, "blur_px": (30, 30), "pause": 0, "background": "photograph"}
    changes: dict[str, object] = {"alignment": alignment, "exposure_jitter": 0, "drift_px": 0, "drift_deg": 0}
    empty = simulator(rig_changes=changes, **{**common, "objects": 0}).shot(0).truth.clean_sharp
    made = simulator(rig_changes=changes, **common)
    truth = made.shot(0).truth
    middle = _centroid(truth.clean_blurred_on_sharp - empty)
    shifted = _centroid(truth.clean_sharp - empty)
    # the long exposure's centroid is the path's middle: 30 px in 20 ms, bent and accelerated a little
    assert np.hypot(*(shifted - middle)) == pytest.approx(abs(offset_ms) * 1.5, abs=4.5)


def test_truth_survives_its_file(moving: tuple[RigSimulator, RigShot], tmp_path: Path) -> None:
    truth = moving[1].truth
    path = tmp_path / "truth" / "000001.npz"
    truth.save(path)
    loaded = RigTruth.load(path)
    assert np.abs(loaded.displacement - truth.displacement).max() < 5e-4
    np.testing.assert_array_equal(loaded.motion_mask, truth.motion_mask)
    np.testing.assert_array_equal(loaded.color_matrix, truth.color_matrix)
    assert np.abs(loaded.clean_sharp - truth.clean_sharp).max() < 5e-4
    assert loaded.patches_S is None and loaded.clean_sharp.dtype == np.float32


def test_damaged_truth_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "000000.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(LocalblurError, match="cannot read truth .*000000.npz"):
        RigTruth.load(tmp_path / "000000.npz")
    np.savez_compressed(tmp_path / "other.npz", allow_pickle=False, something=np.zeros(3))
    with pytest.raises(LocalblurError, match=r"cannot read truth .*other.npz"):
        RigTruth.load(tmp_path / "other.npz")


def test_a_rig_is_no_easier_than_the_measured_ones() -> None:
    """Ranges over many rigs: shifts of px, a few tenths of a degree, corner distortion of 0.3 to 6 px."""
    corners, shifts = [], []
    for seed in range(30):
        rig = resolve_rig(seed=seed, width=800, height=600)
        corners.append(abs(rig.camera_S.k1 - rig.camera_B.k1) * 500)
        difference = np.array(rig.camera_S.homography) - np.array(rig.camera_B.homography)
        shifts.append(np.hypot(difference[2], difference[5]))
        assert 0.08 <= -rig.camera_B.vignetting[0] <= 0.28
        assert rig.camera_S.full_scale_electrons <= 4800
    assert min(corners) < 0.8 and max(corners) > 3.5
    assert np.mean(shifts) > 2


def _centroid(difference: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    weight = np.abs(difference).sum(axis=2).astype(np.float64)
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()

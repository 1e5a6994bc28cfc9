from pathlib import Path

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.images import srgb_encode
from localblur.datasets.light.bayer import BAYER_ORIGINS, demosaic_edges, mosaic
from localblur.datasets.light.noise import CameraNoise, add_noise, parse_noise
from localblur.datasets.light.realism import (
    DrawnCamera,
    RealismSettings,
    bend_tones,
    degrade,
    draw_camera,
    recover_highlights,
    saturated_mask,
    take_picture,
)

OFF = RealismSettings(saturation=False, mosaic=False, noise=False, white_balance=False)


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [0.3 + 0.2 * np.sin(x / 9), 0.4 + 0.2 * np.cos(y / 11), 0.35 + 0.1 * np.sin((x + y) / 13)]
    return np.stack(planes, axis=-1).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise_spread": (2, 1)}, "noise_spread must be a range within 0 to 100, got 2 to 1"),
        ({"contrast": (0, 1.5)}, "contrast must be a range within 0 to 1"),
        ({"red_gain": (0, 1)}, "red_gain must be a range"),
        ({"patterns": ()}, "at least one Bayer pattern"),
        ({"camera_matrix": (1, 1, 0, 0, 1, 0, 0, 0, 1)}, "rows sum to 1"),
        ({"patterns": ("RGBG",)}, "patterns"),
        ({"grain": 1}, "grain"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(LocalblurError, match=message) as refused:
        validate(RealismSettings, values, "realism")
    assert "\n" not in str(refused.value)


def test_an_unknown_pattern_is_refused() -> None:
    for function in (lambda: mosaic(smooth(), "RGB"), lambda: demosaic_edges(smooth()[..., 0], "RGB")):
        with pytest.raises(LocalblurError, match="unknown Bayer pattern 'RGB'; known: RGGB"):
            function()


@pytest.mark.parametrize(
    ("content", "argument", "message"),
    [
        (None, "nowhere.json", "is no file"),
        (None, "9600,many", "electrons"),
        (None, "3,1", "full_well_e"),
        ("full_well_e: 9000\n", "{}", "does not state read_noise_e"),
        ("[1, 2", "{}", "does not state"),
        (
            "camera B: read noise: 2.1 +- 0.1 e\ncamera B: full well at this gain: 900 e, x",
            "{}:S",
            "nothing of camera S",
        ),
        (
            (
                "camera B: read noise: 2.1 +- 0.1 e\ncamera S: read noise: 3 +- 0.1 e\n"
                "camera B: full well at this gain: 900 e\ncamera S: full well at this gain: 901 e\n"
            ),
            "{}",
            "cameras B, S",
        ),
    ],
)
def test_noise_that_cannot_be_read_is_told(tmp_path: Path, content: str | None, argument: str, message: str) -> None:
    path = tmp_path / "noise.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LocalblurError, match=message):
        parse_noise(argument.format(path))


def test_noise_is_read_from_numbers_results_and_advice(tmp_path: Path) -> None:
    assert parse_noise("9600, 4") == CameraNoise(full_well_e=9600, read_noise_e=4)
    result = tmp_path / "transfer.json"
    result.write_text('{"gain_dn_per_e": 0.4, "full_well_e": 9600.0, "read_noise_e": 4.5, "levels": 7}')
    assert parse_noise(str(result)) == CameraNoise(full_well_e=9600, read_noise_e=4.5)
    advice = tmp_path / "advice.txt"
    advice.write_text(
        "use ND 0.9\ncamera B: gain: 0.4 +- 0.01 DN/e\ncamera B: read noise: 3.10 +- 0.05 e\n"
        "camera B: full well at this gain: 9510 e, dynamic range 69.7 dB\n"
        "camera S: read noise: 2.00 +- 0.05 e at most: rounding hides it\n"
        "camera S: full well at this gain: 4700 e, dynamic range 67.4 dB\n"
    )
    assert parse_noise(f"{advice}:S") == CameraNoise(full_well_e=4700, read_noise_e=2)
    assert parse_noise(f"{advice}:B") == CameraNoise(full_well_e=9510, read_noise_e=3.1)


@pytest.mark.parametrize("light", [0.02, 0.3, 0.8])
def test_noise_has_the_variance_of_poisson_and_gauss(rng: np.random.Generator, light: float) -> None:
    camera = CameraNoise(full_well_e=2000, read_noise_e=8)
    noisy = add_noise(np.full((300, 300), light, np.float32), camera, rng)
    assert noisy.mean(dtype=np.float64) == pytest.approx(light, rel=0.003)
    assert noisy.var(dtype=np.float64) == pytest.approx(light / 2000 + (8 / 2000) ** 2, rel=0.03)
    assert camera.variance(light) == pytest.approx(light / 2000 + (8 / 2000) ** 2)


def test_saturated_light_has_no_noise(rng: np.random.Generator) -> None:
    noisy = add_noise(np.full((50, 50), 1.5, np.float32), CameraNoise(full_well_e=1000, read_noise_e=5), rng)
    assert (noisy == 1).all()


@pytest.mark.parametrize("bayer", sorted(BAYER_ORIGINS))
def test_a_mosaic_of_a_plane_is_undone_and_measured_values_are_kept(bayer: str) -> None:
    y, x = np.mgrid[0:20, 0:24].astype(np.float32)
    ramps = np.stack([0.2 + 0.01 * x, 0.3 + 0.008 * y, 0.5 - 0.005 * (x + y)], axis=-1)
    restored = demosaic_edges(mosaic(ramps, bayer), bayer)
    np.testing.assert_allclose(restored[3:-3, 3:-3], ramps[3:-3, 3:-3], atol=3e-4)
    np.testing.assert_array_equal(mosaic(restored, bayer), mosaic(ramps, bayer))


@pytest.mark.parametrize("bayer", sorted(BAYER_ORIGINS))
def test_a_gray_edge_gets_no_colour(bayer: str) -> None:
    for edge in (np.arange(24) < 11, (np.arange(24) < 12)[:, None]):
        gray = np.broadcast_to(np.where(edge, 0.1, 0.6)[..., None], (24, 24, 3)).astype(np.float32)
        restored = demosaic_edges(mosaic(gray, bayer), bayer)[4:-4, 4:-4]
        assert np.ptp(restored, axis=-1).max() < 0.02


@pytest.mark.parametrize("bayer", sorted(BAYER_ORIGINS))
def test_a_mosaic_keeps_each_colour_at_its_pixels(bayer: str) -> None:
    picture = np.zeros((6, 8, 3), np.float32)
    picture[...] = (1, 2, 3)
    plane = mosaic(picture, bayer)
    letters = {1.0: "R", 2.0: "G", 3.0: "B"}
    assert "".join(letters[float(v)] for v in plane[:2, :2].ravel()) == bayer
    assert (picture == (1, 2, 3)).all()


def test_with_every_stage_off_light_passes_unchanged(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(degrade(smooth(), OFF, rng), smooth(), atol=1e-6)


@pytest.mark.parametrize(
    "stage",
    [
        {"mosaic": True},
        {"noise": True},
        {"white_balance": True, "noise": True},
        {"response": "contrast"},
    ],
)
def test_every_stage_can_be_switched_on_alone(rng: np.random.Generator, stage: dict[str, object]) -> None:
    picture = smooth() + np.float32(0.15) * (np.indices((48, 64)).sum(axis=0) % 2)[..., None].astype(np.float32)
    changed = degrade(picture, OFF.model_copy(update=stage), rng)
    assert changed.dtype == np.float32 and changed.shape == picture.shape
    assert 1e-3 < np.abs(changed - picture).max() < 0.5


def test_white_balance_amplifies_the_noise_of_red_and_blue(rng: np.random.Generator) -> None:
    gray = np.full((200, 200, 3), 0.3, np.float32)
    noise = CameraNoise(full_well_e=1000, read_noise_e=0)
    plain = take_picture(gray, DrawnCamera(noise=noise), rng).std(axis=(0, 1))
    balanced = take_picture(gray, DrawnCamera(noise=noise, red_gain=2.25, blue_gain=1.6), rng).std(axis=(0, 1))
    np.testing.assert_allclose(balanced / plain, np.sqrt([2.25, 1, 1.6]), rtol=0.03)


def test_mean_light_is_kept_by_the_whole_chain(rng: np.random.Generator) -> None:
    matrix = (0.8, 0.15, 0.05, 0.1, 0.8, 0.1, 0.05, 0.2, 0.75)
    settings = RealismSettings(camera_matrix=matrix, camera=CameraNoise(full_well_e=5000, read_noise_e=3))
    means = np.mean([degrade(smooth(), settings, rng) for _ in range(5)], axis=0)
    np.testing.assert_allclose(means.mean(axis=(0, 1)), smooth().mean(axis=(0, 1)), rtol=0.005)


def test_the_chain_repeats_for_a_seed_and_only_for_it() -> None:
    one, again, other = (degrade(smooth(), RealismSettings(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.01


def test_what_is_drawn_lies_in_its_range_and_is_recorded(rng: np.random.Generator) -> None:
    drawn = [draw_camera(RealismSettings(response="contrast"), rng) for _ in range(200)]
    records = [camera.recorded() for camera in drawn]
    for key, (low, high) in {
        "camera_boost": (0.25, 1.75),
        "camera_red_gain": (1.9, 2.4),
        "camera_blue_gain": (1.5, 1.9),
        "camera_contrast": (0.1, 0.5),
        "full_well_e": (11247 / 1.5, 11247 / 0.5),
    }.items():
        values = [record[key] for record in records]
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
    assert {record["camera_bayer"] for record in records} == {0, 1, 2, 3}


def test_a_stage_switched_off_changes_no_other_draw() -> None:
    everything = draw_camera(RealismSettings(), np.random.default_rng(3))
    less = draw_camera(RealismSettings(mosaic=False, saturation=False), np.random.default_rng(3))
    assert (less.bayer, less.boost) == (None, 0.0) and less.noise == everything.noise
    assert less.red_gain == everything.red_gain


def test_highlights_recovered_before_blurring_equal_the_blurred_mask(rng: np.random.Generator) -> None:
    frames = np.clip(rng.uniform(0, 1.4, (6, 20, 30, 3)), 0, 1).astype(np.float32)
    before = np.mean([recover_highlights(frame, 0.8) for frame in frames], axis=0)
    share = np.mean([saturated_mask(frame) for frame in frames], axis=0)
    camera = DrawnCamera(boost=0.8)
    from_mask = take_picture(frames.mean(axis=0), camera, rng, saturated=share)
    np.testing.assert_allclose(take_picture(before, camera, rng), from_mask, atol=1e-6)
    assert 0.05 < share.mean() < 0.95


def test_a_saturated_region_stays_white_through_the_chain(rng: np.random.Generator) -> None:
    picture = smooth()
    picture[10:30, 10:40] = 1.6
    seen = degrade(picture, RealismSettings(), rng)
    np.testing.assert_allclose(seen[14:26, 14:36], 1, atol=0.02)


def test_the_response_raises_contrast_of_both_pictures_alike() -> None:
    camera = DrawnCamera(contrast=0.4)
    ramp = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, -1, 1) * np.ones((1, 1, 3), np.float32)
    bent = srgb_encode(bend_tones(ramp, camera))[0, :, 0]
    plain = srgb_encode(ramp)[0, :, 0]
    assert (np.diff(bent) > 0).all() and bent[0] == 0 and bent[-1] == pytest.approx(1)
    assert np.all(bent[(plain > 0.02) & (plain < 0.48)] < plain[(plain > 0.02) & (plain < 0.48)])
    assert np.all(bent[(plain > 0.52) & (plain < 0.98)] > plain[(plain > 0.52) & (plain < 0.98)])
    np.testing.assert_allclose(
        take_picture(ramp, camera, np.random.default_rng(0)), bend_tones(ramp, camera), atol=1e-6
    )

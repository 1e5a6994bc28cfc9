from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from localblur.acquisition.measuring.exposure import BRACKET_LEVELS, BRACKET_SHOTS, bracket_factor
from localblur.acquisition.measuring.photon_transfer import PhotonTransfer, estimate_photon_transfer
from localblur.acquisition.rig.simulator import RigSimulator, SceneSettings, resolve_rig
from localblur.common.errors import LocalblurError
from localblur.datasets.recordings.journal import ROLES, CameraRecord, Role

Frames = list[npt.NDArray[Any]]
BLACK, WHITE = 64.0, 4095.0
EXPOSURES_MS = [0.1, 0.2, 0.5, 1.0, 2.0, 3.0]
GAIN, READ_E = 0.5, 6.0
SHAPE = (192, 256)


def camera(**changes: Any) -> CameraRecord:
    values: dict[str, Any] = {
        "role": "S",
        "model": "simulated",
        "serial": "S",
        "pixel_format": "BayerRG12",
        "bit_depth": 12,
        "bayer": "RGGB",
        "height": SHAPE[0],
        "width": SHAPE[1],
        "black_level": BLACK,
        "white_level": WHITE,
        "exposure_ms": 2.0,
    }
    return CameraRecord.model_validate({**values, **changes})


def expose(rng: np.random.Generator, electrons: npt.NDArray[Any] | float, gain: float = GAIN) -> npt.NDArray[Any]:
    """An independent sensor: photons, read noise, gain, black, rounding."""
    collected = rng.poisson(np.broadcast_to(electrons, SHAPE)) + READ_E * rng.standard_normal(SHAPE)
    return np.clip(np.rint(BLACK + gain * collected), 0, WHITE).astype(np.uint16)


def bracket(rng: np.random.Generator, light_per_ms: npt.NDArray[Any] | float = 1800.0, shots: int = 2) -> list[Frames]:
    return [[expose(rng, light_per_ms * ms) for _ in range(shots)] for ms in EXPOSURES_MS]


def test_frames_that_do_not_fit_are_one_line() -> None:
    levels = bracket(np.random.default_rng(0))
    with pytest.raises(LocalblurError, match="level 1 has 1 frames; two or more are needed"):
        estimate_photon_transfer([levels[0], levels[1][:1], levels[2]], camera())
    with pytest.raises(LocalblurError, match="dark has 1 frames"):
        estimate_photon_transfer(levels, camera(), dark=levels[0][:1])
    with pytest.raises(LocalblurError, match=r"a frame of level 2 is \(96, 256\) uint16, but camera S .* one bracket"):
        estimate_photon_transfer([*levels[:2], [frame[::2] for frame in levels[2]]], camera())
    with pytest.raises(LocalblurError, match="uint8"):
        estimate_photon_transfer([[frame.astype(np.uint8) for frame in frames] for frames in levels], camera())
    with pytest.raises(LocalblurError, match="6 levels need as many exposures above 0 ms, got .1.0, 2.0."):
        estimate_photon_transfer(levels, camera(), exposures_ms=[1, 2])
    with pytest.raises(LocalblurError, match="exposures above 0 ms"):
        estimate_photon_transfer(levels, camera(), exposures_ms=[0, *EXPOSURES_MS[1:]])


def test_interpolated_colours_are_refused() -> None:
    colour = camera(bayer=None, pixel_format="RGB8", bit_depth=8, white_level=255, black_level=4)
    frame = np.zeros((*SHAPE, 3), np.uint8)
    with pytest.raises(LocalblurError, match="delivers RGB8, .* raw pixels, set a Bayer pixel format"):
        estimate_photon_transfer([[frame, frame]] * 4, colour)


@pytest.mark.parametrize(
    ("electrons", "message"),
    [
        ([], "0 levels lie below 70% of full scale and show noise, 3 are needed"),
        ([500, 2000], "2 levels lie below"),
        ([500, 2000, 9e3, 1e4, 1e5], "2 levels lie below 70% of full scale.* with less light"),
        (
            [2000, 2000, 2000, 2000],
            "reach from 24.8% to 24.8% of full scale; the brightest must be 4 times the darkest",
        ),
        ([2000, 2500, 3000], "reach from 24.8% to 37.2%"),
        ([0, 0, 0, 0], "reach from .*0.0% to .*0.0% of full scale.* add light"),
    ],
)
def test_too_few_levels_are_one_line(electrons: list[float], message: str) -> None:
    rng = np.random.default_rng(1)
    levels = [[expose(rng, light) for _ in range(2)] for light in electrons]
    with pytest.raises(LocalblurError, match=message) as caught:
        estimate_photon_transfer(levels, camera())
    assert "\n" not in str(caught.value)


def test_frames_without_noise_of_their_own_are_refused() -> None:
    rng = np.random.default_rng(2)
    same = [[frames[0]] * 2 for frames in bracket(rng)]
    with pytest.raises(LocalblurError, match="0 levels .* show noise.* unaveraged"):
        estimate_photon_transfer(same, camera())
    smoothed = [[np.rint(np.full(SHAPE, 64 + 400 * ms) + rng.normal(0, 3, SHAPE)) for _ in (0, 1)] for ms in (1, 3, 5)]
    with pytest.raises(LocalblurError, match="noise does not grow with the light .* noise reduction off"):
        estimate_photon_transfer([[frame.astype(np.uint16) for frame in frames] for frames in smoothed], camera())


def test_clipped_dark_frames_are_refused() -> None:
    rng = np.random.default_rng(3)
    dark = [np.clip(rng.normal(1, 3, SHAPE), 0, None).astype(np.uint16) for _ in range(2)]
    with pytest.raises(LocalblurError, match="dark frames of camera S are at 0 DN .limit 1.0%.; raise its black level"):
        estimate_photon_transfer(bracket(rng), camera(), dark=dark)


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("with_dark", [False, True])
def test_gain_and_read_noise_of_a_known_sensor(gain: float, with_dark: bool) -> None:
    rng = np.random.default_rng(4)
    full_e = (WHITE - BLACK) / gain
    levels = [[expose(rng, full_e * share, gain) for _ in (0, 1)] for share in (0.03, 0.06, 0.12, 0.25, 0.5, 0.85)]
    dark = [expose(rng, 0.0, gain) for _ in range(2)] if with_dark else []
    found = estimate_photon_transfer(levels, camera(), dark=dark)
    assert found.gain_dn_per_e == pytest.approx(gain, rel=0.02)
    assert abs(found.gain_dn_per_e - gain) < 4 * found.gain_error
    assert found.read_noise_e == pytest.approx(READ_E, rel=0.02 if with_dark else 0.15)
    assert abs(found.read_noise_e - READ_E) < 4 * found.read_noise_error
    assert found.read_noise_resolved
    assert found.full_well_e == pytest.approx(full_e, rel=0.02)
    assert found.dynamic_range_db == pytest.approx(20 * np.log10(full_e / READ_E), abs=1.5)
    assert found.levels == 5 and found.linearity_percent is None


def test_the_stated_error_is_the_scatter_between_brackets() -> None:
    found = [estimate_photon_transfer(bracket(np.random.default_rng(seed)), camera()) for seed in range(20, 36)]
    gains = [(each.gain_dn_per_e - GAIN) / each.gain_error for each in found]
    reads = [(each.read_noise_e - READ_E) / each.read_noise_error for each in found]
    assert 0.6 < np.sqrt(np.mean(np.square(gains))) < 1.5
    assert 0.4 < np.sqrt(np.mean(np.square(reads))) < 1.5  # the error also covers a black level that is half a DN off


def test_texture_vignetting_unlike_pixels_and_flicker_do_not_count() -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    field = 1800 * (1 - ((y - 96) ** 2 + (x - 128) ** 2) / 50_000) * rng.normal(1, 0.05, SHAPE)
    field *= 1 + 0.2 * np.sin(x / 3)
    levels = [[expose(rng, field * ms * flicker) for flicker in (1.0, 1.02)] for ms in EXPOSURES_MS]
    found = estimate_photon_transfer(levels, camera())
    assert found.gain_dn_per_e == pytest.approx(GAIN, rel=0.02)
    assert found.read_noise_e == pytest.approx(READ_E, rel=0.15)


def test_saturated_spots_and_an_insect_in_one_frame_do_not_count() -> None:
    rng = np.random.default_rng(6)
    field = np.full(SHAPE, 1800.0)
    field[:50, :50] = 60_000
    levels = bracket(rng, field)
    levels[3][1][130:150, 70:90] = 100
    found = estimate_photon_transfer(levels, camera(), exposures_ms=EXPOSURES_MS)
    assert found.gain_dn_per_e == pytest.approx(GAIN, rel=0.02)
    assert found.read_noise_e == pytest.approx(READ_E, rel=0.15)
    assert found.linearity_percent is None  # all but one level have saturated pixels


def test_more_frames_per_level_tell_more() -> None:
    rng = np.random.default_rng(7)
    levels = bracket(rng, shots=9)
    many = estimate_photon_transfer(levels, camera())
    few = estimate_photon_transfer([frames[:2] for frames in levels], camera())
    assert many.gain_error < 0.5 * few.gain_error
    assert abs(many.gain_dn_per_e - GAIN) < 4 * many.gain_error


def test_linearity_finds_a_bent_response_and_leaves_saturation_out() -> None:
    rng = np.random.default_rng(8)
    straight = estimate_photon_transfer(bracket(rng, 1800), camera(), exposures_ms=EXPOSURES_MS)
    assert straight.linearity_percent is not None and straight.linearity_percent < 0.2
    clipped = estimate_photon_transfer(bracket(rng, 3600), camera(), exposures_ms=EXPOSURES_MS)
    assert clipped.linearity_percent is not None and clipped.linearity_percent < 0.2
    bent = [[expose(rng, 1800 * ms * (1 - 0.04 * ms)) for _ in range(2)] for ms in EXPOSURES_MS]
    found = estimate_photon_transfer(bent, camera(), exposures_ms=EXPOSURES_MS).linearity_percent
    assert found is not None and 1 < found < 12


def test_read_noise_below_rounding_is_an_upper_limit() -> None:
    rng = np.random.default_rng(9)
    coarse = 0.05
    levels = [[expose(rng, 70_000 * share, coarse) for _ in (0, 1)] for share in (0.01, 0.02, 0.05, 0.2, 0.5)]
    for dark in ([], [expose(rng, 0.0, coarse) for _ in range(2)]):
        found = estimate_photon_transfer(levels, camera(), dark=dark)
        assert found.gain_dn_per_e == pytest.approx(coarse, rel=0.02)
        assert not found.read_noise_resolved
        # EMVA 1288: what rounding leaves unseen is 0.40 DN
        assert found.read_noise_e == pytest.approx(0.40 / coarse, rel=0.03)
        assert "at most: rounding hides it" in "\n".join(found.lines())


def test_the_result_says_its_numbers() -> None:
    found = PhotonTransfer(
        gain_dn_per_e=0.5,
        gain_error=0.002,
        read_noise_e=2.5,
        read_noise_error=0.1,
        read_noise_resolved=True,
        full_well_e=8000,
        linearity_percent=0.25,
        levels=7,
    )
    text = "\n".join(found.lines())
    for part in ("gain: 0.5 +- 0.002 DN/e", "read noise: 2.50 +- 0.10 e", "8000 e, dynamic range 70.1 dB", "0.25 %"):
        assert part in text
    assert "linearity" not in "\n".join(found.model_copy(update={"linearity_percent": None}).lines())


@pytest.mark.parametrize(("seed", "preset"), [(0, "nd"), (1, "gain"), (2, "nd"), (3, "gain")])
@pytest.mark.parametrize("role", ROLES)
def test_the_bracket_of_a_simulated_rig_gives_its_camera(seed: int, preset: str, role: Role) -> None:
    rig = resolve_rig(seed=seed, width=320, height=240, preset=preset)  # type: ignore[arg-type]
    made = RigSimulator(rig, SceneSettings(seed=7))
    exposure_ms, model = {
        "B": (rig.exposure_long_ms, rig.camera_B),
        "S": (rig.exposure_short_ms, rig.camera_S),
    }[role]
    levels: list[Frames] = [[] for _ in range(BRACKET_LEVELS)]
    for index in range(BRACKET_LEVELS * BRACKET_SHOTS):
        shot = made.shot(index, "bracket")
        levels[index // BRACKET_SHOTS].append(shot.raw_B if role == "B" else shot.raw_S)
    exposures_ms = [exposure_ms * bracket_factor(level * BRACKET_SHOTS) for level in range(BRACKET_LEVELS)]
    record = camera(width=320, height=240, exposure_ms=exposure_ms)
    found = estimate_photon_transfer(levels, record, exposures_ms=exposures_ms)
    gain = (rig.white_level - rig.black_level) / model.full_scale_electrons
    assert found.gain_dn_per_e == pytest.approx(gain, rel=0.02)
    assert found.read_noise_e == pytest.approx(model.read_noise_electrons, rel=0.15)
    assert found.linearity_percent is not None and found.linearity_percent < 0.4
    dark = [made.shot(index, "dark") for index in range(2)]
    dark_frames = [shot.raw_B if role == "B" else shot.raw_S for shot in dark]
    better = estimate_photon_transfer(levels, record, dark=dark_frames)
    assert better.read_noise_e == pytest.approx(model.read_noise_electrons, rel=0.02)

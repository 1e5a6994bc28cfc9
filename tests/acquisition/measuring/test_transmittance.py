from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from localblur.acquisition.measuring.exposure import advise
from localblur.acquisition.measuring.transmittance import Transmittance, measure_transmittance
from localblur.acquisition.rig import optics
from localblur.acquisition.rig.simulator import RigSettings, RigSimulator, SceneSettings, ShotKind, resolve_rig
from localblur.common.errors import LocalblurError
from localblur.datasets.recordings.journal import CameraRecord, Role

BLACK = 64.0
LONG_MS, SHORT_MS = 20.0, 2.0
SITES = {"RGGB": (0, 1, 1, 2), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1), "BGGR": (2, 1, 1, 0)}
MOSAIC_SHARES = np.array([0.25, 0.5, 0.25])


def camera(role: Role, **changes: Any) -> CameraRecord:
    values: dict[str, Any] = {
        "role": role,
        "model": "simulated",
        "serial": role,
        "pixel_format": "BayerRG12",
        "bit_depth": 12,
        "bayer": "RGGB",
        "width": 320,
        "height": 240,
        "black_level": BLACK,
        "white_level": 4095.0,
        "exposure_ms": LONG_MS if role == "B" else SHORT_MS,
    }
    return CameraRecord.model_validate({**values, **changes})


def counts(light: npt.NDArray[Any], bit_depth: int = 12, noise_dn: float = 0.0) -> npt.NDArray[Any]:
    """Share of full scale to raw values."""
    top = 2**bit_depth - 1
    black = BLACK * top / 4095
    values = black + light * (top - black) + np.random.default_rng(1).normal(0, noise_dn, light.shape)
    return np.clip(np.rint(values), 0, top).astype(np.uint8 if bit_depth == 8 else np.uint16)


def bayer(image: npt.NDArray[Any], pattern: str = "RGGB") -> npt.NDArray[Any]:
    mosaic = np.empty(image.shape[:2], image.dtype)
    for site, colour in enumerate(SITES[pattern]):
        y, x = divmod(site, 2)
        mosaic[y::2, x::2] = image[y::2, x::2, colour]
    return mosaic


def scene(seed: int = 0, height: int = 240, width: int = 320) -> npt.NDArray[np.float64]:
    """A textured picture between 0.1 and 0.6 of full scale, gray with some colour, (H, W, 3)."""
    rng = np.random.default_rng(seed)
    gray = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 6)
    tint = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)), (0, 0), 12)
    picture = np.exp(0.35 * gray / gray.std())[..., None] * np.exp(0.1 * tint / tint.std())
    return np.asarray(np.clip(0.28 * picture, 0.1, 0.6))


def measure(blurred: npt.NDArray[Any], sharp: npt.NDArray[Any], **changes: Any) -> Transmittance:
    size = {"height": blurred.shape[0], "width": blurred.shape[1], **changes}
    return measure_transmittance([blurred], [sharp], camera("B", **size), camera("S", **size))


@pytest.mark.parametrize(
    ("blurred", "sharp", "remedy"),
    [
        (1.0, 0.3, "camera B too bright in 100%.* shorten --exposure-long or put a denser filter before camera B"),
        (0.02, 0.3, "camera B too dark in 100%.* lengthen --exposure-long or take a weaker filter"),
        (0.3, 0.95, "camera S too bright in 100%.* shorten --exposure-short"),
        (0.3, 0.0, "camera S too dark in 100%.* lengthen --exposure-short, open the aperture or add light"),
    ],
)
def test_too_much_or_too_little_light_is_one_line(blurred: float, sharp: float, remedy: str) -> None:
    frames = [counts(np.full((240, 320), level)) for level in (blurred, sharp)]
    with pytest.raises(LocalblurError, match=f"only 0 of the 20 blocks needed.*{remedy}") as caught:
        measure(*frames)
    assert "\n" not in str(caught.value)


def test_frames_that_do_not_fit_are_one_line() -> None:
    frame = counts(bayer(scene()))
    with pytest.raises(LocalblurError, match="no frame of camera B"):
        measure_transmittance([], [frame], camera("B"), camera("S"))
    with pytest.raises(LocalblurError, match=r"camera S is \(120, 320\) uint16, but .* \(240, 320\) uint16"):
        measure_transmittance([frame], [frame[:120]], camera("B"), camera("S"))
    with pytest.raises(LocalblurError, match="camera B is .* uint8, but .* uint16"):
        measure_transmittance([frame.astype(np.uint8)], [frame], camera("B"), camera("S"))
    with pytest.raises(LocalblurError, match=r"\(240, 320\) and \(240, 320, 3\); set the same size and kind"):
        measure_transmittance([frame], [frame], camera("B"), camera("S", bayer=None))
    with pytest.raises(LocalblurError, match=r"\(240, 320\) and \(480, 640\); set the same size"):
        measure_transmittance([frame], [frame], camera("B"), camera("S", height=480, width=640))


@pytest.mark.parametrize("pattern", list(SITES))
def test_each_colour_of_a_mosaic_has_its_own_density(pattern: str) -> None:
    densities = np.array([0.95, 1.0, 1.08])
    level = 10**-densities * LONG_MS / SHORT_MS
    picture = scene()
    found = measure(counts(bayer(picture * level, pattern)), counts(bayer(picture, pattern)), bayer=pattern)
    np.testing.assert_allclose(found.densities, densities, atol=0.001)
    assert found.density == pytest.approx(densities @ MOSAIC_SHARES, abs=0.001)
    assert found.transmittance == pytest.approx(10**-found.density)
    assert found.spread == pytest.approx(10**0.13 - 1, abs=0.004)
    assert found.level_stops == pytest.approx(np.log2(10 ** (1 - found.density)), abs=1e-9)
    assert found.density_error < 0.005


@pytest.mark.parametrize("bit_depth", [8, 12])
@pytest.mark.parametrize("colour", [False, True])
def test_rgb_frames_and_8_bit_are_measured_alike(bit_depth: int, colour: bool) -> None:
    picture = scene()
    frames = [counts(image, bit_depth) for image in (0.8 * picture, picture)]
    if not colour:
        frames = [bayer(frame) for frame in frames]
    top = 2**bit_depth - 1
    form = {"bayer": None if colour else "RGGB", "bit_depth": bit_depth, "white_level": float(top)}
    found = measure(*frames, **form, black_level=BLACK * top / 4095)
    np.testing.assert_allclose(found.densities, 1 - np.log10(0.8), atol=0.002)


def test_vignetting_is_taken_off_and_the_middle_counts() -> None:
    y, x = np.mgrid[0:240, 0:320]
    square = ((y - 119.5) ** 2 + (x - 159.5) ** 2) / 200**2
    picture = scene()
    blurred, sharp = picture * (1 - 0.25 * square)[..., None], picture * (1 - 0.05 * square)[..., None]
    found = measure(counts(bayer(blurred)), counts(bayer(sharp)))
    np.testing.assert_allclose(found.densities, 1.0, atol=0.004)
    assert (blurred / sharp).mean() < 0.95


def test_a_shift_and_moving_spots_hardly_matter() -> None:
    picture = scene(3, 280, 360)
    blurred, sharp = picture[26:266, 12:332].copy(), picture[20:260, 20:340]
    blurred[60:110, 200:260] *= 0.6
    found = measure(counts(bayer(blurred), noise_dn=5), counts(bayer(sharp), noise_dn=5))
    np.testing.assert_allclose(found.densities, 1.0, atol=0.004)


def test_unlike_sensors_agree_on_white_before_a_coloured_scene_with_a_gray_card() -> None:
    crosstalk = np.array([[0.92, 0.06, 0.02], [0.01, 0.96, 0.03], [0.0, 0.08, 0.92]])
    picture = scene(4) * (1.3, 1.0, 0.6)
    picture[80:150, 120:210] = 0.7
    blurred = picture @ crosstalk.T
    found = measure(counts(bayer(blurred)), counts(bayer(picture)))
    np.testing.assert_allclose(found.densities, 1.0, atol=0.004)
    plain = -np.log10(blurred.mean(axis=(0, 1)) / picture.mean(axis=(0, 1)))
    assert np.abs(plain).max() > 0.012


def test_saturated_spots_are_left_out_and_counted() -> None:
    picture = scene()
    expected = measure(counts(bayer(picture)), counts(bayer(picture)))
    assert expected.saturated == {"B": 0, "S": 0} and expected.clipped == {"B": 0, "S": 0}
    picture[100:140, 100:160] = 3
    blurred = counts(bayer(0.9 * picture))
    blurred[0, :64] = 0
    found = measure(blurred, counts(bayer(picture)))
    np.testing.assert_allclose(found.densities, 1 - np.log10(0.9), atol=0.001)
    assert found.blocks < expected.blocks
    assert found.saturated["S"] == pytest.approx(40 * 60 / picture[..., 0].size)
    assert found.clipped == {"B": pytest.approx(64 / picture[..., 0].size), "S": 0}


def test_more_frames_are_averaged() -> None:
    rng = np.random.default_rng(5)
    light = np.full((240, 320), 0.1)
    frames = {
        role: [np.clip(counts(light) + rng.normal(0, 120, light.shape), 0, 4095).astype(np.uint16) for _ in range(16)]
        for role in "BS"
    }
    single = measure_transmittance(frames["B"][:1], frames["S"][:1], camera("B"), camera("S"))
    many = measure_transmittance(frames["B"], frames["S"], camera("B"), camera("S"))
    assert many.density_error < 0.6 * single.density_error
    assert abs(many.density - 1) < 4 * many.density_error


def records(rig: RigSettings) -> tuple[CameraRecord, CameraRecord]:
    form = {"width": rig.width, "height": rig.height, "black_level": rig.black_level, "white_level": rig.white_level}
    form["bit_depth"] = rig.bit_depth
    return camera("B", exposure_ms=rig.exposure_long_ms, **form), camera("S", exposure_ms=rig.exposure_short_ms, **form)


def true_densities(rig: RigSettings) -> npt.NDArray[np.float64]:
    """From the responses to white light at the middle of the frame."""
    middle = np.array([(rig.width - 1) / 2, (rig.height - 1) / 2])
    responses = []
    for model in (rig.camera_B, rig.camera_S):
        shade = float(optics.vignetting(model, middle, rig.height, rig.width))
        responses.append(shade * optics.response(model, rig.light_per_ms, 1.0) @ np.ones(3))
    return np.asarray(-np.log10(responses[0] / responses[1]))


@pytest.mark.parametrize(
    ("seed", "long_ms", "kind", "shots"),
    [
        (0, 16.0, "static", 4),
        (1, 20.0, "static", 4),
        (2, 40.0, "static", 4),
        (3, 80.0, "static", 4),
        (4, 16.0, "chart", 1),
        (5, 20.0, "chart", 1),
        (6, 40.0, "flat", 1),
        (7, 20.0, "flat", 1),
    ],
)
def test_simulated_rigs_are_measured_within_a_hundredth(seed: int, long_ms: float, kind: ShotKind, shots: int) -> None:
    rig = resolve_rig(seed=seed, exposure_long_ms=long_ms)
    made = RigSimulator(rig, SceneSettings(seed=seed + 100))
    taken = [made.shot(index, kind) for index in range(shots)]
    found = measure_transmittance([shot.raw_B for shot in taken], [shot.raw_S for shot in taken], *records(rig))
    truth = true_densities(rig)
    limit = 0.002 if kind == "flat" else 0.01
    np.testing.assert_allclose(found.densities, truth, atol=limit)
    assert found.density == pytest.approx(float(truth @ MOSAIC_SHARES), abs=limit)
    matched_ms = rig.exposure_short_ms * 10 ** float(truth @ MOSAIC_SHARES)
    advice = advise(found, rig.exposure_long_ms, rig.exposure_short_ms)
    assert advice.matched_long_ms == pytest.approx(matched_ms, rel=0.015)


@pytest.mark.parametrize("factor", [0.4, 1.7, 2.5])
def test_levels_far_apart_are_measured_all_the_same(factor: float) -> None:
    rig = resolve_rig(seed=3, width=480, height=360)
    arm = rig.camera_B.model_copy(update={"transmittance": rig.camera_B.transmittance * factor})
    rig = rig.model_copy(update={"camera_B": arm})
    made = RigSimulator(rig, SceneSettings(seed=1))
    shot = made.shot(0, "static")
    found = measure_transmittance([shot.raw_B], [shot.raw_S], *records(rig))
    np.testing.assert_allclose(found.densities, true_densities(rig), atol=0.03)
    assert found.level_stops == pytest.approx(np.log2(factor), abs=0.1)
    assert (found.saturated["B"] > 0.01) == (factor > 1)


def test_the_stated_error_is_that_of_single_colourful_scenes() -> None:
    scores = []
    for seed in range(10, 18):
        rig = resolve_rig(seed=seed, width=480, height=360)
        shot = RigSimulator(rig, SceneSettings(seed=seed + 100)).shot(0, "static")
        found = measure_transmittance([shot.raw_B], [shot.raw_S], *records(rig))
        errors = np.subtract(found.densities, true_densities(rig))
        assert np.abs(errors).max() < 0.03
        scores.append(errors / found.density_errors)
    assert 0.3 < np.sqrt(np.mean(np.square(scores))) < 2

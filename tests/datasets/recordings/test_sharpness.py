from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from localblur.acquisition.rig.simulator import RigSettings, RigSimulator, SceneSettings, resolve_rig
from localblur.datasets.recordings.sharpness import focus_measure

BLACK = 64.0


def textured(rng: np.random.Generator, height: int = 240, width: int = 320) -> npt.NDArray[np.float64]:
    """Colours with detail of every size, around 1000 DN above black, (H, W, 3)."""
    detail = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 1.0)
    return np.asarray((1000 + 800 * detail)[..., None] * (0.6, 1.0, 0.5) + BLACK)


def bayer(image: npt.NDArray[Any], pattern: str = "RGGB") -> npt.NDArray[Any]:
    mosaic = np.empty(image.shape[:2], image.dtype)
    for site, colour in enumerate(pattern):
        y, x = divmod(site, 2)
        mosaic[y::2, x::2] = image[y::2, x::2, "RGB".index(colour)]
    return mosaic


def counts(values: npt.NDArray[Any], top: int = 4095) -> npt.NDArray[Any]:
    return np.clip(np.rint(values), 0, top).astype(np.uint16 if top > 255 else np.uint8)


@pytest.mark.parametrize("shape", [(2, 2), (8, 6), (30, 640), (2, 2, 3)])
def test_a_frame_too_small_to_judge_is_0(shape: tuple[int, ...]) -> None:
    assert focus_measure(np.full(shape, 900, np.uint16), BLACK) == 0


def test_no_light_and_no_detail_are_0() -> None:
    rng = np.random.default_rng(0)
    dark = counts(rng.normal(BLACK + 1, 3, (240, 320)))
    assert focus_measure(dark, BLACK) == 0
    assert focus_measure(np.zeros((240, 320), np.uint8), 4.0) == 0
    assert focus_measure(np.full((240, 320), 4095, np.uint16), BLACK) == 0


@pytest.mark.parametrize("frequency", [0.2, 0.6, 1.1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_wave_has_the_contrast_that_the_formula_gives(frequency: float, axis: int) -> None:
    position = np.mgrid[0:480, 0:640][axis]
    wave = 1000 * (1 + 0.4 * np.sin(frequency * position + 0.3)) + BLACK
    # second difference over two pixels, and the mean of two neighbours a pixel to either side
    expected = 100 * 0.4 * (2 - 2 * np.cos(2 * frequency)) * np.sqrt(np.cos(frequency) / 2)
    assert focus_measure(counts(wave), BLACK) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_green_is_found_in_every_pattern(pattern: str) -> None:
    image = textured(np.random.default_rng(1))
    image[..., 0] = cv2.GaussianBlur(image[..., 0], (0, 0), 4)
    image[..., 2] = cv2.GaussianBlur(image[..., 2], (0, 0), 4)
    green = np.repeat(image[..., 1:2], 3, axis=2)
    expected = focus_measure(counts(bayer(green)), BLACK)
    assert focus_measure(counts(bayer(image, pattern)), BLACK) == pytest.approx(expected, rel=0.02)
    assert focus_measure(counts(image), BLACK) == pytest.approx(expected, rel=0.02)


def test_brightness_and_bit_depth_do_not_count() -> None:
    light = bayer(textured(np.random.default_rng(2))) - BLACK
    expected = focus_measure(counts(light + BLACK), BLACK)
    for factor in (0.25, 0.5, 1.5):
        assert focus_measure(counts(factor * light + BLACK), BLACK) == pytest.approx(expected, rel=0.01)
    assert focus_measure(counts((light + BLACK) / 16, 255), BLACK / 16) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("noise_dn", [40.0, 100.0])
def test_noise_is_no_sharpness(noise_dn: float) -> None:
    rng = np.random.default_rng(3)
    clean = bayer(cv2.GaussianBlur(textured(rng, 480, 640), (0, 0), 1.0))
    noisy = counts(clean + rng.normal(0, noise_dn, clean.shape))
    expected = focus_measure(counts(clean), BLACK)
    assert focus_measure(noisy, BLACK) == pytest.approx(expected, rel=0.05)
    # the variance of the Laplacian itself would have been taken in
    energies = [cv2.Laplacian(frame[0::2, 1::2], cv2.CV_64F).var() for frame in (noisy, counts(clean))]
    assert energies[0] > 1.2 * energies[1]


@pytest.mark.parametrize(("preset", "seed"), [("nd", 0), ("nd", 6), ("gain", 2), ("gain", 7)])
def test_the_further_out_of_focus_the_less(preset: str, seed: int) -> None:
    rig = resolve_rig(seed=seed, width=480, height=360, preset=preset)  # type: ignore[arg-type]
    values = []
    for width in (0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.0):
        lens = {role: getattr(rig, role).model_copy(update={"psf_px": width}) for role in ("camera_B", "camera_S")}
        soft = RigSettings.model_validate(rig.model_copy(update=lens).model_dump())
        shot = RigSimulator(soft, SceneSettings(seed=seed + 5)).shot(0, "static")
        values.append(focus_measure(shot.raw_S, rig.black_level))
    assert (np.diff(values) < 0).all()
    assert values[1] > 1.5 * values[4] > 4 * values[-1]


def test_of_a_large_frame_only_the_middle_is_read() -> None:
    frame = np.random.default_rng(4).integers(64, 4096, (2048, 2448)).astype(np.uint16)
    middle = np.ascontiguousarray(frame[256:-256, 456:-456])
    assert focus_measure(frame, BLACK) == focus_measure(middle, BLACK)

"""Levels, demosaicing and saturation."""

import cv2
import numpy as np
import pytest

from localblur.alignment.light.radiometry import RadiometrySettings, demosaic, linear_image, raw_image
from localblur.common.errors import LocalblurError
from localblur.datasets.light.bayer import BAYER_ORIGINS

SETTINGS = RadiometrySettings()


def mosaic(image: np.ndarray, bayer: str) -> np.ndarray:
    row, column = BAYER_ORIGINS[bayer]
    raw = image[..., 1].copy()
    raw[row::2, column::2] = image[row::2, column::2, 0]
    raw[1 - row :: 2, 1 - column :: 2] = image[1 - row :: 2, 1 - column :: 2, 2]
    return raw


@pytest.mark.parametrize(
    ("bayer", "black", "white", "shape", "message"),
    [
        ("RGGB", 100.0, 100.0, (16, 16), "white level"),
        ("RGGB", -1.0, 255.0, (16, 16), "black level"),
        ("RGGB", 0.0, 255.0, (16, 16, 3), "shape"),
        ("RGBG", 0.0, 255.0, (16, 16), "Bayer pattern"),
    ],
)
def test_nonsense_is_refused(bayer: str, black: float, white: float, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(LocalblurError, match=message):
        raw_image(np.zeros(shape, np.uint8), bayer, black, white, SETTINGS)


@pytest.mark.parametrize("bayer", list(BAYER_ORIGINS))
def test_a_uniform_color_is_kept_exactly(bayer: str) -> None:
    color = np.float32([0.2, 0.5, 0.35])
    image = np.broadcast_to(color, (24, 30, 3)).astype(np.float32)
    np.testing.assert_allclose(demosaic(mosaic(image, bayer), bayer), image, atol=2e-6)


@pytest.mark.parametrize("bayer", list(BAYER_ORIGINS))
def test_measured_values_are_kept_and_the_rest_beats_bilinear(bayer: str, rng: np.random.Generator) -> None:
    gray = cv2.GaussianBlur(rng.random((96, 96)).astype(np.float32), (0, 0), 1.0)
    image = np.clip((gray[..., None] - 0.3) * 2 * np.float32([0.5, 1.0, 0.7]), 0.01, 1).astype(np.float32)
    raw = mosaic(image, bayer)
    found = demosaic(raw, bayer)
    np.testing.assert_allclose(mosaic(found, bayer), raw, atol=1e-7)
    code = getattr(cv2, f"COLOR_Bayer{bayer}2RGB")
    bilinear = cv2.cvtColor(np.rint(raw * 65535).astype(np.uint16), code).astype(np.float32) / 65535
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(found - image)[inner].mean() < 0.6 * np.abs(bilinear - image)[inner].mean()


def test_levels_map_black_to_zero_and_white_to_one() -> None:
    raw = np.full((16, 16), 100, np.uint16)
    raw[:, 8:] = 2100
    light = raw_image(raw, "RGGB", 100, 4100, SETTINGS).light
    np.testing.assert_allclose(light[:, :4], 0, atol=1e-6)
    np.testing.assert_allclose(light[:, 12:], 0.5, atol=1e-6)


def test_noise_below_black_is_not_clipped_where_measured(rng: np.random.Generator) -> None:
    raw = rng.integers(90, 110, (16, 16)).astype(np.uint16)
    assert raw_image(raw, "RGGB", 100, 4100, SETTINGS).light.min() < 0


def test_saturation_reaches_as_far_as_the_demosaicing() -> None:
    raw = np.full((20, 20), 100, np.uint8)
    raw[10, 10] = 255
    saturated = raw_image(raw, "RGGB", 0, 255, SETTINGS).saturated
    rows, columns = np.nonzero(saturated)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 12, 8, 12)


def test_rgb_frames_and_files() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[0, 0, 1] = 255
    assert raw_image(frame, None, 0, 255, SETTINGS).saturated.sum() == 1
    assert linear_image(frame, "srgb", SETTINGS).saturated.sum() == 1
    assert linear_image(np.full((2, 2, 3), 32768, np.uint16), "linear", SETTINGS).light.max() == pytest.approx(
        0.5, abs=1e-4
    )

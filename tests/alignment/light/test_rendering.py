"""White balance and the matrix to sRGB."""

from pathlib import Path

import numpy as np
import pytest

from localblur.alignment.light.radiometry import LinearImage, RadiometrySettings
from localblur.alignment.light.rendering import (
    Rendering,
    RenderSettings,
    chart_rendering,
    given_rendering,
    grey_world,
)
from localblur.alignment.run.inputs import open_input
from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_decode
from localblur.datasets.recordings.color_chart import CHART_SRGB

CAMERA = np.array([[0.55, 0.1, 0.02], [0.08, 0.8, 0.1], [0.02, 0.12, 0.6]])
"""Linear sRGB to what the sensor sees."""


def linear(light: np.ndarray) -> LinearImage:
    return LinearImage(light.astype(np.float32), light.max(-1) >= 0.97)


def chart_picture(rng: np.random.Generator, exposure: float = 0.9) -> np.ndarray:
    """A ColorChecker on grey, seen by a sensor with crosstalk; linear camera RGB."""
    scene = np.full((300, 400, 3), 0.25)
    scene[50:250, 50:350] = 0.01
    for index, color in enumerate(srgb_decode(CHART_SRGB / 255)):
        y, x = 58 + 47 * (index // 6), 58 + 48 * (index % 6)
        scene[y : y + 38, x : x + 38] = color
    seen = exposure * scene @ CAMERA.T
    return np.clip(seen + rng.normal(0, 0.004, seen.shape) * np.sqrt(seen + 0.01), 0, 1)


def test_no_chart_is_said(rng: np.random.Generator) -> None:
    with pytest.raises(LocalblurError, match="no colour chart"):
        chart_rendering(linear(rng.uniform(0.2, 0.3, (200, 300, 3))))


def test_overexposed_chart_is_said(rng: np.random.Generator) -> None:
    light = chart_picture(rng)
    overexposed = LinearImage(light.astype(np.float32), np.ones(light.shape[:2], bool))
    with pytest.raises(LocalblurError, match="only 0 of the chart's 24 patches"):
        chart_rendering(overexposed)


@pytest.mark.parametrize("gains", [None, (1.0, 0.0, 1.0)])
def test_gains_must_be_positive(gains: tuple[float, float, float] | None) -> None:
    with pytest.raises(LocalblurError, match=r"render\.gains"):
        given_rendering(RenderSettings(gains=gains))


def test_grey_world_needs_light() -> None:
    with pytest.raises(LocalblurError, match="unsaturated pixels"):
        grey_world([linear(np.ones((8, 8, 3)))])


def test_chart_gives_the_colors_back(rng: np.random.Generator) -> None:
    found = chart_rendering(linear(chart_picture(rng)))
    assert found.delta_e < 1.0
    assert found.gains.min() == 1
    np.testing.assert_allclose(found.matrix.sum(1), 1, atol=1e-9)
    patches = found.apply((0.5 * srgb_decode(CHART_SRGB / 255) @ CAMERA.T)[None].astype(np.float32))[0]
    expected = srgb_decode(CHART_SRGB / 255)
    scale = patches[18:23].mean() / expected[18:23].mean()
    np.testing.assert_allclose(patches / scale, expected, atol=0.02)


def test_saturated_pixels_become_white_and_order_of_brightness_is_kept() -> None:
    rendering = Rendering(
        "chart", np.array([1.8, 1.0, 1.4]), np.array([[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0, -0.6, 1.6]])
    )
    rendered = rendering.apply(np.array([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.2, 0.36, 0.257]]], np.float32))
    np.testing.assert_allclose(rendered[0, 0], 1, atol=1e-5)
    np.testing.assert_allclose(rendered[0, 1], 0, atol=1e-6)
    np.testing.assert_allclose(rendered[0, 2], 0.36, atol=1e-3)


def test_none_only_clips() -> None:
    image = np.array([[[-0.1, 0.5, 1.2]]], np.float32)
    np.testing.assert_allclose(Rendering.none().apply(image), [[[0, 0.5, 1]]])


def test_grey_world_and_given_gains_balance(rng: np.random.Generator) -> None:
    light = rng.uniform(0.1, 0.5, (50, 60, 3)) * [0.5, 1.0, 0.8]
    np.testing.assert_allclose(grey_world([linear(light)]).gains, [2, 1, 1.25], rtol=0.03)
    np.testing.assert_allclose(given_rendering(RenderSettings(gains=(4.0, 2.0, 3.0))).gains, [2, 1, 1.5])


@pytest.mark.parametrize(("rig", "encoding"), [("rig21", "srgb"), ("rig22", "linear")])
def test_reference_charts(rig: str, encoding: str, shared: Path) -> None:
    source = open_input(shared / "cases" / "alignment" / rig, encoding, RadiometrySettings())  # type: ignore[arg-type]
    assert chart_rendering(source.read("calibration/chart", "00").sharp).delta_e < 1.0

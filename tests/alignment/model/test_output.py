"""Pairs at a smaller size: what is refused, that colours and highlights survive, and that both pictures are alike."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localblur.alignment.light.radiometry import LinearImage
from localblur.alignment.light.rendering import Rendering
from localblur.alignment.model.output import checked_size, output_pair, output_size
from localblur.alignment.model.pair import AlignedPair, align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.displacement import PolynomialField
from localblur.common.errors import LocalblurError


@pytest.mark.parametrize("wanted", ["half", "160x", "x120", "1.5", "0", "-0.5", "160x120 ", "1e-1", "160X120", None])
def test_what_is_no_size_is_refused_by_the_settings(wanted: object) -> None:
    with pytest.raises(ValueError, match=r"must be WIDTHxHEIGHT in pixels, as 1076x718, or a scale"):
        checked_size(wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("640x480", "would enlarge pairs of 321x243"),
        ("321x244", "would enlarge"),
        ("0.2", "leaves 64x49 of 321x243; both sides need at least 96 px"),
        ("200x140", "would distort pairs of 321x243; 200x151 keeps"),
    ],
)
def test_sizes_that_enlarge_or_distort_or_leave_too_little(wanted: str, message: str) -> None:
    with pytest.raises(LocalblurError, match=message) as caught:
        output_size(wanted, 321, 243)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("wanted", "size"),
    [(None, (321, 243)), ("1", (321, 243)), ("0.5", (160, 122)), ("160x121", (160, 121)), ("161x121", (161, 121))],
)
def test_sizes_are_rounded(wanted: str | None, size: tuple[int, int]) -> None:
    assert output_size(wanted, 321, 243) == size


@pytest.fixture(scope="module")
def clean(rig: Any) -> tuple[CapturedPair, AlignedPair]:
    """A pair without noise of a scene in which nothing moved, aligned on its own."""
    captured = replace(rig, noise=0.0).shot(7, moving=False, gain=1.1).captured()
    return captured, align_pair(captured, None, AlignmentSettings())


def energy(image: Any, inside: Any) -> float:
    return float(((np.diff(image, axis=0)[:, 1:] ** 2 + np.diff(image, axis=1)[1:] ** 2)[inside[1:, 1:]]).mean())


@pytest.mark.parametrize("size", [(160, 120), (213, 160), (289, 217)])
def test_static_pairs_stay_alike_in_colour_place_and_detail(
    clean: tuple[CapturedPair, AlignedPair], size: tuple[int, int]
) -> None:
    captured, aligned = clean
    full = output_pair(captured, aligned, Rendering.none(), (320, 240))
    found = output_pair(captured, aligned, Rendering.none(), size)
    assert found.blurred.shape == found.sharp.shape == (size[1], size[0], 3)
    assert found.valid.mean() > 0.75
    difference = (found.blurred - found.sharp)[found.valid]
    before = (full.blurred - full.sharp)[full.valid]
    # at full size one of the two is interpolated, here both are
    assert (difference**2).mean() < 2 * (before**2).mean()
    assert np.abs(difference.mean(0)).max() < 5e-4
    assert energy(found.blurred, found.valid) / energy(found.sharp, found.valid) == pytest.approx(1, abs=0.01)


def test_a_darker_shot_with_the_gain_for_it_gives_the_same(clean: tuple[CapturedPair, AlignedPair]) -> None:
    captured, aligned = clean
    darker = replace(captured, blurred=replace(captured.blurred, light=captured.blurred.light / np.float32(1.25)))
    found = output_pair(darker, replace(aligned, gain=1.25 * aligned.gain), Rendering.none(), (160, 120))
    expected = output_pair(captured, aligned, Rendering.none(), (160, 120))
    np.testing.assert_allclose(found.blurred, expected.blurred, atol=1e-5)


def test_the_size_of_the_capture_changes_nothing(clean: tuple[CapturedPair, AlignedPair]) -> None:
    captured, aligned = clean
    found = output_pair(captured, aligned, Rendering.none(), (320, 240))
    np.testing.assert_array_equal(found.blurred, np.clip(aligned.blurred, 0, 1))
    np.testing.assert_array_equal(found.valid, aligned.valid)


def test_clipped_highlights_keep_neutral_rims_and_the_pictures_are_alike(
    clean: tuple[CapturedPair, AlignedPair],
) -> None:
    """Grey cards and glints of a sensor whose red and blue need gain: clipped after the mean, rims would be pink."""
    _, aligned = clean
    rendering = Rendering("gains", np.array([2.0, 1.0, 1.5]), np.eye(3))
    light = np.full((240, 320, 3), 0.2, np.float32) / rendering.gains.astype(np.float32)
    light[101:113, 77:90] = 1.0
    same = LinearImage(light, light.max(-1) >= 0.97)
    still = replace(
        aligned,
        sharp=light,
        field=PolynomialField.identity(320, 240),
        color=type(aligned.color).identity(),
        gain=1.0,
    )
    captured = CapturedPair("glint", same, same)
    kept = light.copy()
    found = output_pair(captured, still, rendering, (160, 120))
    np.testing.assert_array_equal(light, kept)  # the captured pictures are still asked for by the report
    np.testing.assert_allclose(found.blurred, found.sharp, atol=1e-6)
    assert np.ptp(found.sharp, axis=-1).max() < 1e-5
    assert found.sharp.max() > 0.99

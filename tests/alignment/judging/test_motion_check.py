"""Motion blur, displaced things and exchanged pictures in closed form: a textured square over a textured ground."""

from typing import Any

import cv2
import numpy as np
import pytest

from localblur.alignment.judging.motion_check import MotionCheckSettings, check_motion, line_kernel

SETTINGS = MotionCheckSettings()
HEIGHT, WIDTH = 200, 240
CLEAR = np.zeros((HEIGHT, WIDTH), bool)

Array = Any


def textured(seed: int, size: tuple[int, int], level: float) -> Array:
    noise = np.random.default_rng(seed).normal(0, 1, (*size, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip(level + 0.25 * level * soft / soft.std(), 0.01, 0.9).astype(np.float32)


def picture(offsets_px: list[int], seed: int = 0) -> Array:
    """The ground with a brighter square, averaged over its offsets to the right of x = 60."""
    ground, square = textured(seed, (HEIGHT, WIDTH), 0.15), textured(seed + 1, (60, 60), 0.5)
    total = np.zeros_like(ground)
    for offset in offsets_px:
        frame = ground.copy()
        frame[70:130, 60 + offset : 120 + offset] = square
        total += frame / len(offsets_px)
    return total


def check(sharp: Array, blurred: Array, saturated: Array = CLEAR) -> Any:
    rng = np.random.default_rng(9)
    sharp, blurred = (image + rng.normal(0, 0.002, image.shape).astype(np.float32) for image in (sharp, blurred))
    moving = np.abs(sharp - blurred).max(-1) > 0.02
    moving = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0
    return check_motion(sharp, blurred, moving, ~CLEAR, saturated, SETTINGS)


@pytest.mark.parametrize("length_px", [3, 6, 10, 16])
@pytest.mark.parametrize("angle_rad", [0.0, 0.6, np.pi / 2, 2.5])
def test_a_line_kernel_is_a_blur_about_its_middle(length_px: int, angle_rad: float) -> None:
    kernel = line_kernel(length_px, angle_rad)
    middle = kernel.shape[0] // 2
    y, x = np.mgrid[0 : kernel.shape[0], 0 : kernel.shape[1]] - middle
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-3)
    assert (kernel * y).sum() == pytest.approx(0, abs=1e-3)
    along = (kernel * (x * np.cos(angle_rad) + y * np.sin(angle_rad)) ** 2).sum()
    assert np.sqrt(12 * along) == pytest.approx(length_px, rel=0.2)


@pytest.mark.parametrize("length_px", [6, 12, 20])
def test_motion_blur_is_explained_and_cancels(length_px: int) -> None:
    steps = list(range(-length_px // 2, length_px // 2 + 1))
    found = check(picture([0]), picture(steps))
    assert found.exchange < 0.5
    assert found.strangeness < 0.8


def test_exchanged_pictures_are_seen() -> None:
    found = check(picture(list(range(-6, 7))), picture([0]))
    assert found.exchange > SETTINGS.min_exchange


@pytest.mark.parametrize("length_px", [12, 20, 30])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_short_exposure_at_an_end_of_the_long_one_is_motion_blur_too(length_px: int, side: int) -> None:
    found = check(picture([40]), picture([40 + side * step for step in range(length_px + 1)]))
    assert found.strangeness < SETTINGS.max_strangeness
    assert found.exchange < SETTINGS.min_exchange


def test_blur_has_no_detail_of_its_own_and_uncovered_background_has() -> None:
    assert check(picture([0]), picture(list(range(-10, 11)))).own_detail < 0.1
    assert check(picture([80]), picture([0])).own_detail > 0.6


@pytest.mark.parametrize("late_px", [40, 80])
def test_a_thing_that_is_elsewhere_is_seen(late_px: int) -> None:
    found = check(picture([late_px]), picture(list(range(-6, 7))))
    assert found.strangeness > SETTINGS.max_strangeness
    assert found.exchange < SETTINGS.min_exchange


def test_without_motion_nothing_is_judged() -> None:
    found = check(picture([0]), picture([0]))
    assert found.share < SETTINGS.min_share
    assert np.isnan([found.exchange, found.strangeness]).all()


def test_clipped_surroundings_are_not_judged() -> None:
    saturated = CLEAR.copy()
    saturated[60:140, 50:140] = True
    assert np.isnan(check(picture([0]), picture(list(range(-6, 7))), saturated).strangeness)
    assert np.isnan(check(picture([0]), picture(list(range(-6, 7))), ~CLEAR).strangeness)

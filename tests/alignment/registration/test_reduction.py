"""Reducing while warping: pixel centres, what a low pass keeps, and that both pictures are treated alike."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from localblur.alignment.registration.displacement import PolynomialField, valid_area
from localblur.alignment.registration.reduction import low_pass, output_lines, reduced, support_px

SIZES = [((320, 240), (160, 120)), ((321, 243), (137, 104)), ((300, 200), (200, 133)), ((301, 201), (271, 181))]


def scene(x: npt.NDArray[Any], y: npt.NDArray[Any], shortest_px: float) -> npt.NDArray[Any]:
    """Waves in three directions, none shorter than `shortest_px`; (..., 3) in [0.1, 0.9]."""
    angles = [0.2, 1.3, 2.4]
    waves = [
        np.sin(2 * np.pi / (shortest_px * factor) * (np.cos(angle) * x + np.sin(angle) * y) + angle)
        for angle, factor in zip(angles, (1.0, 1.7, 4.1), strict=True)
    ]
    return np.stack([0.5 + 0.4 * sum(np.roll(waves, shift, 0)[:2]) / 2 for shift in range(3)], -1).astype(np.float32)


def grid_of(width: int, height: int) -> npt.NDArray[Any]:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)


@pytest.mark.parametrize(("full", "size"), SIZES)
def test_pixel_centres_lie_at_integers_and_borders_on_borders(full: Any, size: Any) -> None:
    for axis, line in enumerate(output_lines(full, size)):
        assert line.shape == (size[axis],)
        step = full[axis] / size[axis]
        np.testing.assert_allclose([line[0], line[-1]], [step / 2 - 0.5, full[axis] - 0.5 - step / 2], atol=1e-3)


@pytest.mark.parametrize(("full_px", "size_px"), [(320, 160), (321, 137), (300, 100)])
def test_the_low_pass_keeps_what_fits_and_stops_what_would_alias(full_px: int, size_px: int) -> None:
    kernel = low_pass(full_px, size_px)
    offsets = np.arange(len(kernel)) - len(kernel) // 2

    def response(share: float) -> float:
        """At a frequency that is `share` of the highest one of the smaller picture."""
        return float((kernel * np.cos(np.pi * share * size_px / full_px * offsets)).sum())

    assert response(0) == pytest.approx(1, abs=1e-6)
    assert response(0.5) == pytest.approx(1, abs=0.02)
    assert abs(response(1.5)) < 0.02
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-7)


@pytest.mark.parametrize(("full", "size"), SIZES)
def test_a_known_scene_seen_through_a_known_field(full: Any, size: Any) -> None:
    (width, height), scale = full, size[0] / full[0]
    rng = np.random.default_rng(3)
    field = PolynomialField(rng.normal(0, [[0.5]] * 9 + [[0.2]], (10, 2)), width, height)
    whole = grid_of(width, height)
    image = scene(whole[..., 0], whole[..., 1], 5 / scale)
    grid = np.stack(np.meshgrid(*output_lines(full, size)), -1)
    exact = grid + field.displacement(grid[..., 0], grid[..., 1])
    positions = field.positions_on(*output_lines(full, size))
    np.testing.assert_allclose(positions, exact, atol=2e-4)
    inside = valid_area(positions, width, height, support_px(full, size))
    assert inside.mean() > 0.7
    found = reduced(image, positions, size)
    error = np.abs(found - scene(exact[..., 0], exact[..., 1], 5 / scale))[inside]
    assert error.max() < 0.012
    assert error.mean() < 0.003


@pytest.mark.parametrize(("full", "size"), SIZES)
def test_both_pictures_keep_the_same_detail(full: Any, size: Any) -> None:
    """White noise, moved by whole pixels plus what a rig moves: gradient energy must not tell which one was warped."""
    width, height = full
    noise = np.random.default_rng(4).uniform(0, 1, (height, width, 3)).astype(np.float32)
    lines = output_lines(full, size)
    still = reduced(noise, PolynomialField.identity(width, height).positions_on(*lines), size)
    field = PolynomialField(np.array([[3.3, -2.7], [0.8, 0.6], [-0.6, 0.8]]), width, height)
    positions = field.positions_on(*lines)
    both = valid_area(positions, width, height, support_px(full, size))[1:, 1:]
    energies = [
        ((np.diff(image, axis=0)[:, 1:] ** 2 + np.diff(image, axis=1)[1:] ** 2)[both]).mean()
        for image in (still, reduced(noise, positions, size))
    ]
    assert energies[1] / energies[0] == pytest.approx(1, abs=0.05)

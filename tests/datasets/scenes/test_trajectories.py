import numpy as np
import pytest
from scipy.signal import fftconvolve

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.scenes.trajectories import (
    ShakeSettings,
    blur_uniformly,
    line_trajectory,
    random_kernel,
    rasterise,
    shake_trajectory,
    travelled_px,
)


@pytest.mark.parametrize("length_px", [(0, 5), (9, 3), (5, 9000)])
def test_lengths_that_make_no_sense_are_refused(length_px: tuple[float, float]) -> None:
    with pytest.raises(LocalblurError, match="length_px must be a range within 0 to 500 px"):
        validate(ShakeSettings, {"length_px": length_px}, "shake")


def test_nervousness_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(LocalblurError, match="nervousness must be a range within 0 to 1"):
        validate(ShakeSettings, {"nervousness": (0.1, 0.01)}, "shake")


def test_a_kernel_must_be_odd_and_large_enough() -> None:
    with pytest.raises(LocalblurError, match="must be odd, got 8"):
        rasterise(line_trajectory(4, 0), 8)
    with pytest.raises(LocalblurError, match=r"kernel of 9 px does not hold a trajectory that reaches 10\.0 px"):
        rasterise(line_trajectory(20, 0), 9)


@pytest.mark.parametrize("seed", range(6))
def test_a_shake_has_its_length_and_is_centred(seed: int) -> None:
    settings = ShakeSettings(length_px=(12, 30), nervousness=(0.05, 0.05))
    points = shake_trajectory(np.random.default_rng(seed), settings)
    assert 12 <= travelled_px(points) <= 30
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
    steps = np.hypot(*np.diff(points, axis=0).T)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_shakes_differ_and_repeat_for_a_seed() -> None:
    one, again, other = (shake_trajectory(np.random.default_rng(s), ShakeSettings()) for s in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1


def test_without_nervousness_a_shake_is_a_straight_line() -> None:
    points = shake_trajectory(np.random.default_rng(1), ShakeSettings(length_px=(20, 20), nervousness=(0, 0)))
    assert np.hypot(*(points[-1] - points[0])) == pytest.approx(20)


def test_nervous_shakes_bend_and_return() -> None:
    settings = ShakeSettings(length_px=(40, 40), nervousness=(0.05, 0.05))
    ends = [np.ptp(shake_trajectory(np.random.default_rng(s), settings), axis=0) for s in range(12)]
    assert np.mean([np.hypot(*extent) for extent in ends]) < 25


@pytest.mark.parametrize("seed", range(6))
def test_kernels_keep_energy_and_the_centre_of_mass(seed: int) -> None:
    kernel = random_kernel(np.random.default_rng(seed), ShakeSettings())
    assert kernel.dtype == np.float32 and kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0 and kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    middle = kernel.shape[0] // 2
    y, x = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-4) and (kernel * y).sum() == pytest.approx(0, abs=1e-4)


def test_a_point_between_pixels_is_shared_in_proportion() -> None:
    kernel = rasterise(np.array([[0.25, -0.5]]), 3)
    np.testing.assert_allclose(kernel, [[0, 0.375, 0.125], [0, 0.375, 0.125], [0, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(rasterise(np.zeros((5, 2))), [[1]])


def test_a_line_of_whole_length_is_an_even_row() -> None:
    kernel = rasterise(line_trajectory(8, 0))
    row = kernel[kernel.shape[0] // 2]
    np.testing.assert_allclose(row[2:-2], 1 / 8, atol=2e-3)
    assert kernel.sum() == pytest.approx(row.sum())
    upright = rasterise(line_trajectory(8, 90))
    np.testing.assert_allclose(upright, kernel.T, atol=1e-5)


def test_uniform_blur_is_a_convolution_that_keeps_energy(rng: np.random.Generator) -> None:
    picture = np.zeros((80, 90, 3), np.float32)
    picture[30:50, 35:55] = rng.uniform(0, 1, (20, 20, 3))
    kernel = random_kernel(np.random.default_rng(2), ShakeSettings(length_px=(15, 15)))
    blurred = blur_uniformly(picture, kernel)
    expected = np.stack([fftconvolve(picture[..., c], kernel, mode="same") for c in range(3)], axis=-1)
    np.testing.assert_allclose(blurred, expected, atol=1e-5)
    assert blurred.sum(dtype=np.float64) == pytest.approx(picture.sum(dtype=np.float64), rel=1e-4)


def test_light_moves_along_the_trajectory() -> None:
    picture = np.zeros((21, 21), np.float32)
    picture[10, 10] = 1
    moved = blur_uniformly(picture, rasterise(np.array([[3.0, -2.0]])))
    assert moved[8, 13] == pytest.approx(1)

"""Displacement fields: polynomials, warping, and where a warp found data."""

import numpy as np
import pytest

from localblur.alignment.registration.displacement import (
    PolynomialField,
    degree_of,
    evaluate_at,
    evaluate_on_grid,
    monomials,
    term_count,
    valid_area,
    valid_box,
    warp,
    warp_flags,
)


def test_no_polynomial_has_a_wrong_number_of_terms() -> None:
    assert [degree_of(term_count(degree)) for degree in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="7 terms"):
        degree_of(7)


def test_grid_evaluation_equals_the_definition(rng: np.random.Generator) -> None:
    coefficients = rng.normal(size=10)
    x, y = np.meshgrid(np.arange(23), np.arange(17))
    np.testing.assert_allclose(
        evaluate_on_grid(coefficients, 23, 17), monomials(x, y, 23, 17, 3) @ coefficients, atol=1e-12
    )


def test_evaluation_at_any_places_equals_the_definition(rng: np.random.Generator) -> None:
    coefficients = rng.normal(size=15)
    places = rng.uniform(-3, 25, (40, 2)).astype(np.float32)
    np.testing.assert_allclose(
        evaluate_at(coefficients, places, 23, 17),
        monomials(places[:, 0], places[:, 1], 23, 17, 4) @ coefficients,
        atol=2e-5,
    )


def test_identity_and_sums_of_fields(rng: np.random.Generator) -> None:
    identity = PolynomialField.identity(8, 6)
    np.testing.assert_array_equal(identity.positions()[5, 7], [7, 5])
    shifted = identity.plus(np.array([[2.0, -1.0]]))
    np.testing.assert_allclose(shifted.positions()[0, 0], [2, -1])
    cubic = shifted.plus(rng.normal(size=(10, 2)))
    assert cubic.degree == 3
    assert shifted.distance_px(identity) == pytest.approx(np.hypot(2, 1))


def test_warp_by_whole_pixels_is_exact(rng: np.random.Generator) -> None:
    image = rng.random((40, 50, 3)).astype(np.float32)
    moved = warp(image, PolynomialField(np.array([[3.0, 2.0]]), 50, 40).positions())
    np.testing.assert_allclose(moved[:30, :40], image[2:32, 3:43], atol=1e-6)
    flags = image[..., 0] > 0.9
    np.testing.assert_array_equal(
        warp_flags(flags, PolynomialField(np.array([[3.0, 2.0]]), 50, 40).positions())[:30, :40], flags[2:32, 3:43]
    )


def test_valid_area_keeps_the_kernel_inside() -> None:
    positions = PolynomialField(np.array([[10.0, 0.0]]), 50, 40).positions()
    valid = valid_area(positions, 50, 40, margin_px=4)
    assert valid_box(valid) == (3, 0, 37, 37)
    # the last valid position reaches four pixels on: 36 + 10 + 4 = 50 - ... inside the image
    assert positions[10, 36, 0] + 3 <= 49


@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_valid_box_holds_only_valid_pixels(tilt: float) -> None:
    rows, columns = np.mgrid[:60, :80]
    valid = (rows > 5 + tilt * columns * 0.2) & (columns > 3) & (columns < 70 - tilt * rows * 0.3)
    y0, x0, y1, x1 = valid_box(valid)
    assert valid[y0:y1, x0:x1].all()
    assert (y1 - y0) * (x1 - x0) > 0.85 * valid.sum()


def test_nothing_valid_gives_an_empty_box() -> None:
    assert valid_box(np.zeros((10, 10), bool)) == (0, 0, 0, 0)

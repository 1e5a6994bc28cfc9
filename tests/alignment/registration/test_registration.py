"""Registration recovers known fields, whatever moves, and does not run away."""

from typing import Any

import numpy as np
import pytest

from localblur.alignment.registration.displacement import PolynomialField
from localblur.alignment.registration.registration import coarse_shift, register
from localblur.alignment.registration.registration_level import Luma, RegistrationSettings, stabilised_luma
from localblur.alignment.registration.robust import correlation, gram, robust_sigma, robust_solve, tukey_weight

SETTINGS = RegistrationSettings()


def lumas(shot: Any) -> tuple[Luma, Luma]:
    clear = np.zeros(shot.sharp.shape[:2], bool)
    return stabilised_luma(shot.sharp, clear), stabilised_luma(shot.blurred, clear)


def identity(shot: Any) -> PolynomialField:
    return PolynomialField.identity(shot.sharp.shape[1], shot.sharp.shape[0])


def test_a_fully_saturated_pair_gives_the_start_back(shots: dict[str, Any]) -> None:
    start = identity(shots["static0"])
    saturated = [Luma(luma.values, np.ones_like(luma.saturated)) for luma in lumas(shots["static0"])]
    found = register(*saturated, start, 3, SETTINGS)
    assert found.points == 0
    assert np.isnan(found.noise)
    assert found.field is start


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_noise_alone_does_not_run_away(degree: int, rng: np.random.Generator) -> None:
    clear = np.zeros((240, 320), bool)
    images = [stabilised_luma((0.3 + rng.normal(0, 0.01, (240, 320, 3))).astype(np.float32), clear) for _ in range(2)]
    start = PolynomialField.identity(320, 240)
    found = register(*images, start, degree, SETTINGS)
    # with hardly any texture the answer is arbitrary, but it stays near the prior
    assert found.field.distance_px(start) < 60


def test_constant_images_do_not_move_at_all() -> None:
    flat = Luma(np.full((240, 320), 0.5, np.float32), np.zeros((240, 320), bool))
    found = register(flat, flat, PolynomialField.identity(320, 240), 1, SETTINGS)
    assert found.field.distance_px(PolynomialField.identity(320, 240)) < 1e-6


def test_cubic_fit_recovers_the_rig(shots: dict[str, Any]) -> None:
    shot = shots["static0"]
    mean, p95 = shot.error_px(register(*lumas(shot), identity(shot), 3, SETTINGS).field.positions())
    assert mean < 0.03
    assert p95 < 0.06


def test_moving_object_does_not_pull_the_fit(shots: dict[str, Any]) -> None:
    shot = shots["moving"]
    assert shot.error_px(register(*lumas(shot), identity(shot), 3, SETTINGS).field.positions())[0] < 0.04


def test_affine_refinement_keeps_the_higher_terms(shots: dict[str, Any], rig: Any) -> None:
    rig_field = register(*lumas(shots["static0"]), identity(shots["static0"]), 3, SETTINGS).field
    found = register(*lumas(shots["moving"]), rig_field, 1, SETTINGS).field
    np.testing.assert_array_equal(found.coefficients[3:], rig_field.coefficients[3:])
    assert shots["moving"].error_px(found.positions())[0] < 0.04


def test_large_shift_is_found_from_far(rig: Any) -> None:
    shot = rig.shot(5, moving=False, drift_px=(25.0, -14.0))
    found = register(*lumas(shot), identity(shot), 3, SETTINGS)
    assert shot.error_px(found.field.positions(), margin=40)[0] < 0.05


def test_coarse_shift_is_zero_for_aligned_images(shots: dict[str, Any]) -> None:
    sharp, _ = lumas(shots["static0"])
    np.testing.assert_array_equal(coarse_shift(sharp, sharp, identity(shots["static0"]), 2), [0, 0])


def test_sizes_that_do_not_divide_are_no_source_of_error(rig: Any) -> None:
    shot = rig.shot(7, moving=False)
    cut = [Luma(luma.values[:237, :317], luma.saturated[:237, :317]) for luma in lumas(shot)]
    found = register(*cut, PolynomialField.identity(317, 237), 3, SETTINGS).field.positions()
    error = np.hypot(*np.moveaxis(found - shot.positions[:237, :317], -1, 0))[16:-16, 16:-16]
    assert error.mean() < 0.03


@pytest.mark.parametrize("rows", [0, 100, 256, 1000])
def test_gram_is_the_product_with_itself(rows: int, rng: np.random.Generator) -> None:
    matrix = rng.normal(size=(rows, 5))
    np.testing.assert_allclose(gram(matrix), matrix.T @ matrix, atol=1e-10)


def test_robust_pieces(rng: np.random.Generator) -> None:
    assert robust_sigma(rng.normal(0, 2, 20000)) == pytest.approx(2, rel=0.03)
    assert robust_sigma(np.empty(0)) > 0
    np.testing.assert_allclose(tukey_weight(np.array([0.0, 1.0, 5.0]), 2.0), [1, 0.5625, 0])
    terms = rng.normal(size=(400, 2))
    target = terms @ [1.0, -2.0]
    target[:80] += 10
    np.testing.assert_allclose(robust_solve(terms, target, np.ones(400), 6.0), [1, -2], atol=1e-6)
    assert correlation(target, 3 * target + 1) == pytest.approx(1)
    assert correlation(target, np.ones(400)) == 0

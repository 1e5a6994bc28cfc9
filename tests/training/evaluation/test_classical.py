import math

import numpy as np
import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.images import srgb_decode, srgb_encode, to_tensor
from localblur.datasets.scenes.procedural import dead_leaves
from localblur.datasets.scenes.trajectories import (
    ShakeSettings,
    blur_uniformly,
    line_trajectory,
    random_kernel,
    rasterise,
)
from localblur.training.evaluation.classical import (
    BASELINES,
    ClassicalSettings,
    assumed_kernel,
    deconvolve,
    fit_kernel,
    restore_classically,
)

KERNEL = random_kernel(np.random.default_rng(4), ShakeSettings(length_px=(14, 14)))
POINT = np.ones((1, 1), np.float32)


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    return dead_leaves(np.random.default_rng(0), 112, 128, 1.5)


@pytest.fixture(scope="module")
def blurred(sharp: np.ndarray) -> np.ndarray:
    return srgb_decode(np.round(255 * srgb_encode(blur_uniformly(sharp, KERNEL))) / 255)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    difference = (srgb_encode(one) - srgb_encode(other))[10:-10, 10:-10]
    return -10 * math.log10(float((difference**2).mean()))


def batch(image: np.ndarray) -> torch.Tensor:
    return to_tensor(srgb_encode(image))[None]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"kernel_px": 10}, "kernel_px must be odd"), ({"method": "lucy"}, "method"), ({"balance": 0}, "balance")],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(LocalblurError, match=message):
        validate(ClassicalSettings, values, "baseline")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.full((4, 4), 1 / 16, np.float32), "square, odd and sum to 1"),
        (np.full((3, 5), 1 / 15, np.float32), "square, odd and sum to 1"),
        (np.full((3, 3), 1.0, np.float32), "sum 9"),
        (np.full((201, 201), 1 / 201**2, np.float32), "kernel of 201 px needs a picture as large, got 128x112"),
    ],
)
def test_kernels_that_do_not_fit_are_refused(blurred: np.ndarray, kernel: np.ndarray, message: str) -> None:
    with pytest.raises(LocalblurError, match=message):
        deconvolve(blurred, kernel, ClassicalSettings())


def test_the_oracle_needs_the_sharp_picture_of_the_same_size(blurred: np.ndarray) -> None:
    with pytest.raises(LocalblurError, match="oracle is fitted to the sharp picture"):
        restore_classically(batch(blurred), ClassicalSettings())
    with pytest.raises(LocalblurError, match="give a pair"):
        restore_classically(batch(blurred), ClassicalSettings(), sharp=batch(blurred)[..., 1:])
    with pytest.raises(LocalblurError, match="kernel of 301 px"):
        fit_kernel(blurred, blurred, 301)


@pytest.mark.parametrize(("name", "gain_db"), [("wiener", 3.0), ("richardson-lucy", 4.0)])
def test_a_known_kernel_is_inverted(sharp: np.ndarray, blurred: np.ndarray, name: str, gain_db: float) -> None:
    settings = BASELINES[name]
    assert settings is not None
    restored = deconvolve(blurred, KERNEL, settings)
    assert restored.dtype == np.float32 and restored.min() >= 0 and restored.max() <= 1
    assert psnr(restored, sharp) > psnr(blurred, sharp) + gain_db
    # not shifted: the mirrored kernel does not work
    assert (
        psnr(deconvolve(blurred, np.ascontiguousarray(KERNEL[::-1, ::-1]), settings), sharp) < psnr(restored, sharp) - 3
    )


def test_a_point_kernel_changes_nothing_with_richardson_lucy(blurred: np.ndarray) -> None:
    np.testing.assert_allclose(deconvolve(blurred, POINT, ClassicalSettings()), blurred, atol=1e-4)


def test_a_kernel_is_fitted_to_a_pair(sharp: np.ndarray, blurred: np.ndarray) -> None:
    fitted = fit_kernel(blurred, sharp, 31)
    wide = np.zeros((31, 31))
    margin = (31 - KERNEL.shape[0]) // 2
    wide[margin : 31 - margin, margin : 31 - margin] = KERNEL
    assert fitted.sum() == pytest.approx(1, abs=1e-5) and fitted.min() >= 0
    assert np.abs(fitted - wide).sum() < 0.2
    moved = fit_kernel(np.roll(sharp, (-2, 3), axis=(0, 1)), sharp, 15)
    assert np.unravel_index(moved.argmax(), moved.shape) == (7 - 2, 7 + 3)


def test_pictures_that_tell_nothing_give_a_point() -> None:
    flat = np.full((40, 40, 3), 0.5, np.float32)
    assert fit_kernel(flat, flat, 9)[4, 4] == 1


def test_assumed_kernels_are_what_their_names_say() -> None:
    line = assumed_kernel(ClassicalSettings(kernel="line", length_px=9, angle_deg=90))
    np.testing.assert_array_equal(line, rasterise(line_trajectory(9, 90)))
    gauss = assumed_kernel(ClassicalSettings(kernel="gaussian", sigma_px=1.5))
    offsets = np.arange(gauss.shape[0]) - gauss.shape[0] // 2
    assert gauss.sum() == pytest.approx(1, abs=1e-5)
    assert (gauss.sum(axis=0) * offsets**2).sum() == pytest.approx(1.5**2, rel=0.05)


def test_baselines_run_on_batches(sharp: np.ndarray, blurred: np.ndarray) -> None:
    pair = torch.cat([batch(blurred), batch(sharp)]), torch.cat([batch(sharp), batch(sharp)])
    assert restore_classically(pair[0], BASELINES["none"]) is pair[0]
    restored = restore_classically(pair[0], BASELINES["richardson-lucy"], sharp=pair[1])
    assert restored.shape == pair[0].shape and restored.dtype == torch.float32
    errors = [((image - pair[1]) ** 2).mean(dim=(1, 2, 3)) for image in (pair[0], restored)]
    assert errors[1][0] < errors[0][0] / 2 and errors[1][1] < 1e-3
    known = restore_classically(pair[0][:1], ClassicalSettings(), kernel=KERNEL)
    assert ((known - pair[1][:1]) ** 2).mean() < errors[0][0] / 2


def test_only_what_is_masked_is_changed(sharp: np.ndarray, blurred: np.ndarray) -> None:
    where = np.zeros(sharp.shape[:2], bool)
    where[20:90, 20:100] = True
    local = np.where(where[..., None], blurred, sharp)
    mask = torch.from_numpy(where[None, None].astype(np.float32))
    restored = restore_classically(batch(local), ClassicalSettings(kernel_px=21), sharp=batch(sharp), mask=mask)
    outside = ~mask.bool().expand(-1, 3, -1, -1)
    torch.testing.assert_close(restored[outside], batch(local)[outside])
    inner = (slice(None), slice(None), slice(35, 75), slice(35, 85))
    before, after = (((image - batch(sharp))[inner] ** 2).mean() for image in (batch(local), restored))
    assert after < before / 2
    empty = restore_classically(batch(local), ClassicalSettings(), sharp=batch(sharp), mask=torch.zeros_like(mask))
    torch.testing.assert_close(empty, batch(local))

"""Loss terms, against the published code and against autograd through the nine-fold form."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_losses import Case, golden_losses

from localblur.training.objectives import losses
from localblur.training.objectives.ssim import window_mean

TERMS = {
    "l1": (losses.l1, losses.shift_invariant(losses.l1)),
    "ssim": (losses.negative_ssim, losses.shift_invariant_negative_ssim),
    "fft": (losses.fft_distance, losses.shift_invariant_fft_distance),
}


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def golden():
    return golden_losses()


def nine_fold(term, prediction, target):
    """The published form: every shift with gradient, then the smallest."""
    padded = losses.pad_for_shifts(target)
    values = [term(prediction, losses.moved_by(padded, shift)) for shift in losses.SHIFTS_PX]
    return torch.stack(values).min(dim=0).values


@pytest.mark.parametrize("scale", [0, 1, 2])
@pytest.mark.parametrize("name", TERMS)
def test_terms_equal_the_published_code(case, golden, name, scale):
    plain, shifted = TERMS[name]
    image, target = case.images[scale], case.targets[scale]
    assert float(plain(image, target).mean()) == pytest.approx(float(golden[f"plain_{name}S{scale}"]), rel=1e-4)
    assert float(shifted(image, target).mean()) == pytest.approx(float(golden[f"shift_{name}S{scale}"]), rel=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_each_shift_equals_the_published_code(case, golden, name):
    padded = losses.pad_for_shifts(case.sharp)
    values = [TERMS[name][0](case.images[-1], losses.moved_by(padded, shift)) for shift in losses.SHIFTS_PX]
    np.testing.assert_allclose(torch.stack(values, 1).numpy(), golden[f"pershift_{name}_s1"], rtol=1e-4)


def test_moved_targets_equal_the_published_code(case, golden):
    padded = losses.pad_for_shifts(case.sharp[:1])
    moved = torch.cat([losses.moved_by(padded, shift)[..., :8, :8] for shift in losses.SHIFTS_PX])
    np.testing.assert_array_equal(moved.numpy(), golden["shifted_targets_s1_sample0"])


@pytest.mark.parametrize("name", TERMS)
def test_the_fast_form_has_value_and_gradient_of_the_nine_fold_form(name):
    generator = torch.Generator().manual_seed(1)
    plain, shifted = TERMS[name]
    smooth = F.interpolate(torch.rand(6, 3, 12, 10, generator=generator), size=(48, 40), mode="bicubic").clamp(0, 1)
    shifts = [(0, 1), (1, 1), (-1, 0), (0, 0), (1, -1), (-1, -1)]
    moved = torch.cat([losses.moved_by(losses.pad_for_shifts(smooth[i : i + 1]), s) for i, s in enumerate(shifts)])
    moved = moved + 0.02 * torch.rand(moved.shape, generator=generator)
    gradients, values = [], []
    for form in (lambda p: shifted(p, smooth), lambda p: nine_fold(plain, p, smooth)):
        prediction = moved.clone().requires_grad_()
        value = form(prediction)
        (value * torch.arange(1, 7)).sum().backward()
        values.append(value.detach())
        gradients.append(prediction.grad)
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-6)
    assert float((gradients[0] - gradients[1]).abs().max()) <= 1e-5 * float(gradients[1].abs().max())


def test_a_prediction_moved_by_one_pixel_costs_nothing_inside(case):
    target = case.sharp
    padded = losses.pad_for_shifts(target)
    for shift in losses.SHIFTS_PX:
        prediction = losses.moved_by(padded, shift)
        assert float(losses.shift_invariant(losses.l1)(prediction, target).max()) == 0
    assert float(losses.l1(losses.moved_by(padded, (1, 0)), target).min()) > 0.01


def test_terms_of_other_methods_equal_their_published_code(case, golden):
    image, target = case.images[-1], case.sharp
    assert float(losses.negative_psnr(image, target).mean()) == pytest.approx(
        float(golden["nafnet_psnrloss"]), rel=1e-4
    )
    pairs = list(zip(case.images, case.targets, strict=True))
    spectra = sum(float(losses.fft_components(image, target).mean()) for image, target in pairs)
    assert spectra == pytest.approx(float(golden["mimo_fft_reim"]), rel=1e-4)
    content = sum(float(losses.l1(image, target).mean()) for image, target in pairs)
    assert content == pytest.approx(float(golden["deepdeblur_l1_sum"]), rel=1e-4)


@pytest.mark.parametrize("width", [9, 10])
def test_spectral_components_equal_those_of_the_full_spectrum(width):
    a, b = torch.rand(2, 2, 3, 8, width, generator=torch.Generator().manual_seed(0))
    full = torch.view_as_real(torch.fft.fft2(a - b)).abs().flatten(1).mean(dim=1)
    torch.testing.assert_close(losses.fft_components(a, b), full)


def test_charbonnier_of_equal_pictures_is_its_constant_and_far_ones_are_l1(case):
    assert float(losses.charbonnier(case.sharp, case.sharp).max()) == pytest.approx(losses.CHARBONNIER_EPS)
    far = case.sharp + 0.5
    assert float(losses.charbonnier(far, case.sharp).max()) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("term", [losses.mse, losses.charbonnier, losses.negative_psnr, losses.fft_components])
def test_any_term_can_be_made_shift_invariant(term):
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(2, 3, 24, 20, generator=generator)
    prediction = losses.moved_by(losses.pad_for_shifts(target), (1, -1)) + 0.05
    prediction = (prediction + 0.01 * torch.rand(prediction.shape, generator=generator)).requires_grad_()
    fast = losses.shift_invariant(term)(prediction, target)
    (gradient,) = torch.autograd.grad(fast.sum(), prediction)
    slow = nine_fold(term, prediction, target)
    (expected,) = torch.autograd.grad(slow.sum(), prediction)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(gradient, expected)


def test_cross_entropy_pulls_where_squared_error_does_not():
    """Of a gate that is wrong and sure of it: the gradient with respect to what its sigmoid is given."""
    given = torch.tensor([[[[-8.0]]]], requires_grad=True)
    blurred = torch.ones(1, 1, 1, 1)
    pulls = [
        float(torch.autograd.grad(loss(torch.sigmoid(given), blurred).sum(), given)[0])
        for loss in (losses.mse, losses.cross_entropy)
    ]
    assert abs(pulls[0]) < 1e-3
    assert pulls[1] == pytest.approx(-1, rel=1e-2)
    half = losses.cross_entropy(torch.full((1, 1, 2, 2), 0.25), torch.full((1, 1, 2, 2), 0.5))
    assert float(half) == pytest.approx(-0.5 * math.log(0.25) - 0.5 * math.log(0.75))


def test_the_residual_counts_only_outside_the_mask():
    blurred, mask = torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)
    mask[0, :, :, :2], mask[1] = 1, 1
    restored = blurred + 9 * mask + 0.25 * (1 - mask)
    torch.testing.assert_close(losses.outside_residual(restored, blurred, mask), torch.tensor([0.25, 0.0]))


def test_the_windows_by_taps_are_those_of_one_convolution():
    """The processor's form, its gradient included, against a plain 11 x 11 convolution."""
    image = torch.rand(
        2, 3, 19, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True
    )
    row = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / 4.5)
    window = (torch.outer(row, row) / row.sum() ** 2).expand(3, 1, 11, 11)
    weights = torch.rand(2, 3, 9, 13, dtype=torch.float64)
    forms = window_mean(image), F.conv2d(image, window, groups=3)
    gradients = [torch.autograd.grad((form * weights).sum(), image)[0] for form in forms]
    torch.testing.assert_close(*forms)
    torch.testing.assert_close(*gradients)

"""The weighted sum of all terms, against the published code."""

import pytest
import torch
import torch.nn.functional as F
from golden_losses import Case, golden_losses
from pydantic import ValidationError

from localblur.training.networks.base import Restored
from localblur.training.networks.pyramid import pyramid
from localblur.training.objectives import losses
from localblur.training.objectives.objective import Target, objective, reduced
from localblur.training.objectives.objective_settings import ObjectiveSettings

PUBLISHED = ObjectiveSettings(gate_target="nearest")


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def golden():
    return golden_losses()


def valued(case, settings, images=None, gates=None, known=None):
    restored = Restored(case.images if images is None else images, case.gates if gates is None else gates)
    return objective(restored, Target(case.sharp, case.sharp, case.mask, known), settings)


@pytest.mark.parametrize(("shift_invariant", "name"), [(True, "shift_total"), (False, "plain_total")])
def test_the_objective_without_gates_equals_the_published_code(case, golden, shift_invariant, name):
    value = valued(case, ObjectiveSettings(gate_weight=0, shift_invariant=shift_invariant))
    assert float(value.total) == pytest.approx(float(golden[name]), rel=1e-4)


def test_the_full_objective_equals_the_published_code(case, golden):
    value = valued(case, PUBLISHED)
    assert float(value.total) == pytest.approx(float(golden["full_objective"]), rel=1e-4)
    gate_sum = sum(float(golden[f"gate_mse_{scale}"]) for scale in range(3))
    assert float(value.terms["gate"]) == pytest.approx(gate_sum, rel=1e-4)


def test_bfloat16_predictions_are_compared_in_float32(case):
    rounded = [image.to(torch.bfloat16) for image in case.images]
    gates = [gate.to(torch.bfloat16) for gate in case.gates]
    with torch.autocast("cpu", torch.bfloat16):
        value = valued(case, PUBLISHED, rounded, gates)
    exact = [image.to(torch.bfloat16).float() for image in case.images]
    exact_gates = [gate.float() for gate in gates]
    expected = valued(case, PUBLISHED, exact, exact_gates)
    assert value.total.dtype == torch.float32
    assert float(value.total) == float(expected.total)


def test_gates_learn_nothing_from_pairs_without_a_mask(case):
    gates = [gate.clone().requires_grad_() for gate in case.gates]
    known = torch.tensor([True, False])
    value = valued(case, PUBLISHED, gates=gates, known=known)
    value.total.backward()
    assert all(float(gate.grad[0].abs().max()) > 0 and float(gate.grad[1].abs().max()) == 0 for gate in gates)
    nothing = valued(case, PUBLISHED, gates=gates, known=torch.tensor([False, False]))
    assert float(nothing.terms["gate"].detach()) == 0


def test_weights_of_zero_leave_terms_out(case):
    settings = ObjectiveSettings(ssim_weight=0, fft_weight=0, gate_weight=0, shift_invariant=False)
    value = valued(case, settings, gates=[])
    expected = sum(float((a - b).abs().mean()) for a, b in zip(case.images, case.targets, strict=True))
    assert float(value.total) == pytest.approx(expected, rel=1e-5)
    assert set(value.terms) == {"l1"}


def test_the_objective_of_mimo_unet_equals_its_published_code(case, golden):
    settings = ObjectiveSettings(ssim_weight=0, fft_weight=0, fft_components_weight=0.1, shift_invariant=False)
    value = valued(case, settings, gates=[])
    assert float(value.total) == pytest.approx(float(golden["mimo_total"]), rel=1e-4)


def test_the_objective_of_nafnet_equals_its_published_code(case, golden):
    none = {"l1_weight": 0, "ssim_weight": 0, "fft_weight": 0, "shift_invariant": False}
    value = valued(case, ObjectiveSettings(**none, psnr_weight=1), case.images[-1:], [])
    assert float(value.total) == pytest.approx(float(golden["nafnet_psnrloss"]), rel=1e-4)


def test_only_the_finest_scale_is_compared_when_asked(case):
    settings = ObjectiveSettings(ssim_weight=0, fft_weight=0, shift_invariant=False, scales="finest")
    images = [image.clone().requires_grad_() for image in case.images]
    value = valued(case, settings, images, gates=[])
    assert float(value.total.detach()) == pytest.approx(float(losses.l1(case.images[-1], case.sharp).mean()))
    value.total.backward()
    assert [float(image.grad.abs().max()) > 0 for image in images] == [False, False, True]


def test_coarse_targets_are_made_in_three_ways(case):
    size = torch.Size((16, 20))
    expected = {
        "bilinear": F.interpolate(case.sharp, scale_factor=0.25, mode="bilinear"),
        "area": F.avg_pool2d(case.sharp, 4),
        "gaussian": pyramid(case.sharp, 3)[-1],
    }
    for way, target in expected.items():
        torch.testing.assert_close(reduced(case.sharp, size, way), target)


def test_coarse_gates_learn_the_blurred_share_of_their_area(case):
    shares = [F.avg_pool2d(case.mask, step) for step in (4, 2)] + [case.mask]
    assert float(((shares[0] > 0) & (shares[0] < 1)).float().mean()) > 0
    for target, perfect in (("area", shares), ("nearest", case.masks)):
        value = valued(case, ObjectiveSettings(gate_target=target), gates=perfect)
        assert float(value.terms["gate"]) == 0
        assert float(valued(case, ObjectiveSettings(gate_target=target)).terms["gate"]) > 0.1


def test_the_penalty_outside_the_mask_has_a_gradient_only_there(case):
    settings = ObjectiveSettings(outside_weight=1, l1_weight=0, ssim_weight=0, fft_weight=0, mse_weight=1e-9)
    images = [image.clone().requires_grad_() for image in case.images]
    value = valued(case, settings, images, gates=[], known=torch.tensor([True, False]))
    value.total.backward()
    gradient = images[-1].grad.abs()
    outside = case.mask[0].expand(3, -1, -1) == 0
    assert float(gradient[0][outside].min()) > 1e-6
    assert float(gradient[0][~outside].max()) < 1e-8
    assert float(gradient[1].max()) < 1e-8


def test_a_negative_weight_is_refused():
    with pytest.raises(ValidationError):
        ObjectiveSettings(l1_weight=-1)


def test_the_price_of_changes_outside_grows_along_its_ramp_and_is_shown_from_the_beginning():
    settings = ObjectiveSettings(outside_weight=4.0, outside_ramp=(0.25, 0.75))
    weights = [settings.at(share).outside_weight for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert weights == pytest.approx([0, 0, 2, 4, 4])
    assert ObjectiveSettings(outside_weight=4.0).at(0.0).outside_weight == 4
    at_once = ObjectiveSettings(outside_weight=4.0, outside_ramp=(0.5, 0.5))
    assert [at_once.at(share).outside_weight for share in (0.0, 0.4, 0.5, 1.0)] == [0, 0, 4, 4]
    blurred, sharp = torch.rand(2, 1, 3, 16, 16)
    restored = Restored([blurred + 0.1], [])
    target = Target(blurred, sharp, torch.zeros(1, 1, 16, 16))
    early, late = (objective(restored, target, settings.at(share)) for share in (0.0, 1.0))
    assert float(early.terms["outside"]) == pytest.approx(0.1, abs=1e-5)
    assert float(late.total - early.total) == pytest.approx(0.4, abs=1e-4)


@pytest.mark.parametrize("ramp", [(-0.1, 0.5), (0.6, 0.5), (0.5, 1.1)])
def test_a_ramp_that_is_none_is_refused(ramp):
    with pytest.raises(ValidationError, match="outside_ramp"):
        ObjectiveSettings(outside_ramp=ramp)

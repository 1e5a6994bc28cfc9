"""Loss terms and the gated objective, against the published code and against autograd through the nine-fold form."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from localblur.training import losses
from localblur.training.networks.base import Restored
from localblur.training.objectives import ObjectiveSettings, gated_objective

TERMS = {
    "l1": (losses.l1, losses.shift_invariant_l1),
    "ssim": (losses.negative_ssim, losses.shift_invariant_negative_ssim),
    "fft": (losses.fft_distance, losses.shift_invariant_fft_distance),
}
GOLDEN = Path(__file__).parent / "golden"
GATE_PHASE = 0.7


def tensor(values):
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


class Case:
    """The inputs of the published code when golden/losses.npz was made; lists are coarse to fine."""

    def __init__(self):
        height, width = 64, 80
        n, c, h, w = np.ogrid[:2, :3, :height, :width]
        sharp = 0.5 + 0.25 * np.sin(0.31 * h * (c + 1) + 0.17 * w + c + n)
        sharp = sharp + 0.2 * np.sin(0.9 * w - 0.53 * h + 2 * n)
        moved = np.stack([np.roll(sharp[0], (1, -1), (1, 2)), np.roll(sharp[1], 1, 2)])
        moved = moved + 0.02 * np.sin(1.3 * h + 0.7 * w + c)
        y, x = np.ogrid[:height, :width]
        mask = ((y - height / 2) / (height / 4)) ** 2 + ((x - width / 3) / (width / 5)) ** 2 < 1
        self.sharp, self.mask = tensor(sharp), tensor(np.broadcast_to(mask, (2, 1, height, width)))
        full = tensor(moved)
        coarser = [F.interpolate(full, scale_factor=scale, mode="bilinear") for scale in (0.25, 0.5)]
        self.images = [coarser[0] + 0.01, coarser[1] - 0.01, full]
        self.targets = [F.interpolate(self.sharp, scale_factor=s, mode="bilinear") for s in (0.25, 0.5)] + [self.sharp]
        self.masks = [self.mask[..., ::step, ::step] for step in (4, 2, 1)]
        self.gates = [
            tensor(0.1 + 0.9 * (0.5 + 0.5 * np.sin(GATE_PHASE * np.arange(m.numel())))).reshape(m.shape)
            for m in self.masks
        ]


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "losses.npz")


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


@pytest.mark.parametrize(("shift_invariant", "name"), [(True, "shift_total"), (False, "plain_total")])
def test_the_objective_without_gates_equals_the_published_code(case, golden, shift_invariant, name):
    settings = ObjectiveSettings(gate_weight=0, shift_invariant=shift_invariant)
    value = gated_objective(Restored(case.images, case.gates), case.sharp, case.mask, settings)
    assert float(value.total) == pytest.approx(float(golden[name]), rel=1e-4)


def test_the_full_objective_equals_the_published_code(case, golden):
    value = gated_objective(Restored(case.images, case.gates), case.sharp, case.mask, ObjectiveSettings())
    assert float(value.total) == pytest.approx(float(golden["full_objective"]), rel=1e-4)
    gate_sum = sum(float(golden[f"gate_mse_{scale}"]) for scale in range(3))
    assert float(value.terms["gate"]) == pytest.approx(gate_sum, rel=1e-4)


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
        assert float(losses.shift_invariant_l1(prediction, target).max()) == 0
    assert float(losses.l1(losses.moved_by(padded, (1, 0)), target).min()) > 0.01


def test_bfloat16_predictions_are_compared_in_float32(case):
    rounded = [image.to(torch.bfloat16) for image in case.images]
    gates = [gate.to(torch.bfloat16) for gate in case.gates]
    with torch.autocast("cpu", torch.bfloat16):
        value = gated_objective(Restored(rounded, gates), case.sharp, case.mask, ObjectiveSettings())
    exact = [image.to(torch.bfloat16).float() for image in case.images]
    exact_gates = [gate.float() for gate in gates]
    expected = gated_objective(Restored(exact, exact_gates), case.sharp, case.mask, ObjectiveSettings())
    assert value.total.dtype == torch.float32
    assert float(value.total) == float(expected.total)


def test_gates_learn_nothing_from_pairs_without_a_mask(case):
    gates = [gate.clone().requires_grad_() for gate in case.gates]
    known = torch.tensor([True, False])
    restored = Restored(case.images, gates)
    value = gated_objective(restored, case.sharp, case.mask, ObjectiveSettings(), known)
    value.total.backward()
    assert all(float(gate.grad[0].abs().max()) > 0 and float(gate.grad[1].abs().max()) == 0 for gate in gates)
    nothing = gated_objective(restored, case.sharp, case.mask, ObjectiveSettings(), torch.tensor([False, False]))
    assert float(nothing.terms["gate"].detach()) == 0


def test_weights_of_zero_leave_terms_out(case):
    settings = ObjectiveSettings(ssim_weight=0, fft_weight=0, gate_weight=0, shift_invariant=False)
    value = gated_objective(Restored(case.images, []), case.sharp, case.mask, settings)
    expected = sum(float((a - b).abs().mean()) for a, b in zip(case.images, case.targets, strict=True))
    assert float(value.total) == pytest.approx(expected, rel=1e-5)
    assert set(value.terms) == {"l1", "gate"}

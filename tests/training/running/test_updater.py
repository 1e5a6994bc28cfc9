"""One update by itself."""

import pytest
import torch
from striped_data import Stripes, tiny_settings
from torch.utils.data import default_collate

from localblur.training.running.updater import Updater
from localblur.training.runtime import Runtime


@pytest.mark.parametrize("accumulate", [1, 2])
def test_long_gradients_are_shortened_to_the_limit_and_told_as_they_were(accumulate):
    batch = default_collate([Stripes()[number] for number in range(2)])
    lengths, told = [], []
    with Runtime("cpu").isolated_random():
        for limit in (None, 1e-3):
            chosen = tiny_settings(optimizer={"clip_norm": limit}, accumulate=accumulate)
            updater = Updater(chosen, Runtime("cpu"), fresh=True)
            told.append(float(updater.update(batch, 0).values["gradient_norm"]))
            gradients = [value.grad.flatten() for value in updater.module.parameters() if value.grad is not None]
            lengths.append(float(torch.cat(gradients).norm()))
    assert told[0] == told[1] == pytest.approx(lengths[0], rel=1e-4)
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)


def test_a_step_that_is_skipped_leaves_running_statistics_alone():
    batch = default_collate([Stripes()[number] for number in range(2)])
    broken = batch | {"blurred": batch["blurred"].clone()}
    broken["blurred"][0, 0, 0, 0] = torch.inf
    chosen = tiny_settings(
        network={"name": "unet-autoencoder", "options": {"width": 16}}, objective={"scales": "finest"}
    )
    with Runtime("cpu").isolated_random():
        updater = Updater(chosen, Runtime("cpu"), fresh=True)
        updater.update(batch, 0)
        before = [values.clone() for values in updater.module.buffers()]
        assert not updater.update(broken, 1).applied
        assert before
        assert all(torch.equal(*both) for both in zip(before, updater.module.buffers(), strict=True))
        assert updater.update(batch, 1).applied
        assert not all(torch.equal(*both) for both in zip(before, updater.module.buffers(), strict=True))


@pytest.mark.parametrize("limit", [None, 1.0])
def test_gradients_that_are_not_finite_are_named_and_no_others(limit):
    batch = default_collate([Stripes()[number] for number in range(2)])
    with Runtime("cpu").isolated_random():
        updater = Updater(tiny_settings(optimizer={"clip_norm": limit}), Runtime("cpu"), fresh=True)
        name, weight = list(updater.module.named_parameters())[3]
        weight.register_hook(lambda gradient: torch.full_like(gradient, torch.nan))
        assert not updater.update(batch, 0).applied
        assert updater.unusual_gradients() == [name]


@pytest.mark.parametrize("known", [(True, False, False, False), (True, True, False, True)])
def test_a_batch_in_parts_teaches_gates_the_same_whichever_samples_have_masks(known):
    batch = default_collate([Stripes()[number] for number in range(4)])
    batch["has_mask"] = torch.tensor(known)
    batch["mask"] = batch["mask"] * batch["has_mask"][:, None, None, None]
    gradients, gates = [], []
    with Runtime("cpu").isolated_random():
        for parts in (1, 4):
            chosen = tiny_settings(
                accumulate=parts,
                data={"patch_px": 48, "batch": 4},
                objective={"gate_weight": 1.0, "outside_weight": 1.0},
                network={"name": "lbag-small", "options": {"width": 8, "num_res": 1, "dropout": 0.0}},
            )
            updater = Updater(chosen, Runtime("cpu"), fresh=True)
            gates.append(float(updater.update(batch, 0).values["gate"]))
            kept = [value.grad.flatten() for value in updater.module.parameters() if value.grad is not None]
            gradients.append(torch.cat(kept))
    assert gates[0] == pytest.approx(gates[1], rel=1e-5)
    assert float((gradients[0] - gradients[1]).norm()) < 1e-4 * float(gradients[0].norm())

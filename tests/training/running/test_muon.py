"""Muon: matrices along orthogonalised momentum, the rest as AdamW."""

import copy

import pytest
import torch
from torch import nn

from localblur.training.running.muon import Muon, is_matrix, orthogonalised


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.GELU(), nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 3, groups=32))


def learn(module, optimizer, steps, first=0):
    for step in range(first, first + steps):
        images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (module(images) - images.mean()).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(5, 64, 192), (2, 32, 128), (3, 128, 32)])
def test_singular_values_become_alike(shape):
    random = torch.Generator().manual_seed(0)
    matrices = torch.randn(shape, generator=random)
    matrices[:, 0] *= 100  # one direction far stronger than the others
    before, after = (torch.linalg.svdvals(values) for values in (matrices, orthogonalised(matrices)))
    assert (before[:, 0] / before[:, 1]).min() > 20
    assert after.min() > 0.4
    assert after.max() < 1.3


def test_directions_stay():
    matrices = torch.randn(3, 48, 96, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    found = torch.nn.functional.cosine_similarity(orthogonalised(matrices).flatten(1), (left @ right).flatten(1))
    assert found.min() > 0.97


def test_strength_of_a_gradient_does_not_matter():
    matrices = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = orthogonalised(matrices)
    for scale in (1e-12, 1e12):
        torch.testing.assert_close(orthogonalised(scale * matrices), expected, atol=0.02, rtol=0)
    assert orthogonalised(torch.zeros(1, 32, 32)).abs().max() == 0


def test_what_counts_as_a_matrix():
    found = {name: is_matrix(weight) for name, weight in network().named_parameters()}
    # dense kernels are; three colours times 3 x 3 are 27 columns; depthwise kernels and biases are not
    assert [name for name, matrix in found.items() if matrix] == ["0.weight", "2.weight"]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_what_is_no_matrix_moves_as_with_adamw(decay):
    ours = nn.Conv2d(8, 8, 3, groups=8)
    theirs = copy.deepcopy(ours)
    options = {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": decay}
    optimizers = Muon(ours.parameters(), **options), torch.optim.AdamW(theirs.parameters(), **options)
    for step in range(5):
        images = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(step))
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            module(images).square().mean().backward()
            optimizer.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=1e-6, rtol=1e-5)


def test_the_first_move_of_a_matrix_has_adamws_length_along_the_gradient():
    weight = nn.Parameter(torch.zeros(64, 64))
    gradient = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    weight.grad = gradient.clone()
    Muon([weight], lr=1e-2).step()
    moved = -weight.detach()
    assert moved.square().mean().sqrt() == pytest.approx(0.2 * 1e-2, rel=0.25)
    assert (moved * gradient).sum() > 0


def test_a_matrix_is_learnt():
    random = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(256, 32, generator=random), nn.Parameter(torch.zeros(32, 32))
    wanted = inputs @ torch.randn(32, 32, generator=random)
    optimizer, errors = Muon([weight], lr=1.0), []
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 1 - step / 60
        optimizer.zero_grad()
        loss = (inputs @ weight - wanted).square().mean()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.01 * errors[0]


def test_a_run_that_was_stored_and_continued_has_the_same_bits():
    whole, parts = network(), network()
    learn(whole, Muon(whole.parameters(), lr=1e-3), 6)
    first = Muon(parts.parameters(), lr=1e-3)
    learn(parts, first, 3)
    stored = copy.deepcopy(first.state_dict())
    later = Muon(parts.parameters(), lr=1e-3)
    later.load_state_dict(stored)
    learn(parts, later, 3, first=3)
    for own, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(own, other)


def test_parameters_without_a_gradient_stay():
    module = network()
    module[2].requires_grad_(False)
    before = module[2].weight.clone()
    learn(module, Muon(module.parameters(), lr=1e-2), 2)
    assert torch.equal(module[2].weight, before)


def test_a_closure_is_refused():
    with pytest.raises(TypeError, match="closure"):
        Muon([nn.Parameter(torch.zeros(4))]).step(lambda: 0.0)

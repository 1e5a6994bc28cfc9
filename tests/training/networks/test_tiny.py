"""The network for embedded use."""

import torch
from golden_networks import fill

from localblur.training.networks.base import parameter_count
from localblur.training.networks.complexity import count_macs
from localblur.training.networks.table import NETWORKS


def test_it_is_small():
    network = NETWORKS["tiny"]()
    assert parameter_count(network) <= 300_000
    assert count_macs(network, (720, 1280)) < 7e9


@torch.no_grad()
def test_a_fresh_network_gives_the_picture_back():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 32, 48)
    restored = NETWORKS["tiny"]()(image)
    assert torch.equal(restored.images[0], image)
    assert float(restored.gates[0].std()) > 0


@torch.no_grad()
def test_a_closed_gate_leaves_the_picture_alone():
    network = fill(NETWORKS["tiny"]())
    image = torch.rand(1, 3, 32, 32)
    assert float((network(image).images[0] - image).abs().max()) > 0.1
    network.head.weight[:4] = 0
    network.head.bias[:4] = -100
    torch.testing.assert_close(network(image).images[0], image, rtol=0, atol=1e-6)


def test_it_sees_far_enough_for_long_blur():
    """The middle pixel depends on pixels 150 px away."""
    network = fill(NETWORKS["tiny"]())
    image = torch.rand(1, 3, 32, 512, requires_grad=True)
    network(image).images[0][..., 16, 256].sum().backward()
    assert image.grad is not None
    reached = image.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    assert int(reached.min()) < 256 - 150
    assert int(reached.max()) > 256 + 150


def test_it_learns_to_undo_a_blur_in_a_few_steps():
    torch.manual_seed(0)
    sharp = (torch.rand(4, 3, 32, 32) > 0.5).float()
    blurred = torch.nn.functional.avg_pool2d(sharp, (1, 3), stride=1, padding=(0, 1))
    network = NETWORKS["tiny"]()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (network(blurred).images[0] - sharp).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]

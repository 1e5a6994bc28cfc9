"""Multiply-adds, against sums by hand and the published figures."""

import pytest
import torch

from localblur.training.networks.complexity import count_macs
from localblur.training.networks.table import NETWORKS


def test_multiply_adds_of_the_autoencoder_by_hand():
    network = NETWORKS["unet-autoencoder"]({"width": 2})
    pixels = 32 * 48
    by_hand = 9 * (3 * 2 / 4 + 2 * 4 / 16 + 4 * 8 / 64 + 8 * 16 / 256 + 16 * 16 / 256)  # down, each at its output
    by_hand += 9 * (16 * 16 / 256 + 24 * 8 / 64 + 12 * 4 / 16 + 6 * 2 / 4 + 2 * 3)  # up, each at its input
    assert count_macs(network, (32, 48)) == by_hand * pixels


@pytest.mark.parametrize(
    ("name", "giga"), [("deblurgan", 49.6), ("restormer", 154.9), ("nafnet-w32", 16.0), ("mimo-unet", 63.3)]
)
def test_multiply_adds_are_those_of_the_field(name, giga):
    with torch.device("meta"):
        network = NETWORKS[name]()
    assert count_macs(network, (256, 256)) / 1e9 == pytest.approx(giga, abs=0.06)


def test_counting_leaves_the_network_as_it_is():
    network = NETWORKS["unet-autoencoder"]({"width": 2}).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    count_macs(network, (32, 32))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

"""LBAG against outputs of the published code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_networks import fill, golden_image

from localblur.common.errors import LocalblurError
from localblur.training.networks.base import parameter_count
from localblur.training.networks.table import NETWORKS

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 2e-4
HEAD_BIASES = ("ConvsOut.0.main.0.bias", "ConvsOut.1.main.0.bias", "feat_extract.5.main.0.bias")


def filled(options=None):
    return fill(NETWORKS["lbag"](options))


def close(tensor, expected):
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "lbag.npz")


@torch.no_grad()
def test_all_scales_and_gates_equal_the_published_network(golden):
    restored = filled()(golden_image())
    for scale, image, gate in zip("421", restored.images, restored.gates, strict=True):
        close(image, golden[f"out_s{scale}"])
        close(gate, golden[f"gate_s{scale}"])


@torch.no_grad()
@pytest.mark.parametrize(("clamp", "prefix"), [(0.1, "biased"), (0.0, "biased_noclamp")])
def test_gates_are_clamped_from_below_as_published(golden, clamp, prefix):
    network = filled({"clamp_gate": clamp})
    state = network.state_dict()
    for name in HEAD_BIASES:
        state[name][0] = -2.2
    restored = network(golden_image())
    close(restored.images[-1], golden[f"{prefix}_out_s1"])
    for scale, gate in zip("421", restored.gates, strict=True):
        if f"{prefix}_gate_s{scale}" in golden:
            close(gate, golden[f"{prefix}_gate_s{scale}"])
    on_clamp = float((restored.gates[-1] == 0.1).float().mean())
    assert 0.5 < on_clamp < 0.75 if clamp else on_clamp == 0


def test_keys_and_shapes_are_those_of_published_checkpoints():
    expected = json.loads((GOLDEN / "lbag.keys.json").read_text())
    own = NETWORKS["lbag"]().state_dict()
    assert list(own) == list(expected)
    assert all(list(own[key].shape) == expected[key]["shape"] for key in expected)


def test_parameter_counts():
    assert parameter_count(NETWORKS["lbag"]()) == 16_109_670


@torch.no_grad()
def test_an_identity_start_is_one():
    network = NETWORKS["lbag"]({"width": 8, "num_res": 1, "identity_start": True})
    image = torch.rand(2, 3, 32, 48)
    restored = network(image)
    for step, restored_image in zip((4, 2, 1), restored.images, strict=True):
        torch.testing.assert_close(restored_image, image[..., ::step, ::step], rtol=0, atol=0)


@torch.no_grad()
def test_a_single_gate_when_only_the_finest_scale_has_one():
    network = NETWORKS["lbag"]({"width": 8, "num_res": 1, "multiscale_gate": False})
    restored = network(torch.rand(1, 3, 32, 32))
    assert [tuple(gate.shape) for gate in restored.gates] == [(1, 1, 32, 32)]
    assert len(restored.images) == 3


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    network = NETWORKS["lbag"]({"width": 8, "num_res": 1, "dropout": 0.5})
    image = torch.rand(1, 3, 32, 32)
    network.train()
    assert not torch.equal(network(image).images[-1], network(image).images[-1])
    network.eval()
    assert torch.equal(network(image).images[-1], network(image).images[-1])


def test_gates_before_the_clamp_restore_the_same_picture_and_can_always_learn():
    torch.manual_seed(0)
    options = {"width": 8, "num_res": 1}
    published, supervised = (
        NETWORKS["lbag"]({**options, "gates_before_clamp": before}).eval() for before in (False, True)
    )
    state = published.state_dict()
    for name in HEAD_BIASES:
        state[name][0] = -4.0  # the sigmoid is 0.018, far below the clamp
    supervised.load_state_dict(state)
    image = torch.rand(1, 3, 32, 32)
    clamped, free = published(image), supervised(image)
    for a, b in zip(clamped.images, free.images, strict=True):
        assert torch.equal(a, b)
    for before, gate in zip(free.gates, clamped.gates, strict=True):
        assert torch.equal(before.clamp_min(0.1), gate)
    bias = HEAD_BIASES[2]
    gradients = []
    for network, restored in ((published, clamped), (supervised, free)):
        (restored.gates[-1] - 1).square().mean().backward()
        gradients.append(float(network.get_parameter(bias).grad[0]))
    assert gradients[0] == 0 > gradients[1]


@pytest.mark.parametrize("shape", [(1, 3, 30, 32), (1, 3, 32, 33), (1, 1, 32, 32), (3, 32, 32)])
def test_sizes_the_network_cannot_take_are_refused_in_words(shape):
    network = NETWORKS["lbag"]({"width": 8, "num_res": 1})
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"widht": 32}, {"width": 30}, {"num_res": 0}, {"clamp_gate": 1.0}])
def test_wrong_options_are_named(options):
    with pytest.raises(LocalblurError, match=next(iter(options))):
        NETWORKS["lbag"](options)

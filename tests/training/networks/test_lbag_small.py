"""lbag-small: gates at three scales, a picture that comes out as it went in before training, no global averages."""

import pytest
import torch
from golden_networks import fill

from localblur.common.errors import LocalblurError
from localblur.training.networks.table import NETWORKS

SMALL = {"width": 8, "num_res": 1}


@torch.no_grad()
def test_it_starts_as_the_identity_with_gates_that_can_learn():
    image = torch.rand(2, 3, 32, 48)
    restored = NETWORKS["lbag-small"](SMALL)(image)
    for step, restored_image in zip((4, 2, 1), restored.images, strict=True):
        torch.testing.assert_close(restored_image, image[..., ::step, ::step], rtol=0, atol=0)
    assert all(float(gate.std()) > 0.0 and 0.1 < float(gate.mean()) < 0.9 for gate in restored.gates)


@torch.no_grad()
def test_the_gate_multiplies_what_is_added():
    network = fill(NETWORKS["lbag-small"](SMALL), 1.0)
    image = torch.rand(1, 3, 32, 32)
    open_gate, closed = (network.get_parameter("heads.2.bias").clone() for _ in range(2))
    open_gate[:4], closed[:4] = 40.0, -40.0
    residuals = []
    for bias in (open_gate, closed):
        network.get_parameter("heads.2.bias").copy_(bias)
        restored = network(image)
        residuals.append(restored.images[-1] - image)
    assert float(residuals[0].abs().mean()) > 1e-3
    assert float(residuals[1].abs().max()) < 1e-9


@torch.no_grad()
def test_a_clamp_opens_the_gate_that_far_and_may_be_kept_from_what_is_returned():
    options = SMALL | {"clamp_gate": 0.3}
    shown = fill(NETWORKS["lbag-small"](options | {"gates_before_clamp": False}), 1.0)
    kept = fill(NETWORKS["lbag-small"](options), 1.0)
    for network in (shown, kept):
        network.get_parameter("heads.2.bias")[:4] = -4.0
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(shown(image).images[-1], kept(image).images[-1])
    assert float(shown(image).gates[-1].min()) == pytest.approx(0.3)
    assert float(kept(image).gates[-1].min()) < 0.1


@torch.no_grad()
def test_only_the_finest_scale_has_a_gate_if_so_wished():
    restored = NETWORKS["lbag-small"](SMALL | {"multiscale_gate": False})(torch.rand(1, 3, 32, 32))
    assert [tuple(gate.shape) for gate in restored.gates] == [(1, 1, 32, 32)]
    assert len(restored.images) == 3


@torch.no_grad()
def test_a_far_corner_changes_nothing_here():
    """No averages over the picture: what a window shows does not depend on what is far outside of it."""
    network = fill(NETWORKS["lbag-small"](SMALL), 1.0).double().eval()
    image = torch.rand(1, 3, 320, 320, dtype=torch.float64)
    other = image.clone()
    other[..., 288:, 288:] = 0
    assert torch.equal(network(image).images[-1][..., :64, :64], network(other).images[-1][..., :64, :64])


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    network = NETWORKS["lbag-small"](SMALL | {"dropout": 0.5, "identity_start": False})
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(network(image).images[-1], network(image).images[-1])
    network.eval()
    assert torch.equal(network(image).images[-1], network(image).images[-1])


@pytest.mark.parametrize("options", [{"width": 30}, {"num_res": 0}, {"clamp_gate": 1.0}, {"blocks": 3}])
def test_wrong_options_are_named(options):
    with pytest.raises(LocalblurError, match=next(iter(options))):
        NETWORKS["lbag-small"](options)

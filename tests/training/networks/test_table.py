"""What holds for every network of the table."""

import pytest
import torch
from golden_networks import fill

from localblur.common.errors import LocalblurError
from localblur.training.networks.base import parameter_count
from localblur.training.networks.table import NETWORKS, network_entry

PARAMETERS = {
    "lbag": 16_109_670,
    "lbag-plus": 16_109_670,
    "lbag-small": 2_295_952,
    "mimo-unet": 6_807_171,
    "mimo-unet-plus": 16_107_651,
    "deepdeblur-k1": 3_903_299,
    "deepdeblur-k2": 7_812_310,
    "deepdeblur-k3": 11_721_321,
    "deblurgan": 11_378_179,
    "restormer": 26_126_644,
    "nafnet-w32": 17_111_907,
    "nafnet-w64": 67_888_835,
    "unet-autoencoder": 8_600_067,
    "tiny": 244_856,
}
SCALES = {"lbag": 3, "lbag-plus": 3, "lbag-small": 3, "mimo-unet": 3, "mimo-unet-plus": 3}
SCALES |= {"deepdeblur-k2": 2, "deepdeblur-k3": 3}
GATES = {"lbag": 3, "lbag-plus": 3, "lbag-small": 3, "tiny": 1}

NARROW_MIMO = {"width": 8, "num_res": 1}
NARROW_DEEPDEBLUR = {"features": 8, "num_res": 1}
NARROW_NAFNET = {"width": 8, "encoder_blocks": [1, 1, 1, 2], "local_pooling": False}
NARROW = {
    "lbag": NARROW_MIMO,
    "lbag-plus": NARROW_MIMO,
    "lbag-small": NARROW_MIMO,
    "mimo-unet": NARROW_MIMO,
    "mimo-unet-plus": NARROW_MIMO,
    "deepdeblur-k1": NARROW_DEEPDEBLUR,
    "deepdeblur-k2": NARROW_DEEPDEBLUR,
    "deepdeblur-k3": NARROW_DEEPDEBLUR,
    "deblurgan": {"width": 8, "num_res": 2, "dropout": 0.0},
    "restormer": {"width": 8, "blocks": [1, 1, 1, 1], "refinement_blocks": 1},
    "nafnet-w32": NARROW_NAFNET,
    "nafnet-w64": NARROW_NAFNET,
    "unet-autoencoder": {"width": 8},
    "tiny": {},
}

everyone = pytest.mark.parametrize("name", NETWORKS)


def narrow(name):
    """A small network of the kind, with weights that let every layer matter."""
    return fill(NETWORKS[name](NARROW[name]), 0.45 if name.startswith("deepdeblur") else 1.0)


def picture(seed=0, height=32, width=48):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(LocalblurError, match="known networks: lbag, lbag-plus, lbag-small, mimo-unet"):
        network_entry("lbga")


@everyone
def test_an_unknown_option_is_named(name):
    with pytest.raises(LocalblurError, match="widht"):
        NETWORKS[name]({"widht": 32})


@everyone
def test_wrong_shapes_are_refused_in_words(name):
    network = narrow(name)
    with pytest.raises(ValueError, match=r"needs \(B, 3, H, W\)"):
        network(torch.zeros(1, 1, 32, 32))
    if network.size_multiple > 1 and not network.pads_itself:
        with pytest.raises(ValueError, match=f"multiples of {network.size_multiple}"):
            network(torch.zeros(1, 3, 32, 32 + network.size_multiple // 2))


@everyone
def test_parameter_counts_are_the_published_ones(name):
    with torch.device("meta"):
        assert parameter_count(NETWORKS[name]()) == PARAMETERS[name]


@everyone
@torch.no_grad()
def test_pictures_and_gates_come_coarse_to_fine(name):
    image = picture()
    restored = narrow(name)(image)
    for outputs, channels, count in (
        (restored.images, 3, SCALES.get(name, 1)),
        (restored.gates, 1, GATES.get(name, 0)),
    ):
        sizes = [(1, channels, image.shape[-2] // step, image.shape[-1] // step) for step in (4, 2, 1)]
        assert [tuple(output.shape) for output in outputs] == sizes[3 - count :]
    assert all(0 < float(gate.min()) <= float(gate.max()) < 1 for gate in restored.gates)


@everyone
@torch.no_grad()
def test_blur_is_found_by_the_coarsest_gate(name):
    network, image = narrow(name), picture()
    if name not in GATES:
        with pytest.raises(ValueError, match="has no gate"):
            network.find_blur(image)
        return
    calls = []
    hooks = [part.register_forward_hook(lambda *_: calls.append(1)) for part in network.modules()]
    coarsest = network(image).gates[0]
    restoring = len(calls)
    torch.testing.assert_close(network.find_blur(image), coarsest, rtol=0, atol=0)
    for hook in hooks:
        hook.remove()
    if GATES[name] == 1:
        return
    assert len(calls) - restoring < 0.9 * restoring
    fine = fill(NETWORKS[name]({**NARROW[name], "multiscale_gate": False}))
    torch.testing.assert_close(fine.find_blur(image), fine(image).gates[-1], rtol=0, atol=0)


@everyone
def test_gradients_reach_every_parameter(name):
    network = narrow(name).train()
    restored = network(picture())
    sum(output.square().mean() for output in (*restored.images, *restored.gates)).backward()
    idle = [key for key, value in network.named_parameters() if value.grad is None or not bool(value.grad.any())]
    # a norm after a convolution takes its bias away again, up to rounding
    assert [key for key in idle if not key.endswith("bias")] == []
    assert all(bool(torch.isfinite(value.grad).all()) for value in network.parameters())


@everyone
@torch.no_grad()
def test_the_memory_layout_changes_nothing(name):
    network, image = narrow(name), picture()
    expected = network(image).images[-1]
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        network(image.contiguous(memory_format=torch.channels_last)).images[-1], expected, rtol=1e-3, atol=1e-4
    )


@everyone
@torch.no_grad()
def test_bfloat16_stays_close(name):
    network, image = narrow(name).to(memory_format=torch.channels_last), picture()
    # those that predict the picture itself, not what to add to it, keep their last layer in float32
    tolerance = 0.01 if name.startswith(("deepdeblur", "unet")) else 0.04
    if name == "lbag-small":
        tolerance = 0.08  # it multiplies features with features, and with these weights its gates hardly vary
    expected = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        restored = network(image)
    for output, reference in zip((*restored.images, *restored.gates), (*expected.images, *expected.gates), strict=True):
        change = float((reference - reference.mean()).std())
        assert float((output.float() - reference).std()) < tolerance * change
    assert all(output.dtype == torch.float32 for output in (restored.images[-1], *restored.gates))


@everyone
@torch.no_grad()
def test_one_picture_of_a_batch_does_not_touch_another(name):
    network = narrow(name)
    pictures = torch.cat([picture(0), picture(1)])
    together = network(pictures).images[-1]
    torch.testing.assert_close(together[1:], network(pictures[1:]).images[-1], rtol=1e-3, atol=1e-4)


@everyone
@torch.no_grad()
def test_global_statistics_are_declared_where_they_are(name):
    """A change in one corner reaches the opposite corner of a wide picture exactly where an average is global."""
    network = narrow(name)
    image = picture(height=32, width=1024)
    other = image.clone()
    other[..., :16] = 0.5
    change = (network(image).images[-1] - network(other).images[-1])[..., -32:].abs().max()
    assert (float(change) > 1e-5) == network.global_statistics


def test_every_default_builds_from_its_resolved_options():
    for entry in NETWORKS.values():
        options = entry.resolve().model_dump(mode="json")
        assert entry.resolve(options) == entry.resolve()

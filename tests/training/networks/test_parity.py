"""Networks against outputs of the published code: some values stored here, all of them beside the checkout."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_networks import fill, golden_image

from localblur.training.networks.deblurgan import PatchCritic
from localblur.training.networks.deepdeblur_discriminator import DeepDeblurDiscriminator
from localblur.training.networks.table import NETWORKS

GOLDEN = Path(__file__).parents[1] / "golden"


def scales(network, image):
    return {f"out_s{scale}": output for scale, output in zip("421", network(image).images, strict=True)}


def deepdeblur(network, image):
    return {name: 255 * output for name, output in scales(network, image).items()}


def deblurgan(network, image):
    return {
        "out_eval_instance": 2 * network(image).images[-1] - 1,
        "tanh_only_instance": network.model(2 * image - 1),
    }


def nafnet(network, image):
    return {"out": network(image).images[-1], "out_odd": network(image[..., :61, :91]).images[-1]}


def logits(network, image):
    return {"logit": network(image), "logit_b": network(1 - image)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network: how to build and run it, and how close it must come."""

    build: Callable[[], torch.nn.Module]
    run: Callable[..., dict[str, torch.Tensor]]
    tolerance: float
    gain: float = 1.0
    size: tuple[int, int] = (64, 96)


CASES = {
    "mimo_unet": Case(build=NETWORKS["mimo-unet"], run=scales, tolerance=3e-5),
    "mimo_unet_plus": Case(build=NETWORKS["mimo-unet-plus"], run=scales, tolerance=3e-4),
    "deepdeblur_msresnet": Case(build=NETWORKS["deepdeblur-k3"], run=deepdeblur, tolerance=1e-3, gain=0.45),
    "deepdeblur_discriminator": Case(
        build=DeepDeblurDiscriminator, run=logits, tolerance=1e-2, gain=12.0, size=(256, 256)
    ),
    "deblurgan_resnet9": Case(build=NETWORKS["deblurgan"], run=deblurgan, tolerance=2e-5),
    "deblurgan_patchgan": Case(
        build=PatchCritic, run=lambda network, image: {"score_instance": network(image)}, tolerance=2e-5
    ),
    "restormer": Case(
        build=NETWORKS["restormer"], run=lambda network, image: {"out": network(image).images[-1]}, tolerance=2e-5
    ),
    "nafnet_w32": Case(build=NETWORKS["nafnet-w32"], run=nafnet, tolerance=3e-5),
    "nafnet_w32_tlc": Case(
        build=NETWORKS["nafnet-w32"],
        run=lambda network, image: {"out_local": network(image).images[-1]},
        tolerance=3e-5,
        size=(64, 480),
    ),
}


@cache
def outputs_and_shapes(name):
    """What the network gives, by name in the reference file, and the shapes of its weights; run once for all tests."""
    case = CASES[name]
    with torch.no_grad():
        network = fill(case.build(), case.gain)
        outputs = {member: output.numpy() for member, output in case.run(network, golden_image(*case.size)).items()}
    return outputs, {key: list(value.shape) for key, value in network.state_dict().items()}


def stride(shape):
    """Small outputs are stored whole, of others every third (of the largest every seventh) value."""
    if shape[-2] * shape[-1] < 500:
        return 1
    return 7 if shape[-1] > 400 else 3


@pytest.mark.parametrize("name", CASES)
def test_networks_compute_what_the_published_code_computes(name):
    reference = np.load(GOLDEN / "networks.npz")
    for member, output in outputs_and_shapes(name)[0].items():
        step = stride(output.shape)
        sample = output[..., ::step, ::step]
        np.testing.assert_allclose(sample, reference[f"{name}.{member}"], rtol=0, atol=CASES[name].tolerance)


@pytest.mark.parametrize("name", CASES)
def test_all_values_equal_those_beside_the_checkout(name, shared):
    reference = np.load(shared / "golden" / f"{name}.npz")
    for member, output in outputs_and_shapes(name)[0].items():
        np.testing.assert_allclose(output, reference[member], rtol=0, atol=CASES[name].tolerance)


def test_local_averages_matter_on_large_images_and_can_be_switched_off():
    reference = np.load(GOLDEN / "networks.npz")
    with torch.no_grad():
        network = fill(NETWORKS["nafnet-w32"]({"local_pooling": False}))
        output = network(golden_image(64, 480)).images[-1].numpy()[..., ::7, ::7]
    np.testing.assert_allclose(output, reference["nafnet_w32_tlc.out_global"], rtol=0, atol=3e-5)
    assert np.abs(output - reference["nafnet_w32_tlc.out_local"]).max() > 3e-4


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"nafnet_w32_tlc"}))
def test_keys_and_shapes_are_those_of_published_checkpoints(name):
    expected = json.loads((GOLDEN / "networks.keys.json").read_text())[name]
    unused = {key for key in expected if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert outputs_and_shapes(name)[1] == {key: shape for key, shape in expected.items() if key not in unused}
    assert not unused or name.startswith("deblurgan")

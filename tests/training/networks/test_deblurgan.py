"""DeblurGAN's generator and critic beyond their parity with published outputs."""

import torch
from golden_networks import fill

from localblur.training.networks.base import parameter_count
from localblur.training.networks.deblurgan import PatchCritic
from localblur.training.networks.table import NETWORKS

NARROW = {"width": 8, "num_res": 2}


def test_the_critic_has_its_published_size():
    with torch.device("meta"):
        assert parameter_count(PatchCritic()) == 2_764_737


@torch.no_grad()
def test_dropout_acts_in_training_only_and_statistics_are_those_of_the_image_in_both():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 16, 16)
    network = fill(NETWORKS["deblurgan"](NARROW))
    still = network(image).images[0]
    assert torch.equal(network(image).images[0], still)
    network.train()
    assert not torch.equal(network(image).images[0], network(image).images[0])
    without = fill(NETWORKS["deblurgan"]({**NARROW, "dropout": 0.0})).train()
    torch.testing.assert_close(without(image).images[0], still)


@torch.no_grad()
def test_the_result_is_clamped():
    network = fill(NETWORKS["deblurgan"](NARROW), gain=3.0)
    for image in (torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16), torch.rand(1, 3, 16, 16)):
        restored = network(image).images[0]
        assert 0 <= float(restored.min()) <= float(restored.max()) <= 1


def test_fresh_weights_are_small_and_without_bias():
    torch.manual_seed(0)
    for module in (NETWORKS["deblurgan"](), PatchCritic()):
        for key, value in module.named_parameters():
            if key.endswith("bias"):
                assert not bool(value.any())
            else:
                assert abs(float(value.detach().std()) - 0.02) < 0.001

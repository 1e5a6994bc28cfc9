"""DeepDeblur: its pyramid, and fewer scales as parts of three."""

import pytest
import torch
from golden_networks import fill, golden_image
from skimage.transform import pyramid_gaussian

from localblur.training.networks.deepdeblur_discriminator import DeepDeblurDiscriminator
from localblur.training.networks.pyramid import pyramid
from localblur.training.networks.table import NETWORKS

NARROW = {"features": 8, "num_res": 2}


@pytest.mark.parametrize("size", [(32, 48), (4, 8)])
def test_the_pyramid_is_that_of_scikit_image(size):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = pyramid_gaussian(image[0].permute(1, 2, 0).numpy(), max_layer=2, channel_axis=-1)
    for level, reference in zip(pyramid(image, 3), expected, strict=True):
        torch.testing.assert_close(
            level[0].permute(1, 2, 0), torch.from_numpy(reference.copy()), rtol=0, atol=1e-12, check_dtype=False
        )


@torch.no_grad()
@pytest.mark.parametrize("scales", [1, 2])
def test_fewer_scales_are_the_coarse_part_of_three(scales):
    """A network of K scales, shown the picture three scales see at their K-th coarsest, gives what those give there."""
    three = fill(NETWORKS["deepdeblur-k3"](NARROW), gain=0.45)
    few = NETWORKS[f"deepdeblur-k{scales}"](NARROW)
    dropped = 3 - scales
    few.load_state_dict(
        {key: three.state_dict()[_moved(key, dropped)] for key in few.state_dict()},
    )
    image = golden_image()
    restored = few.eval()(pyramid(image, 3)[dropped]).images
    for output, expected in zip(restored, three(image).images[:scales], strict=True):
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def _moved(key, dropped):
    """The name, in the network of three scales, of what stands `dropped` scales finer in a smaller one."""
    models, scale, rest = key.split(".", 2)
    return f"{models}.{int(scale) + dropped}.{rest}"


@torch.no_grad()
def test_there_is_no_path_around_the_layers():
    network = NETWORKS["deepdeblur-k1"](NARROW)
    for value in network.parameters():
        value.zero_()
    assert torch.equal(network(torch.rand(1, 3, 8, 8)).images[0], torch.full((1, 3, 8, 8), 0.5))


def test_the_discriminator_scores_every_256_pixels_and_refuses_less():
    with torch.device("meta"):
        discriminator = DeepDeblurDiscriminator()
        assert discriminator(torch.zeros(2, 3, 256, 512)).shape == (2, 1, 1, 2)
        with pytest.raises(ValueError, match="256 x 256"):
            discriminator(torch.zeros(1, 3, 256, 128))

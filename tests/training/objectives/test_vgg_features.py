"""Perceptual features: the layers, the weights file, the range."""

import hashlib

import pytest
import torch
import torch.nn.functional as F
from golden_networks import golden_weight

from localblur.common.errors import LocalblurError
from localblur.training.objectives.vgg_features import VGGFeatures, download_vgg19, load_vgg_features

# position in torchvision's `features`, inputs, outputs
VGG19 = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)]
VGG19 += [(16, 256, 256), (19, 256, 512)] + [(position, 512, 512) for position in (21, 23, 25, 28, 30, 32, 34)]
VGG16_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
CLASSIFIER = [(0, 25088, 4096), (3, 4096, 4096), (6, 4096, 1000)]


def weights_like(layers):
    """A file's tensors; those beyond the seventh convolution take no room."""
    state = {}
    for index, (position, inputs, outputs) in enumerate(layers):
        name = f"features.{position}"
        state[f"{name}.bias"] = golden_weight(f"{name}.bias", (outputs,))
        shape = (outputs, inputs, 3, 3)
        state[f"{name}.weight"] = golden_weight(f"{name}.weight", shape) if index < 7 else torch.zeros(1).expand(shape)
    for position, inputs, outputs in CLASSIFIER:
        state[f"classifier.{position}.weight"] = torch.zeros(1).expand(outputs, inputs)
        state[f"classifier.{position}.bias"] = torch.zeros(outputs)
    return state


@pytest.fixture(scope="module")
def weights():
    return weights_like(VGG19)


@pytest.fixture(scope="module")
def path(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(weights, path)
    return path


def by_hand(image, weights):
    features = image
    for position, _, _ in VGG19[:7]:
        features = F.conv2d(
            features, weights[f"features.{position}.weight"], weights[f"features.{position}.bias"], padding=1
        )
        if position < 14:
            features = F.relu(features)
        if position in (2, 7):
            features = F.max_pool2d(features, 2)
    return features


def test_features_are_those_of_the_seventh_convolution(path, weights):
    image = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    features = load_vgg_features(path)(image)
    assert features.shape == (2, 256, 4, 6)
    assert float(features.min()) < 0  # before the ReLU
    torch.testing.assert_close(features, by_hand(2 * image - 1, weights))


def test_imagenet_range(path, weights):
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = by_hand((image - mean) / deviation, weights)
    torch.testing.assert_close(load_vgg_features(path, "imagenet")(image), expected)


def test_pictures_get_gradients_and_weights_do_not(path):
    network = load_vgg_features(path)
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    network(image).square().sum().backward()
    assert image.grad is not None
    assert bool(image.grad.any())
    assert not any(value.requires_grad for value in network.parameters())
    assert not network.training
    assert not network.train().training  # whoever trains around it


def test_vgg16_is_refused_although_its_first_layers_would_fit(tmp_path):
    layers = [
        (position, inputs, outputs) for position, (_, inputs, outputs) in zip(VGG16_POSITIONS, VGG19, strict=False)
    ]
    torch.save(weights_like(layers), tmp_path / "vgg16.pth")
    with pytest.raises(LocalblurError, match=r"does not hold torchvision's VGG19: \d+ keys differ"):
        load_vgg_features(tmp_path / "vgg16.pth")


def test_misshapen_weights_are_refused(weights, tmp_path):
    torch.save(weights | {"features.14.bias": torch.zeros(3)}, tmp_path / "vgg19.pth")
    with pytest.raises(LocalblurError, match=r"1 misshapen.*features\.14\.bias"):
        load_vgg_features(tmp_path / "vgg19.pth")


def test_a_download_is_checked_and_kept(tmp_path, path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = tmp_path / "weights"
    fetched = download_vgg19(folder, path.as_uri(), digest[:8])
    assert fetched.read_bytes() == path.read_bytes()
    fetched.write_bytes(b"kept")
    assert download_vgg19(folder, path.as_uri(), digest[:8]).read_bytes() == b"kept"


def test_a_download_that_is_something_else_leaves_nothing(tmp_path, path):
    with pytest.raises(LocalblurError, match="invalid hash"):
        download_vgg19(tmp_path, path.as_uri())
    with pytest.raises(LocalblurError, match="cannot download"):
        download_vgg19(tmp_path, (tmp_path / "absent.pth").as_uri())
    assert list(tmp_path.iterdir()) == []


def test_fresh_layers_stand_where_torchvision_has_them():
    with torch.device("meta"):
        own = VGGFeatures().state_dict()
    assert set(own) == {f"features.{position}.{part}" for position, *_ in VGG19[:7] for part in ("weight", "bias")}

"""The autoencoder against Keras' definition of its layers, computed by hand."""

import numpy as np
import torch

from localblur.training.networks.table import NETWORKS
from localblur.training.networks.unet_autoencoder import Down, Up


def keras_convolution(image, weights, stride):
    """Keras Conv2D with 'same' padding: (C, H, W), weights (outputs, C, 3, 3); what is odd is padded at the end."""
    _, height, width = image.shape
    rows, columns = -(-height // stride), -(-width // stride)
    before = [max((n - 1) * stride + 3 - size, 0) // 2 for n, size in ((rows, height), (columns, width))]
    padded = np.pad(image, ((0, 0), (before[0], 3), (before[1], 3)))
    result = np.empty((len(weights), rows, columns))
    for y, x in np.ndindex(rows, columns):
        window = padded[:, y * stride : y * stride + 3, x * stride : x * stride + 3]
        result[:, y, x] = np.einsum("cij,ocij->o", window, weights)
    return result


def keras_transposed(image, weights, stride):
    """Keras Conv2DTranspose with 'same' padding: the transpose of `keras_convolution` as a linear map."""
    channels, outputs = weights.shape[:2]
    height, width = image.shape[1] * stride, image.shape[2] * stride
    result = np.zeros(outputs * height * width)
    for index in range(result.size):
        unit = np.zeros(result.size)
        unit[index] = 1
        result[index] = (keras_convolution(unit.reshape(outputs, height, width), weights, stride) * image).sum()
    assert channels == image.shape[0]
    return result.reshape(outputs, height, width)


def activated(values):
    """A fresh norm in evaluation, and ReLU."""
    return np.maximum(values / np.sqrt(1 + 1e-3), 0)


@torch.no_grad()
def test_downward_layers_pad_as_keras_does():
    torch.manual_seed(0)
    image = torch.rand(1, 2, 8, 6)
    for stride in (1, 2):
        layer = Down(2, 3, stride=stride).eval()
        torch.nn.init.zeros_(layer.conv.bias)
        expected = activated(keras_convolution(image[0].numpy(), layer.conv.weight.numpy(), stride))
        np.testing.assert_allclose(layer(image)[0], expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_upward_layers_are_cut_as_keras_does():
    torch.manual_seed(0)
    image = torch.rand(1, 2, 4, 3)
    layer = Up(2, 3).eval()
    torch.nn.init.zeros_(layer.conv.bias)
    expected = activated(keras_transposed(image[0].numpy(), layer.conv.weight.numpy(), 2))
    np.testing.assert_allclose(layer(image)[0], expected, rtol=0, atol=1e-6)
    network = NETWORKS["unet-autoencoder"]({"width": 2})
    head = network.head.weight.numpy()
    expected = keras_transposed(image[0].numpy(), head, 1)
    np.testing.assert_allclose(network.head(image)[0], expected, rtol=0, atol=1e-6)


def test_values_counted_as_keras_counts_them():
    with torch.device("meta"):
        state = NETWORKS["unet-autoencoder"]().state_dict()
    assert sum(value.numel() for value in state.values() if value.ndim) == 8_604_931


def test_running_statistics_move_as_in_keras():
    layer = Down(1, 1, stride=1)
    torch.nn.init.zeros_(layer.conv.weight)
    torch.nn.init.constant_(layer.conv.bias, 5.0)
    layer(torch.rand(1, 1, 8, 8))
    np.testing.assert_allclose(layer.norm.running_mean, [0.99 * 0 + 0.01 * 5], rtol=1e-6)

"""VGG19 up to its seventh convolution (conv3_3, before the ReLU), for perceptual losses.

The layers are built here; only torchvision's weight file is needed, given by the user or downloaded on request.

References: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015;
Kupyn et al., "DeblurGAN", CVPR 2018, for the layer and the range.
"""

from pathlib import Path
from typing import Literal, Self

import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import fit_weights
from localblur.training.published_weights import read_weights

VGG19_NAME = "vgg19-dcbb9e9d.pth"
WEIGHTS_URL = f"https://download.pytorch.org/models/{VGG19_NAME}"
WEIGHTS_SHA256 = "dcbb9e9d"
"""The first digits of the file's SHA-256, which torchvision publishes in its name."""

InputRange = Literal["signed", "imagenet"]

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512))
_CONV3_3 = 14
_SHOWN: dict[InputRange, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation that are taken from the pictures, per colour."""


class VGGFeatures(nn.Module):
    """Features (B, 256, H / 4, W / 4) of pictures (B, 3, H, W) in [0, 1].

    Its weights are not trained; gradients reach the pictures.

    Args:
        input_range: what the network is shown: "signed" is [-1, 1], as DeblurGAN was trained; "imagenet" has ImageNet's
            mean and deviation, as VGG19 itself was.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, input_range: InputRange = "signed") -> None:
        super().__init__()
        self.features = _layers()
        mean, deviation = _SHOWN[input_range]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, also as a part of something that is trained."""
        return super().train(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The features, before the ReLU."""
        result: torch.Tensor = self.features((image - self.mean) / self.deviation)
        return result


def load_vgg_features(path: Path, input_range: InputRange = "signed") -> VGGFeatures:
    """Build `VGGFeatures` with the weights in torchvision's file of VGG19.

    The whole file is compared with VGG19, not only the layers used: VGG16 has the same first layers in shape.

    Raises:
        LocalblurError: if the file cannot be read, or is not that of VGG19.
    """
    weights = read_weights(path)
    strange = weights.keys() ^ _vgg19_keys()
    if strange:
        raise LocalblurError(
            f"{path} does not hold torchvision's VGG19: {len(strange)} keys differ (first: {min(strange)}); download"
            f" {WEIGHTS_URL}"
        )
    network = VGGFeatures(input_range)
    used = network.state_dict().keys()
    fit_weights(network, {key: value for key, value in weights.items() if key in used}, str(path))
    return network


def download_vgg19(folder: Path, url: str = WEIGHTS_URL, sha256: str = WEIGHTS_SHA256) -> Path:
    """Download torchvision's weights of VGG19 (548 MB) into `folder` unless they are there.

    Args:
        folder: created if needed.
        url: where they are.
        sha256: first digits of the checksum the file must have.

    Raises:
        LocalblurError: if the download fails or is not the published file; nothing is left behind.
    """
    target = folder / url.rsplit("/", 1)[1]
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(target), hash_prefix=sha256)
    except (OSError, RuntimeError) as error:
        raise LocalblurError(
            f"cannot download {url} ({error}); download it by other means and give its path"
        ) from error
    return target


def _layers() -> nn.Sequential:
    """The first layers, at the positions they have in torchvision's `features`."""
    layers: list[nn.Module] = []
    inputs = 3
    for block in _BLOCKS:
        for outputs in block:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[: _CONV3_3 + 1])


def _vgg19_keys() -> set[str]:
    positions: list[int] = []
    position = 0
    for block in _BLOCKS:
        positions += [position + 2 * index for index in range(len(block))]
        position += 2 * len(block) + 1
    layers = [f"features.{index}" for index in positions] + [f"classifier.{index}" for index in (0, 3, 6)]
    return {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}

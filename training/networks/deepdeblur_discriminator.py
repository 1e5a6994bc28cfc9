"""The discriminator of DeepDeblur's optional adversarial loss.

Reference: Nah et al., "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017.
"""

import torch
from torch import nn

# outputs, kernel, stride, padding
_LAYERS = (
    (32, 5, 1, 2),
    (32, 5, 2, 2),
    (64, 5, 1, 2),
    (64, 5, 2, 2),
    (128, 5, 1, 2),
    (128, 5, 4, 2),
    (256, 5, 1, 2),
    (256, 5, 4, 2),
    (512, 5, 1, 2),
    (512, 4, 4, 0),
)


class DeepDeblurDiscriminator(nn.Module):
    """Scores (B, 3, H, W) pictures in [0, 1]: (B, 1, h, w) logits, one for every 256 x 256 pixels.

    Attribute names are those of the published checkpoints. Inside, pictures are in [0, 255], without a mean removed, as
    published.
    """

    size_multiple = 256

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *(outputs for outputs, *_ in _LAYERS))
        self.conv_layers = nn.ModuleList(
            nn.Conv2d(channels, outputs, kernel, stride=stride, padding=padding, bias=False)
            for channels, (outputs, kernel, stride, padding) in zip(inputs[:-1], _LAYERS, strict=True)
        )
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        self.dense = nn.Conv2d(_LAYERS[-1][0], 1, 1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits; above 0 the picture is taken for a sharp one."""
        if min(image.shape[-2:]) < self.size_multiple:
            raise ValueError(
                f"the discriminator needs at least 256 x 256 px, got {tuple(image.shape)}; use larger patches"
            )
        features = 255 * image
        for layer in self.conv_layers:
            features = self.activation(layer(features))
        result: torch.Tensor = self.dense(features)
        return result

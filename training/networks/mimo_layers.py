"""The multi-input multi-output U-Net that MIMO-UNet, MIMO-UNet+ and LBAG share.

Attribute names (`Encoder`, `feat_extract`, `AFFs`, ...) are those of the published checkpoints, so that their keys load
as they are; the comments say what each one is.

Reference: Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from localblur.training.networks.base import RestorationNetwork


def half(features: torch.Tensor) -> torch.Tensor:
    """Every second row and column, from the top left."""
    return F.interpolate(features, scale_factor=0.5, mode="nearest")


class Conv(nn.Module):
    """Zero-padded convolution that keeps (or, with `stride`, divides) the size, with an optional ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)]
        if relu:
            layers.append(nn.ReLU(inplace=True))
        self.main = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.main(features)
        return result


class Upsample(nn.Module):
    """Transposed convolution that doubles the size, with a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.main(features)
        return result


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around an identity; no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(Conv(channels, channels, 3), Conv(channels, channels, 3, relu=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.main(features)
        return result


class ResidualStack(nn.Module):
    """`count` residual blocks in a row."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(features)
        return result


class ShallowFeatures(nn.Module):
    """Features of a reduced input image (the paper's SCM); the image itself is kept as the first three channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            Conv(3, channels // 4, 3),
            Conv(channels // 4, channels // 2, 1),
            Conv(channels // 2, channels // 2, 3),
            Conv(channels // 2, channels - 3, 1),
        )
        self.conv = Conv(channels, channels, 1, relu=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(torch.cat([image, self.main(image)], dim=1))
        return result


class FeatureAttention(nn.Module):
    """Merges encoder features with those of the reduced image through their product (the paper's FAM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = Conv(channels, channels, 3, relu=False)

    def forward(self, features: torch.Tensor, shallow: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.merge(features * shallow)
        return result


class ScaleFusion(nn.Module):
    """Fuses the features of all three scales, brought to one of their sizes, for a skip connection (the paper's AFF).

    Published as: resize all to one size (nearest), concatenate, 1 x 1 convolution. A 1 x 1 convolution and a nearest
    resize commute, so each scale is convolved with its share of the weights at its own size when it is to be enlarged:
    the same values without the largest tensor of the network, which took a tenth of a training step.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(Conv(inputs, outputs, 1), Conv(outputs, outputs, 3, relu=False))

    def forward(self, scales: list[torch.Tensor], size: torch.Size) -> torch.Tensor:
        """Fuse `scales`, in the order of the published concatenation, at `size` (height, width)."""
        mix = cast(nn.Conv2d, cast(Conv, self.conv[0]).main[0])
        weights = torch.split(mix.weight, [scale.shape[1] for scale in scales], dim=1)
        shares: list[torch.Tensor] = []
        for scale, weight in zip(scales, weights, strict=True):
            if scale.shape[-2] > size[0]:
                scale = F.interpolate(scale, size=size, mode="nearest")
            share = F.conv2d(scale, weight, None if shares else mix.bias)
            shares.append(share if share.shape[-2:] == size else F.interpolate(share, size=size, mode="nearest"))
        fused = shares[0] + shares[1] + shares[2]
        result: torch.Tensor = self.conv[1](F.relu(fused))
        return result


class MIMOTrunk(RestorationNetwork):
    """Encoder and decoder over three scales, with one prediction head per scale.

    Args:
        width: channels at full size; doubled at 1/2 and again at 1/4.
        num_res: residual blocks per scale, in the encoder and again in the decoder.
        head_channels: channels each head predicts.
        dropout: probability with which a channel of the fused skip features is dropped in training.
    """

    size_multiple = 4

    def __init__(self, *, width: int, num_res: int, head_channels: int, dropout: float) -> None:
        super().__init__()
        fine, middle, coarse = width, 2 * width, 4 * width
        every = fine + middle + coarse
        self.Encoder = nn.ModuleList(ResidualStack(channels, num_res) for channels in (fine, middle, coarse))
        self.feat_extract = nn.ModuleList(
            [
                Conv(3, fine, 3),
                Conv(fine, middle, 3, stride=2),
                Conv(middle, coarse, 3, stride=2),
                Upsample(coarse, middle),
                Upsample(middle, fine),
                Conv(fine, head_channels, 3, relu=False),  # the full-size head
            ]
        )
        self.Decoder = nn.ModuleList(ResidualStack(channels, num_res) for channels in (coarse, middle, fine))
        # squeeze skip and upsampled features together: at 1/2, at full size
        self.Convs = nn.ModuleList([Conv(2 * middle, middle, 1), Conv(2 * fine, fine, 1)])
        # the heads at 1/4 and at 1/2
        self.ConvsOut = nn.ModuleList(
            [Conv(coarse, head_channels, 3, relu=False), Conv(middle, head_channels, 3, relu=False)]
        )
        self.AFFs = nn.ModuleList([ScaleFusion(every, fine), ScaleFusion(every, middle)])
        self.FAM1, self.SCM1 = FeatureAttention(coarse), ShallowFeatures(coarse)
        self.FAM2, self.SCM2 = FeatureAttention(middle), ShallowFeatures(middle)
        self.drop1, self.drop2 = nn.Dropout2d(dropout), nn.Dropout2d(dropout)

    def predict(self, image: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Run trunk and heads.

        Args:
            image: (B, 3, H, W), H and W multiples of 4.

        Returns:
            The image at 1/4, 1/2 and full size, and the heads' predictions (B, head_channels, h, w) of the same sizes.
        """
        self.check_size(image)
        image_2 = half(image)
        image_4 = half(image_2)
        fine, middle, coarse = self._encode(image, image_2, image_4)
        skip_fine, skip_middle = self._fuse(fine, middle, coarse)
        head_4, head_2, head_1 = self._decode(self.drop1(skip_fine), self.drop2(skip_middle), coarse)
        return [image_4, image_2, image], [head_4, head_2, head_1]

    def predict_coarsest(self, image: torch.Tensor) -> torch.Tensor:
        """The prediction at 1/4 alone, as `predict` makes it; little of the decoder has to run."""
        self.check_size(image)
        image_2 = half(image)
        _, _, coarse = self._encode(image, image_2, half(image_2))
        result: torch.Tensor = self.ConvsOut[0](self.Decoder[0](coarse))
        return result

    def _encode(
        self, image: torch.Tensor, image_2: torch.Tensor, image_4: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fine = self.Encoder[0](self.feat_extract[0](image))
        middle = self.Encoder[1](self.FAM2(self.feat_extract[1](fine), self.SCM2(image_2)))
        coarse = self.Encoder[2](self.FAM1(self.feat_extract[2](middle), self.SCM1(image_4)))
        return fine, middle, coarse

    def _fuse(
        self, fine: torch.Tensor, middle: torch.Tensor, coarse: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scales = [fine, middle, coarse]
        return self.AFFs[0](scales, fine.shape[-2:]), self.AFFs[1](scales, middle.shape[-2:])

    def _decode(
        self, skip_fine: torch.Tensor, skip_middle: torch.Tensor, coarse: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        coarse = self.Decoder[0](coarse)
        middle = self.Convs[0](torch.cat([self.feat_extract[3](coarse), skip_middle], dim=1))
        middle = self.Decoder[1](middle)
        fine = self.Convs[1](torch.cat([self.feat_extract[4](middle), skip_fine], dim=1))
        fine = self.Decoder[2](fine)
        return self.ConvsOut[0](coarse), self.ConvsOut[1](middle), self.feat_extract[5](fine)

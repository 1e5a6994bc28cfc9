"""Squared difference of what VGG19 sees in the restored and in the sharp picture.

Reference: Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR 2018.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from localblur.common.errors import LocalblurError
from localblur.training.objectives.vgg_features import load_vgg_features


class PerceptualLoss:
    """Mean squared difference of conv3_3 features (before the ReLU); float32 whatever the pictures are.

    Args:
        weights: torchvision's vgg19 file.
        device: where it is computed.

    Raises:
        LocalblurError: if there is no such file, or it holds something else.
    """

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        if weights is None:
            raise LocalblurError("a perceptual loss needs VGG19's weights; set objective.vgg_weights")
        self.features = load_vgg_features(weights).to(device)

    def __call__(self, restored: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
        """(), with gradient into `restored`; both (B, 3, H, W) in [0, 1]."""
        with torch.autocast(restored.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.features(sharp.float())
            return F.mse_loss(self.features(restored.float()), wanted)

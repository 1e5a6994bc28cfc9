"""LBAG: MIMO-UNet+ whose heads also predict where the image is blurred, and restore only there.

Reference: Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023.
"""

import torch
from pydantic import Field
from torch import nn

from localblur.common.settings import Settings
from localblur.training.networks.base import Restored
from localblur.training.networks.gated import apply_gate, gated
from localblur.training.networks.mimo_layers import MIMOTrunk


class LBAGOptions(Settings):
    """The published network.

    Attributes:
        width: channels at full size.
        num_res: residual blocks per scale and direction.
        clamp_gate: smallest value of a gate. The published 0.1 lets a tenth of the residual through everywhere, in
            training and at test; 0 switches the clamp off.
        gates_before_clamp: return the gates as they are before the clamp; the residual is clamped in any case. Where a
            clamped gate stands on its bound it has no gradient: a pixel once taken for sharp can never be corrected.
            Not as published, and better for training.
        multiscale_gate: gates at all three scales; otherwise only at full size.
        dropout: channel dropout on the fused skip features, in training only.
        identity_start: begin training with a residual of zero instead of a random one, which in a run of a few minutes
            takes a quarter of the time to unlearn. Says nothing about a trained network.
    """

    width: int = Field(default=32, ge=8, multiple_of=4)
    num_res: int = Field(default=20, ge=1)
    clamp_gate: float = Field(default=0.1, ge=0, lt=1)
    gates_before_clamp: bool = False
    multiscale_gate: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)
    identity_start: bool = False


class LBAG(MIMOTrunk):
    """Local blur-aware gated network. State-dict keys are those of the published checkpoints."""

    def __init__(self, options: LBAGOptions) -> None:
        super().__init__(width=options.width, num_res=options.num_res, head_channels=4, dropout=options.dropout)
        self.clamp_gate = options.clamp_gate
        self.gates_before_clamp = options.gates_before_clamp
        self.multiscale_gate = options.multiscale_gate
        if options.identity_start:
            for head in (self.ConvsOut[0], self.ConvsOut[1], self.feat_extract[5]):
                for values in head.parameters():
                    nn.init.zeros_(values[1:])  # the gate's row keeps its random start

    def forward(self, image: torch.Tensor) -> Restored:
        """Restore `image`, (B, 3, H, W) with H and W multiples of 4, at 1/4, 1/2 and full size."""
        inputs, heads = self.predict(image)
        return gated(
            inputs,
            heads,
            self.clamp_gate,
            before_clamp=self.gates_before_clamp,
            every_scale=self.multiscale_gate,
        )

    def find_blur(self, image: torch.Tensor) -> torch.Tensor:
        """See `RestorationNetwork`; stops at 1/4 size where there is a gate."""
        if not self.multiscale_gate:
            return super().find_blur(image)
        predicted = self.predict_coarsest(image)
        return apply_gate(predicted, self.clamp_gate, before_clamp=self.gates_before_clamp)[0]

"""What a training step minimises, as settings: a weighted sum of terms. A weight of 0 leaves a term out."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from localblur.common.settings import Settings


class AdversarialSettings(Settings):
    """A critic that learns to tell restored from sharp pictures, and a network that learns to please it.

    Attributes:
        kind: `vanilla` is binary cross entropy; `wgan-gp` the Wasserstein distance with a gradient penalty.
        critic: `deepdeblur` gives one score for every 256 x 256 pixels, `patch` is DeblurGAN's.
        weight: of the network's share, beside the other terms.
        critic_steps: updates of the critic before each update of the network, on the same batch.
        penalty_weight: of the gradient penalty, of `wgan-gp` only.
        lr: the critic's learning rate, scheduled like the network's; None takes `optimizer.lr`.
    """

    kind: Literal["vanilla", "wgan-gp"] = "vanilla"
    critic: Literal["deepdeblur", "patch"] = "deepdeblur"
    weight: float = Field(default=1e-4, gt=0)
    critic_steps: int = Field(default=1, ge=1)
    penalty_weight: float = Field(default=10.0, ge=0)
    lr: float | None = Field(default=None, gt=0)


class ObjectiveSettings(Settings):
    """Weights of all terms, and how they are computed. Defaults are LBAG's, but for the targets of coarse gates.

    Attributes:
        l1_weight, mse_weight, charbonnier_weight, psnr_weight, ssim_weight, fft_weight, fft_components_weight: of the
            terms of `training/objectives/losses.py`, each a mean over the batch, summed over the scales. SSIM counts
            as -SSIM, PSNR as -PSNR in dB.
        scales: `all` of the network's outputs, or only the `finest`.
        coarse_target: how the sharp picture becomes smaller: `bilinear` between pixel centres without smoothing, as
            LBAG and MIMO-UNet; `gaussian`, the pyramid of DeepDeblur; or the mean over `area`.
        shift_invariant: compare with the best of nine one-pixel shifts of the target.
        gate_weight: of the gates' error, summed over the gates. As published: 0.1.
        gate_error: squared error as published, or binary cross entropy, whose pull does not fade where a gate is wrong
            and sure of it. Whether gates are taught before their lower limit is decided by the network
            (`network.options.gates_before_clamp`).
        gate_target: a coarse gate's target: the blurred share of its `area`, or the `nearest` mask value as published.
        outside_weight: of the mean absolute change where the mask says sharp, at full size.
        outside_ramp: shares of the run between which that weight grows from 0 to `outside_weight`. A network that pays
            for every change from the beginning learns to change nothing.
        perceptual_weight: of the squared difference of VGG19's conv3_3 features; needs `vgg_weights`.
        vgg_weights: torchvision's vgg19 weight file.
        adversarial: None, or a critic beside the network.
    """

    l1_weight: float = Field(default=1.0, ge=0)
    mse_weight: float = Field(default=0.0, ge=0)
    charbonnier_weight: float = Field(default=0.0, ge=0)
    psnr_weight: float = Field(default=0.0, ge=0)
    ssim_weight: float = Field(default=1.0, ge=0)
    fft_weight: float = Field(default=0.1, ge=0)
    fft_components_weight: float = Field(default=0.0, ge=0)
    scales: Literal["all", "finest"] = "all"
    coarse_target: Literal["bilinear", "gaussian", "area"] = "bilinear"
    shift_invariant: bool = True
    gate_weight: float = Field(default=0.1, ge=0)
    gate_error: Literal["mse", "bce"] = "mse"
    gate_target: Literal["area", "nearest"] = "area"
    outside_weight: float = Field(default=0.0, ge=0)
    outside_ramp: tuple[float, float] = (0.0, 0.0)
    perceptual_weight: float = Field(default=0.0, ge=0)
    vgg_weights: Path | None = None
    adversarial: AdversarialSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> "ObjectiveSettings":
        start, end = self.outside_ramp
        if not 0 <= start <= end <= 1:
            raise ValueError(
                f"outside_ramp must be two rising shares of the run from 0 to 1, got {start:g} and {end:g}"
            )
        return self

    def at(self, share: float) -> "ObjectiveSettings":
        """The settings after `share` of the run, 0 to 1."""
        start, end = self.outside_ramp
        if share >= end or self.outside_weight == 0:
            return self
        grown = (share - start) / (end - start) if share > start else 0.0
        return self.model_copy(update={"outside_weight": grown * self.outside_weight})

    def image_weights(self) -> dict[str, float]:
        """Weights above 0 of the terms that compare a restored with a sharp picture, by name."""
        weights = {
            "l1": self.l1_weight,
            "mse": self.mse_weight,
            "charbonnier": self.charbonnier_weight,
            "psnr": self.psnr_weight,
            "ssim": self.ssim_weight,
            "fft": self.fft_weight,
            "fft_components": self.fft_components_weight,
        }
        return {name: weight for name, weight in weights.items() if weight > 0}

"""How good a model is on fixed patches of the validation split, and how good its input was."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from localblur.training import metrics
from localblur.training.config import ValidationSettings
from localblur.training.data import Patches
from localblur.training.runtime import Precision, Runtime


def validate(
    module: nn.Module, patches: Patches, settings: ValidationSettings, runtime: Runtime, precision: Precision
) -> dict[str, float]:
    """Mean PSNR and mask-weighted PSNR (8-bit rounded, dB) of the blurred and the restored patches.

    Returns:
        `psnr_blurred`, `psnr_restored`, `weighted_psnr_blurred`, `weighted_psnr_restored`, and `weighted_count`: on how
        many patches, those with a blurred pixel, the weighted ones stand. NaN when that is none.
    """
    # a generator of its own: else validating draws from the random state of the training
    loader = DataLoader(Subset(patches, range(settings.samples)), batch_size=8, generator=torch.Generator())
    values: dict[str, list[torch.Tensor]] = {}
    training = module.training
    module.eval()
    with torch.no_grad():
        for batch in loader:
            with runtime.autocast(precision):
                restored = module(batch["blurred"].to(runtime.device)).images[-1]
            images = {"blurred": batch["blurred"], "restored": restored.float().cpu()}
            for name, image in images.items():
                rounded, sharp = metrics.round_to_8_bit(image), metrics.round_to_8_bit(batch["sharp"])
                plain = metrics.psnr(rounded, sharp, data_range=1.0)
                weighted = metrics.weighted_psnr(rounded, sharp, batch["mask"], data_range=1.0)
                values.setdefault(f"psnr_{name}", []).append(plain)
                values.setdefault(f"weighted_psnr_{name}", []).append(weighted)
    module.train(training)
    means = {name: metrics.nan_mean(torch.cat(parts)) for name, parts in values.items()}
    return {
        **{name: mean.value for name, mean in means.items()},
        "weighted_count": float(means["weighted_psnr_restored"].count),
    }


def score(figures: dict[str, float]) -> float:
    """The figure by which the best model is chosen: weighted PSNR, or PSNR where no patch has a mask."""
    name = "weighted_psnr_restored" if figures["weighted_count"] else "psnr_restored"
    return figures[name]

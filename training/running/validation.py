"""How good a model is on fixed patches of the validation split, and how good its input was."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from localblur.training.networks.base import Restored
from localblur.training.objectives import losses, metrics
from localblur.training.running.config import ValidationSettings
from localblur.training.running.data import Patches
from localblur.training.runtime import Runtime, TrainingPrecision

_BATCH = 8
_MOST_DB = 100.0
"""Of a patch restored to the last bit; one wrong value in a patch of 128 px gives 95 dB."""


@dataclass(frozen=True)
class _Judged:
    """One process's share: figures by patch number, and strips of its first patches."""

    figures: dict[int, dict[str, float]]
    strips: dict[int, torch.Tensor]


def validate(
    module: nn.Module, patches: Patches, settings: ValidationSettings, runtime: Runtime, precision: TrainingPrecision
) -> tuple[dict[str, float], list[torch.Tensor]]:
    """Mean PSNR and mask-weighted PSNR (8-bit rounded, dB) of the blurred and the restored patches.

    Every process takes its share of the patches; all must ask.

    Returns:
        Figures: `psnr_blurred`, `psnr_restored`, `weighted_psnr_blurred`, `weighted_psnr_restored`, and
        `weighted_count`: on how many patches, those with a blurred pixel, the weighted ones stand. NaN when that is
        none. A patch that is perfect before counts in neither. `outside_change`: mean absolute change where the mask
        says sharp, in levels of 255. Values that a network returns and that are not numbers count as black.
        And the first `settings.pictures` patches as strips (3, H, 4 W): blurred, restored, gate, sharp.
    """
    numbers = list(range(runtime.rank, settings.samples, runtime.ranks))
    # a generator of its own: else validating draws from the random state of the training
    loader = DataLoader(Subset(patches, numbers), batch_size=_BATCH, generator=torch.Generator())
    judged = _Judged({}, {})
    training = module.training
    module.eval()
    with torch.no_grad():
        for start, batch in zip(range(0, len(numbers), _BATCH), loader, strict=True):
            chosen = numbers[start : start + _BATCH]
            with runtime.autocast(precision):
                restored: Restored = module(batch["blurred"].to(runtime.device))
            # means leave NaN out: a network that fails on a patch would be judged by the others alone
            image = restored.images[-1].float().cpu().nan_to_num(0.0, posinf=1.0, neginf=0.0)
            judged.figures.update(zip(chosen, _figures(batch, image), strict=True))
            gates = restored.gates[-1].float().cpu() if restored.gates else None
            for index, number in enumerate(chosen):
                if number < settings.pictures:
                    judged.strips[number] = _strip(batch, image, gates, index)
    module.train(training)
    return _joined(runtime.gathered([judged]))


def score(figures: dict[str, float]) -> float:
    """The figure by which the best model is chosen: weighted PSNR, or PSNR where no patch has a mask."""
    name = "weighted_psnr_restored" if figures["weighted_count"] else "psnr_restored"
    return figures[name]


def _figures(batch: dict[str, torch.Tensor], restored: torch.Tensor) -> list[dict[str, float]]:
    """Figures of every patch of a batch."""
    columns: dict[str, torch.Tensor] = {}
    sharp = metrics.round_to_8_bit(batch["sharp"])
    for name, image in {"blurred": batch["blurred"], "restored": restored}.items():
        rounded = metrics.round_to_8_bit(image)
        columns[f"psnr_{name}"] = metrics.psnr(rounded, sharp, data_range=1.0)
        columns[f"weighted_psnr_{name}"] = metrics.weighted_psnr(rounded, sharp, batch["mask"], data_range=1.0)
    for name in ("psnr", "weighted_psnr"):
        # clipped to white, a patch may equal its sharp one; infinite, it would be all that a mean says
        compared = columns[f"{name}_blurred"].isfinite()
        for kind in ("blurred", "restored"):
            values = columns[f"{name}_{kind}"].clamp(max=_MOST_DB)
            columns[f"{name}_{kind}"] = torch.where(compared, values, torch.nan)
    change = 255 * losses.outside_residual(restored, batch["blurred"], batch["mask"])
    columns["outside_change"] = torch.where(batch["has_mask"], change, torch.nan)
    return [{name: float(values[index]) for name, values in columns.items()} for index in range(len(sharp))]


def _joined(shares: list[_Judged]) -> tuple[dict[str, float], list[torch.Tensor]]:
    """Means over all patches in the order of their numbers, whatever process judged them."""
    figures = {number: values for share in shares for number, values in share.figures.items()}
    strips = {number: strip for share in shares for number, strip in share.strips.items()}
    rows = [figures[number] for number in sorted(figures)]
    means = {name: metrics.nan_mean(torch.tensor([row[name] for row in rows], dtype=torch.float64)) for name in rows[0]}
    summary = {name: mean.value for name, mean in means.items()}
    summary["weighted_count"] = float(means["weighted_psnr_restored"].count)
    return summary, [strips[number] for number in sorted(strips)]


def _strip(
    batch: dict[str, torch.Tensor], restored: torch.Tensor, gates: torch.Tensor | None, index: int
) -> torch.Tensor:
    """Blurred, restored, gate (black without one) and sharp side by side."""
    gate = torch.zeros_like(batch["mask"][index]) if gates is None else gates[index]
    pictures = [batch["blurred"][index], restored[index], gate.expand(3, -1, -1), batch["sharp"][index]]
    return torch.cat(pictures, dim=2).clamp(0, 1)

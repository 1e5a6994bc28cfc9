"""What can be measured on a pair: networks, classical baselines, and leaving the picture as it is."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import from_unit, to_array, to_tensor, to_unit
from localblur.training.checkpoint import ModelCard
from localblur.training.evaluation.classical import ClassicalSettings, restore_classically
from localblur.training.evaluation.scoring import BLURRED, EvaluationPair
from localblur.training.inference.engine import Precision, TorchEngine
from localblur.training.inference.restore import Tile, restore_with_gate
from localblur.training.inference.selective import restore_blurred
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.base import RestorationNetwork


class Outcome(NamedTuple):
    """What a method makes of a pair: (1, 3, h, w) in [0, 1], and where it saw blur, (1, 1, h, w), or None."""

    image: torch.Tensor
    gate: torch.Tensor | None


class Method(Protocol):
    """Something that is measured; `label` is its name in tables and file names."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    def restore(self, pair: EvaluationPair) -> Outcome:
        """The restored picture of a pair."""
        ...


class Untouched:
    """The blurred picture as it is."""

    label = BLURRED

    def restore(self, pair: EvaluationPair) -> Outcome:
        """The blurred picture."""
        return Outcome(pair.blurred, None)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network under test.

    Attributes:
        label: its name in tables and file names.
        path: where it was read from.
        module, card: the network, on its device, and its description.
        trained_on: pairs files it was trained on, by name, where that is known.
        tile, precision: how it is run.
        selective: restore only what its coarse gate calls blurred, as `deblur` does.
        skipping: how it finds that.
    """

    label: str
    path: Path
    module: RestorationNetwork
    card: ModelCard
    trained_on: Sequence[str] = ()
    tile: Tile = "auto"
    precision: Precision = "fp32"
    selective: bool = False
    skipping: SkipSettings = field(default_factory=SkipSettings)

    def restore(self, pair: EvaluationPair) -> Outcome:
        """The network's result.

        Raises:
            LocalblurError: if the network returns NaN or memory runs out.
        """
        try:
            if self.selective:
                return self._restore_selected(pair)
            return Outcome(*restore_with_gate(self.module, pair.blurred, tile=self.tile, precision=self.precision))
        except LocalblurError as error:
            raise LocalblurError(f"{self.label}, pair {pair.info.name}: {error}") from error

    def _restore_selected(self, pair: EvaluationPair) -> Outcome:
        pixels = from_unit(to_array(pair.blurred), 8)
        restored = restore_blurred(TorchEngine(self.module, self.precision), pixels, self.skipping, tile=self.tile)
        gate = to_tensor(to_unit(restored.gate))[None]
        return Outcome(to_tensor(to_unit(restored.pixels))[None], gate)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A classical method, see `localblur.training.evaluation.classical`; inside the mask where there is one."""

    label: str
    settings: ClassicalSettings

    def restore(self, pair: EvaluationPair) -> Outcome:
        """The deconvolved picture."""
        return Outcome(restore_classically(pair.blurred, self.settings, sharp=pair.sharp, mask=pair.mask), None)


def weights_sha256(module: RestorationNetwork) -> str:
    """Fingerprint of all weights: their names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Evaluating models on pairs files: which pairs, every method on each of them, and the summary of it all."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.common.settings import Settings
from localblur.datasets.store import PairsFile
from localblur.training.checkpoint import ModelCard
from localblur.training.evaluation import (
    BLURRED,
    CONVENTIONS,
    MEASURES,
    EvaluationPair,
    Gain,
    Mean,
    Score,
    finite_mean,
    measure,
    paired_gain,
    prepare_pair,
)
from localblur.training.inference import Precision, Tile, restore
from localblur.training.networks.base import RestorationNetwork

FORMAT = "localblur-evaluation"


class EvaluationSettings(Settings):
    """What decides the numbers of an evaluation; stored in its summary.

    Attributes:
        split: which scenes.
        tile, precision, device: how networks are run, see `localblur.training.inference`.
        seed: of the bootstrap.
    """

    split: str = "test"
    tile: Tile = "auto"
    precision: Precision = "auto"
    device: str = "cpu"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network under test; `label` is its name in tables and file names."""

    label: str
    path: Path
    module: RestorationNetwork
    card: ModelCard


@dataclass(frozen=True, kw_only=True)
class PairReference:
    """Where a pair is: its file, the file's label, its scene and its number there."""

    file: PairsFile
    data: str
    scene: str
    index: int

    def read(self) -> EvaluationPair:
        """Read and prepare the pair."""
        return prepare_pair(self.file.read(self.scene, self.index), self.file.header.encoding)

    @property
    def name(self) -> str:
        """The pair's name in its scene."""
        return self.file.names(self.scene)[self.index]


@dataclass(kw_only=True)
class Evaluation:
    """Scores of every method; `scores[method][i]` belongs to `pairs[i]`. "blurred" is the first method."""

    settings: EvaluationSettings
    models: Sequence[Model]
    pairs: list[PairReference]
    rejected: int
    scores: dict[str, list[Score]] = field(default_factory=dict)

    @property
    def before(self) -> list[Score]:
        """The scores of the blurred pictures as they are."""
        return self.scores[BLURRED]


def choose_pairs(files: Mapping[str, PairsFile], split: str) -> tuple[list[PairReference], int]:
    """All pairs of `split` that are not rejected, and how many are.

    Raises:
        LocalblurError: if a file has no usable pair in the split.
    """
    pairs: list[PairReference] = []
    rejected = 0
    for label, file in files.items():
        scenes = [scene for scene in file.scenes if scene.split == split]
        if not scenes:
            present = sorted({scene.split for scene in file.scenes})
            raise LocalblurError(f"{file.path} has no scene in split {split!r}, only in {', '.join(present) or 'none'}")
        found = [(scene.name, index) for scene in scenes for index in range(scene.count)]
        usable = [(scene, index) for scene, index in found if not file.is_rejected(scene, index)]
        if not usable:
            raise LocalblurError(f"{file.path}: all {len(found)} pairs of split {split!r} are rejected")
        pairs += [PairReference(file=file, data=label, scene=scene, index=index) for scene, index in usable]
        rejected += len(found) - len(usable)
    return pairs, rejected


def open_files(paths: Sequence[Path], stack: ExitStack) -> dict[str, PairsFile]:
    """Open pairs files under labels that tell them apart."""
    labels = unique_labels(paths)
    return {label: stack.enter_context(PairsFile.open(path)) for label, path in zip(labels, paths, strict=True)}


def evaluate(files: Mapping[str, PairsFile], models: Sequence[Model], settings: EvaluationSettings) -> Evaluation:
    """Measure the blurred pictures and what every model makes of them.

    Raises:
        LocalblurError: if a file has no usable pair in the split, a pair is damaged, or a network returns NaN.
    """
    pairs, rejected = choose_pairs(files, settings.split)
    evaluation = Evaluation(settings=settings, models=models, pairs=pairs, rejected=rejected)
    with Progress(len(pairs), "evaluate") as progress:
        for reference in pairs:
            pair = reference.read()
            for method, image in restorations(pair, models, settings):
                score = measure(
                    image, pair, data=reference.data, scene=reference.scene, name=reference.name, method=method
                )
                evaluation.scores.setdefault(method, []).append(score)
            progress.step(f"{reference.scene}/{reference.name}")
    return evaluation


def restorations(
    pair: EvaluationPair, models: Sequence[Model], settings: EvaluationSettings
) -> Iterator[tuple[str, torch.Tensor]]:
    """The blurred picture, then each model's restoration of it, with the methods' names."""
    yield BLURRED, pair.blurred
    for model in models:
        yield model.label, restore(model.module, pair.blurred, tile=settings.tile, precision=settings.precision)


def unique_labels(paths: Sequence[Path], reserved: Sequence[str] = ()) -> list[str]:
    """A short name for each path: its last part, or as many parts as are needed to tell them apart.

    Raises:
        LocalblurError: if a path occurs twice.

    Example:
        >>> unique_labels([Path("runs/a/best"), Path("runs/b/best")])
        ['a/best', 'b/best']
    """
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path in paths if resolved.count(path.resolve()) > 1)
        raise LocalblurError(f"{twice} is given twice; give it once")
    for length in range(1, max((len(path.parts) for path in resolved), default=1) + 1):
        labels = ["/".join(path.parts[-length:]) for path in resolved]
        if len(set(labels)) == len(labels) and not set(labels) & set(reserved):
            break
    return labels


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Means, gains and everything needed to repeat them, as plain JSON values."""
    before = evaluation.before
    return {
        "format": FORMAT,
        "schema_version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: metadata.version(name) for name in ("localblur", "torch")},
        "conventions": CONVENTIONS,
        "settings": evaluation.settings.model_dump(mode="json"),
        "data": sorted({str(pair.file.path) for pair in evaluation.pairs}),
        "pairs": len(before),
        "scenes": len({(pair.data, pair.scene) for pair in evaluation.pairs}),
        "rejected": evaluation.rejected,
        "without_mask": sum(math.isnan(score.blurred_share) for score in before),
        "empty_mask": sum(score.blurred_share == 0 for score in before),
        "methods": {method: _summarise_method(evaluation, method) for method in evaluation.scores},
    }


def _summarise_method(evaluation: Evaluation, method: str) -> dict[str, Any]:
    scores, before, seed = evaluation.scores[method], evaluation.before, evaluation.settings.seed
    model = next((model for model in evaluation.models if model.label == method), None)
    summary: dict[str, Any] = {
        "model": None if model is None else _describe(model),
        "mean": {name: _plain_mean(finite_mean([score.value(name) for score in scores])) for name in MEASURES},
    }
    if model is not None:
        summary["gain"] = {name: _plain_gain(paired_gain(before, scores, name, seed)) for name in MEASURES}
    return summary


def _describe(model: Model) -> dict[str, Any]:
    return {
        "path": str(model.path),
        "network": model.card.network,
        "parameters": model.card.parameters,
        "weights_sha256": weights_sha256(model.module),
        "trained_on": model.card.data_fingerprint,
        "recipe": model.card.recipe.get("recipe"),
    }


def weights_sha256(module: RestorationNetwork) -> str:
    """Fingerprint of all weights: their names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _plain_mean(mean: Mean) -> dict[str, Any]:
    return {"value": mean.value, "pairs": mean.count, "equal_pictures": mean.infinite}


def _plain_gain(gain: Gain) -> dict[str, Any]:
    return {
        "mean": gain.mean,
        "pairs": gain.count,
        "scenes": gain.scenes,
        "interval_95_over_scenes": gain.over_scenes,
        "interval_95_over_pairs": gain.over_pairs,
    }

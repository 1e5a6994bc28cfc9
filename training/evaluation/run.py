"""Evaluating methods on pairs files: which pairs, and every method on each of them."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.common.settings import Settings
from localblur.datasets.curation.blur_length import blur_length_px
from localblur.datasets.images import from_unit, to_array
from localblur.datasets.store import PairsFile
from localblur.training.evaluation.detection import Detector, Layout, Picture
from localblur.training.evaluation.detection_agreement import Agreement, agree
from localblur.training.evaluation.journal import Journal, PairResult, evaluation_key
from localblur.training.evaluation.measures import WITHOUT_REFERENCE, reference_measures, take_measures
from localblur.training.evaluation.methods import Method, Untouched
from localblur.training.evaluation.scoring import BLURRED, EvaluationPair, Score, prepare_pair
from localblur.training.inference.engine import Precision
from localblur.training.inference.restore import Tile
from localblur.training.model_in_the_box import NAME as BOX

_RUN_MODELS = ("best", "last")


class EvaluationSettings(Settings):
    """What decides the numbers of an evaluation; stored in its summary.

    Attributes:
        split: which scenes.
        tile, precision, device: how networks are run, see `localblur.training.inference.restore`.
        selective: networks restore only what their coarse gate calls blurred.
        kernel: what classical baselines know of the blur.
        aligned: whether pictures are also aligned before PSNR is taken.
        detector, detector_layout, detector_px: how objects are found; None for not at all.
        seed: of the bootstrap.
    """

    split: str = "test"
    tile: Tile = "auto"
    precision: Precision = "auto"
    device: str = "cpu"
    selective: bool = False
    kernel: Literal["oracle", "gaussian", "line"] = "oracle"
    aligned: bool = False
    detector: str | None = None
    detector_layout: Layout = "auto"
    detector_px: int = 640
    seed: int = 0


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
    """Scores of every method; `scores[method][i]` belongs to `pairs[i]`. "blurred" is the first method.

    Attributes:
        methods: without "blurred".
        rejected: pairs left out because they are rejected.
        agreements: as `scores`, of the detector; empty without one.
        reference: numbers of the sharp pictures that need no reference, by name.
    """

    settings: EvaluationSettings
    methods: Sequence[Method]
    pairs: list[PairReference]
    rejected: int
    scores: dict[str, list[Score]] = field(default_factory=dict)
    agreements: dict[str, list[Agreement]] = field(default_factory=dict)
    reference: dict[str, list[float]] = field(default_factory=dict)

    @property
    def before(self) -> list[Score]:
        """The scores of the blurred pictures as they are."""
        return self.scores[BLURRED]

    def add(self, result: PairResult) -> None:
        """Append what was measured on the next pair."""
        for method, score in result.scores.items():
            self.scores.setdefault(method, []).append(score)
        for method, found in result.agreements.items():
            self.agreements.setdefault(method, []).append(found)
        for name, value in result.reference.items():
            self.reference.setdefault(name, []).append(value)


def choose_pairs(files: Mapping[str, PairsFile], split: str) -> tuple[list[PairReference], int]:
    """All pairs of `split` that are not rejected, and how many are.

    Raises:
        LocalblurError: if a file has no usable pair in the split.
    """
    pairs: list[PairReference] = []
    rejected = 0
    for label, file in files.items():
        scenes = [scene for scene in file.scenes if scene.split == split and scene.count]
        if not scenes:
            present = sorted({scene.split for scene in file.scenes if scene.count})
            raise LocalblurError(
                f"{file.path} has no pair in split {split!r}, only in {', '.join(present) or 'none'}; choose --split"
            )
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


def evaluate(
    files: Mapping[str, PairsFile],
    methods: Sequence[Method],
    settings: EvaluationSettings,
    detector: Detector | None = None,
    journal: Journal | None = None,
) -> Evaluation:
    """Measure the blurred pictures and what every method makes of them.

    Args:
        files: by label.
        methods: beside the blurred picture.
        settings: as they are stored.
        detector: also compare its detections.
        journal: where results are written down, and taken from.

    Raises:
        LocalblurError: if a file has no usable pair in the split, a pair is damaged, or a network returns NaN.
    """
    pairs, rejected = choose_pairs(files, settings.split)
    evaluation = Evaluation(settings=settings, methods=methods, pairs=pairs, rejected=rejected)
    with Progress(len(pairs), "evaluate") as progress:
        for reference in pairs:
            result = None if journal is None else journal.get(reference.data, reference.scene, reference.name)
            if result is None:
                result = measure_pair(reference, methods, detector, aligned=settings.aligned)
                if journal is not None:
                    journal.add(result)
            evaluation.add(result)
            progress.step(f"{reference.scene}/{reference.name}")
    return evaluation


def journal_key(files: Mapping[str, PairsFile], methods: Sequence[Method], settings: EvaluationSettings) -> str:
    """What a journal is continued by; the seed decides no pair's numbers."""
    content = settings.model_dump(mode="json", exclude={"seed"})
    if settings.detector is not None and Path(settings.detector).is_file():
        content["detector"] = hashlib.sha256(Path(settings.detector).read_bytes()).hexdigest()
    return evaluation_key(files, methods, content)


def measure_pair(
    reference: PairReference, methods: Sequence[Method], detector: Detector | None, *, aligned: bool
) -> PairResult:
    """The numbers of the blurred picture and of every method on one pair."""
    pair = reference.read()
    mask = None if pair.mask is None else to_array(pair.mask)[..., 0] > 0.5
    length, estimated = blur_length_px(pair.info, to_array(pair.blurred), to_array(pair.sharp), mask)
    sharp = reference_measures(pair)
    expected = None if detector is None else detector.detect(_picture(pair.sharp))
    scores: dict[str, Score] = {}
    agreements: dict[str, Agreement] = {}
    for method in (Untouched(), *methods):
        image, gate = method.restore(pair)
        scores[method.label] = Score(
            data=reference.data,
            scene=reference.scene,
            pair=reference.name,
            method=method.label,
            values=take_measures(image, pair, gate=gate, aligned=aligned),
            blurred_share=pair.blurred_share,
            blur_px=length,
            blur_estimated=estimated,
        )
        if detector is not None and expected is not None:
            agreements[method.label] = agree(detector.detect(_picture(image)), expected)
    return PairResult(scores=scores, agreements=agreements, reference={name: sharp[name] for name in WITHOUT_REFERENCE})


def _picture(image: torch.Tensor) -> Picture:
    picture: Picture = from_unit(to_array(image), 8)
    return picture


def unique_labels(paths: Sequence[Path], reserved: Sequence[str] = ()) -> list[str]:
    """A short name for each path: its last part, or as many parts as are needed to tell them apart.

    The last part alone is no name where it is that of a model in a run folder: every run has a "best".

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
        if len(set(labels)) == len(labels) and not set(labels) & {*reserved, *_RUN_MODELS}:
            break
    return [BOX if str(path) == BOX else label for path, label in zip(paths, labels, strict=True)]

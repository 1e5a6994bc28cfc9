"""The patches a run trains and validates on."""

import bisect
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from localblur.common.errors import LocalblurError
from localblur.datasets.patches import PatchDataset
from localblur.datasets.store import PairsFile, SceneEntry
from localblur.training.running.augmentation import AugmentedPatches, while_reading
from localblur.training.running.config import TrainingSettings
from localblur.training.running.data_settings import AugmentSettings
from localblur.training.running.sampler import Stage, stage_starts

logger = logging.getLogger(__name__)

_NAMED = 8

Patches = Dataset[dict[str, torch.Tensor]]
"""Patches by sample number: any number from 0, each always giving the same `blurred` and `sharp`, (3, p, p) sRGB-coded
in [0, 1], 0/1 `mask`, (1, p, p), and `has_mask`, bool ()."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run learns from.

    Attributes:
        training: patches of the `train` split.
        validation: patches of the `val` split, None when there are none.
        fingerprint: identifies the pairs; a resumed run must have the same.
    """

    training: Patches
    validation: Patches | None
    fingerprint: str


def open_data(paths: Sequence[Path], settings: TrainingSettings, *, deferred: bool = False) -> TrainingData:
    """Open pairs files for training.

    Args:
        paths: pairs files; their order matters for which sample is which pair.
        settings: patch sizes, blur-aware cropping and seed.
        deferred: give training patches as stored where their changes can wait, see `can_wait`; `on_device` turns a
            batch of them into what it would have been.

    Raises:
        LocalblurError: if a file cannot be used, or no pair is left to train on.
    """
    files = [PairsFile.open(path) for path in paths]
    splits = {scene.split for file in files for scene in file.scenes if len(file.usable(scene.name, 0)[0])}
    if "train" not in splits:
        raise LocalblurError(
            f"{', '.join(map(str, paths))}: no usable pair in the train split (splits there:"
            f" {', '.join(sorted(splits)) or 'none'}); make the file with another --split"
        )
    tell_missing_masks(files, settings)
    learnt: Scenes | None = None
    validation: Patches | None = None
    if "val" in splits:
        validation = _validation_patches(paths, settings, "val", None)
    else:
        learnt, checked = hold_out(files, settings.validation.held_out, _largest_patch_px(settings))
        if checked:
            validation = _validation_patches(paths, settings, "train", checked)
    return TrainingData(
        training=training_patches(paths, settings, learnt, deferred=deferred),
        validation=validation,
        fingerprint=fingerprint(files),
    )


def tell_missing_masks(files: Sequence[PairsFile], settings: TrainingSettings) -> None:
    """Warn where pairs have no blur masks and the settings count on them: it would only show in the result."""
    if not (settings.data.blur_aware_probability or settings.objective.outside_weight):
        return
    scenes = [scene for file in files for scene in file.scenes if scene.split == "train"]
    count = sum(scene.count for scene in scenes)
    without = count - sum(scene.masked for scene in scenes)
    if without:
        logger.warning(
            "%s of %d training pairs have no blur mask: gates learn nothing from them, and patches of them lie anywhere"
            " (mask-dataset marks what is blurred)",
            "all" if without == count else without,
            count,
        )


Scenes = frozenset[tuple[int, str]]
"""Scenes as (number of the file, name)."""


def hold_out(files: Sequence[PairsFile], share: float, least_px: int) -> tuple[Scenes, Scenes]:
    """The training scenes of `files` to learn from, and `share` of them, one at least, to be kept for validation.

    Scenes of one name are one scene, whichever files they lie in. Which are kept depends on their names alone, not on
    the run, among those with a pair into which patches of `least_px` fit; a single scene is never kept.
    """
    scenes = frozenset(
        (number, scene.name)
        for number, file in enumerate(files)
        for scene in file.scenes
        if scene.split == "train" and scene.count
    )
    # patches that fit nowhere are refused where they are drawn
    names = _usable_names(files, scenes, least_px) or _usable_names(files, scenes, 0)
    count = 0 if share == 0 or len(names) < 2 else min(max(1, round(share * len(names))), len(names) - 1)
    # with the 0/ as ever for the first file: runs on one file go on with the scenes they began with
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"0/{name}".encode()).digest())[:count]
    if drawn:
        told = ", ".join(sorted(drawn)[:_NAMED]) + (" ..." if count > _NAMED else "")
        logger.warning("no val split: %d of %d training scenes are held out (%s)", count, len(names), told)
    kept = frozenset(scene for scene in scenes if scene[1] in drawn)
    return scenes - kept, kept


def _usable_names(files: Sequence[PairsFile], scenes: Scenes, least_px: int) -> set[str]:
    return {name for number, name in scenes if len(files[number].usable(name, least_px)[0])}


def _largest_patch_px(settings: TrainingSettings) -> int:
    return max(settings.validation.patch_px, *(stage.patch_px for stage in settings.data.all_stages()))


def _validation_patches(
    paths: Sequence[Path], settings: TrainingSettings, split: str, scenes: Scenes | None
) -> PatchDataset:
    # not the run's seed: models of different runs are compared on the same patches
    return PatchDataset(
        paths,
        split=split,
        patch_px=settings.validation.patch_px,
        blur_aware_probability=1.0,
        seed=0,
        augment=False,
        scenes=scenes,
    )


def stages(settings: TrainingSettings) -> list[Stage]:
    """How many samples each step of a run has."""
    ends = settings.data.stage_ends(settings.steps)
    return [Stage(end=end, batch=stage.batch) for end, stage in zip(ends, settings.data.all_stages(), strict=True)]


def can_wait(settings: AugmentSettings) -> bool:
    """Whether patches can be finished by the device that trains; some changes need finished ones."""
    finished = (settings.local_blur, settings.still, settings.warp, settings.glow, settings.defocus, settings.noise)
    return not any(finished) and settings.saturation is None and settings.tone == 1


def training_patches(
    paths: Sequence[Path], settings: TrainingSettings, scenes: Scenes | None = None, *, deferred: bool = False
) -> Patches:
    """Patches of the train split (of its `scenes`) by sample number, each of the size its stage of the run has."""
    chosen = settings.data
    waiting = deferred and can_wait(chosen.augment)
    sizes = [
        AugmentedPatches(
            PatchDataset(
                paths,
                split="train",
                patch_px=stage.patch_px,
                blur_aware_probability=chosen.blur_aware_probability,
                seed=settings.seed,
                augment=while_reading(chosen.augment),
                weights=chosen.weights,
                scenes=scenes,
                deferred=waiting,
            ),
            chosen.augment,
            settings.seed,
        )
        for stage in chosen.all_stages()
    ]
    return sizes[0] if len(sizes) == 1 else StagedPatches(sizes, stage_starts(stages(settings)))


class StagedPatches(Dataset[dict[str, torch.Tensor]]):
    """Sample numbers from `starts[k]` on come from `parts[k]`."""

    def __init__(self, parts: Sequence[Patches], starts: Sequence[int]) -> None:
        self.parts, self.starts = list(parts), list(starts)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return self.parts[bisect.bisect_right(self.starts, number) - 1][number]


def fingerprint(files: Sequence[PairsFile]) -> str:
    """Identifies the pairs, splits, masks and rejections in `files`, in their order, wherever the files lie.

    Pixels count through their stored checksums: they are not read.
    """
    content = [
        [file.header.plain(), file.mask_settings, [_scene_content(file, scene) for scene in file.scenes]]
        for file in files
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _scene_content(file: PairsFile, scene: SceneEntry) -> list[Any]:
    rejected = [file.is_rejected(scene.name, index) for index in range(scene.count)]
    boxes = [file.valid_box(scene.name, index) for index in range(scene.count)]
    return [asdict(scene), file.names(scene.name), file.checksum_table(scene.name).tolist(), rejected, boxes]

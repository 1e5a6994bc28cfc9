"""Patches for training, with blur-aware patch cropping (BAPC).

Local blur covers a small part of a picture, so most random patches show none of it. BAPC (Li et al., "Real-World Deep
Local Motion Deblurring", AAAI 2023, section 4.3) centres a patch on a blurred pixel with probability 0.5. The pixel is
chosen through `blur_cells`, so no whole mask is read. Unlike the published code, blurred pixels near the border can be
chosen too (the patch is shifted inside), masks are thresholded before they are counted, and the share of the picture
that has to be blurred is a fraction of its area whatever the mask's coding.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from localblur.common.errors import LocalblurError
from localblur.datasets.loading.augmentation import Augmentation, draw_change
from localblur.datasets.loading.patch_tensors import add_noise, mask_tensor, note_change, picture_tensor, stored_tensor
from localblur.datasets.loading.reduction import draw_reduction, reduced_mask, reduced_picture
from localblur.datasets.storage.patch_choice import (
    Window,
    blurred_fraction,
    blurred_pixel,
    centred_window,
    random_window,
)
from localblur.datasets.storage.reader import PairsFile, SceneEntry
from localblur.datasets.storage.schema import SPLITS

logger = logging.getLogger(__name__)

MIN_BLURRED_FRACTION = 0.0002
"""What the published code's threshold amounts to: 606 of the 3.1 million pixels of a ReLoBlur picture."""

_EPOCH_STREAM = 1


@dataclass(frozen=True)
class _Scene:
    """A scene that may be sampled: number of its file, name, and numbers of its pairs that are usable."""

    file: int
    name: str
    indices: npt.NDArray[np.int64]


class PatchDataset(Dataset[dict[str, torch.Tensor]]):
    """Random patches of the pairs in one or more pairs files.

    `dataset[i]` is a function of `seed` and `i` alone, for every i >= 0, so neither the number of workers nor a resume
    changes what is trained on. Without `weights` each run of `len(dataset)` indices visits every pair once, in an order
    of its own; with `weights` a file is drawn by its weight, then a pair of it.

    A sample holds `blurred` and `sharp`, float32 (3, p, p), sRGB-coded in [0, 1]; `mask`, float32 (1, p, p), 1 where
    blurred; and `has_mask`, bool (), False where the pair has no mask and `mask` is all 0. Files are opened in the
    process that reads, so every start method of workers will do.

    Args:
        files: pairs files.
        split: train, val or test.
        patch_px: side p of a patch.
        blur_aware_probability: how often a patch is centred on a blurred pixel.
        min_blurred_fraction: share of a picture's area that must be blurred for that.
        seed: seed of everything random.
        augment: what is changed at random; True mirrors and rotates by multiples of 90 degrees, False nothing.
        require_masks: refuse pairs without a mask instead of giving zeros.
        weights: one number per file, its share of the samples.
        scenes: only these scenes of the split, as (number of the file, name); None takes all.
        deferred: give patches as stored, and notes how to change them, for `patch_batches.finish_batch` to do on the
            device that trains; the same samples come out.

    Raises:
        LocalblurError: if a file cannot be read, pictures are smaller than a patch, masks are missing though required,
            or no pair is left.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        split: str = "train",
        patch_px: int = 256,
        blur_aware_probability: float = 0.5,
        min_blurred_fraction: float = MIN_BLURRED_FRACTION,
        seed: int = 0,
        augment: bool | Augmentation = True,
        require_masks: bool = False,
        weights: Sequence[float] | None = None,
        scenes: Collection[tuple[int, str]] | None = None,
        deferred: bool = False,
    ) -> None:
        _check_options(split, patch_px, blur_aware_probability, min_blurred_fraction, seed)
        self.patch_px, self.seed = patch_px, seed
        self.augment = Augmentation(turn=augment) if isinstance(augment, bool) else augment
        self.blur_aware_probability, self.min_blurred_fraction = blur_aware_probability, min_blurred_fraction
        self._files = [PairsFile(Path(path)) for path in files]
        self._deferred = deferred
        self._wide = any(pairs.header.bit_depth > 8 for pairs in self._files)
        self._scenes: list[_Scene] = []
        for number, pairs in enumerate(self._files):
            chosen = {entry.name for entry in pairs.scenes if scenes is None or (number, entry.name) in scenes}
            self._scenes += _usable(pairs, number, split, chosen, patch_px, require_masks)
            pairs.close()
        self._ends = np.cumsum([len(scene.indices) for scene in self._scenes], dtype=np.int64)
        if not self._scenes:
            names = ", ".join(str(path) for path in files) or "no file"
            raise LocalblurError(f"no usable {split} pair in {names}; check `pairs-file inspect`")
        self._weights = None if weights is None else _item_weights(self._scenes, weights, len(self._files))
        self._epoch: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index < 0:
            raise IndexError(f"patches are numbered from 0, got {index}")
        random = np.random.default_rng((self.seed, index))
        pairs, scene, number = self._locate(self._choose(index, random))
        times, window = self._window(pairs, scene, number, random)
        blurred, sharp, mask = _read(pairs, scene, number, window, times)
        change = draw_change(self.augment, random)
        if self._deferred:
            return self._stored(blurred, sharp, mask) | note_change(change, pairs.header, random)
        encoding = pairs.header.encoding
        seen = picture_tensor(blurred, encoding, change)
        return {
            "blurred": add_noise(seen, change.noise, random) if change.noise else seen,
            "sharp": picture_tensor(sharp, encoding, change),
            "mask": torch.zeros(1, self.patch_px, self.patch_px) if mask is None else mask_tensor(mask, change.way),
            "has_mask": torch.tensor(mask is not None),
        }

    def _stored(
        self, blurred: npt.NDArray[Any], sharp: npt.NDArray[Any], mask: npt.NDArray[np.uint8] | None
    ) -> dict[str, torch.Tensor]:
        soft = np.zeros(blurred.shape[:2], np.uint8) if mask is None else mask
        return {
            "blurred": stored_tensor(blurred, self._wide),
            "sharp": stored_tensor(sharp, self._wide),
            "mask": stored_tensor(soft, False),
            "has_mask": torch.tensor(mask is not None),
        }

    def _choose(self, index: int, random: np.random.Generator) -> int:
        if self._weights is not None:
            return int(np.searchsorted(self._weights, random.random(), side="right"))
        epoch, position = divmod(index, len(self))
        if self._epoch[0] != epoch:
            order = np.random.default_rng((self.seed, epoch, _EPOCH_STREAM)).permutation(len(self))
            self._epoch = (epoch, order)
        return int(self._epoch[1][position])

    def _locate(self, item: int) -> tuple[PairsFile, str, int]:
        """File, scene and number of the usable pair `item`."""
        place = int(np.searchsorted(self._ends, item, side="right"))
        scene = self._scenes[place]
        before = int(self._ends[place - 1]) if place else 0
        return self._files[scene.file], scene.name, int(scene.indices[item - before])

    def _window(self, pairs: PairsFile, scene: str, number: int, random: np.random.Generator) -> tuple[int, Window]:
        """How many times smaller the patch is shown, and the window of the picture that it shows."""
        box = pairs.valid_box(scene, number)
        times = draw_reduction(self.augment, min(box[2] - box[0], box[3] - box[1]) // self.patch_px, random)
        side = times * self.patch_px
        if random.random() < self.blur_aware_probability:
            cells = pairs.blur_cells(scene, number)
            entry = pairs.scene(scene)
            if cells is not None and blurred_fraction(cells, entry.height, entry.width) >= self.min_blurred_fraction:
                pixel = blurred_pixel(cells, box, lambda *window: pairs.read_mask(scene, number, *window), random)
                if pixel is not None:
                    return times, centred_window(pixel, box, side)
        return times, random_window(box, side, random)


def _read(
    pairs: PairsFile, scene: str, number: int, window: Window, times: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.uint8] | None]:
    blurred, sharp, mask = pairs.read_crop(scene, number, *window)
    soft = None if mask is None else reduced_mask(mask, times)
    encoding = pairs.header.encoding
    return reduced_picture(blurred, times, encoding), reduced_picture(sharp, times, encoding), soft


def _check_options(split: str, patch_px: int, probability: float, fraction: float, seed: int) -> None:
    if split not in SPLITS:
        raise LocalblurError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if patch_px < 1:
        raise LocalblurError(f"patch_px must be at least 1, got {patch_px}")
    for name, value in (("blur_aware_probability", probability), ("min_blurred_fraction", fraction)):
        if not 0 <= value <= 1:
            raise LocalblurError(f"{name} must lie in [0, 1], got {value}")
    if seed < 0:
        raise LocalblurError(f"seed must not be negative, got {seed}")


def _usable(
    pairs: PairsFile, number: int, split: str, names: Collection[str], patch_px: int, require_masks: bool
) -> list[_Scene]:
    """Pairs of the scenes `names` of `split` that can be sampled: not rejected, a patch fits into their valid box."""
    scenes: list[_Scene] = []
    too_small = 0
    for entry in pairs.scenes:
        if entry.split != split or entry.name not in names:
            continue
        _check_size(pairs, entry, patch_px)
        indices, small = pairs.usable(entry.name, patch_px)
        too_small += small
        if require_masks and entry.masked < entry.count:
            _check_masks(pairs, entry, indices)
        if len(indices):
            scenes.append(_Scene(number, entry.name, indices))
    if too_small:
        logger.warning(
            "%s: %d %s pairs are left out, a patch of %d px does not fit into their valid box",
            pairs.path,
            too_small,
            split,
            patch_px,
        )
    return scenes


def _check_masks(pairs: PairsFile, entry: SceneEntry, indices: npt.NDArray[np.int64]) -> None:
    for index in indices.tolist():
        if not pairs.has_mask(entry.name, index):
            name = pairs.names(entry.name)[index]
            raise LocalblurError(f"{pairs.path}: pair {entry.name}/{name} has no blur mask; run mask-dataset first")


def _check_size(pairs: PairsFile, entry: SceneEntry, patch_px: int) -> None:
    if min(entry.height, entry.width) < patch_px:
        raise LocalblurError(
            f"{pairs.path}: the pictures of scene {entry.name} are {entry.width}x{entry.height}, smaller than the"
            f" {patch_px} px patch; use patches of at most {min(entry.height, entry.width)} px"
        )


def _item_weights(scenes: Sequence[_Scene], weights: Sequence[float], files: int) -> npt.NDArray[np.float64]:
    """Cumulative probability of the usable pairs, each file's weight shared by its pairs."""
    if len(weights) != files or not all(np.isfinite(w) and w >= 0 for w in weights):
        raise LocalblurError(f"need one weight >= 0 for each of the {files} files, got {list(weights)}")
    owners = np.repeat([scene.file for scene in scenes], [len(scene.indices) for scene in scenes])
    counts = np.bincount(owners, minlength=files)
    share = (np.array(weights, np.float64) / np.maximum(counts, 1))[owners]
    if share.sum() <= 0:
        raise LocalblurError(f"weights {list(weights)} leave no pair to sample; give a file with pairs a weight > 0")
    cumulative = np.cumsum(share / share.sum())
    cumulative[np.flatnonzero(share)[-1] :] = 1.0  # rounding must not leave a gap before 1
    return cumulative

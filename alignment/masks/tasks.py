"""Masks for many pairs at once: what a worker does for some pairs of one scene, and running it for all scenes.

A task is a few pairs of one scene. What a method learns from the whole scene is learned by every worker that gets a
task of the scene, once, and kept until its next scene; pictures are read one pair at a time, so that memory does not
grow with the scene.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from localblur.alignment.masks.blur_masks import METHODS, MaskResult, MaskSettings
from localblur.alignment.masks.input import PairLevels, SceneFrames, pair_levels
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress, open_executor, run_tasks
from localblur.datasets.exchange.importers import PairFiles
from localblur.datasets.images import read_image, to_coded, write_image
from localblur.datasets.pair import binary_mask
from localblur.datasets.storage.masks import write_mask_part
from localblur.datasets.store import PairsFile

PAIRS_PER_TASK = 8


@dataclass(frozen=True)
class MaskOutcome:
    """What became of one pair: its blurred share and the mask's confidence (see `MaskResult`), or a failure in words.

    `written` is where the mask was left.
    """

    scene: str
    name: str
    share: float = float("nan")
    confidence: float = float("nan")
    written: Path | None = None
    failure: str = ""

    @property
    def label(self) -> str:
        """What to call the pair in messages."""
        return f"{self.scene}/{self.name}"


@dataclass
class Masked:
    """What came of a run: outcomes of masks made, the number kept from before, failures in words."""

    made: list[MaskOutcome] = field(default_factory=list)
    kept: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def shares(self) -> list[float]:
        """Blurred shares of the masks made."""
        return [outcome.share for outcome in self.made]

    def doubtful(self, below: float) -> list[MaskOutcome]:
        """Masks made with a confidence below `below`, the worst first."""
        return sorted((o for o in self.made if o.confidence < below), key=lambda outcome: outcome.confidence)


class MaskScene(Protocol):
    """A scene whose pairs can be read, in whatever form it lies on disk; picklable."""

    @property
    def scene(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def read(self, index: int) -> PairLevels: ...
    def write(self, index: int, result: MaskResult) -> Path: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class StoredScene:
    """A scene of a pairs file; `stamp` is the file's time of change, `parts` where finished masks go."""

    path: Path
    stamp: int
    scene: str
    names: tuple[str, ...]
    parts: Path

    def read(self, index: int) -> PairLevels:
        """Pair `index`, usable inside its valid box."""
        pairs = _opened(self.path, self.stamp)
        pair = pairs.read(self.scene, index)
        y0, x0, y1, x1 = pair.valid_box
        valid = np.zeros(pair.blurred.shape[:2], np.bool_)
        valid[y0:y1, x0:x1] = True
        return coded_levels(pair.blurred, pair.sharp, pairs.header.encoding, valid)

    def write(self, index: int, result: MaskResult) -> Path:
        """Leave the mask as a part, for `MasksWriter.fold`."""
        return write_mask_part(self.parts, self.scene, self.names[index], result.mask, result.confidence)


@dataclass(frozen=True)
class FolderScene:
    """A scene of plain pairs; masks become `output/<scene>/<pair>.png`."""

    scene: str
    files: tuple[PairFiles, ...]
    encoding: str | None
    output: Path

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pairs."""
        return tuple(files.name for files in self.files)

    def read(self, index: int) -> PairLevels:
        """Pair `index`."""
        blurred, sharp = read_image(self.files[index].blurred), read_image(self.files[index].sharp)
        if blurred.dtype == np.uint16 and self.encoding is None:
            raise LocalblurError("the files are 16 bit, which does not say how they code light: give --encoding")
        if blurred.dtype != sharp.dtype:
            raise LocalblurError(f"blurred is {blurred.dtype} but sharp is {sharp.dtype}; a pair has one depth")
        return coded_levels(blurred, sharp, self.encoding or "srgb")

    def mask_path(self, index: int) -> Path:
        """Where the mask of pair `index` goes."""
        return self.output / self.scene / f"{self.names[index]}.png"

    def write(self, index: int, result: MaskResult) -> Path:
        """Write the mask as PNG."""
        write_image(self.mask_path(index), result.mask)
        return self.mask_path(index)


@dataclass(frozen=True)
class MaskTask:
    """Some pairs of one scene."""

    scene: MaskScene
    indices: tuple[int, ...]
    settings: MaskSettings


def make_tasks(scene: MaskScene, wanted: Sequence[int], settings: MaskSettings) -> list[MaskTask]:
    """The wanted pairs of a scene, a few in each task."""
    return [
        MaskTask(scene, tuple(wanted[first : first + PAIRS_PER_TASK]), settings)
        for first in range(0, len(wanted), PAIRS_PER_TASK)
    ]


def run_mask_task(task: MaskTask) -> list[MaskOutcome]:
    """Make and write the masks of a task; a pair that fails does not stop the others."""
    outcomes = []
    for index in task.indices:
        name = task.scene.names[index]
        try:
            result = mask_in_scene(task.scene, index, task.settings)
            written = task.scene.write(index, result)
        except LocalblurError as error:
            outcomes.append(MaskOutcome(task.scene.scene, name, failure=" ".join(str(error).split())))
        else:
            share = float(binary_mask(result.mask).mean())
            outcomes.append(MaskOutcome(task.scene.scene, name, share, result.confidence, written))
    return outcomes


def mask_in_scene(scene: MaskScene, index: int, settings: MaskSettings) -> MaskResult:
    """The mask of one pair of a scene by the method of `settings`.

    Raises:
        LocalblurError: if the pair cannot be read or used.
    """
    pair = scene.read(index)
    return METHODS[settings.method].make(pair, _learned(scene, settings), settings)


def run_masks(tasks: Sequence[MaskTask], result: Masked, workers: int, scheduler: str | None) -> Iterator[MaskOutcome]:
    """Yield every mask that was made; failures a user can act on are told in `result`."""
    total = sum(len(task.indices) for task in tasks)
    with open_executor(workers, scheduler) as executor, Progress(total, "masks") as progress:
        for task, outcomes in run_tasks(run_mask_task, tasks, executor):
            if isinstance(outcomes, Exception):
                raise outcomes
            for outcome in outcomes:
                if outcome.failure:
                    result.failures.append(f"{outcome.label}: {outcome.failure}")
                else:
                    result.made.append(outcome)
                    yield outcome
            progress.step(task.scene.scene, len(outcomes))


def coded_levels(
    blurred: npt.NDArray[Any],
    sharp: npt.NDArray[Any],
    encoding: str,
    valid: npt.NDArray[np.bool_] | None = None,
) -> PairLevels:
    """A pair as stored, coded as `encoding` says, the way mask methods want it."""
    if encoding == "linear":
        blurred, sharp = to_coded(blurred, encoding), to_coded(sharp, encoding)
    return pair_levels(blurred, sharp, valid)


@functools.lru_cache(maxsize=1)
def _learned(scene: MaskScene, settings: MaskSettings) -> Any:
    """What the method learns from the scene, kept by a worker between its tasks."""
    return METHODS[settings.method].prepare(SceneFrames(len(scene.names), scene.read), settings)


@functools.lru_cache(maxsize=1)
def _opened(path: Path, _stamp: int) -> PairsFile:
    """A pairs file kept open by a worker between its tasks; one that changed is opened anew."""
    return PairsFile.open(path)

"""Masks for many pairs at once: what a worker does for one pair, and running it for all of them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from localblur.alignment.blur_masks import METHODS, MaskSettings
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress, open_executor, run_tasks
from localblur.datasets.images import read_image, to_coded, write_image
from localblur.datasets.importers import PairFiles
from localblur.datasets.pair import binary_mask
from localblur.datasets.store import PairsFile

Mask = npt.NDArray[np.uint8]


@dataclass
class Masked:
    """What came of it: masks made now, kept from before, blurred shares of those made, failures in words."""

    made: int = 0
    kept: int = 0
    shares: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StoredTask:
    """One pair of a pairs file; `stamp` is the file's time of change."""

    path: Path
    stamp: int
    scene: str
    index: int
    name: str
    settings: MaskSettings

    @property
    def label(self) -> str:
        """What to call the pair in messages."""
        return f"{self.scene}/{self.name}"


@dataclass(frozen=True)
class FolderTask:
    """One pair of a plain folder and where its mask goes."""

    files: PairFiles
    encoding: str | None
    output: Path
    settings: MaskSettings

    @property
    def label(self) -> str:
        """What to call the pair in messages."""
        return self.files.label


Task = TypeVar("Task", StoredTask, FolderTask)


def mask_stored_pair(task: StoredTask) -> Mask:
    """The mask of a stored pair, 0 outside its valid box."""
    pairs = _opened(task.path, task.stamp)
    pair = pairs.read(task.scene, task.index)
    y0, x0, y1, x1 = pair.valid_box
    valid = np.zeros(pair.blurred.shape[:2], np.bool_)
    valid[y0:y1, x0:x1] = True
    return make_mask(pair.blurred, pair.sharp, pairs.header.encoding, task.settings, valid)


def mask_folder_pair(task: FolderTask) -> Mask:
    """Make and write the mask of a plain pair."""
    blurred, sharp = read_image(task.files.blurred), read_image(task.files.sharp)
    if blurred.dtype == np.uint16 and task.encoding is None:
        raise LocalblurError("the files are 16 bit, which does not say how they code light: give --encoding")
    if blurred.dtype != sharp.dtype:
        raise LocalblurError(f"blurred is {blurred.dtype} but sharp is {sharp.dtype}; a pair has one depth")
    mask = make_mask(blurred, sharp, task.encoding or "srgb", task.settings)
    write_image(task.output, mask)
    return mask


def make_mask(
    blurred: npt.NDArray[Any],
    sharp: npt.NDArray[Any],
    encoding: str,
    settings: MaskSettings,
    valid: npt.NDArray[np.bool_] | None = None,
) -> Mask:
    """The mask of one pair by the method of `settings`; pictures as stored, coded as `encoding` says."""
    if encoding == "linear":
        blurred, sharp = to_coded(blurred, encoding), to_coded(sharp, encoding)
    return METHODS[settings.method](blurred, sharp, settings, valid)


def run_masks(
    function: Callable[[Task], Mask], tasks: Sequence[Task], result: Masked, workers: int, scheduler: str | None
) -> Iterator[tuple[Task, Mask]]:
    """Yield every task with its mask as they finish; failures a user can act on are told in `result`."""
    with open_executor(workers, scheduler) as executor, Progress(len(tasks), "masks") as progress:
        for task, outcome in run_tasks(function, tasks, executor):
            if isinstance(outcome, LocalblurError):
                result.failures.append(f"{task.label}: {' '.join(str(outcome).split())}")
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                result.made += 1
                result.shares.append(float(binary_mask(outcome).mean()))
                yield task, outcome
            progress.step(task.label)


@functools.lru_cache(maxsize=1)
def _opened(path: Path, _stamp: int) -> PairsFile:
    """A pairs file kept open by a worker between its tasks; one that changed is opened anew."""
    return PairsFile.open(path)

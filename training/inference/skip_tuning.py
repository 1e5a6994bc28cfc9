"""Which settings find the blur: what skipping saves and what it loses, measured for many settings at once.

Finding and confirming are chosen one after the other. Finding decides what is spent: the least work within the allowed
loss. Confirming costs nothing and keeps more of what is sharp: as strict as the rest of the allowed loss permits.

Each picture is restored densely once, and its coarse gate taken once for each reduction. What a setting would have
made of the picture follows without the network: the dense result where cells are open, the picture elsewhere. What it
would have cost is the number of pixels that would have gone through the network, margins included, and those of the
coarse pass for the share of the time that it takes for a pixel.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from localblur.common.errors import LocalblurError
from localblur.training.inference.engine import Engine
from localblur.training.inference.restore import Pixels, choose_tiling, restore_pixels
from localblur.training.inference.selective import coarse_gate, coarse_reduction, mixed, planned_windows
from localblur.training.inference.skipping import Box, SkipSettings, confirmed_cells, open_cells, weights
from localblur.training.inference.tiling import round_up, spans

REDUCTIONS = (3, 4, 5, 6)
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
SEED_THRESHOLDS = (0.3, 0.5, 0.7, 0.9, 0.97)
RIMS = ((8, 1), (8, 2), (8, 4), (16, 1), (16, 2), (16, 3))
"""Sides of cells in pixels, and how many cells a rim has."""

CONFIRM_THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99)

_PROBE_PX = 512
_REPEATS = 5
_ROUNDING = 1 / 12
"""Mean squared error of rounding, levels squared."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture whose truth is known: `blurred` and `sharp` (H, W, 3) of one integer type, `mask` bool (H, W)."""

    blurred: Pixels
    sharp: Pixels
    mask: Mask


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A setting on one picture, or the means over several.

    Attributes:
        work: pixels through the network, divided by those of dense restoration.
        loss_db: weighted PSNR lost against dense restoration; negative where skipping did better.
        found: share of the blurred pixels that lie in open cells.
        kept: share of the pixels outside the mask that come back to the bit whatever the network does.
        outside_db: PSNR gained over the blurred picture outside the mask; nan where that was not asked for.
    """

    work: float
    loss_db: float
    found: float
    kept: float
    outside_db: float = math.nan

    @property
    def faster(self) -> float:
        """How many times less work than dense restoration."""
        return 1 / self.work


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A setting, what it gave on average, and the most it lost on a single picture."""

    settings: SkipSettings
    mean: Outcome
    worst_loss_db: float


def settings_grid(
    reductions: Sequence[int] = REDUCTIONS,
    thresholds: Sequence[float] = THRESHOLDS,
    seeds: Sequence[float] = SEED_THRESHOLDS,
    rims: Sequence[tuple[int, int]] = RIMS,
) -> list[SkipSettings]:
    """Every combination whose seeds are above the threshold."""
    return [
        SkipSettings(reduction=reduction, threshold=threshold, seed_threshold=seed, cell_px=cell, grow_cells=grow)
        for reduction, threshold, seed, (cell, grow) in itertools.product(reductions, thresholds, seeds, rims)
        if seed > threshold
    ]


def confirmations(chosen: SkipSettings) -> list[SkipSettings]:
    """The settings with every threshold of confirmation, none of them first, then ever stricter."""
    return [chosen.model_copy(update={"confirm_threshold": threshold}) for threshold in (0.0, *CONFIRM_THRESHOLDS)]


def sweep(
    engine: Engine, examples: Iterable[Example], grid: Sequence[SkipSettings], *, outside: bool = False
) -> list[Trial]:
    """Try all settings on all pictures; the trials come in the order of `grid`.

    Args:
        outside: also measure what happens outside the masks, which takes several times as long for a setting.

    Raises:
        LocalblurError: if the network has no gate, or no picture has a blurred pixel.
    """
    found: list[list[Outcome]] = [[] for _ in grid]
    share = find_share(engine)
    for example in examples:
        if example.mask.any():
            for outcomes, outcome in zip(found, _tried(engine, example, grid, share, outside), strict=True):
                outcomes.append(outcome)
    if not found or not found[0]:
        raise LocalblurError("no picture has a blurred pixel in its mask; nothing can be measured")
    return [
        Trial(settings=settings, mean=_mean(outcomes), worst_loss_db=max(one.loss_db for one in outcomes))
        for settings, outcomes in zip(grid, found, strict=True)
    ]


def best_trial(trials: Sequence[Trial], most_loss_db: float) -> Trial:
    """The least work among those that lose at most so much on average; if none does, the one that loses least."""
    allowed = [trial for trial in trials if trial.mean.loss_db <= most_loss_db]
    if not allowed:
        return min(trials, key=lambda trial: trial.mean.loss_db)
    return min(allowed, key=lambda trial: trial.mean.work)


def strictest_trial(trials: Sequence[Trial], most_loss_db: float) -> Trial:
    """The strictest confirmation that loses at most so much on average; the first of `trials` if none does.

    Args:
        trials: of `confirmations`, in their order.
    """
    return next((trial for trial in reversed(trials) if trial.mean.loss_db <= most_loss_db), trials[0])


def frontier(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in both work and loss, the fastest first."""
    kept: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.mean.work, trial.mean.loss_db)):
        if not kept or trial.mean.loss_db < kept[-1].mean.loss_db:
            kept.append(trial)
    return kept


def network_pixels(engine: Engine, height: int, width: int) -> int:
    """Pixels that go through the network for a picture restored with `restore_pixels`, overlaps of windows included."""
    size = [round_up(length, engine.size_multiple) for length in (height, width)]
    tiling = choose_tiling(engine, height, width)
    if tiling is None:
        return size[0] * size[1]
    rows, columns = (sum(span.stop - span.start for span in spans(length, tiling)) for length in size)
    return rows * columns


def find_share(engine: Engine) -> float:
    """Time in which a network finds blur, divided by that in which it restores, by the clock; 1 without a gate."""
    if not engine.gated:
        return 1.0
    window = torch.full((1, 3, _PROBE_PX, _PROBE_PX), 0.5)
    finding, restoring = (min(_seconds(work, window) for _ in range(_REPEATS)) for work in (engine.find, engine.run))
    return min(1.0, finding / restoring)


def _seconds(work: Callable[[torch.Tensor], torch.Tensor], window: torch.Tensor) -> float:
    start = time.perf_counter()
    work(window)
    return time.perf_counter() - start


def weighted_psnr(image: Pixels, sharp: Pixels, mask: Mask) -> float:
    """PSNR in dB of the pixels of the mask."""
    return _psnr(image[mask].astype(np.float32), sharp[mask].astype(np.float32), np.iinfo(sharp.dtype).max)


def outside_gain(image: Pixels, example: Example) -> float:
    """PSNR in dB that was gained over the blurred picture outside the mask; 0 where the mask leaves nothing.

    Errors below what rounding to integers makes, a twelfth of a level squared, count as that: what did not change at
    all would be infinitely good.
    """
    outside = ~example.mask
    if not outside.any():
        return 0.0
    sharp = example.sharp[outside].astype(np.float32)
    before, after = (max(_squared_error(one[outside], sharp), _ROUNDING) for one in (example.blurred, image))
    return 10 * math.log10(before / after)


def _tried(
    engine: Engine, example: Example, grid: Sequence[SkipSettings], share: float, outside: bool
) -> Iterator[Outcome]:
    size = example.mask.shape[0], example.mask.shape[1]
    dense = restore_pixels(engine, example.blurred)
    dense_pixels = network_pixels(engine, *size)
    top = float(np.iinfo(example.sharp.dtype).max)
    before, after, sharp = (
        image[example.mask].astype(np.float32) for image in (example.blurred, dense.pixels, example.sharp)
    )
    dense_db = _psnr(after, sharp, top)
    gates: dict[int, npt.NDArray[np.uint8]] = {}
    for settings in grid:
        reduction = coarse_reduction(size, settings)
        if reduction not in gates:
            gates[reduction] = coarse_gate(engine, example.blurred, reduction)
        gate = gates[reduction]
        cells = found = open_cells(gate / np.float32(255), size, settings)
        if dense.gate is not None:
            cells = confirmed_cells(found, dense.gate, settings)
        weight = weights(cells, Box(0, 0, *size), settings.cell_px)
        inside = weight[example.mask]
        windows = planned_windows(found, size, settings, engine.size_multiple)
        parts = [network_pixels(engine, box.bottom - box.top, box.right - box.left) for _, box in windows]
        # a picture too small to be made smaller is restored as a whole
        work = dense_pixels if reduction == 1 else share * network_pixels(engine, *gate.shape) + sum(parts)
        yield Outcome(
            work=work / dense_pixels,
            loss_db=dense_db - _psnr(mixed(before, after, inside), sharp, top),
            found=float((inside > 0).mean()),
            kept=float((weight[~example.mask] == 0).mean()) if not example.mask.all() else 1.0,
            outside_db=outside_gain(mixed(example.blurred, dense.pixels, weight), example) if outside else math.nan,
        )


def _squared_error(image: npt.NDArray[Any], sharp: npt.NDArray[Any]) -> float:
    return float(np.mean((image - sharp) ** 2, dtype=np.float64))


def _psnr(image: npt.NDArray[Any], sharp: npt.NDArray[Any], top: float) -> float:
    error = _squared_error(image, sharp)
    return math.inf if error == 0 else 10 * math.log10(top**2 / error)


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        work=fmean(one.work for one in outcomes),
        loss_db=fmean(one.loss_db for one in outcomes),
        found=fmean(one.found for one in outcomes),
        kept=fmean(one.kept for one in outcomes),
        outside_db=fmean(one.outside_db for one in outcomes),
    )

"""The command `python -m localblur.training.tune_skipping`: how a model should find what is blurred, by measurement."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

import click
import numpy as np

from localblur.common.command import Command, device_option
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.datasets.images import from_unit, to_coded
from localblur.datasets.pair import binary_mask
from localblur.datasets.store import SPLITS, PairsFile
from localblur.training.inference.deblur_run import make_engine
from localblur.training.inference.engine import Engine, Precision
from localblur.training.inference.model_skipping import store_skipping, weights_folder
from localblur.training.inference.restore import Pixels, restore_pixels
from localblur.training.inference.selective import SMALLEST_COARSE_PX, coarse_reduction, restore_blurred
from localblur.training.inference.skip_tuning import (
    Example,
    Trial,
    best_trial,
    confirmations,
    frontier,
    outside_gain,
    settings_grid,
    strictest_trial,
    sweep,
    weighted_psnr,
)
from localblur.training.inference.skipping import SkipSettings
from localblur.training.simulate_scenes import VALIDATION_EVERY
from localblur.training.simulated_scenes import scene_pairs, scene_settings

WIDTH_PX, HEIGHT_PX = 2152, 1436
COVERAGE = 0.2
"""Asked of the simulated scenes; their masks then cover about an eighth of the picture."""

SMALLEST_PX = 2 * SMALLEST_COARSE_PX
"""Pictures below that a side are restored at once, whatever the settings."""

SHOWN = 3
"""Settings that lose more than so many times what is allowed are not printed."""


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, metavar="[DATA.h5]...", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(SPLITS), default="val", show_default=True, help="Scenes of DATA.")
@click.option("--scenes", type=click.IntRange(min=1), default=4, show_default=True, help="Pictures to measure on.")
@click.option("--loss", "loss_db", type=float, default=0.05, show_default=True, help="Allowed mean loss, dB.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="As for deblur.",
)
@click.option("--write", is_flag=True, help="Keep the choice beside the weights; deblur then uses it.")
@device_option
def main(
    model: Path,
    data: tuple[Path, ...],
    split: str,
    scenes: int,
    loss_db: float,
    precision: Precision,
    write: bool,
    device: str,
) -> None:
    """Choose the settings by which MODEL finds what is blurred, for deblur without --dense.

    Tries several hundred settings on pictures with known masks: of DATA.h5 (those of the size that shall be restored),
    or without DATA on simulated validation scenes of 2152x1436. Printed are those that no other beats in both work and
    weighted PSNR. The one with least work whose mean loss against dense restoration is allowed is chosen; then how
    surely the finest gate must confirm what was found: as surely as that loss permits. Both are run by the clock.
    Pictures below 640 px a side are left out: they are restored at once, whatever the settings.

    \b
    Example:
      python -m localblur.training.tune_skipping run --write
      python -m localblur.training.tune_skipping run pairs.h5 --split val --loss 0.02
    """
    if weights_folder(model) is None:  # before minutes of measuring what could not be kept
        raise LocalblurError(f"no model in {model}; give a model folder or a run folder of train-lbag")
    engine, name, _ = make_engine(model, precision=precision, device=device)
    if not engine.gated:
        raise LocalblurError(f"{name} has no gate that tells what is blurred; there is nothing to choose")
    grid = settings_grid()
    with Progress(scenes, "pictures", "picture") as progress:
        candidates = stored_examples(data, split) if data else simulated_examples(scenes)
        examples, small = measurable_examples(candidates, scenes, grid, progress)
    if small:
        click.echo(f"note: {small} pictures below {SMALLEST_PX} px a side left out", err=True)
    trials = sweep(engine, examples, grid)
    chosen = best_trial(trials, loss_db)
    shown = [trial for trial in frontier(trials) if trial is chosen or trial.mean.loss_db <= SHOWN * loss_db]
    click.echo(table(shown, chosen))
    if chosen.mean.loss_db > loss_db:
        raise LocalblurError(
            f"no setting loses less than {loss_db} dB (least: {chosen.mean.loss_db:.3f}); allow more with --loss, or"
            " train the model's gate longer"
        )
    strict = sweep(engine, examples, confirmations(chosen.settings), outside=True)
    chosen = strictest_trial(strict, loss_db)
    click.echo(confirmation_table(strict, chosen))
    measured = by_the_clock(engine, examples, chosen.settings)
    click.echo("; ".join(f"{key} {value:.3g}" for key, value in measured.items()))
    if write:
        click.echo(f"written: {store_skipping(model, chosen.settings, measured)}")


def simulated_examples(count: int, height: int = HEIGHT_PX, width: int = WIDTH_PX) -> Iterator[Example]:
    """Validation scenes of `simulate_scenes`, large."""
    for number in range(1, count + 1):
        scene = scene_settings("train", VALIDATION_EVERY * number).model_copy(update={"coverage": COVERAGE})
        (pair,) = scene_pairs(scene, f"scene{number}", 1, height, width)
        if pair.mask is not None:
            yield Example(blurred=pair.blurred, sharp=pair.sharp, mask=binary_mask(pair.mask))


def measurable_examples(
    candidates: Iterable[Example], count: int, grid: Sequence[SkipSettings], progress: Progress
) -> tuple[list[Example], int]:
    """The first `count` pictures for which the settings of `grid` make a difference, and how many too small were met.

    Raises:
        LocalblurError: if all are too small.
    """
    examples, small = [], 0
    for example in candidates:
        size = example.mask.shape[0], example.mask.shape[1]
        if all(coarse_reduction(size, settings) == 1 for settings in grid):
            small += 1
            continue
        examples.append(example)
        progress.step()
        if len(examples) == count:
            break
    if small and not examples:
        raise LocalblurError(
            f"nothing is skipped in pictures as small as the {small} that DATA has; give some of at least"
            f" {SMALLEST_PX} px a side, or leave DATA out"
        )
    return examples, small


def stored_examples(paths: Sequence[Path], split: str) -> Iterator[Example]:
    """The first pair with a mask of each scene of the split, cropped to its valid box.

    Raises:
        LocalblurError: if there is none.
    """
    found = False
    for path in paths:
        with PairsFile.open(path) as file:
            for scene in (scene for scene in file.scenes if scene.split == split):
                usable = [index for index in range(scene.count) if not file.is_rejected(scene.name, index)]
                masked = next((index for index in usable if file.has_mask(scene.name, index)), None)
                if masked is None:
                    continue
                pair = file.read(scene.name, masked)
                if pair.mask is None:
                    continue
                y0, x0, y1, x1 = pair.valid_box
                blurred, sharp = (
                    from_unit(to_coded(image[y0:y1, x0:x1], file.header.encoding), 8)
                    for image in (pair.blurred, pair.sharp)
                )
                found = True
                yield Example(blurred=blurred, sharp=sharp, mask=binary_mask(pair.mask[y0:y1, x0:x1]))
    if not found:
        raise LocalblurError(f"no pair with a mask in split {split!r} of the files; choose --split, or mask-dataset")


def by_the_clock(engine: Engine, examples: Sequence[Example], settings: SkipSettings) -> dict[str, float]:
    """Both ways run on every picture, named figures: times in s, loss in dB, shares."""
    dense_s, skipping_s, losses, shares, kept, outside, blurred = [], [], [], [], [], [], []
    for example in examples:
        start = time.perf_counter()
        dense: Pixels = restore_pixels(engine, example.blurred).pixels
        middle = time.perf_counter()
        found = restore_blurred(engine, example.blurred, settings)
        skipping_s.append(time.perf_counter() - middle)
        dense_s.append(middle - start)
        blurred.append(float(example.mask.mean()))
        shares.append(found.share)
        same = (found.pixels == example.blurred).all(axis=2)
        kept.append(float(same[~example.mask].mean()) if not example.mask.all() else 1.0)
        outside.append(outside_gain(found.pixels, example))
        if example.mask.any():
            before, after = (weighted_psnr(way, example.sharp, example.mask) for way in (dense, found.pixels))
            losses.append(before - after)
    return {
        "pictures": float(len(examples)),
        "blurred_share": fmean(blurred),
        "dense_s": fmean(dense_s),
        "skipping_s": fmean(skipping_s),
        "faster": float(np.sum(dense_s) / np.sum(skipping_s)),
        "restored_share": fmean(shares),
        "weighted_psnr_lost_db": fmean(losses),
        "largest_loss_db": max(losses),
        "sharp_kept_share": fmean(kept),
        "outside_gained_db": fmean(outside),
    }


def table(trials: Sequence[Trial], chosen: Trial) -> str:
    """One line a setting, the chosen one marked."""
    lines = ["reduction  threshold  seed  cell  rim  less work  loss dB  worst  blur found  sharp kept"]
    for trial in trials:
        of, mean = trial.settings, trial.mean
        lines.append(
            f"{of.reduction:9}  {of.threshold:9.2f}  {of.seed_threshold:4.2f}  {of.cell_px:4}  {of.grow_cells:3}"
            f"  {mean.faster:8.2f}x"
            f"  {mean.loss_db:7.3f}  {trial.worst_loss_db:5.3f}  {mean.found:10.1%}  {mean.kept:10.1%}"
            f"{'  <- chosen' if trial is chosen else ''}"
        )
    return "\n".join(lines)


def confirmation_table(trials: Sequence[Trial], chosen: Trial) -> str:
    """One line a threshold, the chosen one marked."""
    lines = ["confirm  loss dB  worst  outside dB  sharp kept"]
    for trial in trials:
        mean = trial.mean
        lines.append(
            f"{trial.settings.confirm_threshold:7.3f}  {mean.loss_db:7.3f}  {trial.worst_loss_db:5.3f}"
            f"  {mean.outside_db:+10.3f}  {mean.kept:10.1%}{'  <- chosen' if trial is chosen else ''}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""How good blur masks are on simulated scenes: `python benchmarks/mask_scenes.py [METHOD]...` prints a table.

Every scene is simulated, masked and scored; nothing is written unless --pictures is given. See `mask_catalogue` for the
scenes. A pair counts with its intersection over union where at least 200 pixels are truly blurred, else with the share
of the frame that is blurred wrongly; pixels between (rims, shadows) do not count.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import numpy.typing as npt
from mask_catalogue import SPLITS, scene_names, scene_pairs
from mask_stage import StagedPair

from localblur.alignment.masks.blur_masks import METHODS, MaskResult, MaskSettings
from localblur.alignment.masks.input import SceneFrames, pair_levels
from localblur.common.settings import load_settings
from localblur.datasets.images import write_image
from localblur.datasets.pair import binary_mask

FEWEST_BLURRED_PX = 200
SHOWN_WIDTH_PX = 320
NOT_COUNTED = 128


@dataclass(frozen=True)
class Scored:
    """One pair: IoU, or for a motionless one the share of false positives; the mask's confidence."""

    scene: str
    index: int
    iou: float | None
    false_share: float | None
    confidence: float


def score(truth: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> tuple[float | None, float | None]:
    """(IoU, None) of a pair in which enough moves, else (None, share of false positives)."""
    counted = truth != NOT_COUNTED
    true, found = truth[counted] == 255, binary_mask(mask)[counted]
    if true.sum() < FEWEST_BLURRED_PX:
        return None, float((found & ~true).mean())
    return float((true & found).sum() / (true | found).sum()), None


def make_masks(pairs: Sequence[StagedPair], settings: MaskSettings) -> list[MaskResult]:
    """The masks of one scene."""
    frames = SceneFrames(len(pairs), lambda index: pair_levels(pairs[index].blurred, pairs[index].sharp))
    method = METHODS[settings.method]
    learned = method.prepare(frames, settings)
    return [method.make(frames.read(index), learned, settings) for index in range(len(pairs))]


def score_scene(name: str, pairs: Sequence[StagedPair], results: Sequence[MaskResult]) -> list[Scored]:
    """All pairs of a scene."""
    return [
        Scored(name, index, *score(pair.truth, result.mask), result.confidence)
        for index, (pair, result) in enumerate(zip(pairs, results, strict=True))
    ]


def summary(scored: Sequence[Scored]) -> str:
    """Mean IoU, its lowest scene, and false positives, as one line of a table."""
    ious = np.array([row.iou for row in scored if row.iou is not None])
    false = np.array([row.false_share for row in scored if row.false_share is not None])
    by_scene = {row.scene: [r.iou for r in scored if r.scene == row.scene and r.iou is not None] for row in scored}
    lowest = min((float(np.mean(values)), scene) for scene, values in by_scene.items() if values)
    alarms = f"{100 * false.mean():.3f} % (highest {100 * false.max():.2f} %)" if len(false) else "-"
    return (
        f"| {ious.mean():.3f} | {np.median(ious):.3f} | {np.quantile(ious, 0.1):.3f} | {lowest[0]:.3f} ({lowest[1]})"
        f" | {alarms} of {len(false)} |"
    )


def overlay(pair: StagedPair, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Blurred, sharp, and the mask on the blurred: green right, red too much, blue missed, yellow not counted."""
    shown, found = pair.blurred.copy(), binary_mask(mask)
    true, open_ = pair.truth == 255, pair.truth == NOT_COUNTED
    colours = (
        (true & found, (0, 255, 0)),
        (found & ~true & ~open_, (255, 0, 0)),
        (true & ~found, (0, 0, 255)),
        (open_, (255, 255, 0)),
    )
    for where, colour in colours:
        shown[where] = (0.5 * shown[where] + 0.5 * np.array(colour)).astype(np.uint8)
    row: npt.NDArray[Any] = np.hstack([pair.blurred, pair.sharp, shown])
    size = 3 * SHOWN_WIDTH_PX, round(row.shape[0] * 3 * SHOWN_WIDTH_PX / row.shape[1])
    return np.asarray(cv2.resize(row, size, interpolation=cv2.INTER_AREA), np.uint8)


@click.command()
@click.argument("methods", nargs=-1, type=click.Choice(sorted(METHODS)))
@click.option("--half", "halves", type=click.Choice(sorted(SPLITS)), multiple=True, help="Only this half.")
@click.option("--scene", "only", help="Only scenes with this in their name.")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Override a mask setting.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for the worst ten of each method and half.")
def main(
    methods: Sequence[str], halves: Sequence[str], only: str | None, overrides: Sequence[str], pictures: Path | None
) -> None:
    """Simulate all scenes, make their masks with all METHODS (or those named), and print how good they are."""
    cv2.setNumThreads(1)
    chosen = methods or sorted(METHODS)
    click.echo("| method, half | mean IoU | median | lowest tenth | lowest scene | false positives, motionless pairs |")
    click.echo("|---" * 6 + "|")
    begun = time.monotonic()
    for half in halves or sorted(SPLITS, reverse=True):
        rows: dict[str, list[Scored]] = {method: [] for method in chosen}
        worst: dict[str, list[tuple[float, str, npt.NDArray[np.uint8]]]] = {method: [] for method in chosen}
        for name in scene_names():
            if only is not None and only not in name:
                continue
            pairs = list(scene_pairs(half, name))
            for method in chosen:
                results = make_masks(pairs, load_settings(MaskSettings, None, [*overrides, f"method={method}"]))
                scored = score_scene(name, pairs, results)
                rows[method] += scored
                kept = worst[method] + [
                    (1 - (row.false_share or 0) if row.iou is None else row.iou, f"{name} {row.index}", shown)
                    for row, pair, result in zip(scored, pairs, results, strict=True)
                    for shown in [overlay(pair, result.mask)]
                ]
                worst[method] = sorted(kept, key=lambda item: item[0])[:10]
        for method in chosen:
            click.echo(f"| {method}, {half} {summary(rows[method])}")
            if pictures is not None:
                for place, (value, label, picture) in enumerate(worst[method]):
                    write_image(pictures / f"{method}-{half}-{place:02d}-{label.replace(' ', '-')}.png", picture)
                    click.echo(f"    {place + 1}. {label}: {value:.3f}")
    click.echo(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

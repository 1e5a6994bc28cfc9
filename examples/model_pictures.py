"""Strips that show what a model does, for its card and the README.

    python examples/model_pictures.py MODEL test.h5 --scores scores --pair blurred.png sharp.png --photo a.png -o out

Of the scored test pairs: those at chosen ranks of the gain, best to worst. Of real pictures: the part where the gate
opens most. Each strip is blurred, restored, gate and, where there is one, sharp.
"""

import csv
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import from_unit, read_image, to_coded, write_image
from localblur.datasets.store import PairsFile
from localblur.training.inference.deblur_run import Ready, make_engine
from localblur.training.inference.selective import restore_blurred

Bytes = npt.NDArray[np.uint8]
PART_PX, RANKS, GAP_PX = 320, (0.1, 0.5, 0.85), 4


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--scores", type=click.Path(path_type=Path), required=True, help="Report of evaluate-deblur on DATA.")
@click.option("--pair", "pairs", type=(click.Path(path_type=Path), click.Path(path_type=Path)), multiple=True)
@click.option("--photo", "photos", type=click.Path(path_type=Path), multiple=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
def main(
    model: Path,
    data: Path,
    scores: Path,
    pairs: tuple[tuple[Path, Path], ...],
    photos: tuple[Path, ...],
    output: Path,
) -> None:
    """Write scenes.jpg, real-pair.jpg and real.jpg into OUTPUT."""
    output.mkdir(parents=True, exist_ok=True)
    ready = make_engine(model)
    write_image(output / "scenes.jpg", scene_strips(ready, data, scores))
    for blurred, sharp in pairs:
        write_image(output / "real-pair.jpg", real_strip(ready, blurred, sharp))
    if photos:
        write_image(output / "real.jpg", stacked([real_strip(ready, photo) for photo in photos], axis=0))


def scene_strips(ready: Ready, data: Path, scores: Path) -> Bytes:
    """Pairs at the ranks of their gain in weighted PSNR."""
    rows = gains(scores)
    chosen = [rows[int(rank * len(rows))] for rank in RANKS]
    strips = []
    with PairsFile.open(data) as file:
        for gain, scene, name in chosen:
            index = file.names(scene).index(name)
            pair = file.read(scene, index)
            coded = [from_unit(to_coded(x, file.header.encoding), 8) for x in (pair.blurred, pair.sharp)]
            strips.append(strip(ready, coded[0], coded[1]))
            click.echo(f"{scene}/{name}: {gain:+.2f} dB")
    return stacked(strips, axis=0)


def gains(scores: Path) -> list[tuple[float, str, str]]:
    """(gain of the weighted PSNR in dB, scene, pair), best first."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    with (scores / "scores.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values.setdefault((row["scene"], row["pair"]), {})[row["method"]] = float(row["weighted_psnr"] or "nan")
    found = []
    for (scene, pair), methods in values.items():
        blurred = methods.pop("blurred")
        found.append((next(iter(methods.values())) - blurred, scene, pair))
    return sorted((row for row in found if np.isfinite(row[0])), reverse=True)


def real_strip(ready: Ready, blurred: Path, sharp: Path | None = None) -> Bytes:
    """The square part of a picture in which the gate opens most."""
    picture = as_bytes(read_image(blurred))
    found = restore_blurred(ready.engine, picture, ready.skipping)
    side = min(PART_PX, *picture.shape[:2])
    mean = cv2.boxFilter(found.gate.astype(np.float32), -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inner = mean[: picture.shape[0] - side + 1, : picture.shape[1] - side + 1]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    part = np.s_[y : y + side, x : x + side]
    shown = [picture[part], as_bytes(found.pixels)[part], gray(found.gate[part])]
    return stacked(shown if sharp is None else [*shown, as_bytes(read_image(sharp))[part]], axis=1)


def strip(ready: Ready, blurred: Bytes, sharp: Bytes) -> Bytes:
    """Blurred, restored, gate, sharp."""
    found = restore_blurred(ready.engine, blurred, ready.skipping)
    return stacked([blurred, as_bytes(found.pixels), gray(found.gate), sharp], axis=1)


def as_bytes(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Bytes:
    """8 bit of 8 or 16."""
    return (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)


def gray(gate: Bytes) -> Bytes:
    """(H, W) as (H, W, 3)."""
    return np.repeat(gate[..., None], 3, axis=2)


def stacked(parts: list[Bytes], axis: int) -> Bytes:
    """Side by side (axis 1) or on one another (0), with a white gap."""
    shape = list(parts[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=axis)


if __name__ == "__main__":
    main()

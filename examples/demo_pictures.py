"""The pictures of the demo's page, made from the files that the commands left."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.truth import RigTruth
from localblur.alignment.light.radiometry import demosaic
from localblur.datasets.images import read_image, srgb_encode, to_unit, write_image
from localblur.datasets.pair import Pair, binary_mask
from localblur.datasets.recording import Recording
from localblur.datasets.store import PairsFile

Picture = npt.NDArray[np.uint8]
Figure = tuple[Path, str]

AMPLIFICATION = 4
GAP = 6


def view(linear: npt.NDArray[Any]) -> Picture:
    """Linear light as an 8-bit sRGB picture, brightened so that its brightest percent is white."""
    return np.rint(srgb_encode(linear / max(float(np.percentile(linear, 99)), 1e-3)) * 255).astype(np.uint8)


def row(*pictures: npt.NDArray[Any]) -> Picture:
    """Pictures of equal height side by side on white."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.hstack([part.astype(np.uint8) for part in parts])


def column(*pictures: npt.NDArray[Any]) -> Picture:
    """Pictures of equal width below each other on white."""
    gap = np.full((GAP, pictures[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for picture in pictures for part in (picture, gap)][:-1])


def most_blurred(path: Path, prefix: str, count: int) -> list[Pair]:
    """The accepted pairs with the largest blurred areas, one per scene whose name starts with `prefix`."""
    with PairsFile.open(path) as file:
        best: list[tuple[float, Pair]] = []
        for scene in file.scenes:
            if not scene.name.startswith(prefix):
                continue
            accepted = [index for index in range(scene.count) if not file.is_rejected(scene.name, index)]
            pairs = [file.read(scene.name, index) for index in accepted]
            if not pairs:
                continue
            shares = [float(binary_mask(pair.mask).mean()) if pair.mask is not None else 0.0 for pair in pairs]
            chosen = int(np.argmax(shares))
            best.append((shares[chosen], pairs[chosen]))
    return [pair for _, pair in sorted(best, key=lambda item: -item[0])[:count]]


def captured(recording: Recording, scene: str, index: int) -> tuple[npt.NDArray[Any], ...]:
    """Demosaiced linear captures (B, S) of one pair."""
    raws = recording.frames(f"scenes/{scene}", index)
    cameras = (recording.manifest.camera_B, recording.manifest.camera_S)
    linear = []
    for raw, camera in zip(raws, cameras, strict=True):
        unit = (raw.astype(np.float32) - camera.black_level) / (camera.white_level - camera.black_level)
        linear.append(np.clip(demosaic(unit, camera.bayer or "RGGB"), 0, 1))
    return tuple(linear)


def capture_strip(folder: Path, pictures: Path) -> list[Figure]:
    """What came out of the two cameras."""
    recording = Recording.open(folder)
    scene = next(name for name in recording.scenes if name.startswith("test"))
    index = recording.pairs(f"scenes/{scene}")[0].index
    raw_blurred, raw_sharp = recording.frames(f"scenes/{scene}", index)
    blurred, sharp = captured(recording, scene, index)
    write_image(pictures / "captures.png", row(view(blurred), view(sharp)))
    height, width = raw_blurred.shape[:2]
    y, x = height // 2 - 30, width // 2 - 40
    zooms = [
        cv2.resize(view(raw[y : y + 60, x : x + 80].astype(np.float32)), None, fx=6, fy=6, interpolation=0)
        for raw in (raw_blurred, raw_sharp)
    ]
    write_image(pictures / "mosaics.png", row(*(np.repeat(zoom[..., None], 3, 2) for zoom in zooms)))
    long_ms, short_ms = recording.manifest.camera_B.exposure_ms, recording.manifest.camera_S.exposure_ms
    told = (
        f"{scene}, pair {index}: camera B ({long_ms:g} ms) and camera S ({short_ms:g} ms), demosaiced only."
        " Neither lies on the other, and their colours differ."
    )
    zoomed = "The centre of both raw frames, 80x60 pixels of the Bayer mosaic, enlarged 6 times."
    return [(pictures / "captures.png", told), (pictures / "mosaics.png", zoomed)]


def alignment_strip(folder: Path, pairs: Path, pictures: Path) -> list[Figure]:
    """Differences before and after alignment, amplified alike."""
    recording = Recording.open(folder)
    figures = []
    for number, pair in enumerate(most_blurred(pairs, "test", 2)):
        raw_blurred, raw_sharp = captured(recording, pair.scene, int(pair.info.name))
        before = np.abs(srgb_encode(raw_blurred) - srgb_encode(raw_sharp))
        after = np.abs(to_unit(pair.blurred) - to_unit(pair.sharp))
        sheet = row(*(np.rint(np.clip(part * AMPLIFICATION, 0, 1) * 255) for part in (before, after)))
        path = pictures / f"alignment{number}.png"
        write_image(path, sheet)
        quality = pair.info.quality
        residual = quality.get("residual_p50_px")
        told = f" Median residual displacement {residual:.3f} px." if residual is not None else ""
        truth = RigTruth.load(folder / "truth" / pair.scene / f"{int(pair.info.name):06d}.npz")
        height, width = truth.displacement.shape[:2]
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2)
        shift = float(np.hypot(*np.moveaxis(truth.displacement - grid, 2, 0)).mean())
        caption = (
            f"{pair.scene}/{pair.info.name}: differences x{AMPLIFICATION}. The captures lay {shift:.1f} px apart.{told}"
        )
        figures.append((path, caption))
    return figures


def outlined(picture: npt.NDArray[Any], mask: npt.NDArray[Any], color: tuple[int, int, int]) -> Picture:
    """A picture with the outline of a mask."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = np.ascontiguousarray(picture)
    cv2.drawContours(drawn, contours, -1, color, 2)
    return drawn.astype(np.uint8)


def mask_strip(folder: Path, pairs: Path, pictures: Path) -> list[Figure]:
    """Masks on the pictures, beside the truth."""
    figures = []
    for number, pair in enumerate(most_blurred(pairs, "test", 3)):
        assert pair.mask is not None
        truth = RigTruth.load(folder / "truth" / pair.scene / f"{int(pair.info.name):06d}.npz").motion_mask
        made = binary_mask(pair.mask)
        union = (made | truth).sum()
        overlap = float((made & truth).sum() / union) if union else 1.0
        path = pictures / f"masks{number}.png"
        write_image(
            path, row(outlined(pair.blurred, made, (255, 40, 40)), outlined(pair.blurred, truth, (40, 220, 40)))
        )
        figures.append(
            (path, f"{pair.scene}/{pair.info.name}: {made.mean():.0%} marked, IoU with the truth {overlap:.2f}.")
        )
    return figures


def synthetic_sheet(pairs: Path, pictures: Path) -> list[Figure]:
    """A few of the synthetic pairs."""
    chosen = most_blurred(pairs, "", 3)
    rows = []
    for pair in chosen:
        mask = np.zeros(pair.blurred.shape[:2], np.uint8) if pair.mask is None else pair.mask
        rows.append(row(pair.blurred, pair.sharp, np.repeat(mask[..., None], 3, 2)))
    write_image(pictures / "synthetic.png", column(*rows))
    with PairsFile.open(pairs) as file:
        count = sum(scene.count for scene in file.scenes)
    return [(pictures / "synthetic.png", f"Three of {count} synthetic pairs.")]


def loss_curve(run: Path, pictures: Path) -> list[Figure]:
    """Training loss and the validation gain over steps."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    training = [record for record in records if record.get("kind") == "train"]
    validation = [record for record in records if record.get("kind") == "validation"]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    left.plot([r["step"] for r in training], [r["loss"] for r in training], color="#35618e")
    left.set(xlabel="step", ylabel="training loss", title="loss")
    right.axhline(0, color="#999", linewidth=1)
    gains = [r["weighted_psnr_restored"] - r["weighted_psnr_blurred"] for r in validation]
    right.plot([r["step"] for r in validation], gains, marker="o", color="#8a6d2f")
    right.set(xlabel="step", ylabel="dB over the blurred input", title="validation: gain in weighted PSNR")
    figure.savefig(pictures / "training.png", dpi=100)
    pyplot.close(figure)
    return [(pictures / "training.png", "Training loss, and the gain inside the blur masks of the validation scene.")]


def deblur_strip(folder: Path, pairs: Path, pictures: Path, run: Any) -> list[Figure]:
    """`deblur` on blurred pictures from scenes never seen, beside the sharp captures."""
    chosen = most_blurred(pairs, "test", 3)
    inputs = folder / "blurred"
    for pair in chosen:
        write_image(inputs / f"{pair.scene}.png", pair.blurred)
    run("evaluate", "deblur", inputs, "--model", folder / "run" / "last", "-o", folder / "deblurred")
    scores = weighted_scores(folder / "scores" / "scores.csv")
    figures = []
    for pair in chosen:
        restored = read_image(folder / "deblurred" / f"{pair.scene}.png")
        y0, x0, y1, x1 = around_mask(pair)
        parts = (part[y0:y1, x0:x1] for part in (pair.blurred, restored, pair.sharp))
        path = pictures / f"restored_{pair.scene}.png"
        write_image(path, row(*(cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for part in parts)))
        before, after = scores[pair.scene, pair.info.name]
        told = f"inside the mask {before:.2f} dB blurred, {after:.2f} dB restored ({after - before:+.2f} dB)"
        figures.append((path, f"{pair.scene}/{pair.info.name}: blurred, restored, sharp, enlarged twice; {told}."))
    return figures


def weighted_scores(table: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Weighted PSNR in dB of every (scene, pair), blurred and restored."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            methods = found.setdefault((line["scene"], line["pair"]), {})
            methods[line["method"]] = float(line["weighted_psnr"] or "nan")
    pairs = {key: (methods.pop("blurred"), methods) for key, methods in found.items()}
    return {key: (before, next(iter(rest.values()))) for key, (before, rest) in pairs.items()}


def around_mask(pair: Pair, side: int = 180) -> tuple[int, int, int, int]:
    """A square window around the middle of the blurred area, inside the picture."""
    height, width = pair.blurred.shape[:2]
    ys, xs = np.nonzero(binary_mask(pair.mask)) if pair.mask is not None else (np.array([]), np.array([]))
    y, x = (int(np.median(ys)), int(np.median(xs))) if ys.size else (height // 2, width // 2)
    y0 = min(max(y - side // 2, 0), max(height - side, 0))
    x0 = min(max(x - side // 2, 0), max(width - side, 0))
    return y0, x0, min(y0 + side, height), min(x0 + side, width)

"""The pictures of a report: small, made by the process that aligned the pair, one JPEG per picture."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.pair import AlignedPair
from localblur.alignment.pipeline import CapturedPair
from localblur.alignment.rendering import Rendering
from localblur.alignment.tiles import TileResiduals
from localblur.common.files import atomic_path
from localblur.datasets.images import FloatArray, from_unit, srgb_encode
from localblur.datasets.pair import binary_mask
from localblur.datasets.parts import part_path

Picture = npt.NDArray[np.uint8]

LONG_SIDE_PX = 400
DIFFERENCE_GAIN = 4
ARROW_GAIN = 250
_JPEG_QUALITY = 82

CAPTIONS = {
    "blurred": "Blurred, aligned",
    "sharp": "Sharp, as captured",
    "mask": "Blur mask (red) on the blurred picture; dark: no data or saturated",
    "before": f"Before: |captured blurred - sharp| x {DIFFERENCE_GAIN}, brought to equal mean brightness only",
    "after": f"After: |aligned blurred - sharp| x {DIFFERENCE_GAIN}",
    "residual": (
        f"Residual shift of the tiles that could be measured, arrows x {ARROW_GAIN}: green below 0.1 px,"
        " yellow below 0.2 px, red above. Grey: moved, flat or saturated"
    ),
}
"""Picture names in the order they are shown, and what they show."""


def pair_pictures(
    captured: CapturedPair, aligned: AlignedPair, mask: npt.NDArray[np.uint8] | None, rendering: Rendering
) -> dict[str, Picture]:
    """The pictures of `CAPTIONS`, RGB uint8, long side at most `LONG_SIDE_PX`.

    Without a mask, `mask` shows the region that differs by more than noise instead.
    """
    sharp, blurred = (srgb_encode(rendering.apply(light)) for light in (aligned.sharp, aligned.blurred))
    raw = captured.blurred.light
    equalised = raw * np.float32(max(aligned.sharp.mean(), 1e-6) / max(raw.mean(), 1e-6))
    before = srgb_encode(rendering.apply(equalised)) - sharp
    marked = binary_mask(mask) if mask is not None else aligned.moving
    lost = ~aligned.valid | aligned.saturated
    return {
        "blurred": _small(blurred),
        "sharp": _small(sharp),
        "mask": _small(_tinted(blurred, marked, lost)),
        "before": _small(np.abs(before) * DIFFERENCE_GAIN),
        "after": _small(np.abs(blurred - sharp) * DIFFERENCE_GAIN),
        "residual": _arrows(_small(sharp), aligned.tiles, sharp.shape[1]),
    }


def save_pictures(folder: Path, scene: str, pair: str, pictures: dict[str, Picture]) -> None:
    """Write the pictures where `picture_name` says."""
    for kind, picture in pictures.items():
        path = folder / picture_name(scene, pair, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        with atomic_path(path, durable=False) as temporary:
            temporary.write_bytes(encoded.tobytes())


def picture_name(scene: str, pair: str, kind: str) -> str:
    """Path of a picture relative to the report's folder."""
    return f"pictures/{part_path(Path(), scene, pair).stem}-{kind}.jpg"


def _small(coded: FloatArray) -> Picture:
    """An sRGB-coded image as 8 bit, reduced to the report's size (never enlarged)."""
    height, width = coded.shape[:2]
    scale = min(1.0, LONG_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = cv2.resize(np.clip(coded, 0, 1), size, interpolation=cv2.INTER_AREA)
    return np.asarray(from_unit(reduced, 8), np.uint8)


def _tinted(coded: FloatArray, marked: npt.NDArray[np.bool_], lost: npt.NDArray[np.bool_]) -> FloatArray:
    tinted = coded.copy()
    tinted[marked] = 0.55 * tinted[marked] + 0.45 * np.array([1, 0.1, 0.1], np.float32)
    tinted[lost] *= 0.3
    return tinted


def _arrows(picture: Picture, tiles: TileResiduals, width: int) -> Picture:
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    canvas = np.ascontiguousarray(np.repeat((gray // 3 + 150)[..., None], 3, 2))
    scale = picture.shape[1] / width
    half = (tiles.size_px - 1) / 2
    for row, column in np.ndindex(*tiles.usable.shape):
        start = np.array([column, row]) * tiles.size_px + half
        if not tiles.usable[row, column]:
            corner = np.rint(np.array([column, row]) * tiles.size_px * scale).astype(int)
            opposite = np.rint(np.array([column + 1, row + 1]) * tiles.size_px * scale).astype(int)
            block = canvas[corner[1] : opposite[1], corner[0] : opposite[0]]
            block[:] = block // 2 + 10
            continue
        shift_px = tiles.shift_px[row, column]
        length = float(np.hypot(*shift_px))
        color = (0, 160, 60) if length < 0.1 else (220, 180, 0) if length < 0.2 else (220, 30, 30)
        tip = (start + np.clip(shift_px * ARROW_GAIN, -tiles.size_px, tiles.size_px)) * scale
        cv2.arrowedLine(canvas, _pixel(start * scale), _pixel(tip), color, 1, cv2.LINE_AA, 0, 0.35)
    return canvas


def _pixel(point: npt.NDArray[Any]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))

"""The pictures of a report: small, made by the process that aligned the pair, one file per picture.

A run of thousands of pairs thus costs no memory: the page is put together from these files, one at a time.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.light.rendering import Rendering
from localblur.alignment.model.pair import AlignedPair
from localblur.alignment.model.pipeline import CapturedPair
from localblur.alignment.registration.displacement import BoolArray, PolynomialField
from localblur.alignment.registration.tiles import TileResiduals
from localblur.alignment.report.drawings import draw_field, draw_tiles
from localblur.alignment.report.histogram import draw_histograms
from localblur.common.files import atomic_path, read_json
from localblur.datasets.images import FloatArray, srgb_encode
from localblur.datasets.pair import binary_mask
from localblur.datasets.storage.parts import part_path

Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

LONG_SIDE_PX = 900
HEAT_SIDES_PX = {"before": 400, "after": 640}
DETAIL_PX = (320, 240)
HEAT_LEVELS = 32
"""End of the scale of the heat maps, in levels of 255."""
HEAT_MAP = cv2.COLORMAP_INFERNO
NO_DATA = 110
_MASK_COLOR = (255, 84, 46)
_WEBP_QUALITY = 78
_HEAT_QUALITY = 60
_CODED = srgb_encode(np.arange(65536, dtype=np.float32) / 65535)

SUFFIXES = {
    "blurred": ".webp",
    "sharp": ".webp",
    "blurred-detail": ".webp",
    "sharp-detail": ".webp",
    "mask": ".png",
    "before": ".webp",
    "after": ".webp",
    "tiles": ".svg",
    "field": ".svg",
    "histogram": ".svg",
    "about": ".json",
}
"""What there is of every pair: kind and file suffix. `about` is the JSON of `AboutPictures`."""
TYPES = {".webp": "image/webp", ".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class AboutPictures:
    """What the page must know about the pictures of a pair.

    Attributes:
        width, height: of the sharp image, in px.
        detail: (x0, y0, x1, y1), the part of the sharp image that is shown pixel by pixel.
        masked: whether `mask` shows the blur mask; otherwise the region that differs by more than noise.
        against_rig: whether `field` shows the difference from the rig's field; otherwise the field itself.
        field_scale_px, field_mean_px, field_largest_px: end of the scale of `field`, mean and largest length in it.
    """

    width: int
    height: int
    detail: Box
    masked: bool
    against_rig: bool
    field_scale_px: float
    field_mean_px: float
    field_largest_px: float


def pair_pictures(
    captured: CapturedPair,
    aligned: AlignedPair,
    mask: npt.NDArray[np.uint8] | None,
    rendering: Rendering,
    rig: PolynomialField | None = None,
) -> dict[str, bytes]:
    """The files of `SUFFIXES` by kind.

    Args:
        captured: the pair as captured, in linear light.
        aligned: the same pair aligned.
        mask: its soft blur mask; without one, the region that differs by more than noise is shown instead.
        rendering: from camera colours to sRGB.
        rig: the rig's displacement field, from which the pair's own differs by its drift.
    """
    height, width = aligned.sharp.shape[:2]
    sharp, blurred = (_coded(rendering.apply(light)) for light in (aligned.sharp, aligned.blurred))
    raw = rendering.apply(captured.blurred.light)
    detail = detail_box(aligned.tiles, width, height)
    rows, columns = slice(detail[1], detail[3]), slice(detail[0], detail[2])
    marked = binary_mask(mask) if mask is not None else aligned.moving
    equalised = _coded(_equalised(raw, rendering.apply(aligned.sharp)))
    before = heat_map(equalised, sharp, HEAT_SIDES_PX["before"])
    field = draw_field(aligned.field, rig)
    about = AboutPictures(
        width, height, detail, mask is not None, rig is not None, field.scale_px, field.mean_px, field.largest_px
    )
    return {
        "blurred": _webp(_small(blurred, LONG_SIDE_PX)),
        "sharp": _webp(_small(sharp, LONG_SIDE_PX)),
        "blurred-detail": _webp(_small(blurred[rows, columns], LONG_SIDE_PX)),
        "sharp-detail": _webp(_small(sharp[rows, columns], LONG_SIDE_PX)),
        "mask": _png(mask_overlay(marked, ~aligned.valid | aligned.saturated)),
        "before": _webp(before, _HEAT_QUALITY),
        "after": _webp(heat_map(blurred, sharp, HEAT_SIDES_PX["after"], aligned.valid), _HEAT_QUALITY),
        "tiles": draw_tiles(aligned.tiles, width, height, detail).encode(),
        "field": field.svg.encode(),
        "histogram": draw_histograms(_coded(raw), blurred, sharp, aligned.valid).encode(),
        "about": json.dumps(asdict(about)).encode(),
    }


def save_pictures(folder: Path, scene: str, pair: str, pictures: Mapping[str, bytes]) -> None:
    """Write the pictures where `picture_name` says; `about` comes last and tells that all are there."""
    for kind in SUFFIXES:
        path = folder / picture_name(scene, pair, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, durable=False) as temporary:
            temporary.write_bytes(pictures[kind])


def picture_name(scene: str, pair: str, kind: str) -> str:
    """Path of a picture relative to the report's folder."""
    return f"pictures/{part_path(Path(), scene, pair).stem}-{kind}{SUFFIXES[kind]}"


def read_about(folder: Path, scene: str, pair: str) -> AboutPictures | None:
    """What `save_pictures` left about a pair; None if it left nothing.

    Raises:
        LocalblurError: if that cannot be read.
    """
    path = folder / picture_name(scene, pair, "about")
    if not path.exists():
        return None
    content: dict[str, Any] = read_json(path)
    return AboutPictures(**(content | {"detail": tuple(content["detail"])}))


def data_uri(content: bytes, suffix: str) -> str:
    """A picture as the address of itself, for a page that stands alone."""
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(content).decode('ascii')}"


def heat_map(coded: FloatArray, reference: FloatArray, long_side_px: int, valid: BoolArray | None = None) -> Picture:
    """Mean absolute difference over the channels, black to yellow for 0 to `HEAT_LEVELS` levels of 255.

    Args:
        coded, reference: sRGB-coded, float32 in [0, 1], shape (H, W, 3).
        long_side_px: size of the map at most; the difference is formed before it is reduced.
        valid: pixels with data; the others are grey.

    Returns:
        RGB.
    """
    difference = cv2.absdiff(coded, reference) @ np.full(3, 255 / 3, np.float32)
    levels = _reduced(difference, long_side_px)
    scaled = np.clip(levels * (255 / HEAT_LEVELS), 0, 255).astype(np.uint8)
    colored = cv2.cvtColor(cv2.applyColorMap(scaled, HEAT_MAP), cv2.COLOR_BGR2RGB)
    if valid is not None:
        colored[_reduced(valid.astype(np.float32), long_side_px) < 0.5] = NO_DATA
    return np.asarray(colored, np.uint8)


def heat_scale(steps: int) -> list[str]:
    """The colours of the heat maps at equal steps from 0 to `HEAT_LEVELS`, as #rrggbb."""
    ramp = np.rint(np.linspace(0, 255, steps)).astype(np.uint8)[:, None]
    return [f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in cv2.applyColorMap(ramp, HEAT_MAP)[:, 0].tolist()]


def mask_overlay(marked: BoolArray, lost: BoolArray) -> Picture:
    """The mask as a picture to lay over another: red with an outline where `marked`, dark where `lost`; RGBA."""
    marked_small, lost_small = (
        _reduced(flags.astype(np.float32), LONG_SIDE_PX) >= 0.5 for flags in (marked, lost & ~marked)
    )
    overlay = np.zeros((*marked_small.shape, 4), np.uint8)
    overlay[lost_small] = (0, 0, 0, 150)
    overlay[marked_small] = (*_MASK_COLOR, 56)
    inner = cv2.erode(marked_small.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    overlay[marked_small & ~inner] = (*_MASK_COLOR, 255)
    return overlay


def detail_box(tiles: TileResiduals, width: int, height: int) -> Box:
    """Where to look pixel by pixel: around the usable tile with the largest residual shift, else in the middle."""
    x, y = width / 2, height / 2
    if tiles.usable.any():
        length = np.where(tiles.usable, np.hypot(tiles.shift_px[..., 0], tiles.shift_px[..., 1]), -1.0)
        row, column = np.unravel_index(int(length.argmax()), length.shape)
        x, y = (column + 0.5) * tiles.size_px, (row + 0.5) * tiles.size_px
    wide, high = min(DETAIL_PX[0], width), min(DETAIL_PX[1], height)
    x0, y0 = (int(np.clip(at - side / 2, 0, end - side)) for at, side, end in ((x, wide, width), (y, high, height)))
    return x0, y0, x0 + wide, y0 + high


def _coded(light: FloatArray) -> FloatArray:
    """sRGB-coded values of linear light in [0, 1] by a table of 16 bits: the pictures hold 8."""
    return np.asarray(_CODED[(light * np.float32(65535) + np.float32(0.5)).astype(np.uint16)], np.float32)


def _equalised(light: FloatArray, reference: FloatArray) -> FloatArray:
    """`light` brought to the mean brightness of `reference`."""
    gain = np.float32(max(reference.mean(), 1e-6) / max(light.mean(), 1e-6))
    return np.asarray(np.clip(light * gain, 0, 1), np.float32)


def _reduced(image: FloatArray, long_side_px: int) -> FloatArray:
    height, width = image.shape[:2]
    scale = min(1.0, long_side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _small(coded: FloatArray, long_side_px: int) -> Picture:
    return np.rint(_reduced(coded, long_side_px) * 255).astype(np.uint8)


def _webp(picture: Picture, quality: int = _WEBP_QUALITY) -> bytes:
    _, encoded = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    return encoded.tobytes()


def _png(overlay: Picture) -> bytes:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return encoded.tobytes()

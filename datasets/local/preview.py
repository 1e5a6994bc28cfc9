"""A contact sheet of a pairs file: blurred, sharp, mask and a detail at full size of pairs from beginning to end."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import srgb_encode, to_unit, write_image
from localblur.datasets.pair import Pair, binary_mask
from localblur.datasets.store import PairsFile

TILE_PX = 256
ROWS = 10
_GAP_PX = 4
_CAPTION_PX = 18
_OUTLINE = (255, 60, 40)

Picture = npt.NDArray[np.uint8]


def write_preview(pairs_file: Path, *, rows: int = ROWS) -> Path:
    """Write `<name>.preview.png` beside a pairs file; returns its path."""
    sheets = []
    with PairsFile(pairs_file) as pairs:
        places = [(entry.name, index) for entry in pairs.scenes for index in range(entry.count)]
        for number in np.unique(np.linspace(0, len(places) - 1, min(rows, len(places))).round().astype(int)):
            scene, index = places[number]
            sheets.append(pair_row(pairs.read(scene, index), pairs.header.encoding))
    path = pairs_file.with_name(pairs_file.stem + ".preview.png")
    write_image(path, np.vstack(sheets))
    return path


def pair_row(pair: Pair, encoding: str = "srgb") -> Picture:
    """One pair side by side with a caption: blurred, sharp, mask outline, and details of both at full size."""
    blurred, sharp = _coded(pair.blurred, encoding), _coded(pair.sharp, encoding)
    mask = np.zeros(blurred.shape[:2], np.uint8) if pair.mask is None else pair.mask
    outlined = blurred.copy()
    edges, _ = cv2.findContours(binary_mask(mask).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, edges, -1, _OUTLINE, max(1, max(blurred.shape[:2]) // TILE_PX))
    y, x = _detail(mask)
    tiles = [
        *(_fitted(picture) for picture in (blurred, sharp, outlined)),
        *(_fitted(picture[y : y + TILE_PX, x : x + TILE_PX]) for picture in (blurred, sharp)),
    ]
    gap = np.full((TILE_PX, _GAP_PX, 3), 255, np.uint8)
    row = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    caption = np.full((_CAPTION_PX, row.shape[1], 3), 255, np.uint8)
    text = f"{pair.scene} / {pair.info.name}: " + ", ".join(_measures(pair))
    cv2.putText(caption, text.encode("ascii", "replace").decode(), (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0))
    return np.vstack([row, caption])


def _measures(pair: Pair) -> list[str]:
    quality = pair.info.quality
    told = [f"{quality['travel_px']:.1f} px"] if "travel_px" in quality else []
    if "objects" in quality:
        told.append(f"{quality['moving']:.0f} of {quality['objects']:.0f} objects move")
    return [*told, f"{quality.get('blurred_share', 0):.0%} blurred"]


def _coded(image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], encoding: str) -> Picture:
    unit = to_unit(image)
    coded = srgb_encode(unit) if encoding == "linear" else unit
    return np.rint(255 * coded).astype(np.uint8)


def _fitted(picture: Picture) -> Picture:
    """The picture within a square tile, never enlarged."""
    scale = min(1.0, TILE_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    tile = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small[:TILE_PX, :TILE_PX]
    return tile


def _detail(mask: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Top left corner of the detail: about the edge of what is blurred, the middle where nothing or all is."""
    height, width = mask.shape
    blurred = binary_mask(mask)
    rows, columns = np.nonzero(blurred) if blurred.any() else (np.array([height // 2]), np.array([width // 2]))
    y, x = round(float(np.percentile(rows, 25))), round(float(np.percentile(columns, 25)))
    return (
        int(np.clip(y - TILE_PX // 2, 0, max(0, height - TILE_PX))),
        int(np.clip(x - TILE_PX // 2, 0, max(0, width - TILE_PX))),
    )

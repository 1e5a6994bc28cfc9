"""Contact sheets of pairs made from video: what was made, what was dropped and why, one PNG per video."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_image, write_image
from localblur.datasets.pair import Pair, binary_mask

Bytes = npt.NDArray[np.uint8]

TILE_WIDTH_PX = 320
CAPTION_PX = 22
ROWS_OF_EACH_KIND = 12
_FONT = cv2.FONT_HERSHEY_SIMPLEX
CHARACTERS_PER_LINE = 120
_NOTE = (255, 200, 120)
_MARK = np.array([255, 60, 60], np.float32)


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """One row: a strip (h, 3 * TILE_WIDTH_PX, 3) uint8 and what stands above it; `dropped` in red."""

    strip: Bytes
    caption: str
    dropped: bool = False


def strip_of(pair: Pair) -> Bytes:
    """Blurred, sharp, and the sharp picture with the mask in red, side by side and small."""
    height, width = pair.blurred.shape[:2]
    size = (TILE_WIDTH_PX, max(1, round(height * TILE_WIDTH_PX / width)))
    blurred, sharp = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (pair.blurred, pair.sharp))
    marked = sharp.astype(np.float32)
    if pair.mask is not None:
        share = cv2.resize(binary_mask(pair.mask).astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None]
        marked += 0.55 * share * (_MARK - marked)
    return np.hstack([blurred, sharp, np.rint(marked).astype(np.uint8)])


def sheet_of(title: str, rows: Sequence[SheetRow], notes: Sequence[str] = ()) -> Bytes:
    """The sheet, (H, 3 * TILE_WIDTH_PX, 3) uint8; rows are kept in order, `notes` follow, broken into lines."""
    width = 3 * TILE_WIDTH_PX
    parts = [_caption(title, width, (255, 255, 255), 0.55), _caption("blurred | sharp | mask", width, (170, 170, 170))]
    for row in rows:
        parts += [_caption(row.caption, width, (255, 110, 110) if row.dropped else (200, 230, 200)), row.strip]
    parts += [_caption(line, width, _NOTE) for note in notes for line in textwrap.wrap(note, CHARACTERS_PER_LINE)]
    return np.vstack(parts)


def write_sheet(path: Path, title: str, rows: Sequence[tuple[Path, str, bool]], notes: Sequence[str] = ()) -> bool:
    """Write a sheet of the strips that exist, given as (strip, caption, dropped); False if there is none."""
    found = []
    for strip, caption, dropped in rows:
        try:
            found.append(SheetRow(strip=read_image(strip).astype(np.uint8), caption=caption, dropped=dropped))
        except LocalblurError:
            continue  # made by an earlier run without a preview
    if found:
        write_image(path, sheet_of(title, found, notes))
    return bool(found)


def _caption(text: str, width: int, colour: tuple[int, int, int], scale: float = 0.42) -> Bytes:
    band = np.full((CAPTION_PX, width, 3), 24, np.uint8)
    ascii_only = text.encode("ascii", "replace").decode()  # all that OpenCV's font has
    cv2.putText(band, ascii_only, (6, CAPTION_PX - 7), _FONT, scale, colour, 1, cv2.LINE_AA)
    return band

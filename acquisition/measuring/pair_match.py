"""Whether the two cameras see the same: the sharp picture is looked for in the blurred one, whole and tile by tile."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.measuring.raw_pictures import RawFrame, binned
from localblur.datasets.images import FloatArray
from localblur.datasets.recording import CameraRecord

BoolArray = npt.NDArray[np.bool_]

OVERVIEW_PX = 128
"""About the width of the pictures that are compared as a whole."""
TILE = 16
"""Side of a tile, in bins."""
_OVERVIEW_REACH = 0.2
_REACH = 0.03
"""So far, as a share of the width, a tile may lie from where the whole picture says: turn, scale and distortion."""
_ROOT_OFFSET = 0.002
_NOISE_CORRELATION = 6.0
"""Smoothing makes neighbouring residuals alike; this many of them are worth one."""
_USABLE_BINS = 0.25
"""Largest predicted standard deviation of a usable tile's shift."""
_CONTRAST_TO_NOISE = 5.0
_NOISE_QUANTILE = 0.2
_AGREEMENT = 0.85
"""Still textured tiles of simulated rigs correlate by 0.94 and more, with motion of 8 to 36 px by 0.75 to 0.95."""
_USUAL = 4.0
_FEWEST_TILES = 4


@dataclass(frozen=True)
class PairMatch:
    """How well the tiles of the sharp picture are found again in the blurred one.

    Attributes:
        overall: correlation of the whole pictures at their best shift; above 0.5 they show the same.
        seen: tiles that B sees with all the room in which they are looked for, bool (rows, columns).
        usable: those with enough texture to measure their shift, bool (rows, columns).
        differing: those with texture that looks different in B: something moved there during the long exposure.
        tile_px: side of a tile in pixels.
    """

    overall: float
    seen: BoolArray
    usable: BoolArray
    differing: BoolArray
    tile_px: int

    def share_usable(self) -> float:
        """Share of the tiles that both cameras see which have enough texture."""
        return _share(self.usable, self.seen)

    def quarters(self) -> list[tuple[str, float]]:
        """The same for each quarter of the picture, with its name."""
        row, column = self.seen.shape[0] // 2, self.seen.shape[1] // 2
        parts = {
            "upper left": (slice(None, row), slice(None, column)),
            "upper right": (slice(None, row), slice(column, None)),
            "lower left": (slice(row, None), slice(None, column)),
            "lower right": (slice(row, None), slice(column, None)),
        }
        return [(f"{name} quarter", _share(self.usable[part], self.seen[part])) for name, part in parts.items()]


def overview(raw: RawFrame, camera: CameraRecord) -> FloatArray:
    """A small grey picture of a frame without large-scale brightness, about 128 px wide, for `overall_match`."""
    size_px = max(2, 2 * round(raw.shape[1] / OVERVIEW_PX / 2))
    picture = _stabilised(binned(raw, size_px), camera)
    wide = cv2.GaussianBlur(picture, (0, 0), picture.shape[1] / 16)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0) - wide, np.float32)


def overall_match(blurred: FloatArray, sharp: FloatArray) -> tuple[float, tuple[float, float]]:
    """Correlation of two overviews at their best shift, and that shift (x, y) as a share of the width.

    The middle of the sharp picture is looked for up to a fifth of each side away from its place.
    """
    height, width = sharp.shape
    reach_y, reach_x = int(_OVERVIEW_REACH * height), int(_OVERVIEW_REACH * width)
    middle = sharp[reach_y : height - reach_y, reach_x : width - reach_x]
    if float(middle.std()) == 0 or float(blurred.std()) == 0:
        return 0.0, (0.0, 0.0)
    scores = cv2.matchTemplate(blurred, middle, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    return float(best), ((x - reach_x) / width, (y - reach_y) / width)


def match_pair(
    blurred: RawFrame, sharp: RawFrame, blurred_camera: CameraRecord, sharp_camera: CameraRecord
) -> PairMatch:
    """Compare the two raw frames of a pair in which nothing should have moved.

    Every tile of S is looked for in B near where the whole picture was found. The residual of the smoothest tiles is
    noise; a tile with much more contrast than that must be found again nearly unchanged.
    """
    overall, shift = overall_match(overview(blurred, blurred_camera), overview(sharp, sharp_camera))
    size_px = 2 if sharp.shape[1] <= 1280 else 4
    pictures = [
        cv2.GaussianBlur(_stabilised(binned(raw, size_px), camera), (0, 0), 1.0)
        for raw, camera in ((blurred, blurred_camera), (sharp, sharp_camera))
    ]
    start = round(shift[0] * pictures[1].shape[1]), round(shift[1] * pictures[1].shape[1])
    found = _found_tiles(pictures[0], pictures[1], start, math.ceil(_REACH * pictures[1].shape[1]))
    seen = ~np.isnan(found)
    contrast, weakest = _texture(pictures[1], found.shape)
    residual = np.sqrt(np.maximum(1 - np.nan_to_num(found) ** 2, 0)) * contrast
    noise = float(np.quantile(residual[seen], _NOISE_QUANTILE)) if seen.any() else 0.0
    uncertainty = np.sqrt((residual**2 + 1e-6) * _NOISE_CORRELATION / np.maximum(weakest, 1e-12))
    textured = seen & (contrast > _CONTRAST_TO_NOISE * noise)
    usual = float(np.median(found[textured])) if textured.any() else 1.0
    limit = min(_AGREEMENT, 1 - _USUAL * (1 - usual))
    return PairMatch(overall, seen, seen & (uncertainty <= _USABLE_BINS), textured & (found < limit), TILE * size_px)


def _share(flags: BoolArray, among: BoolArray) -> float:
    """1 if there are too few tiles to say."""
    count = int(among.sum())
    return int(flags.sum()) / count if count >= _FEWEST_TILES else 1.0


def _stabilised(picture: FloatArray, camera: CameraRecord) -> FloatArray:
    """The square root of linear light: shot noise becomes uniform."""
    light = (picture - np.float32(camera.black_level)) / np.float32(camera.white_level - camera.black_level)
    return np.asarray(np.sqrt(np.maximum(light, 0) + np.float32(_ROOT_OFFSET)), np.float32)


def _found_tiles(blurred: FloatArray, sharp: FloatArray, start: tuple[int, int], reach: int) -> npt.NDArray[np.float64]:
    """Best correlation of each tile of S in B, `start` give or take `reach` bins away; NaN where B ends before."""
    height, width = blurred.shape
    found = np.full((sharp.shape[0] // TILE, sharp.shape[1] // TILE), np.nan)
    side = TILE + 2 * reach
    for row, column in np.ndindex(found.shape):
        y, x = row * TILE, column * TILE
        top, left = y + start[1] - reach, x + start[0] - reach
        if 0 <= top <= height - side and 0 <= left <= width - side:
            area, tile = blurred[top : top + side, left : left + side], sharp[y : y + TILE, x : x + TILE]
            found[row, column] = cv2.minMaxLoc(cv2.matchTemplate(area, tile, cv2.TM_CCOEFF_NORMED))[1]
    return found


def _texture(picture: FloatArray, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Per tile: standard deviation, and the smaller eigenvalue of the structure tensor, per squared bin."""
    slope_x = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3) / 8
    slope_y = cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=3) / 8

    def total(values: FloatArray) -> npt.NDArray[np.float64]:
        cut = values[: shape[0] * TILE, : shape[1] * TILE].reshape(shape[0], TILE, shape[1], TILE)
        return np.asarray(cut.sum((1, 3), dtype=np.float64))

    xx, xy, yy = total(slope_x**2), total(slope_x * slope_y), total(slope_y**2)
    mean = total(picture) / TILE**2
    variance = np.maximum(total(picture**2) / TILE**2 - mean**2, 0)
    return np.sqrt(variance), 0.5 * (xx + yy) - np.hypot(0.5 * (xx - yy), xy)

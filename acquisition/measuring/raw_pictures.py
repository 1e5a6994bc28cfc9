"""Small pictures from raw frames, for checks and previews: cheap, and every Bayer site counts alike."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.images import FloatArray
from localblur.datasets.recording import BayerPattern

_LARGE_WIDTH_PX = 1280
_MAX_TILES = 1500
_NOISE_GROUPS = 8
_SMOOTH_SHARE = 0.1
_ROUNDING = 0.29
"""Standard deviation of rounding to whole DN."""

RawFrame = npt.NDArray[Any]
"""Right-aligned DN, uint8 or uint16: a mosaic (H, W) or RGB (H, W, 3)."""


def binned(raw: RawFrame, size_px: int) -> FloatArray:
    """Means of blocks of `size_px` x `size_px` pixels, DN, float32, shape (H // size_px, W // size_px).

    An even size holds all four sites of a mosaic alike, so the picture is grey; RGB is averaged to grey.
    """
    rows, columns = raw.shape[0] // size_px, raw.shape[1] // size_px
    cut = raw[: rows * size_px, : columns * size_px].astype(np.float32)
    small: FloatArray = cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA)
    return small if small.ndim == 2 else np.asarray(small.mean(2), np.float32)


def check_bin_px(width: int) -> int:
    """Side of the blocks that checks look at, in pixels, for a frame of `width`: some 150 to 300 of them in a row."""
    return 8 if width >= _LARGE_WIDTH_PX else 4


def cells(raw: RawFrame, bayer: BayerPattern | None) -> FloatArray:
    """Each Bayer cell as one RGB pixel, green from two sites: DN, float32, shape (H // 2, W // 2, 3).

    Of RGB frames every second pixel of every second row.
    """
    if bayer is None:
        return np.asarray(raw[::2, ::2], np.float32)
    planes = {name: plane.astype(np.float32) for name, plane in _sites(raw, bayer).items()}
    green = (planes["G"] + planes["g"]) * np.float32(0.5)
    return np.stack([planes["R"], green, planes["B"]], -1)


def thinned(raw: RawFrame, step: int) -> RawFrame:
    """A copy of every `step`-th Bayer cell of a mosaic, as a small mosaic of the same pattern; quick, also when large.

    Of RGB frames every `step`-th pixel.
    """
    if raw.ndim == 3:
        return raw[::step, ::step].copy()
    rows, columns = raw.shape[0] // (2 * step), raw.shape[1] // (2 * step)
    # the two pixels of a cell's row travel as one number: half as many are to be picked out
    pairs = raw[: 2 * step * rows, : 2 * step * columns].view(np.uint32 if raw.itemsize == 2 else np.uint16)
    picked = pairs.reshape(rows, 2 * step, columns, step)[:, :2, :, 0]
    return np.array(picked, order="C").reshape(2 * rows, columns).view(raw.dtype)


def noise_levels(raw: RawFrame, bayer: BayerPattern | None, tile: int = 16) -> FloatArray:
    """How noise grows with light in this frame: (levels, 2), each a mean in DN and a pixel's standard deviation in DN.

    The two greens of a Bayer cell are neighbours, so in smooth places their difference is noise. The frame is cut into
    tiles, and of those of like brightness the smoothest speak. Where nothing is smooth the noise comes out too large.
    """
    if bayer is None:
        first, second = (raw[:, start::2, 1][:, : raw.shape[1] // 2] for start in (0, 1))
    else:
        sites = _sites(raw, bayer)
        first, second = sites["G"], sites["g"]
    rows, columns = first.shape[0] // tile, first.shape[1] // tile
    step = max(1, int(np.sqrt(rows * columns / _MAX_TILES)))

    def tiles(plane: RawFrame) -> FloatArray:
        cut = plane[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile)[::step, :, ::step]
        return np.asarray(cut.transpose(0, 2, 1, 3).reshape(-1, tile * tile), np.float32)

    one, other = tiles(first), tiles(second)
    level = (one.mean(1) + other.mean(1)) / 2
    deviation = (one - other).std(1) / np.sqrt(2)
    order = np.argsort(level)
    found = []
    for group in np.array_split(order, _NOISE_GROUPS):
        if len(group):
            smooth = group[deviation[group] <= np.quantile(deviation[group], _SMOOTH_SHARE)]
            found.append((level[smooth].mean(), max(deviation[smooth].mean(), _ROUNDING)))
    return np.array(sorted(found), np.float32).reshape(-1, 2)


def _sites(raw: RawFrame, bayer: BayerPattern) -> dict[str, RawFrame]:
    """The four half-size planes: R, G (beside red), g (beside blue), B."""
    row, column = divmod(bayer.index("R"), 2)
    planes = {
        "R": raw[row::2, column::2],
        "G": raw[row::2, 1 - column :: 2],
        "g": raw[1 - row :: 2, column::2],
        "B": raw[1 - row :: 2, 1 - column :: 2],
    }
    height, width = raw.shape[0] // 2, raw.shape[1] // 2
    return {name: plane[:height, :width] for name, plane in planes.items()}

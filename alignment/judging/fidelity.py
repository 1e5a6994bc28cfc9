"""How alike the two cameras draw what stood still: noise of both, colour bias, and sharpness.

Everything is taken from blocks of 8 x 8 pixels in which nothing moved and nothing is clipped, evenly chosen.

Two pictures of one thing tell their noise apart without any flat surface: what they share is the thing, so each one's
noise is its variance less the covariance with the other (F. E. Grubbs, "On Estimating Precision of Measuring
Instruments and Product Variability", Journal of the American Statistical Association, 1948).

Sharpness is a slope: blocks with more texture have more gradient energy in both pictures, and how much more in one than
in the other does not depend on their noise, which adds the same to all (A. Wald, "The Fitting of Straight Lines if Both
Variables are Subject to Error", Annals of Mathematical Statistics, 1940).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from localblur.alignment.registration.displacement import BoolArray
from localblur.alignment.registration.registration_level import luma, stabilised
from localblur.datasets.images import FloatArray, srgb_encode

Blocks = npt.NDArray[np.float64]

_BLOCK_PX = 8
_MAX_BLOCKS = 8000
_MIN_BLOCKS = 60
_LEVELS = 255.0
_BRIGHTNESSES = 8
_FLAT_SHARE = 0.4
_OUTLIER = 4.0
"""A block that differs this many times more than usual holds something that moved."""
_ROUNDING = 1 / 12
"""Variance in levels squared of rounding to 8 bits: no sRGB-coded picture that is stored so has less noise."""
_WEAK, _STRONG, _STRONGEST = 1 / 3, 1 / 2, 0.95
"""Quantiles of the texture: blocks below the first are compared with those from the second to the third."""
_MAX_UNCERTAINTY = 0.05
_ALIKE = 0.1
"""Where one picture is less sharp than this (natural logarithm), detail of the other one would count as its noise."""
_DARKEST_LIGHT, _LEAST_RANGE = 0.02, 3.0
"""Light below which read noise hides shot noise, and how many times brighter the brightest blocks must be."""
_COLUMNS, _ROWS = 4, 3
_MIN_IN_CELL = 12

NAN3 = (float("nan"),) * 3


@dataclass(frozen=True)
class Fidelity:
    """What still pixels say about the two cameras; NaN where there are too few of them.

    Noise is unknown, too, where one picture is clearly less sharp than the other.

    Attributes:
        noise_sharp, noise_blurred: standard deviation of the noise in sRGB-coded levels of 255, of the pictures as
            aligned (the blurred one resampled and in the colours of the sharp one).
        noise_psnr_db: the PSNR that pictures would have that differ by nothing but this noise.
        noise_exponent: power of the light with which the variance of the noise grows: 1 for shot noise, if the light
            is linear.
        color_bias: mean distance of local colours in levels of 255, of the channel where it is largest.
        channel_bias: median of blurred minus sharp in levels of 255, of red, green and blue.
        sharpness: contrast of fine detail in the blurred picture over that in the sharp one: 1 is equally sharp.
    """

    noise_sharp: float = float("nan")
    noise_blurred: float = float("nan")
    noise_psnr_db: float = float("nan")
    noise_exponent: float = float("nan")
    color_bias: float = float("nan")
    channel_bias: tuple[float, float, float] = NAN3
    sharpness: float = float("nan")


def compare_still(sharp: FloatArray, blurred: FloatArray, static: BoolArray) -> Fidelity:
    """Compare an aligned pair where nothing moved.

    Args:
        sharp, blurred: linear light on one grid and in one colour, float32, shape (H, W, 3).
        static: valid, unsaturated pixels that stood still, (H, W).
    """
    chosen, place = _choose(static)
    if len(place) < _MIN_BLOCKS:
        return Fidelity()
    light = [_cut(image, chosen) for image in (sharp, blurred)]
    first, second = (srgb_encode(blocks).astype(np.float64) * _LEVELS for blocks in light)
    sharpness = _sharpness(*(stabilised(_luma(blocks)).astype(np.float64) for blocks in light))
    alike = not abs(np.log(sharpness)) > _ALIKE
    noise = _noise(first, second) if alike else (float("nan"), float("nan"))
    channels, local = _bias((second - first).mean((1, 2)), place / np.array(static.shape) * _BLOCK_PX)
    return Fidelity(
        noise_sharp=float(np.sqrt(noise[0])),
        noise_blurred=float(np.sqrt(noise[1])),
        noise_psnr_db=float(10 * np.log10(_LEVELS**2 / sum(noise))),
        noise_exponent=_noise_exponent(*(blocks.astype(np.float64) for blocks in light)) if alike else float("nan"),
        color_bias=local,
        channel_bias=channels,
        sharpness=sharpness,
    )


def _choose(static: BoolArray) -> tuple[BoolArray, npt.NDArray[np.intp]]:
    """Which blocks are all still, thinned out evenly to `_MAX_BLOCKS`, and their rows and columns, (n, 2)."""
    rows, columns = static.shape[0] // _BLOCK_PX, static.shape[1] // _BLOCK_PX
    cut = static[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    still = cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).all((1, 3))
    places = np.argwhere(still)
    places = places[:: max(1, -(-len(places) // _MAX_BLOCKS))]
    chosen = np.zeros_like(still)
    chosen[places[:, 0], places[:, 1]] = True
    return chosen, places


def _cut(image: FloatArray, chosen: BoolArray) -> FloatArray:
    """The chosen blocks, (n, 8, 8, 3)."""
    rows, columns = chosen.shape
    cut = image[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    return np.asarray(cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX, -1).transpose(0, 2, 1, 3, 4)[chosen])


def _luma(blocks: FloatArray) -> FloatArray:
    count, height, width, channels = blocks.shape
    return luma(blocks.reshape(count * height, width, channels)).reshape(count, height, width)


def _noise(first: Blocks, second: Blocks) -> tuple[float, float]:
    """Noise variances of both over all blocks, from the flatter ones of each brightness."""
    mean = (first + second) / 2
    half = _BLOCK_PX // 2
    # of quarters of blocks, so that noise hardly decides what is flat, and of the other channels, so that it does not
    # choose blocks in which its own happens to cancel
    texture = mean.reshape(-1, 2, half, 2, half, 3).mean((2, 4)).var((1, 2))
    texture = texture.sum(-1, keepdims=True) - texture
    centred = [blocks - blocks.mean((1, 2), keepdims=True) for blocks in (first, second)]
    scale = 1 / (_BLOCK_PX**2 - 1)
    own = [(blocks**2).sum((1, 2)) * scale for blocks in centred]
    common = (centred[0] * centred[1]).sum((1, 2)) * scale
    level = mean.mean((1, 2))
    totals = np.zeros(2)
    for channel in range(3):
        flat = _flat_by_brightness(level[:, channel], texture[:, channel])
        apart = own[0][:, channel] + own[1][:, channel] - 2 * common[:, channel]
        centres, variances = [], []
        for group in flat:
            usual = group[apart[group] <= _OUTLIER * np.median(apart[group])]
            centres.append(float(level[usual, channel].mean()))
            variances.append([float((values[usual, channel] - common[usual, channel]).mean()) for values in own])
        for index in range(2):
            known = np.maximum([pair[index] for pair in variances], _ROUNDING)
            totals[index] += np.interp(level[:, channel], centres, known).mean() / 3
    return float(totals[0]), float(totals[1])


def _noise_exponent(first: Blocks, second: Blocks) -> float:
    """Slope of the logarithm of the noise's variance over that of linear light, median of the channels."""
    level = (first + second).mean((1, 2)) / 2
    centred = [blocks - blocks.mean((1, 2), keepdims=True) for blocks in (first, second)]
    common = (centred[0] * centred[1]).mean((1, 2))
    apart = ((centred[0] - centred[1]) ** 2).mean((1, 2))
    slopes = []
    for channel in range(3):
        flat = _flat_by_brightness(level[:, channel], common[:, channel])
        light = np.array([level[group, channel].mean() for group in flat])
        variance = np.array([np.median(apart[group, channel]) for group in flat])
        known = (light >= _DARKEST_LIGHT) & (variance > 0)
        if known.sum() >= _BRIGHTNESSES // 2 and light[known].max() >= _LEAST_RANGE * light[known].min():
            slopes.append(float(np.polyfit(np.log(light[known]), np.log(variance[known]), 1)[0]))
    return float(np.median(slopes)) if slopes else float("nan")


def _flat_by_brightness(level: Blocks, texture: Blocks) -> list[npt.NDArray[np.intp]]:
    """Indices of the flatter blocks of each brightness, darkest first."""
    groups = np.array_split(np.argsort(level, kind="stable"), _BRIGHTNESSES)
    return [group[np.argsort(texture[group], kind="stable")[: int(len(group) * _FLAT_SHARE) + 1]] for group in groups]


def _bias(difference: Blocks, place: npt.NDArray[np.float64]) -> tuple[tuple[float, float, float], float]:
    """Median per channel, and the mean size of local medians in the channel where it is largest."""
    red, green, blue = (float(value) for value in np.median(difference, axis=0))
    cells = (place * (_ROWS, _COLUMNS)).astype(int) @ (_COLUMNS, 1)
    local = [
        np.abs(np.median(difference[cells == cell], axis=0))
        for cell in np.unique(cells)
        if (cells == cell).sum() >= _MIN_IN_CELL
    ]
    return (red, green, blue), float(np.mean(local, axis=0).max()) if local else max(abs(red), abs(green), abs(blue))


def _sharpness(first: Blocks, second: Blocks) -> float:
    """Square root of the slope of the second picture's gradient energy over the first one's; NaN if uncertain."""
    slopes = [[np.diff(blocks, axis=axis) for axis in (1, 2)] for blocks in (first, second)]
    energy = [sum((slope**2).mean((1, 2)) for slope in of) for of in slopes]
    common = sum((one * other).mean((1, 2)) for one, other in zip(*slopes, strict=True))
    low, middle, high = np.quantile(common, (_WEAK, _STRONG, _STRONGEST))
    weak, strong = common <= low, (common >= middle) & (common <= high)
    rise = [float(values[strong].mean() - values[weak].mean()) for values in energy]
    if min(rise) <= 0:
        return float("nan")
    left = energy[1] - rise[1] / rise[0] * energy[0]
    variance = sum(float(left[group].var()) / int(group.sum()) for group in (weak, strong))
    sharpness = float(np.sqrt(rise[1] / rise[0]))
    uncertainty = float(np.sqrt(variance)) / rise[0] / (2 * sharpness)
    return sharpness if uncertainty <= _MAX_UNCERTAINTY else float("nan")

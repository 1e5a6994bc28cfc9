"""What dark and flat frames must be: nothing but a black level, nothing but a smooth, even light."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from localblur.acquisition.measuring.raw_pictures import RawFrame, binned, check_bin_px, noise_levels
from localblur.acquisition.measuring.stillness import largest_patch
from localblur.datasets.images import FloatArray
from localblur.datasets.recording import CameraRecord

_PATTERN_BIN_PX = 16
_PATTERN_BLUR = 4
_HOT_SHARE = 0.02
_UNEVEN = 0.02
_NOISE_SIGMAS = 6.0
_DEGREE = 4
_FIT_POINTS = 8000
_FIT_ROUNDS = 4
_TUKEY = 4.7
_FEWEST_BINS = 4


@dataclass(frozen=True)
class DarkMeasures:
    """How dark a dark frame is.

    Attributes:
        offset_dn: its mean minus the black level.
        pattern_dn: largest deviation of a region of about 64 px from the rest, 0 if only noise.
        place: middle of that region, (x, y) as shares of width and height.
        clipped: share of the pixels cut off at 0 (of the single exposures, if averaged).
    """

    offset_dn: float
    pattern_dn: float
    place: tuple[float, float]
    clipped: float


@dataclass(frozen=True)
class FlatMeasures:
    """How even a flat frame is.

    Attributes:
        uneven: share of the picture that deviates from a smooth surface.
        place: middle of the largest such region, (x, y) as shares of width and height.
        slant: how much less light falls on one side than on the opposite one, as a share.
    """

    uneven: float
    place: tuple[float, float]
    slant: float


def measure_dark(raw: RawFrame, camera: CameraRecord, averaged: int = 1) -> DarkMeasures:
    """Look at a dark frame, the mean of `averaged` exposures."""
    span = camera.white_level - camera.black_level
    # a hot pixel is no leak of light
    picture = binned(np.minimum(raw, raw.dtype.type(camera.black_level + _HOT_SHARE * span)), _PATTERN_BIN_PX)
    smooth = cv2.blur(picture, (_PATTERN_BLUR, _PATTERN_BLUR), borderType=cv2.BORDER_REFLECT)
    deviation = np.abs(smooth - np.median(smooth))
    row, column = np.unravel_index(int(deviation.argmax()), deviation.shape)
    neighbours = np.diff(raw[::4, ::2].astype(np.float32), axis=1)
    limit = float(np.quantile(np.abs(neighbours), 0.999))
    sigma = float(np.clip(neighbours, -limit, limit).std()) / math.sqrt(2)
    noise = _NOISE_SIGMAS * sigma / (_PATTERN_BIN_PX * _PATTERN_BLUR)
    pattern = float(deviation[row, column])
    return DarkMeasures(
        offset_dn=float(raw.mean()) - camera.black_level,
        pattern_dn=pattern if pattern > noise else 0.0,
        place=((int(column) + 0.5) / picture.shape[1], (int(row) + 0.5) / picture.shape[0]),
        clipped=_clipped(raw) if averaged == 1 else _tail(float(raw.mean()), sigma * math.sqrt(averaged)),
    )


def measure_flat(raw: RawFrame, camera: CameraRecord) -> FlatMeasures:
    """Look at a frame of an even surface: what a smooth surface of degree 4 leaves over is no vignetting."""
    size_px = check_bin_px(raw.shape[1])
    picture = binned(raw, size_px) - np.float32(camera.black_level)
    surface = _smooth_surface(picture)
    levels = noise_levels(raw, camera.bayer)
    noise = np.interp(surface + camera.black_level, levels[:, 0], levels[:, 1]) / size_px
    flagged = np.abs(picture - surface) > _UNEVEN * surface + _NOISE_SIGMAS * noise
    share, place = largest_patch(flagged.astype(np.uint8), _FEWEST_BINS)
    height, width = picture.shape
    x, y = ((place[0] + 0.5) / width, (place[1] + 0.5) / height) if place else (0.5, 0.5)
    return FlatMeasures(uneven=share, place=(x, y), slant=_slant(surface))


def _clipped(raw: RawFrame) -> float:
    """Share of zeros beyond those that rounding gives; a tail of noise falls from 1 to 0 as fast as from 2 to 1."""
    zeros, ones, twos = (np.count_nonzero(raw == value) for value in (0, 1, 2))
    expected = ones * min(1.0, ones / twos) if twos else 0.0
    return max(0.0, zeros - expected) / raw.size


def _tail(mean: float, sigma: float) -> float:
    """Share of a normal distribution below 0."""
    return 0.5 * math.erfc(mean / (math.sqrt(2) * max(sigma, 1e-6)))


def _smooth_surface(picture: FloatArray) -> FloatArray:
    """A robust polynomial fit, so that an object on the surface does not bend it."""
    height, width = picture.shape
    y, x = (np.linspace(-1, 1, side) for side in (height, width))
    powers_x, powers_y = (np.vander(axis, _DEGREE + 1, increasing=True) for axis in (x, y))
    step = max(1, math.isqrt(height * width // _FIT_POINTS))
    kept = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    terms = np.stack([np.outer(powers_y[::step, i], powers_x[::step, j]).ravel() for i, j in kept], 1)
    values = picture[::step, ::step].ravel().astype(np.float64)
    weight = np.ones(len(values))
    for _ in range(_FIT_ROUNDS):
        weighted = terms * weight[:, None]
        solution = np.linalg.lstsq(weighted.T @ terms, weighted.T @ values, rcond=None)[0]
        residual = values - terms @ solution
        sigma = 1.4826 * float(np.median(np.abs(residual))) + 1e-6
        weight = np.clip(1 - (residual / (_TUKEY * sigma)) ** 2, 0, None) ** 2
    table = np.zeros((_DEGREE + 1, _DEGREE + 1))
    table[tuple(zip(*kept, strict=True))] = solution
    return np.asarray(np.maximum(powers_y @ table @ powers_x.T, 1e-6), np.float32)


def _slant(surface: FloatArray) -> float:
    row, column = surface.shape[0] // 2, surface.shape[1] // 2
    ends = [(surface[row, 0], surface[row, -1]), (surface[0, column], surface[-1, column])]
    return max(1 - float(min(pair)) / float(max(pair)) for pair in ends)

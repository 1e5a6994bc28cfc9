"""From what a camera wrote to linear light: black level, white level, demosaicing, and which pixels are saturated."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.alignment.registration.displacement import BoolArray
from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray, to_linear
from localblur.datasets.light.bayer import directed_green, red_origin, spread

_SQRT_OFFSET = 0.002
_FOOTPRINT = np.ones((5, 5), np.uint8)
"""What one demosaiced pixel depends on, nearly."""


class RadiometrySettings(Settings):
    """From sensor values to light.

    Attributes:
        saturated_from: share of the range between black and white from which a pixel counts as saturated.
        dark_frames, flat_frames: whether those of a recording are used, if there are any.
    """

    saturated_from: float = Field(default=0.97, gt=0, le=1)
    dark_frames: bool = True
    flat_frames: bool = True


@dataclass(frozen=True)
class LinearImage:
    """A picture in linear light.

    Attributes:
        light: float32, shape (H, W, 3): 0 is black, 1 the full scale of the sensor; noise may go below 0.
        saturated: bool, shape (H, W): True where any channel is clipped, so that its value only is a lower bound.
    """

    light: FloatArray
    saturated: BoolArray


def linear_image(image: npt.NDArray[Any], encoding: str, settings: RadiometrySettings) -> LinearImage:
    """An RGB picture (uint8 or uint16) whose full scale is its container's maximum."""
    light = to_linear(image, encoding)
    return LinearImage(light, light.max(-1) >= settings.saturated_from)


def raw_image(
    raw: npt.NDArray[Any],
    bayer: str | None,
    black_level: float,
    white_level: float,
    settings: RadiometrySettings,
    black_dn: FloatArray | None = None,
) -> LinearImage:
    """A raw frame of a recording.

    Args:
        raw: integers, (H, W) with a Bayer pattern or (H, W, 3) without.
        bayer: RGGB, GRBG, GBRG or BGGR; None for RGB frames.
        black_level, white_level: digital numbers of no light and of full scale.
        settings: when a pixel counts as saturated.
        black_dn: measured black of every pixel, the shape of `raw`; takes the place of `black_level`.

    Raises:
        LocalblurError: if the levels or the shape make no sense.
    """
    if not white_level > black_level >= 0:
        raise LocalblurError(
            f"white level {white_level} must be above black level {black_level} >= 0 (digital numbers)"
        )
    if bayer is not None and (raw.ndim != 2 or min(raw.shape) < 8):
        raise LocalblurError(f"a {bayer} frame must have shape (H, W), at least 8 x 8, got {raw.shape}")
    if black_dn is not None and black_dn.shape != raw.shape:
        raise LocalblurError(f"the frame is {raw.shape} but its black is {black_dn.shape}; record new dark frames")
    black = np.float32(black_level) if black_dn is None else black_dn
    unit = (raw.astype(np.float32) - black) * np.float32(1 / (white_level - black_level))
    clipped = unit >= settings.saturated_from
    if bayer is None:
        return LinearImage(unit, np.asarray(clipped.any(-1)))
    saturated = cv2.dilate(clipped.astype(np.uint8), _FOOTPRINT) > 0
    return LinearImage(demosaic(unit, bayer, clipped), np.asarray(saturated))


def demosaic(mosaic: FloatArray, bayer: str, clipped: BoolArray | None = None) -> FloatArray:
    """Demosaic linear values, shape (H, W), to linear RGB, shape (H, W, 3); measured values are kept exactly.

    Hamilton and Adams' edge-directed green and bilinear colour differences, applied to the square root of roughly
    white-balanced values: there colour differences are smoother and the noise is uniform. On simulated pairs the
    colours of the two cameras differ less than with any other way tried (benchmarks/demosaic_ways.py).

    Args:
        mosaic: float32, 0 is black.
        bayer: name of the pattern, a key of `BAYER_ORIGINS`.
        clipped: pixels to leave out when the white balance is estimated.

    Reference: Hamilton and Adams, US patent 5,629,734 (1997, expired).
    """
    sites = _sites(mosaic.shape, bayer)
    usable = np.ones(mosaic.shape, bool) if clipped is None else ~clipped
    means = [max(float(mosaic[site & usable].mean()), 1e-4) if (site & usable).any() else 1.0 for site in sites]
    balance = np.ones(mosaic.shape, np.float32)
    for site, mean in zip((sites[0], sites[2]), (means[0], means[2]), strict=True):
        balance[site] = np.clip(means[1] / mean, 0.1, 10)
    root = np.sqrt(np.maximum(mosaic * balance, 0) + np.float32(_SQRT_OFFSET))
    green = np.where(sites[1], root, directed_green(root))
    planes = []
    for site, mean, channel in zip(sites, means, range(3), strict=True):
        coded = green if channel == 1 else green + spread(np.where(site, root - green, np.float32(0)))
        light = (np.maximum(coded, 0) ** 2 - _SQRT_OFFSET) / np.clip(means[1] / mean, 0.1, 10)
        planes.append(np.where(site, mosaic, light))
    return np.stack(planes, -1).astype(np.float32)


def _sites(shape: tuple[int, ...], bayer: str) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Where the red, green and blue pixels are."""
    row, column = red_origin(bayer)
    red, blue = np.zeros(shape, bool), np.zeros(shape, bool)
    red[row::2, column::2] = True
    blue[1 - row :: 2, 1 - column :: 2] = True
    return red, ~(red | blue), blue

"""Averaging successive frames as a sensor would: in linear light, with memory that does not grow with their number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_decode, srgb_encode

Frame = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

ResponseName = Literal["srgb", "gamma2.2"]

TILE_ROWS = 16
"""Rows worked on at once: they stay in the processor's cache, which saves most of the time of a large frame."""
_STEPS = 65536


@dataclass(frozen=True)
class CameraResponse:
    """How a camera codes light into 8 bits, as tables; `encode(decode(v)) == v` for every code v.

    Attributes:
        to_linear: (256,) float32, linear light in [0, 1] of every code.
        from_root: (65536,) uint8, code of linear light, indexed by its square root: fine steps where codes lie close.
    """

    to_linear: FloatArray
    from_root: npt.NDArray[np.uint8]

    def decode(self, frame: Frame) -> FloatArray:
        """Codes to linear light."""
        return np.asarray(cv2.LUT(frame, self.to_linear), np.float32)

    def encode(self, linear: FloatArray) -> Frame:
        """Linear light in [0, 1] to codes, to the nearest within half a code and a thousandth."""
        roots = np.sqrt(np.clip(linear, 0, 1))
        return np.asarray(self.from_root[np.rint(roots * (_STEPS - 1)).astype(np.uint16)], np.uint8)


def _tabulate(decode: Callable[[Any], Any], encode: Callable[[Any], Any]) -> CameraResponse:
    codes = np.arange(256) / 255
    roots = np.linspace(0, 1, _STEPS)
    to_linear = np.asarray(decode(codes), np.float32)
    return CameraResponse(to_linear, np.rint(255 * np.asarray(encode(roots**2))).astype(np.uint8))


CAMERA_RESPONSES: Mapping[ResponseName, CameraResponse] = MappingProxyType(
    {
        "srgb": _tabulate(srgb_decode, srgb_encode),
        # what Nah et al. (CVPR 2017) assumed for the GoPro
        "gamma2.2": _tabulate(lambda codes: codes**2.2, lambda linear: linear ** (1 / 2.2)),
    }
)


class Exposure:
    """Frames averaged in linear light, and how far every pixel swung meanwhile.

    Args:
        response: how the frames are coded.
        presmooth_px: Gaussian applied before the swing is taken, so that it is not that of the noise; None leaves
            the swing out.
    """

    def __init__(self, response: CameraResponse, presmooth_px: float | None = None) -> None:
        self.response, self.presmooth_px = response, presmooth_px
        self.count = 0
        self._sum: FloatArray | None = None
        self._lowest: Frame | None = None
        self._highest: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Expose to one more frame, (H, W, 3) uint8, all of one size."""
        if self._sum is None:
            self._sum = np.zeros(frame.shape, np.float32)
        if frame.shape != self._sum.shape:
            raise LocalblurError(f"a frame of {frame.shape} cannot be averaged with frames of {self._sum.shape}")
        for top in range(0, frame.shape[0], TILE_ROWS):
            tile = self._sum[top : top + TILE_ROWS]
            cv2.add(tile, cv2.LUT(frame[top : top + TILE_ROWS], self.response.to_linear), dst=tile)
        if self.presmooth_px is not None:
            self._track(frame, self.presmooth_px)
        self.count += 1

    def blurred(self) -> Frame:
        """The picture of the whole exposure, coded like the frames, (H, W, 3) uint8."""
        if self._sum is None:
            raise LocalblurError("nothing was exposed: add at least one frame")
        blurred = np.empty(self._sum.shape, np.uint8)
        for top in range(0, len(blurred), TILE_ROWS):
            rows = slice(top, top + TILE_ROWS)
            blurred[rows] = self.response.encode(self._sum[rows] / np.float32(self.count))
        return blurred

    def swing(self) -> Frame:
        """Highest minus lowest presmoothed value of every pixel and channel during the exposure, in levels."""
        if self._lowest is None or self._highest is None:
            raise LocalblurError("the swing was not tracked: give presmooth_px and add at least one frame")
        return np.asarray(cv2.subtract(self._highest, self._lowest), np.uint8)

    def _track(self, frame: Frame, presmooth_px: float) -> None:
        smooth = np.asarray(cv2.GaussianBlur(frame, (0, 0), presmooth_px), np.uint8)
        if self._lowest is None or self._highest is None:
            self._lowest, self._highest = smooth, smooth.copy()
        else:
            cv2.min(self._lowest, smooth, dst=self._lowest)
            cv2.max(self._highest, smooth, dst=self._highest)

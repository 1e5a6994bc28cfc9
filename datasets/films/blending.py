"""Averaging successive frames as a sensor would: in linear light, with memory that does not grow with their number."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.light.camera_response import CODES, WIDE_TABLES, CameraResponse, FloatArray, Frame

STRIP_VALUES = 120_000
"""Values worked on at once: they stay in the processor's cache, which saves much of the time of a large frame."""
IDENTITY = np.arange(CODES, dtype=np.float32)
"""The table that leaves codes as they are."""
CLIPPED = (np.arange(CODES) >= 254).astype(np.float32)
"""The table that marks codes of clipped light."""


class FrameSum:
    """A running sum of frames whose codes are looked up in a table.

    Two frames are looked up at a time in a table of the sums of all pairs of codes, which halves the look-ups, and the
    sum is read and written half as often. The first of two waits, by reference: a frame must not be changed once it is
    added.

    Args:
        table: (256,) float32, value of every code.
    """

    def __init__(self, table: FloatArray) -> None:
        self.table = table
        self.weight = 0.0
        self._total: FloatArray | None = None
        self._waiting: list[Frame] = []

    def add(self, frame: Frame) -> None:
        """Add one frame, (H, W, 3) uint8, all of one size."""
        if self._waiting and frame.shape != self._waiting[0].shape:
            raise _unlike(frame.shape, self._waiting[0].shape)
        self.weight += 1
        self._waiting.append(frame)
        if len(self._waiting) == 2:
            self._take_waiting()

    def add_mean(self, mean: FloatArray, weight: float) -> None:
        """Add `weight` times values that are no codes any more, (H, W, 3)."""
        if self._total is None:
            self._total = np.zeros(mean.shape, np.float32)
        total = self._checked(mean.shape)
        cv2.scaleAdd(mean, weight, total, dst=total)
        self.weight += weight

    def total(self) -> FloatArray:
        """The sum so far, float32 (H, W, 3); it changes with the next `add`."""
        self._take_waiting()
        if self._total is None:
            raise LocalblurError("nothing was exposed: add at least one frame")
        return self._total

    def mean(self) -> FloatArray:
        """The mean, float32 (H, W, 3)."""
        return self.total() * np.float32(1 / self.weight)

    def _checked(self, shape: tuple[int, ...]) -> FloatArray:
        if self._total is None:
            self._total = np.empty(shape, np.float32)
        if shape != self._total.shape:
            raise _unlike(shape, self._total.shape)
        return self._total

    def _take_waiting(self) -> None:
        frames, self._waiting = self._waiting, []
        if not frames:
            return
        begins = self._total is None
        whole = self._checked(frames[0].shape)
        total = whole.reshape(len(whole), -1)
        flat = [frame.reshape(len(frame), -1) for frame in frames]
        strips = _strips(frames[0].shape)
        values = np.empty((strips[0].stop, total.shape[1]), np.float32)
        codes = np.empty((*values.shape, 2), np.uint8)
        for rows in strips:
            tile = total[rows]
            height = len(tile)
            found = tile if begins else values[:height]
            self._look_up([frame[rows] for frame in flat], codes[:height], found)
            if not begins:
                cv2.add(tile, found, dst=tile)

    def _look_up(self, frames: list[Frame], codes: Frame, into: FloatArray) -> None:
        """The sum of the values of one or two strips."""
        if len(frames) == 1:
            cv2.LUT(frames[0], self.table, dst=into)
        elif WIDE_TABLES:
            cv2.merge((frames[0], frames[1]), dst=codes)
            cv2.LUT(codes.view(np.uint16)[..., 0], pair_table(self.table.tobytes()), dst=into)
        else:  # the same sum
            cv2.LUT(frames[0], self.table, dst=into)
            cv2.add(into, cv2.LUT(frames[1], self.table), dst=into)


def _unlike(shape: tuple[int, ...], others: tuple[int, ...]) -> LocalblurError:
    return LocalblurError(f"a frame of {shape} cannot be averaged with frames of {others}")


def _strips(shape: tuple[int, ...]) -> list[slice]:
    """Rows of a picture (H, W, 3) divided so that a strip stays in the processor's cache."""
    height = max(8, STRIP_VALUES // (shape[1] * shape[2]))
    return [slice(top, min(top + height, shape[0])) for top in range(0, shape[0], height)]


@lru_cache(maxsize=4)
def pair_table(table: bytes) -> FloatArray:
    """(65536,) float32: the sum of the values of a low and a high byte; given the bytes of a table of float32."""
    values = np.frombuffer(table, np.float32)
    return np.asarray((values[:, None] + values[None, :]).ravel(), np.float32)


@dataclass(frozen=True)
class HalfInterval:
    """What the sensor saw during half the time between two frames: means, (H, W, 3), of light and of codes.

    `coded` is None where only light is wanted.
    """

    light: FloatArray
    coded: FloatArray | None


class Exposure:
    """Frames averaged in linear light (and as codes, if wanted), and how far every pixel swung meanwhile.

    Args:
        response: how the frames are coded.
        presmooth_px: Gaussian applied before the swing is taken, so that it is not that of the noise; None leaves
            the swing out.
        coded: average the codes as well, as if they were light (the "linear CRF" of Nah et al., CVPR 2017).
        clipping: note for which share of the exposure each value was clipped.
    """

    def __init__(
        self,
        response: CameraResponse,
        presmooth_px: float | None = None,
        *,
        coded: bool = False,
        clipping: bool = False,
    ) -> None:
        self.response, self.presmooth_px = response, presmooth_px
        self.count = 0
        self._light = FrameSum(response.to_linear)
        self._coded = FrameSum(IDENTITY) if coded else None
        self._clipped = FrameSum(CLIPPED) if clipping else None
        self._lowest: Frame | None = None
        self._highest: Frame | None = None

    def add(self, frame: Frame, halves: tuple[HalfInterval | None, HalfInterval | None] = (None, None)) -> None:
        """Expose to one more frame, (H, W, 3) uint8, all of one size.

        Args:
            frame: which is not to be changed afterwards.
            halves: what the sensor saw between the last frame and this one, and between this one and the next, from
                half way; None: the frame itself.
        """
        if halves == (None, None):
            self._light.add(frame)
            if self._coded is not None:
                self._coded.add(frame)
        else:
            for half in halves:
                self._light.add_mean(self.response.decode(frame) if half is None else half.light, 0.5)
                if self._coded is not None:
                    coded = None if half is None else half.coded
                    self._coded.add_mean(frame.astype(np.float32) if coded is None else coded, 0.5)
        if self._clipped is not None:
            self._clipped.add(frame)
        if self.presmooth_px is not None:
            self._track(frame, self.presmooth_px)
        self.count += 1

    def light(self) -> FloatArray:
        """Mean linear light of the exposure in [0, 1], float32 (H, W, 3)."""
        return self._light.mean()

    def blurred(self) -> Frame:
        """The picture of the whole exposure, coded like the frames, (H, W, 3) uint8."""
        total = self._light.total()
        blurred = np.empty(total.shape, np.uint8)
        for rows in _strips(total.shape):
            self.response.encode(total[rows], 1 / self._light.weight, blurred[rows])
        return blurred

    def blurred_codes(self) -> Frame:
        """The mean of the codes themselves, (H, W, 3) uint8."""
        if self._coded is None:
            raise LocalblurError("codes were not averaged: give coded=True")
        return np.asarray(np.rint(self._coded.mean()), np.uint8)

    def clipped_share(self) -> FloatArray:
        """Share of the exposure for which each value was clipped, in [0, 1], float32 (H, W, 3)."""
        if self._clipped is None:
            raise LocalblurError("clipping was not noted: give clipping=True")
        return self._clipped.mean()

    def swing(self) -> npt.NDArray[np.uint8]:
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

"""Which two frames belong together: with software triggers, the two that one trigger to each camera brought.

An ignored trigger leaves no gap in any frame counter, so counting frames cannot prove a pair. Here nothing is ever in
flight but one trigger and one frame per camera; whatever does not fit ends that attempt, and both cameras are stopped
and started again before the next, which empties them. A late frame can therefore never slip into the next pair.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from localblur.acquisition.camera import Camera, CameraError, Frame

READY_TIMEOUT_MS = 2000.0
FRAME_TIMEOUT_MS = 3000.0
GIGE_WRAP = (65535, 1)
"""GigE Vision 1 counts frames in 16 bits and leaves 0 out."""


class PairLost(Exception):  # noqa: N818 - an event the recording loop handles, not an error
    """This attempt gave no pair; the message says why. The cameras must be restarted before the next attempt."""


@dataclass(frozen=True, kw_only=True)
class CapturedPair:
    """Two frames of one trigger; `gap_ms` is the time of S's trigger minus that of B's, in milliseconds."""

    blurred: Frame
    sharp: Frame
    gap_ms: float


class Pairer:
    """Takes pairs from two cameras in software-trigger mode.

    Args:
        blurred_camera, sharp_camera: opened and set up.
        frame_timeout_ms: how long to wait for a frame after its trigger, exposure included.
    """

    def __init__(
        self, blurred_camera: Camera, sharp_camera: Camera, *, frame_timeout_ms: float = FRAME_TIMEOUT_MS
    ) -> None:
        self.cameras = (blurred_camera, sharp_camera)
        self._frame_timeout_ms = frame_timeout_ms
        self._last_ids: tuple[int | None, int | None] | None = None

    def start(self) -> None:
        """Start both cameras, empty."""
        self._last_ids = None
        for camera in self.cameras:
            camera.start()

    def stop(self) -> None:
        """Stop both cameras and drop whatever they still hold."""
        for camera in self.cameras:
            camera.stop()

    def take(self, blurred_out: npt.NDArray[Any], sharp_out: npt.NDArray[Any]) -> CapturedPair:
        """Trigger both cameras and fetch their frames into the two buffers.

        Raises:
            PairLost: if anything at all does not fit; `stop` and `start` before the next attempt.
        """
        try:
            for camera in self.cameras:
                if not camera.ready(READY_TIMEOUT_MS):
                    raise PairLost(f"camera {camera.role} was not ready for a trigger in {READY_TIMEOUT_MS:.0f} ms")
                if camera.pending():
                    raise PairLost(f"camera {camera.role} holds a frame that no trigger asked for")
            gap_ms = self._trigger()
            blurred, sharp = (
                camera.get(self._frame_timeout_ms, out)
                for camera, out in zip(self.cameras, (blurred_out, sharp_out), strict=True)
            )
        except CameraError as error:
            raise PairLost(str(error)) from error
        self._check_counters((blurred.block_id, sharp.block_id))
        return CapturedPair(blurred=blurred, sharp=sharp, gap_ms=gap_ms)

    def _trigger(self) -> float:
        times_ns = []
        for camera in self.cameras:
            times_ns.append(time.monotonic_ns())
            camera.trigger()
        return (times_ns[1] - times_ns[0]) / 1e6

    def _check_counters(self, block_ids: tuple[int | None, int | None]) -> None:
        last, self._last_ids = self._last_ids, block_ids
        if last is None:
            return
        for camera, before, after in zip(self.cameras, last, block_ids, strict=True):
            if before is None or after is None or after == before + 1:
                continue
            if (before, after) != GIGE_WRAP:
                raise PairLost(f"camera {camera.role}: frame counter went from {before} to {after}, expected +1")

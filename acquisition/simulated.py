"""A camera without hardware: it delivers the frames of a feed, one per trigger, under the contract of a real one."""

import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from localblur.acquisition.camera import (
    Camera,
    CameraError,
    CameraRecord,
    CameraSettings,
    ClockReading,
    Frame,
    Role,
)


class FrameFeed(Protocol):
    """Where a simulated camera's frames come from."""

    def record(self, role: Role) -> CameraRecord:
        """The camera that would have taken these frames."""

    def frame(self, role: Role, number: int) -> npt.NDArray[Any]:
        """The frame of trigger `number`, counted from 0 at each start of the camera.

        Raises:
            IndexError: if the feed holds fewer frames.
        """


class SimulatedCamera(Camera):
    """Delivers `feed.frame(role, 0)`, `feed.frame(role, 1)`, ... after each start."""

    def __init__(self, role: Role, feed: FrameFeed) -> None:
        self.role: Role = role
        self._feed = feed
        self._record = feed.record(role)
        self._started = False
        self._triggered = self._delivered = 0

    def open(self) -> None:
        pass

    def close(self) -> None:
        self.stop()

    def apply(self, settings: CameraSettings) -> CameraRecord:
        for name in ("exposure_ms", "width", "height", "bit_depth"):
            asked, has = getattr(settings, name), getattr(self._record, name)
            if asked is not None and asked != has:
                raise CameraError("refused", f"simulated camera {self.role} has {name} {has}, asked for {asked}")
        return self._record

    def start(self) -> None:
        self._started = True
        self._triggered = self._delivered = 0

    def stop(self) -> None:
        self._started = False

    def ready(self, timeout_ms: float) -> bool:
        return self._started

    def pending(self) -> bool:
        return self._delivered < self._triggered

    def trigger(self) -> None:
        if not self._started:
            raise CameraError("disconnected", f"simulated camera {self.role} is not started")
        self._triggered += 1

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        if not self.pending():
            raise CameraError("timeout", f"simulated camera {self.role}: no frame within {timeout_ms:.0f} ms")
        block_id = self._delivered
        self._delivered += 1
        try:
            frame = self._feed.frame(self.role, block_id)
        except IndexError as error:
            raise CameraError("timeout", f"simulated camera {self.role}: its feed has no frame {block_id}") from error
        if frame.shape != out.shape:
            raise CameraError(
                "size_changed", f"simulated camera {self.role} delivered {frame.shape}, but {out.shape} was set"
            )
        np.copyto(out, frame, casting="no")
        now_ns = time.time_ns()
        return Frame(
            role=self.role,
            data=out,
            block_id=block_id,
            host_time_ns=now_ns,
            camera_time_ns=now_ns,
            exposure_ms=self._record.exposure_ms,
        )

    def clock(self) -> ClockReading | None:
        return None

    def status(self) -> dict[str, float]:
        return {}

    def settings_text(self) -> str:
        return ""

"""Pairs from two cameras that run by themselves, joined by time."""

from typing import Any

import numpy.typing as npt

from localblur.acquisition.camera import Camera, CameraError, Frame
from localblur.acquisition.clock_fit import ClockFit
from localblur.acquisition.pairing import CapturedPair, PairLost, counted

MAX_SKIPPED = 5
"""Triggers in a row without a pair after which both cameras are started anew."""
CLOCK_READINGS = 5
_DAMAGED = ("failed_buffer", "size_changed")


class StreamPairer:
    """Joins camera B, which runs at a steady rate, and camera S, which follows its output line.

    Frames are fetched in order. B's time, brought to S's clock by a fit that follows offset and drift, must lie within
    a quarter of a period of S's; whole periods tell which camera's frame has no partner. Such a trigger is lost, and so
    is one of which neither camera brought a frame. Nothing is restarted for it: every frame proves itself.

    The host's times prove nothing here, since frames wait in drivers; so both cameras must stamp their frames and tell
    their clocks, which fixes the first pair.

    Args:
        blurred_camera, sharp_camera: opened and set up.
        period_ms: time between two triggers.
        delay_ms: from the begin of B's exposure to that of S's.
        frame_timeout_ms: how long to wait for a frame.
    """

    def __init__(
        self,
        blurred_camera: Camera,
        sharp_camera: Camera,
        *,
        period_ms: float,
        delay_ms: float,
        frame_timeout_ms: float,
    ) -> None:
        self.cameras = (blurred_camera, sharp_camera)
        self._period_ns, self._delay_ns, self._frame_timeout_ms = period_ms * 1e6, delay_ms * 1e6, frame_timeout_ms
        self._clock = ClockFit()
        self._last: tuple[Frame, Frame] | None = None
        self._damage: list[str] = []

    def start(self) -> None:
        self._last, self._damage = None, []
        blurred, sharp = self.cameras
        sharp.start()  # it must listen before B can drive it
        blurred.start()
        if not self._clock.settled:
            self._clock = ClockFit(self._offset_ns())

    def stop(self) -> None:
        for camera in self.cameras:
            camera.stop()

    def reconnected(self) -> None:
        self._clock = ClockFit()

    def take(self, blurred_out: npt.NDArray[Any], sharp_out: npt.NDArray[Any]) -> CapturedPair:
        reasons: list[str] = []
        try:
            blurred, sharp = self._fetch(0, blurred_out), self._fetch(1, sharp_out)
            while (ahead := self._periods_ahead(blurred, sharp)) != 0:
                reasons.append(self._partnerless("S" if ahead > 0 else "B"))
                if len(reasons) >= MAX_SKIPPED:
                    raise PairLost(f"{len(reasons)} triggers in a row gave no pair: {reasons[-1]}", count=len(reasons))
                if ahead > 0:
                    blurred = self._fetch(0, blurred_out)
                else:
                    sharp = self._fetch(1, sharp_out)
        except CameraError as error:
            raise PairLost(str(error), kind=error.kind, count=1 + len(reasons)) from error
        reasons += self._unseen(blurred, sharp, len(reasons))
        deviation_ns = self._clock.deviation_ns(*_times(blurred, sharp))
        self._clock.add(*_times(blurred, sharp))
        self._last = blurred, sharp
        return CapturedPair(
            blurred=blurred, sharp=sharp, gap_ms=(deviation_ns or 0.0) / 1e6, lost_before=tuple(reasons)
        )

    def _fetch(self, which: int, out: npt.NDArray[Any]) -> Frame:
        """The next sound frame of a camera; a damaged one is remembered: its partner will be found alone."""
        while True:
            try:
                return self.cameras[which].get(self._frame_timeout_ms, out)
            except CameraError as error:
                if error.kind not in _DAMAGED or len(self._damage) >= MAX_SKIPPED:
                    raise
                self._damage.append(str(error))

    def _partnerless(self, missing: str) -> str:
        cause = f" ({self._damage.pop(0)})" if self._damage else ""
        return f"camera {missing} brought no frame of this trigger{cause}"

    def _periods_ahead(self, blurred: Frame, sharp: Frame) -> int:
        """By how many triggers S's frame is later than B's."""
        deviation_ns = self._clock.deviation_ns(*_times(blurred, sharp)) or 0.0
        periods = round(deviation_ns / self._period_ns)
        beside_ms = (deviation_ns - periods * self._period_ns) / 1e6
        if abs(beside_ms) * 1e6 > self._period_ns / 4:
            self._clock = ClockFit()  # its anchor is read anew at the restart
            raise PairLost(
                f"camera S exposed {beside_ms:.1f} ms away from any trigger of camera B, at most"
                f" {self._period_ns / 4e6:.1f} ms fit; check that B's output line drives S and that --rate is kept"
            )
        return periods

    def _unseen(self, blurred: Frame, sharp: Frame, partnerless: int) -> list[str]:
        """One reason for each trigger since the last pair of which no camera brought a frame.

        Raises:
            PairLost: if a camera counted more frames than there were triggers.
        """
        damaged, self._damage = self._damage, []
        if self._last is None:
            return []
        times = _times(blurred, sharp)[0] - _times(*self._last)[0]
        triggers = round(times / self._period_ns)
        for camera, before, after in zip(self.cameras, self._last, (blurred, sharp), strict=True):
            if before.block_id is None or after.block_id is None:
                continue
            if counted(before.block_id, after.block_id) > triggers:
                raise PairLost(
                    f"camera {camera.role}: frame counter went from {before.block_id} to {after.block_id}, but there"
                    f" were {triggers} triggers"
                )
        cause = f" ({damaged[0]})" if damaged else ""
        return [f"no camera brought a frame of this trigger{cause}"] * max(0, triggers - 1 - partnerless)

    def _offset_ns(self) -> int:
        """By how much S's time of a pair is expected to exceed B's, from reading both clocks beside the host's.

        Raises:
            CameraError: if a camera cannot tell its clock well enough.
        """
        offset_ns = round(self._delay_ns)
        for camera, sign in zip(self.cameras, (-1, 1), strict=True):
            readings = [reading for _ in range(CLOCK_READINGS) if (reading := camera.clock()) is not None]
            best = min(readings, key=lambda reading: reading.uncertainty_ns, default=None)
            if best is None or best.uncertainty_ns > self._period_ns / 16:
                raise CameraError(
                    "refused",
                    f"camera {camera.role} does not tell its clock well enough to prove pairs at a fixed rate; leave"
                    " --rate out, so that the host triggers each pair",
                )
            offset_ns += sign * (best.camera_ns - best.host_ns)
        return offset_ns


def _times(blurred: Frame, sharp: Frame) -> tuple[int, int]:
    """Both cameras' times.

    Raises:
        CameraError: if a frame has none.
    """
    for frame in (blurred, sharp):
        if frame.camera_time_ns is None:
            raise CameraError(
                "refused",
                f"camera {frame.role} does not stamp its frames with the time, which proves pairs at a fixed rate;"
                " leave --rate out, so that the host triggers each pair",
            )
    return blurred.camera_time_ns or 0, sharp.camera_time_ns or 0

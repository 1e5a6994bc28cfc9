"""Pairs from two cameras that run by themselves, joined by time."""

import contextlib
from typing import Any

import numpy.typing as npt

from localblur.acquisition.cameras.camera import Camera, CameraError, Frame
from localblur.acquisition.cameras.timebase import HostTime, Timebase
from localblur.acquisition.pairing.clock_fit import ClockFit
from localblur.acquisition.pairing.pairing import CapturedPair, PairLost, counted

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
    their clocks, which fixes the first pair. They are asked again before a trigger is given up: a clock that was set
    anew looks like a missing frame. Where both cameras are started anew, B's clock tells how many triggers that cost.

    Args:
        blurred_camera, sharp_camera: opened and set up.
        period_ms: time between two triggers.
        delay_ms: from the begin of B's exposure to that of S's.
        frame_timeout_ms: how long to wait for a frame.
        timebase: the host's clock, for when B does not tell its own.
    """

    def __init__(
        self,
        blurred_camera: Camera,
        sharp_camera: Camera,
        *,
        period_ms: float,
        delay_ms: float,
        frame_timeout_ms: float,
        timebase: Timebase | None = None,
    ) -> None:
        self.cameras = (blurred_camera, sharp_camera)
        self._period_ns, self._delay_ns, self._frame_timeout_ms = period_ms * 1e6, delay_ms * 1e6, frame_timeout_ms
        self._clock, self._time = ClockFit(), timebase or HostTime()
        self._last: tuple[Frame, Frame] | None = None
        self._damage: list[str] = []
        self._known_ns = self._ahead_ns = 0
        self._first_id = 1  # or 0, once that was seen: cameras differ

    def start(self) -> None:
        self._last, self._damage = None, []
        blurred, sharp = self.cameras
        sharp.start()  # it must listen before B can drive it
        blurred.start()
        times = self._read_clocks()
        self._known_ns = self._time.now_ns() + self._ahead_ns - round(self._period_ns)
        if self._clock.settled and (times is None or self._fits(times)):
            return
        if times is None:
            raise CameraError(
                "refused",
                "the cameras do not tell their clocks well enough to prove pairs at a fixed rate; leave --rate out, so"
                " that the host triggers each pair",
            )
        self._clock = ClockFit(times[1] - times[0])

    def stop(self) -> None:
        for camera in self.cameras:
            camera.stop()

    def reconnected(self) -> None:
        self._clock = ClockFit()

    def take(self, blurred_out: npt.NDArray[Any], sharp_out: npt.NDArray[Any]) -> CapturedPair:
        reasons: list[str] = []
        try:
            blurred, sharp = self._join(blurred_out, sharp_out, reasons)
            reasons += self._unseen(blurred, sharp, len(reasons))
            times = _times(blurred, sharp)
        except CameraError as error:
            raise PairLost(str(error), kind=error.kind, count=self._triggers_since(error)) from error
        except PairLost as lost:
            lost.count = self._triggers_since()
            raise
        deviation_ns = self._clock.deviation_ns(*times)
        self._clock.add(*times)
        self._last, self._known_ns = (blurred, sharp), times[0]
        return CapturedPair(
            blurred=blurred, sharp=sharp, gap_ms=(deviation_ns or 0.0) / 1e6, lost_before=tuple(reasons)
        )

    def _join(
        self, blurred_out: npt.NDArray[Any], sharp_out: npt.NDArray[Any], reasons: list[str]
    ) -> tuple[Frame, Frame]:
        """The next two frames of one trigger; `reasons` gets one for each frame that has no partner."""
        blurred, sharp = self._fetch(0, blurred_out), self._fetch(1, sharp_out)
        while (ahead := self._periods_ahead(blurred, sharp)) != 0:
            if not reasons and (times := self._read_clocks()) is not None and not self._fits(times):
                self._clock = ClockFit()  # its anchor is read anew at the restart
                raise PairLost("the clock of a camera was set anew, so its frames fit no trigger")
            reasons.append(self._partnerless("S" if ahead > 0 else "B"))
            if len(reasons) >= MAX_SKIPPED:
                raise PairLost(f"{len(reasons)} triggers in a row gave no pair: {reasons[-1]}")
            if ahead > 0:
                blurred = self._fetch(0, blurred_out)
            else:
                sharp = self._fetch(1, sharp_out)
        return blurred, sharp

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
        triggers = self._triggers_until(blurred)
        for camera, before, after in zip(self.cameras, self._last or (), (blurred, sharp), strict=False):
            if before.block_id is None or after.block_id is None:
                continue
            if counted(before.block_id, after.block_id) > triggers:
                raise PairLost(
                    f"camera {camera.role}: frame counter went from {before.block_id} to {after.block_id}, but there"
                    f" were {triggers} triggers"
                )
        cause = f" ({damaged[0]})" if damaged else ""
        return [f"no camera brought a frame of this trigger{cause}"] * max(0, triggers - 1 - partnerless)

    def _triggers_until(self, blurred: Frame) -> int:
        """How many triggers there were since the last pair, up to the one of a frame. Since the start at most as many
        as B has counted: how long it took to begin is not known."""
        by_time = round((_times(blurred, blurred)[0] - self._known_ns) / self._period_ns)
        if self._last is not None:
            return by_time
        if blurred.block_id is None:
            return 1
        self._first_id = min(self._first_id, blurred.block_id)
        return max(1, min(by_time, 1 + blurred.block_id - self._first_id))

    def _triggers_since(self, error: CameraError | None = None) -> int:
        """How many triggers there were since the last pair, or the start: they all are lost when the cameras stop."""
        now_ns = self._time.now_ns() + self._ahead_ns
        if error is None or error.kind not in ("disconnected", "hung"):
            with contextlib.suppress(CameraError):
                reading = self.cameras[0].clock()
                now_ns = reading.camera_ns if reading is not None else now_ns
        return max(1, int((now_ns - self._known_ns) / self._period_ns))

    def _fits(self, times: tuple[int, int]) -> bool:
        """Whether both cameras' clocks are what the fit of them expects."""
        return abs(self._clock.deviation_ns(*times) or 0.0) <= self._period_ns / 4

    def _read_clocks(self) -> tuple[int, int] | None:
        """B's time now and S's time of a pair that B begins now, from reading both clocks beside the host's; None if
        one cannot be told well enough."""
        found = []
        for camera in self.cameras:
            readings = [reading for _ in range(CLOCK_READINGS) if (reading := camera.clock()) is not None]
            best = min(readings, key=lambda reading: reading.uncertainty_ns, default=None)
            if best is None or best.uncertainty_ns > self._period_ns / 16:
                return None
            found.append(best)
        blurred, sharp = found
        self._ahead_ns = blurred.camera_ns - blurred.host_ns
        between_ns = blurred.host_ns - sharp.host_ns
        return blurred.camera_ns, sharp.camera_ns + between_ns + round(self._delay_ns)


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

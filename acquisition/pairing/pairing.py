"""Which two frames belong together, and the proof of it.

Counters alone prove nothing: a trigger that came while a camera was busy is ignored and leaves no gap in its counter.
`TriggeredPairer` therefore never has more than one trigger in flight; `StreamPairer`, in a module of its own, joins two
running streams by time. Both check counters **and** times, and whatever does not fit is lost, never shifted.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from localblur.acquisition.cameras.camera import Camera, CameraError, ErrorKind, Frame
from localblur.acquisition.cameras.timebase import HostTime, Timebase
from localblur.acquisition.pairing.clock_fit import ClockFit

READY_TIMEOUT_MS = 2000.0
FRAME_TIMEOUT_MS = 3000.0
GIGE_WRAP = (65535, 1)
"""GigE Vision 1 counts frames in 16 bits and leaves 0 out."""
LEAST_TOLERANCE_NS = 1_000_000
"""Cameras stamp their frames to better than this."""


class PairLost(Exception):  # noqa: N818 - an event the recording loop handles, not an error
    """An attempt gave no pair; the message says why.

    Attributes:
        kind: the camera error behind it, None if the cameras worked and the frames did not fit.
        restart: both cameras must be restarted before the next attempt.
        count: how many triggers were lost.
        lost_before: reasons for triggers lost before, each of them one more.
    """

    lost_before: tuple[str, ...] = ()

    def __init__(self, reason: str, *, kind: ErrorKind | None = None, restart: bool = True, count: int = 1) -> None:
        super().__init__(reason)
        self.kind = kind
        self.restart = restart
        self.count = count


@dataclass(frozen=True, kw_only=True)
class CapturedPair:
    """Two frames of one trigger.

    Attributes:
        gap_ms: sync gap in ms. Software triggers: host time from B's trigger to S's, less the delay that was wanted
            between them. Otherwise how far S's exposure lies from where the fit of the two clocks expects it, 0 without
            camera clocks.
        lost_before: reasons for triggers since the last pair that gave none; each counts as one lost pair.
    """

    blurred: Frame
    sharp: Frame
    gap_ms: float
    lost_before: tuple[str, ...] = ()


class Pairer(Protocol):
    """Takes pairs from two cameras that are open and set up."""

    cameras: tuple[Camera, Camera]

    def start(self) -> None:
        """Start both cameras, empty."""

    def stop(self) -> None:
        """Stop both cameras and drop whatever they still hold."""

    def reconnected(self) -> None:
        """Forget the cameras' clocks: they began anew."""

    def take(self, blurred_out: npt.NDArray[Any], sharp_out: npt.NDArray[Any]) -> CapturedPair:
        """Fetch the next pair into the two buffers.

        Raises:
            PairLost: if anything at all does not fit.
        """


class TriggeredPairer:
    """One trigger in flight at a time: for software triggers, and for cameras that follow camera B's trigger.

    Args:
        blurred_camera, sharp_camera: opened and set up.
        each: trigger both cameras; False triggers B only, whose output line or action command reaches S.
        delay_ms: with `each`, how long the host waits between the two triggers: a camera's own trigger delay does not
            act on software triggers.
        frame_timeout_ms: how long to wait for a frame after its trigger, exposure included.
    """

    def __init__(
        self,
        blurred_camera: Camera,
        sharp_camera: Camera,
        *,
        each: bool = True,
        delay_ms: float = 0.0,
        frame_timeout_ms: float = FRAME_TIMEOUT_MS,
        timebase: Timebase | None = None,
    ) -> None:
        self.cameras = (blurred_camera, sharp_camera)
        self._each, self._frame_timeout_ms = each, frame_timeout_ms
        self._delay_ns, self._time = round(delay_ms * 1e6), timebase or HostTime()
        self._clock = ClockFit()
        self._last_ids: tuple[int | None, int | None] | None = None
        self._last_trigger_ns: int | None = None

    def start(self) -> None:
        self._last_ids = None
        for camera in reversed(self.cameras):  # S first: it must listen before B can drive it
            camera.start()

    def stop(self) -> None:
        for camera in self.cameras:
            camera.stop()

    def reconnected(self) -> None:
        self._clock = ClockFit()

    def take(self, blurred_out: npt.NDArray[Any], sharp_out: npt.NDArray[Any]) -> CapturedPair:
        try:
            for camera in self.cameras:
                if not camera.ready(READY_TIMEOUT_MS):
                    raise PairLost(f"camera {camera.role} was not ready for a trigger in {READY_TIMEOUT_MS:.0f} ms")
                if camera.pending():
                    raise PairLost(f"camera {camera.role} holds a frame that no trigger asked for")
            gap = self._trigger()
            blurred, sharp = (
                camera.get(self._frame_timeout_ms, out)
                for camera, out in zip(self.cameras, (blurred_out, sharp_out), strict=True)
            )
        except CameraError as error:
            raise PairLost(str(error), kind=error.kind) from error
        self._check_counters((blurred.block_id, sharp.block_id))
        deviation_ns = self._check_times(blurred, sharp, gap)
        gap_ns = gap.nominal_ns - self._delay_ns if self._each else deviation_ns
        return CapturedPair(blurred=blurred, sharp=sharp, gap_ms=gap_ns / 1e6)

    def _trigger(self) -> "_Gap":
        begun_ns = self._time.now_ns()
        last_ns, self._last_trigger_ns = self._last_trigger_ns, begun_ns
        since_ns = begun_ns - last_ns if last_ns is not None else 0
        self.cameras[0].trigger()
        if not self._each:
            return _Gap(0, 0, since_ns)
        if self._delay_ns:
            self._time.wait_until(begun_ns + self._delay_ns)
        between_ns = self._time.now_ns()
        self.cameras[1].trigger()
        return _Gap(between_ns - begun_ns, self._time.now_ns() - begun_ns, since_ns)

    def _check_counters(self, block_ids: tuple[int | None, int | None]) -> None:
        last, self._last_ids = self._last_ids, block_ids
        if last is None:
            return
        for camera, before, after in zip(self.cameras, last, block_ids, strict=True):
            if before is not None and after is not None and counted(before, after) != 1:
                raise PairLost(f"camera {camera.role}: frame counter went from {before} to {after}, expected +1")

    def _check_times(self, blurred: Frame, sharp: Frame, gap: "_Gap") -> float:
        """How far S's time lies from the expected one, in ns; 0 where nothing can be said yet.

        Raises:
            PairLost: if it lies nearer to another trigger than a quarter of the time between triggers allows.
        """
        if blurred.camera_time_ns is None or sharp.camera_time_ns is None:
            return 0.0
        expected_ns = blurred.camera_time_ns, sharp.camera_time_ns - gap.nominal_ns
        deviation_ns = self._clock.deviation_ns(*expected_ns) if self._clock.settled else None
        if deviation_ns is not None:
            tolerance_ns = max(LEAST_TOLERANCE_NS, gap.since_ns // 4)
            early_ns, late_ns = -gap.nominal_ns - tolerance_ns, gap.most_ns - gap.nominal_ns + tolerance_ns
            if not early_ns <= deviation_ns <= late_ns:
                self._clock = ClockFit()  # a clock that was set anew costs one pair and no more
                raise PairLost(_away(deviation_ns, tolerance_ns))
        self._clock.add(*expected_ns)
        return deviation_ns or 0.0


@dataclass(frozen=True)
class _Gap:
    """Host time in ns: from the call of B's trigger to that of S's; at most, calls included; since the last trigger."""

    nominal_ns: int
    most_ns: int
    since_ns: int


def counted(before: int, after: int) -> int:
    """How many frames a counter went on by."""
    return 1 if (before, after) == GIGE_WRAP else after - before


def _away(deviation_ns: float, tolerance_ns: float) -> str:
    return (
        f"camera S exposed {deviation_ns / 1e6:.1f} ms away from camera B's trigger, at most {tolerance_ns / 1e6:.1f}"
        " ms fit: the frames are not of one trigger"
    )

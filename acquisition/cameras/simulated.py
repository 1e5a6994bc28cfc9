"""A camera without hardware: it delivers the frames of a feed under the contract of a real one, faults included."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from localblur.acquisition.cameras.camera import (
    Camera,
    CameraError,
    CameraRecord,
    CameraSettings,
    ClockReading,
    Frame,
    Role,
    TriggerSettings,
)
from localblur.acquisition.cameras.faults import ClockSettings, Fault, FaultPlan, by_trigger
from localblur.acquisition.cameras.timebase import HostTime, Timebase

BUFFERS = 10
"""Frames a camera's driver holds for the host; what comes while all are full is dropped."""
CLOCK_UNCERTAINTY_NS = 50_000


class FrameFeed(Protocol):
    """Where a simulated camera's frames come from."""

    def record(self, role: Role) -> CameraRecord:
        """The camera that would have taken these frames."""

    def frame(self, role: Role, number: int) -> npt.NDArray[Any]:
        """The frame of trigger `number`, counted from 0 at each start of the camera.

        Raises:
            IndexError: if the feed holds fewer frames.
        """


@dataclass(frozen=True)
class _Exposure:
    """One frame on its way: which trigger brought it, the counter, when it arrives, the camera's time."""

    number: int
    block_id: int
    arrival_ns: int
    camera_ns: int
    damaged: bool


class SimulatedCamera(Camera):
    """Delivers `feed.frame(role, n)` for the n-th trigger after each start.

    Args:
        role: which arm of the rig it is.
        feed: its frames.
        faults: what goes wrong at which trigger.
        clock: how its clock runs.
        timebase: the host's time.
        follower: camera S, where this is camera B and drives it by its output line or an action command.
        paced: exposures take their time; False delivers frames at once.
        seed: of the clock's jitter.
    """

    def __init__(
        self,
        role: Role,
        feed: FrameFeed,
        *,
        faults: Sequence[Fault] = (),
        clock: ClockSettings | None = None,
        timebase: Timebase | None = None,
        follower: "SimulatedCamera | None" = None,
        paced: bool = False,
        seed: int = 0,
    ) -> None:
        self.role: Role = role
        self.triggers = 0
        self._feed, self._record = feed, feed.record(role)
        self._clock, self._time = clock or ClockSettings(), timebase or HostTime()
        self._faults = by_trigger(tuple(faults))
        self._trigger = TriggerSettings()
        self._follower, self._paced = follower, paced
        self._leader: SimulatedCamera | None = None
        if follower is not None:
            follower.follow(self)
        self._rng = np.random.default_rng([seed, ord(role)])
        self._connected, self._vain_attempts = True, 0
        self._block_ms: float | None = None
        self._started = False
        self._next_free_ns = 0
        self._number = self._block_id = 0
        self._waiting: deque[_Exposure] = deque()

    def open(self) -> None:
        if not self._connected and self._vain_attempts > 0:
            self._vain_attempts -= 1
            raise CameraError("missing", f"simulated camera {self.role} is not connected")
        self._connected = True

    def close(self) -> None:
        self._started = False

    def apply(self, settings: CameraSettings) -> CameraRecord:
        self._check_connected()
        for name in ("width", "height", "bit_depth"):
            asked, has = getattr(settings, name), getattr(self._record, name)
            if asked is not None and asked != has:
                raise CameraError("refused", f"simulated camera {self.role} has {name} {has}, asked for {asked}")
        self._trigger = settings.trigger
        self._record = self._record.model_copy(update={"exposure_ms": settings.exposure_ms})
        return self._record

    def start(self) -> None:
        self._check_connected()
        self._started = True
        self._number = self._block_id = 0
        self._next_free_ns = self._time.now_ns()
        self._waiting.clear()

    def stop(self) -> None:
        self.run_free(self._time.now_ns())
        self._started = False
        self._waiting.clear()

    def ready(self, timeout_ms: float) -> bool:
        self._check_connected()
        return self._started

    def pending(self) -> bool:
        self._check_connected()
        (self._leader or self).run_free(self._time.now_ns())
        return bool(self._waiting) and self._waiting[0].arrival_ns <= self._time.now_ns()

    def trigger(self) -> None:
        self._check_connected()
        if not self._started:
            raise CameraError("disconnected", f"simulated camera {self.role} is not started")
        if self._trigger.source not in ("software", "action"):
            raise CameraError("refused", f"simulated camera {self.role} takes no trigger from the host")
        self.expose(self._time.now_ns())
        self._check_connected()

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        self._block()
        deadline_ns = self._time.now_ns() + round(timeout_ms * 1e6)
        (self._leader or self).run_free(self._time.now_ns())
        runner = self._leader or self
        while self._connected and not self._waiting and (free_ns := runner.next_free_ns()) is not None:
            if free_ns > deadline_ns:
                break
            self._time.wait_until(free_ns)
            runner.run_free(free_ns)
        self._check_connected()
        if not self._waiting or self._waiting[0].arrival_ns > deadline_ns:
            self._time.wait_until(deadline_ns)
            raise CameraError("timeout", f"simulated camera {self.role}: no frame within {timeout_ms:.0f} ms")
        exposure = self._waiting.popleft()
        self._time.wait_until(exposure.arrival_ns)
        return self._deliver(exposure, out)

    def clock(self) -> ClockReading | None:
        self._check_connected()
        now_ns = self._time.now_ns()
        error_ns = round(float(self._rng.uniform(-1, 1)) * CLOCK_UNCERTAINTY_NS)
        return ClockReading(
            camera_ns=self._clock.time_ns(now_ns) + error_ns, host_ns=now_ns, uncertainty_ns=CLOCK_UNCERTAINTY_NS
        )

    def status(self) -> dict[str, float]:
        return {}

    def settings_text(self) -> str:
        return ""

    def _check_connected(self) -> None:
        if not self._connected:
            raise CameraError("disconnected", f"simulated camera {self.role} does not answer")

    def _block(self) -> None:
        blocked_ms, self._block_ms = self._block_ms, None
        if blocked_ms is not None:
            threading.Event().wait(blocked_ms / 1000 if blocked_ms else None)

    def follow(self, leader: "SimulatedCamera") -> None:
        """Let another camera's exposures trigger this one."""
        self._leader = leader

    def next_free_ns(self) -> int | None:
        """When the next exposure begins that nobody triggers; None unless the camera runs by itself."""
        return self._next_free_ns if self._started and self._trigger.source == "free" else None

    def run_free(self, until_ns: int) -> None:
        """Let a camera that runs by itself expose until a moment."""
        while (free_ns := self.next_free_ns()) is not None and free_ns <= until_ns:
            self.expose(free_ns)
            self._next_free_ns = free_ns + round(1e9 / (self._trigger.rate_hz or 1.0))

    def expose(self, at_ns: int) -> None:
        """A trigger reaches the camera, if it is started."""
        if not self._started:
            return
        fault = self._faults.get(self.triggers)
        kind = fault.kind if fault is not None else None
        self.triggers += 1
        number, self._number = self._number, self._number + 1
        if kind == "disconnect" and fault is not None:
            self._connected, self._vain_attempts = False, fault.attempts
        if kind == "block" and fault is not None:
            self._block_ms = fault.ms
        action = self._trigger.source == "action"
        exposed = self._connected and kind != "ignore"
        if self._follower is not None and (exposed or action):
            self._follower.expose(at_ns)
        if exposed:
            self._capture(number, at_ns, fault)
            if kind == "spurious":
                self._capture(number, at_ns, None)

    def _capture(self, number: int, at_ns: int, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else None
        block_id, self._block_id = self._block_id, self._block_id + 1
        begun_ns = at_ns + round(self._trigger.delay_ms * 1e6)
        arrival_ns = begun_ns + (round(self._record.exposure_ms * 1e6) if self._paced else 0)
        if kind == "delay" and fault is not None:
            arrival_ns += round(fault.ms * 1e6)
        jitter_ns = self._clock.jitter_ms * 1e6 * float(self._rng.standard_normal())
        if kind == "drop" or len(self._waiting) >= BUFFERS:
            return
        camera_ns = self._clock.time_ns(begun_ns) + round(jitter_ns)
        self._waiting.append(_Exposure(number, block_id, arrival_ns, camera_ns, kind == "fail"))

    def _deliver(self, exposure: _Exposure, out: npt.NDArray[Any]) -> Frame:
        if exposure.damaged:
            raise CameraError(
                "failed_buffer", f"simulated camera {self.role}: frame {exposure.block_id} is damaged: incomplete"
            )
        try:
            frame = self._feed.frame(self.role, exposure.number)
        except IndexError as error:
            raise CameraError(
                "timeout", f"simulated camera {self.role}: its feed has no frame {exposure.number}"
            ) from error
        if frame.shape != out.shape:
            raise CameraError(
                "size_changed", f"simulated camera {self.role} delivered {frame.shape}, but {out.shape} was set"
            )
        np.copyto(out, frame, casting="no")
        return Frame(
            role=self.role,
            data=out,
            block_id=exposure.block_id,
            host_time_ns=self._time.wall_ns(),
            camera_time_ns=exposure.camera_ns,
            exposure_ms=self._record.exposure_ms,
        )


def simulated_pair(
    feed: FrameFeed,
    *,
    plan: FaultPlan | None = None,
    timebase: Timebase | None = None,
    wired: bool = False,
    paced: bool = False,
) -> tuple[SimulatedCamera, SimulatedCamera]:
    """Cameras B and S on one feed.

    Args:
        plan: faults and clocks.
        wired: B's output line, or its action command, reaches S.
        paced: exposures take their time.
    """
    plan, timebase = plan or FaultPlan(), timebase or HostTime()
    sharp = SimulatedCamera(
        "S", feed, faults=plan.S, clock=plan.clock_S, timebase=timebase, paced=paced, seed=plan.seed
    )
    blurred = SimulatedCamera(
        "B",
        feed,
        faults=plan.B,
        clock=plan.clock_B,
        timebase=timebase,
        follower=sharp if wired else None,
        paced=paced,
        seed=plan.seed,
    )
    return blurred, sharp

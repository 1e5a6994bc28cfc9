"""What shall go wrong with simulated cameras, and how their clocks run: to rehearse what happens in labs."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from localblur.common.settings import Settings, read_yaml, validate

FaultKind = Literal["ignore", "drop", "fail", "delay", "disconnect", "block", "spurious"]
"""ignore: the trigger is not taken, and no counter shows it. drop: exposed and counted, but the frame is lost on the
way. fail: the frame arrives damaged. delay: it arrives `ms` late. disconnect: the camera is gone until it has been
searched for `attempts` times in vain. block: the SDK does not come back for `ms`, 0 is never. spurious: it exposes once
more."""

MAX_MS = 1e13
"""Three hundred years: a clock may count from any day."""


class Fault(Settings):
    """One fault.

    Attributes:
        at: at which trigger, counted from 0 over all starts of the camera.
        count: for how many triggers in a row.
        ms: delay or time of blocking in ms.
        attempts: after a disconnection, how often opening the camera fails before it is found.
    """

    kind: FaultKind
    at: int = Field(ge=0)
    count: int = Field(default=1, ge=1, le=1_000_000)
    ms: float = Field(default=0.0, ge=0, le=MAX_MS)
    attempts: int = Field(default=0, ge=0)


class ClockSettings(Settings):
    """How a simulated camera's clock runs against the host's.

    Attributes:
        offset_ms: its value when the host's clock shows 0.
        drift_ppm: how much faster it runs.
        jitter_ms: standard deviation of a frame's time stamp.
    """

    offset_ms: float = Field(default=0.0, ge=-MAX_MS, le=MAX_MS)
    drift_ppm: float = Field(default=0.0, ge=-1000, le=1000)
    jitter_ms: float = Field(default=0.0, ge=0, le=MAX_MS)

    def time_ns(self, host_ns: int) -> int:
        """The camera's time, without jitter."""
        return host_ns + round(self.offset_ms * 1e6) + round(host_ns * self.drift_ppm / 1e6)


class FaultPlan(Settings):
    """Faults and clocks of both cameras; the file of `capture --simulate --faults FILE`."""

    B: tuple[Fault, ...] = ()
    S: tuple[Fault, ...] = ()
    clock_B: ClockSettings = ClockSettings()  # noqa: N815 - the two cameras are called B and S everywhere
    clock_S: ClockSettings = ClockSettings()  # noqa: N815
    seed: int = Field(default=0, ge=0)


def read_faults(path: Path) -> FaultPlan:
    """Read a fault plan from YAML.

    Raises:
        LocalblurError: if the file cannot be read or says something unknown.
    """
    return validate(FaultPlan, read_yaml(path), str(path))


def by_trigger(faults: tuple[Fault, ...]) -> dict[int, Fault]:
    """The fault of each trigger; where two meet, the later one in the list."""
    return {trigger: fault for fault in faults for trigger in range(fault.at, fault.at + fault.count)}

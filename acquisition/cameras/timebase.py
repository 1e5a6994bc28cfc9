"""The host's time as simulated cameras see it: real, or virtual for hours of recording in a second."""

import time
from typing import Protocol


class Timebase(Protocol):
    """A monotonic clock, in ns, that can be waited for."""

    def now_ns(self) -> int:
        """The time."""

    def wait_until(self, moment_ns: int) -> None:
        """Return when `moment_ns` has come."""

    def wall_ns(self) -> int:
        """Time since 1970."""


class HostTime:
    """Real time."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wait_until(self, moment_ns: int) -> None:
        remaining = moment_ns - time.monotonic_ns()
        if remaining > 0:
            time.sleep(remaining / 1e9)

    def wall_ns(self) -> int:
        return time.time_ns()


class VirtualTime:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wait_until(self, moment_ns: int) -> None:
        self._now_ns = max(self._now_ns, moment_ns)

    def wall_ns(self) -> int:
        return self._now_ns

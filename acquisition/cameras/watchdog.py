"""Watching calls into an SDK that may never come back, and Ctrl-C, from outside the thread that makes them.

A removed camera can make `StopGrabbing` or `RetrieveResult` hang for ever. So the calls are made in a thread of their
own; the main thread watches the clock and stays free to finish what was captured.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import numpy.typing as npt

from localblur.acquisition.cameras.camera import Camera, CameraError, CameraRecord, CameraSettings, ClockReading, Frame

Result = TypeVar("Result")

PATIENCE = 3.0
"""A call with a time limit of its own hangs when it takes this many times as long."""
CALL_LIMIT_MS = 10_000.0
SETUP_LIMIT_MS = 60_000.0
"""Opening waits for a camera's heartbeat, setting up reads hundreds of features."""
_POLL_S = 0.05
_HUNG_EXIT, _INTERRUPTED_EXIT = 1, 130


class Watchdog:
    """Knows which call is under way and until when it has to return.

    Args:
        call_limit_ms: how long any call may take.
        leave: called with an exit code once a thread was left behind inside an SDK; by default the process will end,
            once all is done, with this code and without waiting for that thread.

    Attributes:
        interrupted: set when the user asked to stop; the watched function ends at its next opportunity.
        hung: the call that never came back, None as long as all is well.
        left: set when a function was not waited for any longer, after a call has hung or at a second Ctrl-C. It may
            still go on by and by, and nobody takes what it brings.
    """

    def __init__(
        self, call_limit_ms: float = CALL_LIMIT_MS, leave: Callable[[int], None] = lambda code: _leave_at_exit(code)
    ) -> None:
        self._leave = leave
        self.interrupted, self.left = threading.Event(), threading.Event()
        self.hung: str | None = None
        self._call_limit_ms, self._interruptions = call_limit_ms, 0
        self._current: tuple[str, float] | None = None

    @contextmanager
    def expect(self, what: str, limit_ms: float | None = None) -> Iterator[None]:
        """Mark a call that should return within `PATIENCE` times `limit_ms`, at least the limit of any call.

        Raises:
            CameraError: of kind `hung`, if an earlier call has hung: the driver is not to be called any more.
        """
        if self.hung is not None:
            raise self._does_not_come_back()
        limit_ms = max(self._call_limit_ms, PATIENCE * (limit_ms or 0.0))
        self._current = what, time.monotonic() + limit_ms / 1000
        try:
            yield
        finally:
            self._current = None

    @contextmanager
    def gently(self) -> Iterator[None]:
        """A `with` block in which the first Ctrl-C sets `interrupted` and no more; the second one ends the block.

        By a signal handler and not by catching `KeyboardInterrupt`: that one may come between any two instructions,
        also where it leaves a thread behind that has just begun to capture.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            self._interruptions += 1
            if self._interruptions > 1:
                raise KeyboardInterrupt
            self.interrupted.set()

        previous = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
            previous = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def run(self, function: Callable[[], Result]) -> Result:
        """Run a function in a thread of its own and hand over what it returns or raises.

        Ctrl-C sets `interrupted` and waits for the function to end well; a second Ctrl-C waits no longer.

        Raises:
            CameraError: of kind `hung`, if a marked call does not return in time; the thread is left behind.
        """
        outcome: list[Result] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                outcome.append(function())
            except BaseException as error:  # handed over to the caller's thread
                failure.append(error)
            finally:
                finished.set()

        # an event, because Ctrl-C inside Thread.join marks a running thread as ended before Python 3.13
        finished = threading.Event()
        with self.gently():
            try:
                threading.Thread(target=work, name="cameras", daemon=True).start()
                while not finished.wait(_POLL_S):
                    self._check(finished)
            except KeyboardInterrupt:
                self.interrupted.set()
                self.left.set()
                self._leave(_INTERRUPTED_EXIT)
                raise
        if failure:
            raise failure[0]
        return outcome[0]

    def _check(self, finished: threading.Event) -> None:
        current = self._current
        if current is None or finished.is_set() or time.monotonic() < current[1]:
            return
        self.hung = current[0]
        self.left.set()
        self._leave(_HUNG_EXIT)
        raise self._does_not_come_back()

    def _does_not_come_back(self) -> CameraError:
        return CameraError(
            "hung",
            f"{self.hung}: the camera's driver does not come back; unplug and plug in the camera, then run again with"
            " --resume",
        )


def _leave_at_exit(code: int) -> None:
    """End the process, once all is done, without waiting for a thread inside an SDK: it may hang, or crash."""
    atexit.register(_leave, code)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class WatchedCamera(Camera):
    """A camera whose calls a watchdog knows of; after one has hung, no more are made."""

    def __init__(self, camera: Camera, watchdog: Watchdog) -> None:
        self.role = camera.role
        self._camera, self._watchdog = camera, watchdog

    def open(self) -> None:
        with self._expect("open", SETUP_LIMIT_MS):
            self._camera.open()

    def close(self) -> None:
        if self._watchdog.hung is None:
            with self._expect("close"):
                self._camera.close()

    def apply(self, settings: CameraSettings) -> CameraRecord:
        with self._expect("set up", SETUP_LIMIT_MS):
            return self._camera.apply(settings)

    def start(self) -> None:
        with self._expect("start"):
            self._camera.start()

    def stop(self) -> None:
        if self._watchdog.hung is None:
            with self._expect("stop"):
                self._camera.stop()

    def ready(self, timeout_ms: float) -> bool:
        with self._expect("wait until ready", timeout_ms):
            return self._camera.ready(timeout_ms)

    def pending(self) -> bool:
        with self._expect("look for frames"):
            return self._camera.pending()

    def trigger(self) -> None:
        with self._expect("trigger"):
            self._camera.trigger()

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        with self._expect("fetch a frame", timeout_ms):
            return self._camera.get(timeout_ms, out)

    def clock(self) -> ClockReading | None:
        with self._expect("read the clock"):
            return self._camera.clock()

    def status(self) -> dict[str, float]:
        with self._expect("read the status"):
            return self._camera.status()

    def settings_text(self) -> str:
        with self._expect("save the settings", SETUP_LIMIT_MS):
            return self._camera.settings_text()

    def _expect(self, what: str, limit_ms: float | None = None) -> Any:
        return self._watchdog.expect(f"camera {self.role}: {what}", limit_ms)

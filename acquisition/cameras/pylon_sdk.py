"""Basler's SDK, imported in this one place, and its exceptions as `CameraError`s of the right kind."""

import warnings
from collections.abc import Callable
from types import TracebackType

from localblur.acquisition.cameras.camera import CameraError, ErrorKind

with warnings.catch_warnings():
    # SWIG's deprecation warnings come while its types are built: where warnings are errors the interpreter crashes
    warnings.simplefilter("ignore", DeprecationWarning)
    from pypylon import genicam, pylon

GONE = "the camera is gone; check its cable and power"

__all__ = ["GONE", "first_sentence", "genicam", "kind_of", "pylon", "translated"]


class translated:  # noqa: N801 - used like a function: `with translated(...):`
    """Turn any exception of the SDK (none is a Python RuntimeError) into a `CameraError`.

    The SDK's traceback is dropped: it would keep its camera object, with threads and timers, alive after `close` for as
    long as anybody keeps the error.

    Args:
        about: begins the message.
        gone: asked after a failure: is the camera no longer there? Then the error is a `disconnected` one.
    """

    def __init__(self, about: str, gone: Callable[[], bool] = lambda: False) -> None:
        self._about, self._gone = about, gone

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del traceback
        if isinstance(error, genicam.GenericException):
            cause = error.with_traceback(None)
            if kind_of(cause) != "disconnected" and self._gone():
                raise CameraError("disconnected", f"{self._about}: {GONE}") from cause
            raise CameraError(kind_of(cause), f"{self._about}: {first_sentence(cause)}") from cause
        if isinstance(error, CameraError) and error.kind != "disconnected" and self._gone():
            raise CameraError("disconnected", f"{self._about}: {GONE}") from error


def kind_of(error: Exception) -> ErrorKind:
    """What an exception of the SDK means; what it does not tell apart counts as a broken connection."""
    text = str(error).lower()
    if "another application" in text or "exclusively opened" in text or "exclusivly open" in text:
        return "busy"
    if "physically removed" in text:
        return "disconnected"
    if isinstance(error, genicam.TimeoutException):
        return "timeout"
    if isinstance(error, (genicam.OutOfRangeException, genicam.InvalidArgumentException, genicam.AccessException)):
        return "refused"
    if "no device is available" in text:
        return "missing"
    return "disconnected"


def first_sentence(error: Exception) -> str:
    """The message in one line, without where in GenICam's sources it was thrown."""
    return " ".join(str(error).split(" : ")[0].split())

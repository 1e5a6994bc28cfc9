"""Basler's SDK, imported in this one place, and its exceptions as `CameraError`s of the right kind."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from localblur.acquisition.camera import CameraError, ErrorKind

with warnings.catch_warnings():
    # SWIG's deprecation warnings come while its types are built: where warnings are errors the interpreter crashes
    warnings.simplefilter("ignore", DeprecationWarning)
    from pypylon import genicam, pylon

__all__ = ["first_sentence", "genicam", "kind_of", "pylon", "translated"]


@contextmanager
def translated(about: str) -> Iterator[None]:
    """Turn any exception of the SDK (none is a Python RuntimeError) into a `CameraError` that begins with `about`."""
    try:
        yield
    except genicam.GenericException as error:
        raise CameraError(kind_of(error), f"{about}: {first_sentence(error)}") from error


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

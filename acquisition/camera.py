"""What a camera is to this package: a contract any vendor's SDK, or a simulation, can fulfil."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, Protocol

import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.recording import CameraRecord, Frame, Role

__all__ = ["Camera", "CameraError", "CameraRecord", "CameraSettings", "ErrorKind", "Frame", "Role", "opened"]

ErrorKind = Literal["missing", "busy", "timeout", "failed_buffer", "size_changed", "disconnected", "refused"]
"""What went wrong: no such camera; in use by another application; no frame in time; a damaged frame; a frame of another
size than set; connection or stream broken; a setting not taken."""


class CameraError(LocalblurError):
    """A camera failed; `kind` says how, the message says what to do."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CameraSettings(Settings):
    """What is asked of a camera. Everything automatic (exposure, gain, white balance, gamma) is switched off anyway.

    Attributes:
        exposure_ms: exposure time in milliseconds.
        width, height: image size in pixels, centred on the sensor; None takes the largest.
        bit_depth: 12 or 8 bits per pixel, Bayer if the camera can.
        gain_db: analogue gain; 0 is the least noise.
        mirrored: flip left and right, for the camera that sees the scene reflected by the beam splitter.
        black_level: DN at `bit_depth` added so that noise is not clipped; None asks for 1/64 of full scale.
    """

    exposure_ms: float
    width: int | None = None
    height: int | None = None
    bit_depth: Literal[8, 12] = 12
    gain_db: float = 0.0
    mirrored: bool = False
    black_level: float | None = None


class Camera(Protocol):
    """One camera in software-trigger mode: one trigger, one frame.

    Use: `open`, `apply`, then `start`, any number of `trigger` and `get`, `stop`, and `close` at the end. Every method
    raises `CameraError`, never an SDK's own exception.
    """

    role: Role

    def open(self) -> None:
        """Connect to the camera and take it for this process."""

    def close(self) -> None:
        """Give the camera back; closing twice is harmless."""

    def apply(self, settings: CameraSettings) -> CameraRecord:
        """Set the camera up for software-triggered frames and return what it says its settings now are."""

    def start(self) -> None:
        """Begin to take triggers; frames of an earlier start are gone and `block_id` begins anew."""

    def stop(self) -> None:
        """Take no more triggers and drop undelivered frames; stopping twice is harmless."""

    def ready(self, timeout_ms: float) -> bool:
        """Wait until a trigger would be taken; False if that takes longer than `timeout_ms`."""

    def pending(self) -> bool:
        """True if a frame waits that nobody has fetched."""

    def trigger(self) -> None:
        """Begin one exposure."""

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        """Fetch the next frame into `out`, which becomes the frame's data; shape and type as in the camera's record."""

    def settings_text(self) -> str:
        """All settings in the vendor's own file format (Basler: .pfs); empty if there is none."""


@contextmanager
def opened(*cameras: Camera) -> Iterator[None]:
    """Open cameras for a `with` block; all are closed at its end, also when one of them cannot be opened."""
    with ExitStack() as stack:
        for camera in cameras:
            stack.callback(camera.close)
            camera.open()
        yield

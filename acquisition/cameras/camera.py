"""What a camera is to this package: a contract any vendor's SDK, or a simulation, can fulfil."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy.typing as npt
from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.recording import CameraRecord, Frame, Role

__all__ = [
    "Camera",
    "CameraError",
    "CameraRecord",
    "CameraSettings",
    "ClockReading",
    "ErrorKind",
    "Frame",
    "LinkSettings",
    "Role",
    "TriggerSettings",
    "opened",
]

ErrorKind = Literal["missing", "busy", "timeout", "failed_buffer", "size_changed", "disconnected", "refused", "hung"]
"""What went wrong: no such camera; in use by another application; no frame in time; a damaged frame; a frame of another
size than set; connection or stream broken; a setting not taken; a call that never came back."""


class CameraError(LocalblurError):
    """A camera failed; `kind` says how, the message says what to do."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class TriggerSettings(Settings):
    """What begins an exposure.

    Attributes:
        source: `software`: each `Camera.trigger` begins one exposure. `line`: the edge of an electrical input does.
            `action`: a GigE Vision action command does, sent to both cameras by the `trigger` of camera B. `free`:
            nothing, the camera runs at `rate_hz`.
        line: input line that begins an exposure, for source `line`. edge: which of its edges; falling where the wiring
            inverts the signal, as a pull-up resistor at an open-collector output does.
        delay_ms: from the trigger to the begin of the exposure, in milliseconds.
        output_line: output line that is high while the sensor is exposed; it drives the other camera.
        rate_hz: frames per second for source `free`.
        device_key, group_key, group_mask: whom an action command addresses.
    """

    source: Literal["software", "line", "action", "free"] = "software"
    line: str = "Line1"
    edge: Literal["rising", "falling"] = "rising"
    delay_ms: float = Field(default=0.0, ge=0)
    output_line: str | None = None
    rate_hz: float | None = Field(default=None, gt=0)
    device_key: int = 0x10CA1B12
    group_key: int = 1
    group_mask: int = 0xFFFFFFFF


class LinkSettings(Settings):
    """What limits the camera's use of the cable; None leaves a setting as the camera has it.

    Attributes:
        packet_bytes: GigE: packet size; 8000 and more need jumbo frames in network card and switch.
        packet_delay_ticks: GigE: pause between packets, in ticks of the camera, for two cameras at one port.
        limit_mb_s: USB and newer GigE cameras: device link throughput limit, in 1e6 bytes per second.
    """

    packet_bytes: int | None = Field(default=None, ge=220)
    packet_delay_ticks: int | None = Field(default=None, ge=0)
    limit_mb_s: float | None = Field(default=None, gt=0)


class CameraSettings(Settings):
    """What is asked of a camera. Everything automatic (exposure, gain, white balance, gamma) is switched off anyway.

    Attributes:
        exposure_ms: exposure time in milliseconds.
        width, height: image size in pixels, centred on the sensor; None takes the largest.
        bit_depth: 12 or 8 bits per pixel, Bayer if the camera can.
        gain_db: analogue gain; 0 is the least noise.
        mirrored: flip left and right, for the camera that sees the scene reflected by the beam splitter.
        black_level: DN at `bit_depth` added so that noise is not clipped; None asks for 1/64 of full scale.
        trigger: what begins an exposure.
        link: what limits the camera's use of the cable.
    """

    exposure_ms: float = Field(gt=0, allow_inf_nan=False)
    width: int | None = None
    height: int | None = None
    bit_depth: Literal[8, 12] = 12
    gain_db: float = 0.0
    mirrored: bool = False
    black_level: float | None = None
    trigger: TriggerSettings = TriggerSettings()
    link: LinkSettings = LinkSettings()


@dataclass(frozen=True, kw_only=True)
class ClockReading:
    """The camera's clock and the host's monotonic clock at one moment, in ns, known to within `uncertainty_ns`."""

    camera_ns: int
    host_ns: int
    uncertainty_ns: int


class Camera(Protocol):
    """One camera: one trigger, one frame.

    Use: `open`, `apply`, then `start`, any number of `trigger` and `get`, `stop`, and `close` at the end. Every method
    raises `CameraError`, never an SDK's own exception.
    """

    role: Role

    def open(self) -> None:
        """Connect to the camera and take it for this process."""

    def close(self) -> None:
        """Give the camera back; closing twice is harmless."""

    def apply(self, settings: CameraSettings) -> CameraRecord:
        """Set the camera up, everything automatic off, and return what it says its settings now are."""

    def start(self) -> None:
        """Begin to take triggers; frames of an earlier start are gone and `block_id` begins anew."""

    def stop(self) -> None:
        """Take no more triggers and drop undelivered frames; stopping twice is harmless."""

    def ready(self, timeout_ms: float) -> bool:
        """Wait until a trigger would be taken; False if that takes longer than `timeout_ms`."""

    def pending(self) -> bool:
        """True if a frame waits that nobody has fetched."""

    def trigger(self) -> None:
        """Begin one exposure; not for cameras that follow a line or run free.

        With action commands only camera B is asked, and its command reaches both cameras.
        """

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        """Fetch the next frame into `out`, which becomes the frame's data; shape and type as in the camera's record."""

    def clock(self) -> ClockReading | None:
        """Read the camera's clock beside the host's; None if it cannot be read."""

    def status(self) -> dict[str, float]:
        """What changes while recording: `temperature_c`, counts of failed buffers, lost packets; only what it has."""

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

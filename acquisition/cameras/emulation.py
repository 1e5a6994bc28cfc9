"""Basler's camera emulator fed with rendered frames: the whole path of a real camera, without one.

https://docs.baslerweb.com/camera-emulation
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from localblur.acquisition.cameras.camera import CameraError, CameraRecord, CameraSettings, Role
from localblur.acquisition.cameras.pylon import PylonCamera
from localblur.datasets.recording import ROLES

logger = logging.getLogger(__name__)

SERIALS: dict[Role, str] = {"B": "0815-0000", "S": "0815-0001"}
EmulatorFault = Literal["failed_buffer", "stream_error"]
"""A frame of which a part is missing; a stream that ends, as when the cable is pulled."""
STREAM_ERROR = "the cable was pulled (a fault set on the emulator)"

_COUNT_VARIABLE = "PYLON_CAMEMU"
_FAST_PACE_MS = 0.1


def enable_emulator() -> None:
    """Make the SDK offer at least two emulated cameras; it looks at the variable at each enumeration."""
    present = os.environ.get(_COUNT_VARIABLE, "")
    if not present.isdigit() or int(present) < len(SERIALS):
        os.environ[_COUNT_VARIABLE] = str(len(SERIALS))


class EmulatedWire:
    """Stands in for the cable from an output line of one emulated camera to the input line of another.

    The emulator has lines in name only: nothing ever arrives at an input. But a software trigger begins an exposure
    whatever source is set, and that is what an edge on this wire does. As on a real one, an edge that reaches a camera
    which is not started is lost without a word. Delays and what the cable adds to them are not emulated.
    """

    def __init__(self) -> None:
        self._followers: list[EmulatedCamera] = []

    def plug(self, camera: "EmulatedCamera") -> None:
        """Connect the input line of a camera; twice is harmless."""
        if camera not in self._followers:
            self._followers.append(camera)

    def unplug(self, camera: "EmulatedCamera") -> None:
        """Disconnect a camera, if it is connected."""
        if camera in self._followers:
            self._followers.remove(camera)

    def edge(self) -> None:
        """One exposure of the driving camera has begun."""
        for camera in self._followers:
            camera.receive_edge()


class EmulatedCamera(PylonCamera):
    """An emulated camera that shows the images of a folder in the order of their names, as fast as it can.

    Set to source `line` it follows the wire; with an output line it drives the wire at each trigger.

    Args:
        role: which arm of the rig it stands for.
        folder: gray TIFFs, values aligned to the most significant bit; read anew at each start. A file that cannot be
            read becomes a damaged frame at its place.
        serial: where not the first camera for B and the second for S.
        wire: what connects the lines of the two cameras; both get the same.
        faults: what goes wrong at which trigger, counted from 0 over all starts; a camera that runs free has none.
    """

    def __init__(
        self,
        role: Role,
        folder: Path,
        serial: str | None = None,
        *,
        wire: EmulatedWire | None = None,
        faults: Mapping[int, EmulatorFault] | None = None,
    ) -> None:
        super().__init__(role, serial or SERIALS[role])
        self._folder = folder
        self._wire, self._faults = wire, dict(faults or {})
        self._triggers = 0

    def apply(self, settings: CameraSettings) -> CameraRecord:
        record = super().apply(settings)
        with self._speaking("image folder"):
            nodes = self._nodes()
            nodes.set("TestImageSelector", "Off")
            nodes.set("ImageFileMode", "On")
        if self._wire is not None:
            if settings.trigger.source == "line":
                self._wire.plug(self)
            else:
                self._wire.unplug(self)
        return record

    def start(self) -> None:
        with self._speaking("image folder"):
            self._nodes().set("ImageFilename", str(self._folder.resolve()))
        super().start()

    def trigger(self) -> None:
        if self._trigger.source == "software":
            self._next_fault()
        super().trigger()
        if self._wire is not None and self._trigger.output_line is not None:
            self._wire.edge()

    def receive_edge(self) -> None:
        """Expose once, if the camera is started."""
        try:
            with self._speaking("trigger"):
                if not self._camera.IsGrabbing():
                    return
                self._next_fault()
                self._camera.ExecuteSoftwareTrigger()
        except CameraError as error:  # no wire reports back what became of an edge
            logger.debug("an edge was lost: %s", error)

    def _next_fault(self) -> None:
        fault = self._faults.get(self._triggers)
        self._triggers += 1
        if fault is None:
            return
        with self._speaking("fault"):
            if fault == "stream_error":
                self._stream().set("ImposedError", STREAM_ERROR)
            else:
                self._nodes().set("ForceFailedBufferCount", 1)
                self._camera.GetNodeMap().GetNode("ForceFailedBuffer").Execute()

    def _pace_ms(self, exposure_ms: float) -> float:
        # pixels come from files and no light falls on anything: waiting for the exposure would prove nothing
        return _FAST_PACE_MS


def emulated_pair(
    folders: Mapping[Role, Path],
    serials: Mapping[Role, str] | None = None,
    *,
    wired: bool = False,
    faults: Mapping[Role, Mapping[int, EmulatorFault]] | None = None,
) -> tuple[EmulatedCamera, EmulatedCamera]:
    """Cameras B and S.

    Args:
        folders: the images each shows.
        serials: where not the first two cameras.
        wired: B's output line reaches S's input line.
        faults: what goes wrong at which trigger of which camera.
    """
    serials, faults = serials or {}, faults or {}
    wire = EmulatedWire() if wired else None
    blurred, sharp = (
        EmulatedCamera(role, folders[role], serials.get(role), wire=wire, faults=faults.get(role)) for role in ROLES
    )
    return blurred, sharp

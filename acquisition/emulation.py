"""Basler's camera emulator fed with rendered frames: the whole path of a real camera, without one.

https://docs.baslerweb.com/camera-emulation
"""

import os
from pathlib import Path

from localblur.acquisition.camera import CameraRecord, CameraSettings, Role
from localblur.acquisition.pylon import PylonCamera

SERIALS: dict[Role, str] = {"B": "0815-0000", "S": "0815-0001"}
_COUNT_VARIABLE = "PYLON_CAMEMU"
_FAST_PACE_MS = 0.1


def enable_emulator() -> None:
    """Make the SDK offer at least two emulated cameras; it looks at the variable at each enumeration."""
    present = os.environ.get(_COUNT_VARIABLE, "")
    if not present.isdigit() or int(present) < len(SERIALS):
        os.environ[_COUNT_VARIABLE] = str(len(SERIALS))


class EmulatedCamera(PylonCamera):
    """An emulated camera that shows the images of a folder in the order of their names, as fast as it can.

    Args:
        role: which arm of the rig it stands for.
        folder: gray TIFFs, values aligned to the most significant bit; read anew at each start.
    """

    def __init__(self, role: Role, folder: Path, serial: str | None = None) -> None:
        super().__init__(role, serial or SERIALS[role])
        self._folder = folder

    def apply(self, settings: CameraSettings) -> CameraRecord:
        record = super().apply(settings)
        with self._speaking("image folder"):
            self._set("TestImageSelector", "Off")
            self._set("ImageFileMode", "On")
        return record

    def start(self) -> None:
        with self._speaking("image folder"):
            self._set("ImageFilename", str(self._folder.resolve()))
        super().start()

    def _pace_ms(self, exposure_ms: float) -> float:
        # pixels come from files and no light falls on anything: waiting for the exposure would prove nothing
        return _FAST_PACE_MS

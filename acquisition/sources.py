"""Where pairs come from: two real cameras, or the simulated rig behind simulated or emulated ones."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Literal, Protocol

from localblur.acquisition.camera import Camera, CameraRecord, CameraSettings
from localblur.acquisition.feed import RigFeed
from localblur.acquisition.record import RecordHooks
from localblur.acquisition.rig import RigSettings, SceneSettings, ShotKind
from localblur.acquisition.simulated import SimulatedCamera
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import ROLES, JournalWriter, Role

SourceKind = Literal["cameras", "simulate", "emulate"]


class PairSource(Protocol):
    """Two cameras and what has to happen around them."""

    cameras: tuple[Camera, Camera]

    def set_up(self) -> dict[Role, CameraRecord]:
        """Set up the opened cameras; returns the settings they now have."""

    def prepare(self, first: int, remaining: int) -> int:
        """Get ready for pairs from number `first` on; returns for how many, at most `remaining`."""

    def hooks(self) -> RecordHooks:
        """What the recording loop shall call."""

    def finish(self, journal: JournalWriter) -> None:
        """Tidy up, and note in the journal what was checked."""


def open_camera(role: Role, address: str) -> Camera:
    """The camera of an address: a serial number, for makes other than the default one `make:serial`.

    Raises:
        LocalblurError: if the make is unknown.
    """
    make, separator, serial = address.partition(":")
    if not separator:
        make, serial = DEFAULT_MAKE, address
    if make not in CAMERA_MAKES:
        raise LocalblurError(f"camera {role}: no make {make!r}; known: {', '.join(CAMERA_MAKES)}")
    return CAMERA_MAKES[make](role, serial)


def _basler(role: Role, serial: str) -> Camera:
    from localblur.acquisition.pylon import PylonCamera  # an SDK is loaded only where it is used

    return PylonCamera(role, serial)


DEFAULT_MAKE = "basler"
CAMERA_MAKES: dict[str, Callable[[Role, str], Camera]] = {DEFAULT_MAKE: _basler}
"""Every make of real camera: one line here, one file that fulfils `Camera`, one test."""


class CameraSource:
    """Two real cameras.

    Args:
        serials: address of each camera, see `open_camera`.
        settings: what to ask of each.
    """

    def __init__(self, serials: dict[Role, str], settings: dict[Role, CameraSettings]) -> None:
        self._settings = settings
        self.cameras: tuple[Camera, Camera] = (open_camera("B", serials["B"]), open_camera("S", serials["S"]))

    def set_up(self) -> dict[Role, CameraRecord]:
        return {camera.role: camera.apply(self._settings[camera.role]) for camera in self.cameras}

    def prepare(self, first: int, remaining: int) -> int:
        return remaining

    def hooks(self) -> RecordHooks:
        return RecordHooks()

    def finish(self, journal: JournalWriter) -> None:
        pass


class RigSource:
    """The simulated rig, its frames delivered by simulated cameras or by Basler's emulator.

    Args:
        kind: `simulate` or `emulate`.
        feed_folder: a folder of its own for rendered frames on their way to the cameras.
        rig, scene, shot_kind: what to render.
        serials: serial numbers of the emulated cameras, where not the first two.
        truth_folder: where the truth goes; None if it is not wanted.
        executor: worker processes for rendering, or None.
        batch: how many shots to render before they are captured.
    """

    def __init__(
        self,
        kind: SourceKind,
        feed_folder: Path,
        rig: RigSettings,
        scene: SceneSettings,
        shot_kind: ShotKind,
        *,
        serials: dict[Role, str] | None = None,
        truth_folder: Path | None = None,
        executor: Executor | None = None,
        batch: int = 4,
    ) -> None:
        self._rig, self._batch = rig, batch
        self._feed = RigFeed(feed_folder, rig, scene, shot_kind, truth_folder=truth_folder, executor=executor)
        self.cameras = self._make_cameras(kind, serials or {})

    def _make_cameras(self, kind: SourceKind, serials: dict[Role, str]) -> tuple[Camera, Camera]:
        if kind == "simulate":
            return SimulatedCamera("B", self._feed), SimulatedCamera("S", self._feed)
        from localblur.acquisition.emulation import EmulatedCamera, enable_emulator

        enable_emulator()
        return (
            EmulatedCamera("B", self._feed.folder_of("B"), serials.get("B")),
            EmulatedCamera("S", self._feed.folder_of("S"), serials.get("S")),
        )

    def set_up(self) -> dict[Role, CameraRecord]:
        rig = self._rig
        exposures = dict(zip(ROLES, (rig.exposure_long_ms, rig.exposure_short_ms), strict=True))
        return {
            camera.role: camera.apply(
                CameraSettings(
                    exposure_ms=exposures[camera.role],
                    width=rig.width,
                    height=rig.height,
                    bit_depth=rig.bit_depth,
                    black_level=rig.black_level,
                )
            )
            for camera in self.cameras
        }

    def prepare(self, first: int, remaining: int) -> int:
        count = min(self._batch, remaining)
        self._feed.render(first, count)
        return count

    def hooks(self) -> RecordHooks:
        return RecordHooks(seek=self._feed.seek, check=self._feed.check, before_commit=self._feed.keep_truth)

    def finish(self, journal: JournalWriter) -> None:
        self._feed.remove()
        if self._feed.checked:
            journal.note(f"{self._feed.checked} pairs checked: every frame equals the rendered one bit for bit")

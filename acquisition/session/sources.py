"""Where pairs come from: two real cameras, or the simulated rig behind simulated or emulated ones."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Literal, Protocol

from localblur.acquisition.cameras.camera import Camera, CameraError, CameraRecord, CameraSettings
from localblur.acquisition.cameras.faults import FaultPlan
from localblur.acquisition.cameras.simulated import simulated_pair
from localblur.acquisition.cameras.watchdog import Watchdog, WatchedCamera
from localblur.acquisition.pairing.sync import SyncSettings, trigger_settings
from localblur.acquisition.recording.record import RecordHooks
from localblur.acquisition.rig.simulator import RigSettings, SceneSettings, ShotKind
from localblur.acquisition.session.feed import RigFeed
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import ROLES, Role

SourceKind = Literal["cameras", "simulate", "emulate"]


class PairSource(Protocol):
    """Two cameras and what has to happen around them.

    Attributes:
        cameras: watched by `watchdog`.
        sync: how they are synchronised.
    """

    cameras: tuple[Camera, Camera]
    watchdog: Watchdog
    sync: SyncSettings

    def set_up(self, factor: float = 1.0) -> dict[Role, CameraRecord]:
        """Set up the opened cameras, exposures times `factor`; returns the settings they now have."""

    def prepare(self, first: int, remaining: int) -> int:
        """Get ready for pairs from number `first` on; returns for how many, at most `remaining`."""

    def hooks(self) -> RecordHooks:
        """What the recording loop shall call."""

    def finish(self) -> str:
        """Tidy up; returns what was checked, in words, if anything was."""


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
    from localblur.acquisition.cameras.pylon import PylonCamera  # an SDK is loaded only where it is used

    return PylonCamera(role, serial)


DEFAULT_MAKE = "basler"
CAMERA_MAKES: dict[str, Callable[[Role, str], Camera]] = {DEFAULT_MAKE: _basler}
"""Every make of real camera: one line here, one file that fulfils `Camera`, one test."""


class CameraSource:
    """Two real cameras.

    Args:
        serials: address of each camera, see `open_camera`.
        settings: what to ask of each, its trigger aside.
        sync: how they are synchronised.
    """

    def __init__(
        self, serials: dict[Role, str], settings: dict[Role, CameraSettings], sync: SyncSettings, watchdog: Watchdog
    ) -> None:
        self.watchdog = watchdog
        self.sync = sync
        self._settings = settings
        self.cameras: tuple[Camera, Camera] = (
            WatchedCamera(open_camera("B", serials["B"]), watchdog),
            WatchedCamera(open_camera("S", serials["S"]), watchdog),
        )

    def set_up(self, factor: float = 1.0) -> dict[Role, CameraRecord]:
        exposures = {role: settings.exposure_ms * factor for role, settings in self._settings.items()}
        triggers = trigger_settings(self.sync, exposures)
        return {
            role: camera.apply(
                self._settings[role].model_copy(update={"exposure_ms": exposures[role], "trigger": triggers[role]})
            )
            for role, camera in zip(ROLES, self.cameras, strict=True)
        }

    def prepare(self, first: int, remaining: int) -> int:
        return remaining

    def hooks(self) -> RecordHooks:
        return RecordHooks()

    def finish(self) -> str:
        return ""


class RigSource:
    """The simulated rig, its frames delivered by simulated cameras or by Basler's emulator.

    Args:
        kind: `simulate` or `emulate`.
        feed_folder: a folder of its own for rendered frames on their way to the cameras.
        rig, scene, shot_kind: what to render.
        sync: how the cameras are synchronised.
        faults: what goes wrong with simulated cameras.
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
        sync: SyncSettings,
        watchdog: Watchdog,
        *,
        faults: FaultPlan | None = None,
        serials: dict[Role, str] | None = None,
        truth_folder: Path | None = None,
        executor: Executor | None = None,
        batch: int = 4,
    ) -> None:
        self.watchdog = watchdog
        # where the host triggers, the alignment is in the rendered frames: nobody is late, nobody needs to wait
        rendered = {"alignment": "start", "start_delay_ms": 0.0}
        self.sync = sync if sync.mode != "software" else sync.model_copy(update=rendered)
        self._kind, self._rig, self._batch = kind, rig, batch
        self._feed = RigFeed(feed_folder, rig, scene, shot_kind, truth_folder=truth_folder, executor=executor)
        blurred, sharp = self._make_cameras(serials or {}, faults or FaultPlan())
        self.cameras: tuple[Camera, Camera] = WatchedCamera(blurred, watchdog), WatchedCamera(sharp, watchdog)

    def _make_cameras(self, serials: dict[Role, str], faults: FaultPlan) -> tuple[Camera, Camera]:
        wired = self.sync.mode != "software"
        if self._kind == "simulate":
            return simulated_pair(self._feed, plan=faults, wired=wired)
        from localblur.acquisition.cameras.emulation import EmulatedCamera, EmulatedWire, enable_emulator

        enable_emulator()
        wire = EmulatedWire()
        return (
            EmulatedCamera("B", self._feed.folder_of("B"), serials.get("B"), wire=wire),
            EmulatedCamera("S", self._feed.folder_of("S"), serials.get("S"), wire=wire),
        )

    def set_up(self, factor: float = 1.0) -> dict[Role, CameraRecord]:
        rig = self._rig
        exposures = {"B": rig.exposure_long_ms * factor, "S": rig.exposure_short_ms * factor}
        triggers = trigger_settings(self.sync, dict(zip(ROLES, exposures.values(), strict=True)))
        return {
            role: camera.apply(
                CameraSettings(
                    exposure_ms=exposures[role],
                    width=rig.width,
                    height=rig.height,
                    bit_depth=rig.bit_depth,
                    black_level=rig.black_level,
                    trigger=triggers[role],
                )
            )
            for role, camera in zip(ROLES, self.cameras, strict=True)
        }

    def prepare(self, first: int, remaining: int) -> int:
        count = min(self._batch, remaining)
        self._feed.render(first, count)
        return count

    def hooks(self) -> RecordHooks:
        return RecordHooks(seek=self._feed.seek, check=self._feed.check, before_commit=self._feed.keep_truth)

    def finish(self) -> str:
        self._feed.remove()
        checked = self._feed.checked
        return f"{checked} pairs checked: every frame equals the rendered one bit for bit" if checked else ""


def reopen(source: PairSource, expected: dict[Role, CameraRecord], factor: float = 1.0) -> None:
    """Connect to both cameras of a source anew and set them up as they were.

    Raises:
        CameraError: if a camera is not found, or has come back with other settings.
    """
    for camera in source.cameras:
        camera.close()
    for camera in source.cameras:
        camera.open()
    for role, now in source.set_up(factor).items():
        before = expected[role]
        for name in ("model", "serial", "pixel_format", "width", "height", "exposure_ms", "black_level"):
            if getattr(now, name) != getattr(before, name):
                raise CameraError(
                    "refused",
                    f"camera {role} came back with {name} {getattr(now, name)}, it had {getattr(before, name)}; start a"
                    " new recording",
                )

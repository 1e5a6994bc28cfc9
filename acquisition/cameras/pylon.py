"""Basler cameras through pypylon, behind the `Camera` contract. The files pylon*.py alone know the SDK."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.acquisition.cameras import pylon_features as names
from localblur.acquisition.cameras.camera import (
    Camera,
    CameraError,
    CameraRecord,
    CameraSettings,
    ClockReading,
    ErrorKind,
    Frame,
    Role,
    TriggerSettings,
)
from localblur.acquisition.cameras.pylon_actions import ActionSender
from localblur.acquisition.cameras.pylon_health import read_clock, read_status, select_temperature, tick_ns
from localblur.acquisition.cameras.pylon_nodes import Changes, Nodes
from localblur.acquisition.cameras.pylon_sdk import first_sentence, genicam, pylon, translated
from localblur.acquisition.cameras.pylon_setup import read_back, set_link, set_up_image
from localblur.acquisition.cameras.pylon_trigger import enable_ptp, set_trigger, wait_for_ptp

logger = logging.getLogger(__name__)

BUSY_RETRY_S = 5.0
"""After a kill a GigE camera refuses everybody until its heartbeat (3 s by default) has run out."""
BUFFERS = 10
NO_BLOCK_ID = 2**64 - 1
"""What pylon says where camera or transport layer have no frame counter."""
PTP_RESTART_S = 5.0
ACTION_LEAD_NS = 5_000_000
"""How far ahead an action command is scheduled: longer than it takes to reach both cameras."""


@dataclass(frozen=True)
class CameraInfo:
    """A connected camera, as `capture --list` shows it."""

    serial: str
    model: str
    interface: str
    address: str
    user_name: str


def list_cameras() -> list[CameraInfo]:
    """All Basler cameras this computer sees, emulated ones included."""
    with translated("listing cameras"):
        return [
            CameraInfo(
                serial=device.GetSerialNumber(),
                model=device.GetModelName(),
                interface=device.GetDeviceClass(),
                address=device.GetAddress() if device.IsAddressAvailable() else "",
                user_name=device.GetUserDefinedName(),
            )
            for device in pylon.TlFactory.GetInstance().EnumerateDevices()
        ]


class PylonCamera(Camera):
    """One Basler camera; every exception of the SDK becomes a `CameraError`.

    After `disconnected`, `close` and `open` look for the camera anew; `apply` and `start` then bring it back to work.

    Args:
        role: which arm of the rig it is.
        serial: its serial number; `list_cameras` shows those connected.
    """

    def __init__(self, role: Role, serial: str) -> None:
        self.role: Role = role
        self.serial = serial
        self._owner = f"camera {role} ({serial})"
        self._camera: Any = None
        self._record: CameraRecord | None = None
        self._trigger = TriggerSettings()
        self._tick_ns = 1.0
        self._network_time = self._tells_ready = False
        self._changes = Changes()
        self._actions = ActionSender()

    def open(self) -> None:
        self.close()
        deadline = time.monotonic() + BUSY_RETRY_S
        while True:
            try:
                self._open_once()
                return
            except CameraError as error:
                if error.kind != "busy":
                    raise
                if time.monotonic() >= deadline:
                    raise self._error(
                        "busy",
                        "is in use by another application; close it (pylon Viewer, another capture) and try again",
                    ) from error
                time.sleep(0.5)

    def close(self) -> None:
        self.stop()
        camera, self._camera, self._record = self._camera, None, None
        if camera is not None:
            self._free(camera)
        try:
            self._actions.close()
        except CameraError as error:
            logger.warning("%s: %s", self._owner, error)

    def apply(self, settings: CameraSettings) -> CameraRecord:
        self._record = None  # half set up is not set up
        with self._speaking("settings"):
            nodes = self._nodes()
            set_up_image(nodes, settings, self._changes)
            set_link(nodes, self._stream(), settings.link)
            set_trigger(nodes, settings.trigger)
            self._network_time = settings.trigger.source == "action" and enable_ptp(nodes)
            if self._network_time:
                wait_for_ptp(nodes)
            select_temperature(nodes)
            if self._emulated:
                self._set_pace(nodes, settings.exposure_ms)
            self._camera.MaxNumBuffer.Value = BUFFERS
            self._trigger, self._tick_ns = settings.trigger, tick_ns(nodes)
            self._tells_ready = "FrameTriggerWait" in nodes.offers("AcquisitionStatusSelector")
            model = self._camera.GetDeviceInfo().GetModelName()
            self._record = read_back(nodes, self.role, model, self.serial, self._changes)
        return self._record

    def start(self) -> None:
        with self._speaking("start"):
            if self._network_time:
                # a camera that joined since may have become the master
                wait_for_ptp(self._nodes(), limit_s=PTP_RESTART_S)
            self._camera.StartGrabbing(pylon.GrabStrategy_OneByOne)

    def stop(self) -> None:
        if self._camera is None:
            return
        try:
            if self._camera.IsGrabbing():
                self._camera.StopGrabbing()
        except genicam.GenericException as error:  # a camera that is gone cannot be stopped; `start` will say so
            logger.warning("%s did not stop: %s", self._owner, first_sentence(error))

    def ready(self, timeout_ms: float) -> bool:
        with self._speaking("trigger"):
            if self._trigger.source == "free" or not self._tells_ready:
                return True  # no trigger to wait for, or a model that cannot say: then a missing frame will tell
            return bool(self._camera.WaitForFrameTriggerReady(int(timeout_ms), pylon.TimeoutHandling_Return))

    def pending(self) -> bool:
        with self._speaking("frame"):
            return bool(self._camera.GetGrabResultWaitObject().Wait(0))

    def trigger(self) -> None:
        with self._speaking("trigger"):
            source = self._trigger.source
            if source == "software":
                self._camera.ExecuteSoftwareTrigger()
            elif source == "action" and self.role == "B":
                self._actions.send(self._trigger, self._action_time_ns())
            elif source == "action":
                raise self._error("refused", "is triggered by the action commands of camera B; trigger that one")
            else:
                what = f"follows {self._trigger.line}" if source == "line" else "runs free"
                raise self._error("refused", f"{what} and cannot be triggered by the host")

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        with self._speaking("frame"):
            result = self._camera.RetrieveResult(int(timeout_ms), pylon.TimeoutHandling_Return)
            if not result.IsValid():
                if not self._camera.IsGrabbing():
                    raise self._error("disconnected", "delivers no frames: it is not started, or its stream has ended")
                raise self._error("timeout", f"no frame within {timeout_ms:.0f} ms")
            try:
                host_time_ns = time.time_ns()
                self._copy(result, out)
                camera_time_ns = round(result.TimeStamp * self._tick_ns) or None
                block_id = int(result.BlockID) if result.BlockID != NO_BLOCK_ID else None
            finally:
                result.Release()
        return Frame(
            role=self.role,
            data=out,
            block_id=block_id,
            host_time_ns=host_time_ns,
            camera_time_ns=camera_time_ns,
            exposure_ms=self._applied.exposure_ms,
        )

    def clock(self) -> ClockReading | None:
        with self._speaking("clock"):
            return read_clock(self._nodes(), self._tick_ns)

    def status(self) -> dict[str, float]:
        if self._camera is None:
            return {}
        try:
            return read_status(self._nodes(), self._stream())
        except genicam.GenericException as error:
            logger.debug("%s tells no status: %s", self._owner, first_sentence(error))
            return {}

    def settings_text(self) -> str:
        with self._speaking("saving the settings"):
            return str(pylon.FeaturePersistence.SaveToString(self._camera.GetNodeMap()))

    def _open_once(self) -> None:
        with translated(self._owner):
            camera = self._find()
            try:
                camera.Open()
            except BaseException:
                self._free(camera)
                raise
            self._camera = camera

    def _find(self) -> Any:
        """A new instance of the camera, from a new enumeration: an old one never comes back after an unplug."""
        found = pylon.TlFactory.GetInstance().EnumerateDevices()
        device = next((device for device in found if device.GetSerialNumber() == self.serial), None)
        if device is None:
            seen = ", ".join(f"{item.GetModelName()} {item.GetSerialNumber()}" for item in found) or "none at all"
            raise self._error("missing", f"not found; connected: {seen}. `capture --list` shows all cameras")
        return pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(device))

    def _free(self, camera: Any) -> None:
        # without DestroyDevice other applications find the camera taken for as long as anything refers to it
        for step in (camera.Close, camera.DestroyDevice):
            try:
                step()
            except genicam.GenericException as error:
                logger.warning("%s did not close well: %s", self._owner, first_sentence(error))

    @property
    def _applied(self) -> CameraRecord:
        if self._record is None:
            raise self._error("refused", "has not been set up yet")
        return self._record

    def _copy(self, result: Any, out: npt.NDArray[Any]) -> None:
        if not result.GrabSucceeded():
            raise self._error("failed_buffer", f"frame {result.BlockID} is damaged: {result.ErrorDescription}")
        record = self._applied
        if (result.Width, result.Height) != (record.width, record.height):
            raise self._error(
                "size_changed",
                f"delivered {result.Width}x{result.Height}, but {record.width}x{record.height} was set",
            )
        if record.pixel_format.endswith(("p", "Packed")) and record.bayer is not None:
            np.copyto(out, result.GetArray(), casting="no")  # unpacking needs a copy
        else:
            with result.GetArrayZeroCopy() as view:
                np.copyto(out, view, casting="no")

    def _action_time_ns(self) -> int | None:
        """When the next action command shall take effect, on the cameras' common clock; None for at once."""
        reading = read_clock(self._nodes(), self._tick_ns) if self._network_time else None
        if reading is None:
            return None
        return reading.camera_ns + time.monotonic_ns() - reading.host_ns + ACTION_LEAD_NS

    def _set_pace(self, nodes: Nodes, exposure_ms: float) -> None:
        node = nodes.find(names.EMULATOR_PACE)
        node.Value = min(max(self._pace_ms(exposure_ms) * 1000, node.Min), node.Max)

    def _pace_ms(self, exposure_ms: float) -> float:
        return exposure_ms

    @property
    def _emulated(self) -> bool:
        return str(self._camera.GetDeviceInfo().GetDeviceClass()) == "BaslerCamEmu"

    def _nodes(self) -> Nodes:
        return Nodes(self._camera.GetNodeMap(), self._owner)

    def _stream(self) -> Nodes:
        return Nodes(self._camera.GetStreamGrabberNodeMap(), self._owner)

    def _error(self, kind: ErrorKind, what: str) -> CameraError:
        return CameraError(kind, f"{self._owner}: {what}")

    def _speaking(self, about: str) -> translated:
        """Around every use of the SDK."""
        if self._camera is None:
            raise self._error("disconnected", "is not open")
        return translated(f"{self._owner}: {about}", self._is_gone)

    def _is_gone(self) -> bool:
        try:
            return bool(self._camera.IsCameraDeviceRemoved())
        except genicam.GenericException:
            return True

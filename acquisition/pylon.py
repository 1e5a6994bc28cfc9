"""Basler cameras through pypylon, behind the `Camera` contract; the only file that imports the SDK."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.acquisition import pylon_features as names
from localblur.acquisition.camera import (
    Camera,
    CameraError,
    CameraRecord,
    CameraSettings,
    ClockReading,
    ErrorKind,
    Frame,
    Role,
)

with warnings.catch_warnings():
    # SWIG's deprecation warnings come while its types are built: where warnings are errors the interpreter crashes
    warnings.simplefilter("ignore", DeprecationWarning)
    from pypylon import genicam, pylon

logger = logging.getLogger(__name__)

BUSY_RETRY_S = 5.0
"""After a kill a GigE camera refuses everybody until its heartbeat (3 s by default) has run out."""
BUFFERS = 10
NO_BLOCK_ID = 2**64 - 1
"""What pylon says where camera or transport layer have no frame counter."""
EXPOSURE_TOLERANCE = 0.01


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
    with _translated("listing cameras"):
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
    """One Basler camera in software-trigger mode; every exception of the SDK becomes a `CameraError`.

    Args:
        role: which arm of the rig it is.
        serial: its serial number; `list_cameras` shows those connected.
    """

    def __init__(self, role: Role, serial: str) -> None:
        self.role: Role = role
        self.serial = serial
        self._camera: Any = None
        self._record: CameraRecord | None = None
        self._tick_ns = 1.0

    def open(self) -> None:
        deadline = time.monotonic() + BUSY_RETRY_S
        while True:
            try:
                self._open_once()
                return
            except CameraError as error:
                if error.kind != "busy":
                    raise
                if time.monotonic() >= deadline:
                    raise CameraError(
                        "busy",
                        f"camera {self.role} ({self.serial}) is in use by another application; close it (pylon Viewer,"
                        " another capture) and try again",
                    ) from error
                time.sleep(0.5)

    def close(self) -> None:
        self.stop()
        if self._camera is not None:
            try:
                self._camera.Close()
            except genicam.GenericException as error:
                logger.warning("camera %s did not close: %s", self.role, error)
            self._camera = None

    def apply(self, settings: CameraSettings) -> CameraRecord:
        with self._speaking("settings"):
            for name, value in names.AUTOMATIC_OFF:
                self._set_if_offered(name, value)
            if settings.mirrored or self._has("ReverseX"):
                self._set("ReverseX", settings.mirrored)  # before the pixel format: it may turn the Bayer pattern round
            pixel_format = self._choose_pixel_format(settings.bit_depth)
            self._set_area(settings.width, settings.height)
            self._set_exposure(settings.exposure_ms)
            self._set_gain(settings.gain_db)
            self._set_black_level(settings.black_level, pixel_format)
            self._set_trigger()
            self._camera.MaxNumBuffer.Value = BUFFERS
            frequency = self._first(names.TIMESTAMP_TICKS_PER_S)
            self._tick_ns = 1e9 / frequency.Value if frequency is not None else 1.0
            self._record = self._read_back(pixel_format)
        return self._record

    def start(self) -> None:
        with self._speaking("start"):
            self._camera.StartGrabbing(pylon.GrabStrategy_OneByOne)

    def stop(self) -> None:
        if self._camera is None:
            return
        try:
            if self._camera.IsGrabbing():
                self._camera.StopGrabbing()
        except genicam.GenericException as error:  # a camera that is gone cannot be stopped; `start` will say so
            logger.warning("camera %s did not stop: %s", self.role, error)

    def ready(self, timeout_ms: float) -> bool:
        with self._speaking("trigger"):
            return bool(self._camera.WaitForFrameTriggerReady(int(timeout_ms), pylon.TimeoutHandling_Return))

    def pending(self) -> bool:
        with self._speaking("frame"):
            return bool(self._camera.GetGrabResultWaitObject().Wait(0))

    def trigger(self) -> None:
        with self._speaking("trigger"):
            self._camera.ExecuteSoftwareTrigger()

    def get(self, timeout_ms: float, out: npt.NDArray[Any]) -> Frame:
        with self._speaking("frame"):
            result = self._camera.RetrieveResult(int(timeout_ms), pylon.TimeoutHandling_Return)
            if not result.IsValid():
                raise self._error("timeout", f"no frame within {timeout_ms:.0f} ms of its trigger")
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
        return None

    def status(self) -> dict[str, float]:
        return {}

    def settings_text(self) -> str:
        with self._speaking("saving the settings"):
            return str(pylon.FeaturePersistence.SaveToString(self._camera.GetNodeMap()))

    def _open_once(self) -> None:
        with _translated(f"camera {self.role} ({self.serial})"):
            found = pylon.TlFactory.GetInstance().EnumerateDevices()
            device = next((device for device in found if device.GetSerialNumber() == self.serial), None)
            if device is None:
                seen = ", ".join(f"{item.GetModelName()} {item.GetSerialNumber()}" for item in found) or "none at all"
                raise self._error("missing", f"not found; connected: {seen}. `capture --list` shows all cameras")
            camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(device))
            camera.Open()
            self._camera = camera

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

    def _choose_pixel_format(self, bit_depth: int) -> str:
        offered = self._camera.PixelFormat.Symbolics
        for wanted in names.PIXEL_FORMATS[bit_depth] + names.PIXEL_FORMATS[8]:
            if wanted in offered:
                if wanted in names.PIXEL_FORMATS[8] and bit_depth != 8:
                    logger.warning("camera %s has no %d-bit Bayer format; using %s", self.role, bit_depth, wanted)
                self._set("PixelFormat", wanted)
                return wanted
        raise self._error(
            "refused", f"has no Bayer or RGB pixel format, only {', '.join(offered)}; use a colour camera"
        )

    def _set_area(self, width: int | None, height: int | None) -> None:
        for size_name, offset_name, size in (("Width", "OffsetX", width), ("Height", "OffsetY", height)):
            if self._has(offset_name):
                self._set_if_offered(offset_name, 0)
            node = self._node(size_name)
            self._set(size_name, node.Max if size is None else size)
            offset = self._node(offset_name)
            if offset is not None and genicam.IsWritable(offset):
                step = 2 * max(1, offset.Inc)  # even, so that the Bayer pattern stays what it is
                offset.Value = offset.Max // 2 // step * step

    def _set_exposure(self, exposure_ms: float) -> None:
        node = self._first(names.EXPOSURE)
        if node is None:
            raise self._error("refused", "has no exposure time to set")
        wanted_us = exposure_ms * 1000
        if not node.Min <= wanted_us <= node.Max:
            raise self._error(
                "refused",
                f"exposure {exposure_ms} ms is outside its range of {node.Min / 1000:g} to {node.Max / 1000:g} ms",
            )
        node.Value = wanted_us
        if abs(node.Value - wanted_us) > EXPOSURE_TOLERANCE * wanted_us:
            raise self._error("refused", f"asked for an exposure of {exposure_ms} ms, it set {node.Value / 1000:g} ms")
        if self._emulated:
            pace = self._node(names.EMULATOR_PACE)
            pace.Value = min(max(self._pace_ms(exposure_ms) * 1000, pace.Min), pace.Max)

    def _pace_ms(self, exposure_ms: float) -> float:
        return exposure_ms

    def _set_gain(self, gain_db: float) -> None:
        gain, raw = self._first(names.GAIN), self._first(names.RAW_GAIN)
        if gain is not None:
            if not gain.Min <= gain_db <= gain.Max:
                raise self._error(
                    "refused", f"gain {gain_db} dB is outside its range of {gain.Min:g} to {gain.Max:g} dB"
                )
            gain.Value = gain_db
        elif raw is not None and gain_db == 0:
            raw.Value = raw.Min
        elif gain_db != 0:
            raise self._error("refused", "has no gain in dB to set; leave the gain at 0")

    def _black_level(self, pixel_format: str) -> tuple[Any, float]:
        """The setting for the black level, None without one, and how many DN its unit is."""
        node = self._first(names.BLACK_LEVEL)
        if node is not None:
            return node, 1.0
        return self._first(names.RAW_BLACK_LEVEL), 1.0 if _bit_depth(pixel_format) == 12 else 1 / 16

    def _set_black_level(self, black_level: float | None, pixel_format: str) -> None:
        node, unit = self._black_level(pixel_format)
        if node is not None:
            wanted = (2 ** _bit_depth(pixel_format) / 64 if black_level is None else black_level) / unit
            limited = min(max(wanted, node.Min), node.Max)
            node.Value = int(limited) if isinstance(node.Min, int) else limited

    def _set_trigger(self) -> None:
        for selector in self._camera.TriggerSelector.Symbolics:
            self._camera.TriggerSelector.Value = selector
            self._set_if_offered("TriggerMode", "Off")
        for name, value in names.TRIGGER_ON_FRAME:
            self._set(name, value)

    def _read_back(self, pixel_format: str) -> CameraRecord:
        depth = _bit_depth(pixel_format)
        black, unit = self._black_level(pixel_format)
        exposure = self._first(names.EFFECTIVE_EXPOSURE) or self._first(names.EXPOSURE)
        return CameraRecord(
            role=self.role,
            model=self._camera.GetDeviceInfo().GetModelName(),
            serial=self.serial,
            pixel_format=pixel_format,
            bit_depth=depth,
            bayer=names.BAYER_PATTERNS[pixel_format[5:7]] if pixel_format.startswith("Bayer") else None,
            width=self._camera.Width.Value,
            height=self._camera.Height.Value,
            black_level=float(black.Value) * unit if black is not None else 0.0,
            white_level=float(2**depth - 1),
            exposure_ms=float(exposure.Value) / 1000,
            features=self._features(),
        )

    def _features(self) -> dict[str, str]:
        found = {}
        for parameter in self._camera.GetNodeMap().GetNodes():
            with contextlib.suppress(genicam.GenericException):  # a node that cannot be read now is no feature now
                node = parameter.GetNode()
                no_value = node.GetPrincipalInterfaceType() in (genicam.intfICategory, genicam.intfIRegister)
                if node.IsFeature() and genicam.IsReadable(parameter) and not no_value:
                    found[str(node.GetName())] = str(parameter.ToString())
        return found

    @property
    def _emulated(self) -> bool:
        return str(self._camera.GetDeviceInfo().GetDeviceClass()) == "BaslerCamEmu"

    def _node(self, name: str) -> Any:
        try:
            node = self._camera.GetNodeMap().GetNode(name)
        except genicam.GenericException:  # older pypylon raises, newer hands out a placeholder
            return None
        return node if node is not None and genicam.IsAvailable(node) else None

    def _first(self, candidates: Sequence[str]) -> Any:
        return next((node for name in candidates if (node := self._node(name)) is not None), None)

    def _has(self, name: str) -> bool:
        return self._node(name) is not None

    def _set(self, name: str, value: Any) -> None:
        node = self._node(name)
        if node is None:
            raise self._error("refused", f"has no setting {name}, which {value!r} should be set to")
        try:
            if genicam.IsWritable(node) or node.Value != value:
                node.Value = value
        except genicam.GenericException as error:
            raise self._error("refused", f"does not take {name} = {value}: {_first_sentence(error)}") from error
        if node.Value != value:
            raise self._error("refused", f"was asked for {name} = {value} but has {node.Value}")

    def _set_if_offered(self, name: str, value: Any) -> None:
        node = self._node(name)
        if node is None or not genicam.IsWritable(node):
            return
        try:
            node.Value = value
        except genicam.GenericException as error:
            logger.debug("camera %s keeps %s: %s", self.role, name, error)

    def _error(self, kind: ErrorKind, what: str) -> CameraError:
        return CameraError(kind, f"camera {self.role} ({self.serial}): {what}")

    @contextlib.contextmanager
    def _speaking(self, about: str) -> Iterator[None]:
        if self._camera is None:
            raise self._error("disconnected", "is not open")
        with _translated(f"camera {self.role} ({self.serial}): {about}"):
            yield


@contextlib.contextmanager
def _translated(about: str) -> Iterator[None]:
    """Turn any exception of the SDK (none of them a RuntimeError) into a `CameraError` of the right kind."""
    try:
        yield
    except genicam.GenericException as error:
        raise CameraError(_kind(error), f"{about}: {_first_sentence(error)}") from error


def _kind(error: Exception) -> ErrorKind:
    text = str(error).lower()
    if "another application" in text or "exclusively opened" in text:
        return "busy"
    if isinstance(error, genicam.TimeoutException):
        return "timeout"
    if isinstance(error, (genicam.OutOfRangeException, genicam.InvalidArgumentException, genicam.AccessException)):
        return "refused"
    if "no device is available" in text:
        return "missing"
    return "disconnected"


def _first_sentence(error: Exception) -> str:
    """GenICam appends where in its sources an exception was thrown; nobody needs that."""
    return " ".join(str(error).split(" : ")[0].split())


def _bit_depth(pixel_format: str) -> int:
    return 12 if "12" in pixel_format else 8

"""PylonCamera on Basler's emulator: settings, kinds of error, and frames that come out as they went in."""

import numpy as np
import pytest
import tifffile

from localblur.acquisition.camera import CameraError, CameraSettings, opened
from localblur.acquisition.emulation import EmulatedCamera, enable_emulator
from localblur.acquisition.pairing import Pairer
from localblur.acquisition.pylon import PylonCamera, _translated, genicam, list_cameras
from localblur.acquisition.record import record_pairs
from localblur.datasets.recording import Recording, RecordingManifest, RecordingWriter, verify

pytestmark = pytest.mark.usefixtures("two_emulated")

WIDTH, HEIGHT = 96, 64
SETTINGS = CameraSettings(exposure_ms=5.0, width=WIDTH, height=HEIGHT)


@pytest.fixture
def camera():
    made = PylonCamera("B", "0815-0000")
    with opened(made):
        yield made


@pytest.fixture
def out():
    return np.zeros((HEIGHT, WIDTH), np.uint16)


def node(camera, name):
    return camera._node(name)


def kind_of(action):
    with pytest.raises(CameraError) as failure:
        action()
    assert "\n" not in str(failure.value)
    return failure.value.kind


def write_feed(folder, frames, shift=4):
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        tifffile.imwrite(folder / f"{index:06d}.tif", frame << shift, photometric="minisblack")


def random_frames(rng, count, dtype=np.uint16):
    return list(rng.integers(0, 4096 if dtype == np.uint16 else 256, (count, HEIGHT, WIDTH)).astype(dtype))


def test_both_emulated_cameras_are_listed():
    assert [(info.serial, info.model) for info in list_cameras()] == [
        ("0815-0000", "Emulation"),
        ("0815-0001", "Emulation"),
    ]


def test_the_emulator_is_enabled_without_taking_cameras_away(monkeypatch):
    for before, after in ((None, 2), ("1", 2), ("nonsense", 2), ("3", 3)):
        monkeypatch.delenv("PYLON_CAMEMU") if before is None else monkeypatch.setenv("PYLON_CAMEMU", before)
        enable_emulator()
        assert len(list_cameras()) == after


def test_a_missing_camera_is_named_with_those_that_are_there():
    camera = PylonCamera("S", "4711")
    assert kind_of(camera.open) == "missing"
    with pytest.raises(CameraError, match=r"camera S \(4711\): not found; connected: Emulation 0815-0000, .*--list"):
        camera.open()


def test_settings_are_made_and_read_back(camera):
    for name, value in (("GainAuto", "Continuous"), ("ExposureAuto", "Continuous"), ("Gamma", 2.0), ("Gain", 6.0)):
        node(camera, name).Value = value
    record = camera.apply(SETTINGS)
    assert (record.model, record.serial, record.pixel_format) == ("Emulation", "0815-0000", "BayerRG12")
    assert (record.bayer, record.bit_depth, record.shape) == ("RGGB", 12, (HEIGHT, WIDTH))
    assert (record.black_level, record.white_level, record.exposure_ms) == (64, 4095, 5.0)
    features = record.features
    assert (features["GainAuto"], features["ExposureAuto"], features["TriggerMode"]) == ("Off", "Off", "On")
    assert (float(features["Gamma"]), float(features["Gain"])) == (1, 0)
    assert features["TriggerSource"] == "Software"
    assert features["OffsetX"] == str((4096 - WIDTH) // 2)


def test_the_exposure_paces_the_emulator_too(camera):
    camera.apply(SETTINGS)
    assert node(camera, "ExposureTime").Value == node(camera, "ExposureTimeAbs").Value == 5000


def test_8_bits_and_a_mirrored_picture(camera):
    record = camera.apply(SETTINGS.model_copy(update={"bit_depth": 8, "mirrored": True}))
    assert (record.pixel_format, record.dtype, record.white_level) == ("BayerRG8", np.uint8, 255)
    assert record.black_level == 4
    assert record.features["ReverseX"] == "1"
    assert camera.apply(SETTINGS).features["ReverseX"] == "0"


def test_without_a_size_the_whole_sensor_is_taken(camera):
    record = camera.apply(CameraSettings(exposure_ms=1))
    assert (record.width, record.height) == (4096, 4096)
    assert (record.features["OffsetX"], record.features["OffsetY"]) == ("0", "0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exposure_ms": 1e6}, r"exposure 1000000\.0 ms is outside its range of 0\.001 to 10000 ms"),
        ({"exposure_ms": 0.0}, "exposure 0.0 ms is outside its range"),
        ({"width": 5000}, "does not take Width = 5000: .*4096"),
        ({"gain_db": 1000.0}, "gain 1000.0 dB is outside its range of 0 to"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(camera, change, message):
    with pytest.raises(CameraError, match=message) as failure:
        camera.apply(SETTINGS.model_copy(update=change))
    assert failure.value.kind == "refused"


def test_a_closed_camera_says_so(out):
    camera = PylonCamera("B", "0815-0000")
    for action in (camera.start, camera.trigger, lambda: camera.get(10, out), lambda: camera.apply(SETTINGS)):
        assert kind_of(action) == "disconnected"
    camera.stop()


def test_all_settings_are_saved_as_pfs(camera):
    camera.apply(SETTINGS)
    text = camera.settings_text()
    assert "GenApi persistence file" in text
    assert "PixelFormat\tBayerRG12" in text


def test_a_damaged_frame_is_an_error_although_its_pixels_could_be_read(camera, out):
    camera.apply(SETTINGS)
    camera.start()
    camera.ready(1000)
    node(camera, "ForceFailedBufferCount").Value = 1
    node(camera, "ForceFailedBuffer").Execute()
    camera.trigger()
    assert kind_of(lambda: camera.get(1000, out)) == "failed_buffer"
    camera.ready(1000)
    camera.trigger()
    assert camera.get(1000, out).block_id in (1, None)


def test_a_broken_stream_is_a_disconnection_and_a_restart_mends_it(camera, out):
    camera.apply(SETTINGS)
    camera.start()
    camera.ready(1000)
    camera._camera.StreamGrabber.ImposedError.Value = "cable pulled"
    camera.trigger()
    with pytest.raises(CameraError, match="cable pulled") as failure:
        camera.get(1000, out)
    assert failure.value.kind == "disconnected"
    camera.stop()
    camera.start()
    camera.ready(1000)
    camera.trigger()
    camera.get(1000, out)


def test_a_delivered_size_other_than_set_is_noticed(tmp_path):
    write_feed(tmp_path / "B", [np.zeros((HEIGHT - 8, WIDTH), np.uint16)])
    camera = EmulatedCamera("B", tmp_path / "B")
    with opened(camera):
        camera.apply(SETTINGS)
        camera.start()
        camera.ready(1000)
        camera.trigger()
        with pytest.raises(CameraError, match="delivered 96x56, but 96x64 was set") as failure:
            camera.get(1000, np.zeros((HEIGHT, WIDTH), np.uint16))
        assert failure.value.kind == "size_changed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (genicam.RuntimeException, "disconnected"),
        (genicam.TimeoutException, "timeout"),
        (genicam.OutOfRangeException, "refused"),
        (genicam.AccessException, "refused"),
        (genicam.LogicalErrorException, "disconnected"),
    ],
)
def test_every_exception_of_the_sdk_becomes_a_camera_error(error, kind):
    def fail():
        with _translated("camera B"):
            raise error("something : RuntimeException thrown (file 'X.cpp', line 1)")

    assert kind_of(fail) == kind
    with pytest.raises(CameraError, match="^camera B: something$"):
        fail()


def test_a_busy_camera_is_waited_for_and_then_explained(monkeypatch):
    text = "The device is controlled by another application. Err: An attempt was made to access an address location"

    class Busy(PylonCamera):
        attempts, refusals = 0, 100

        def _open_once(self):
            self.attempts += 1
            if self.attempts <= self.refusals:
                with _translated("camera B"):
                    raise genicam.RuntimeException(text)
            super()._open_once()

    monkeypatch.setattr("localblur.acquisition.pylon.BUSY_RETRY_S", 0.6)
    camera = Busy("B", "0815-0000")
    assert kind_of(camera.open) == "busy"
    assert camera.attempts >= 2
    with pytest.raises(CameraError, match="in use by another application; close it"):
        camera.open()
    camera.attempts, camera.refusals = 0, 1
    with opened(camera):
        assert camera.apply(SETTINGS).model == "Emulation"


@pytest.mark.parametrize(("depth", "dtype", "shift"), [(12, np.uint16, 4), (8, np.uint8, 0)])
def test_fed_frames_come_out_bit_for_bit(tmp_path, rng, depth, dtype, shift):
    frames = {role: random_frames(rng, 25, dtype) for role in "BS"}
    for role in "BS":
        write_feed(tmp_path / role, frames[role], shift)
    cameras = [EmulatedCamera(role, tmp_path / role) for role in "BS"]
    equal = 0
    with opened(*cameras):
        for camera in cameras:
            camera.apply(SETTINGS.model_copy(update={"bit_depth": depth}))
        pairer = Pairer(*cameras)
        pairer.start()
        for index in range(25):
            pair = pairer.take(np.zeros((HEIGHT, WIDTH), dtype), np.zeros((HEIGHT, WIDTH), dtype))
            equal += np.array_equal(pair.blurred.data, frames["B"][index])
            equal += np.array_equal(pair.sharp.data, frames["S"][index])
        pairer.stop()
    assert equal == 50


def test_damaged_frames_and_a_broken_stream_in_a_recording_cost_only_attempts(tmp_path, rng):
    class Scripted(EmulatedCamera):
        triggers = 0

        def trigger(self):
            self.triggers += 1
            if self.triggers in (3, 11):
                node(self, "ForceFailedBufferCount").Value = 1
                node(self, "ForceFailedBuffer").Execute()
            if self.triggers == 7:
                self._camera.StreamGrabber.ImposedError.Value = "unplugged"
            super().trigger()

    frame = random_frames(rng, 1)
    for role in "BS":
        write_feed(tmp_path / role, frame)
    cameras = (EmulatedCamera("B", tmp_path / "B"), Scripted("S", tmp_path / "S"))
    with opened(*cameras):
        blurred, sharp = (camera.apply(SETTINGS) for camera in cameras)
        manifest = RecordingManifest(camera_B=blurred, camera_S=sharp)
        writer = RecordingWriter.create(tmp_path / "recording", manifest)
        result = record_pairs(Pairer(*cameras), writer.journal("scenes/a"), manifest.cameras, 15)
        writer.close("complete")
    assert result.committed == 15
    assert len(result.lost) == 3
    assert sum("damaged" in reason for reason in result.lost) == 2
    assert sum("unplugged" in reason for reason in result.lost) == 1
    assert verify(writer.folder) == (15, [])
    np.testing.assert_array_equal(Recording.open(writer.folder).frames("scenes/a", 14)[1], frame[0])

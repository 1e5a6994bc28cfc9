"""PylonCamera on Basler's emulator: settings, kinds of error, and coming back after a broken stream."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from localblur.acquisition.cameras.camera import CameraError, CameraSettings, LinkSettings, TriggerSettings, opened
from localblur.acquisition.cameras.pylon import PylonCamera, list_cameras
from localblur.acquisition.cameras.pylon_sdk import genicam, translated

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
    return camera._camera.GetNodeMap().GetNode(name)


def with_trigger(**trigger):
    return SETTINGS.model_copy(update={"trigger": TriggerSettings(**trigger)})


def shoot(camera, out):
    assert camera.ready(1000)
    camera.trigger()
    return camera.get(1000, out)


def kind_of(action):
    with pytest.raises(CameraError) as failure:
        action()
    assert "\n" not in str(failure.value)
    return failure.value.kind


def test_both_emulated_cameras_are_listed():
    assert [(info.serial, info.model) for info in list_cameras()] == [
        ("0815-0000", "Emulation"),
        ("0815-0001", "Emulation"),
    ]


def test_without_cameras_the_list_is_empty_and_a_second_one_is_missing(monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "0")
    assert list_cameras() == []
    with pytest.raises(CameraError, match="not found; connected: none at all"):
        PylonCamera("B", "0815-0000").open()
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    with opened(PylonCamera("B", "0815-0000")), pytest.raises(CameraError, match="connected: Emulation 0815-0000"):
        PylonCamera("S", "0815-0001").open()


def test_the_sdk_is_imported_where_warnings_are_errors():
    code = "import localblur.acquisition.cameras.pylon"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_only_one_module_imports_the_sdk(root):
    found = [path.name for path in Path(root, "acquisition").rglob("*.py") if "from pypylon" in path.read_text("utf-8")]
    assert found == ["pylon_sdk.py"]


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
    changed = "ExposureAuto Continuous -> Off; GainAuto Continuous -> Off; Gamma 2.0 -> 1.0"
    assert changed in features["localblur.changed"]
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
        ({"trigger": TriggerSettings(delay_ms=10.1)}, "trigger delay 10.1 ms is outside its range of 0 to 10 ms"),
        ({"trigger": TriggerSettings(source="line", line="Line9")}, "it offers Software, Line1, Line2, Line3"),
        ({"trigger": TriggerSettings(source="action")}, "takes no action commands, only GigE cameras do"),
        ({"link": LinkSettings(packet_bytes=10_000)}, "GevSCPSPacketSize 10000 is outside its range of 220 to 9014"),
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


def test_trigger_delay_line_and_link_are_set_and_read_back(camera):
    settings = with_trigger(source="line", line="Line3", delay_ms=4.5, output_line="Line2")
    settings = settings.model_copy(
        update={"link": LinkSettings(packet_bytes=9000, packet_delay_ticks=7, limit_mb_s=99)}
    )
    features = camera.apply(settings).features
    assert float(features["TriggerDelay"]) == 4500
    assert (features["TriggerSource"], features["TriggerActivation"]) == ("Line3", "RisingEdge")
    assert (features["LineSelector"], features["LineMode"], features["LineSource"]) == (
        "Line2",
        "Output",
        "ExposureActive",
    )
    assert (features["GevSCPSPacketSize"], features["GevSCPD"]) == ("9000", "7")
    assert features["DeviceLinkThroughputLimit"] == "99000000"
    assert kind_of(camera.trigger) == "refused"


def test_running_free_it_keeps_the_rate(camera, out):
    camera.apply(with_trigger(source="free", rate_hz=50))
    camera.start()
    times = [camera.get(1000, out).host_time_ns for _ in range(8)]
    assert 15 < (times[-1] - times[0]) / 7e6 < 200  # 20 ms each, more on a busy machine, and 0.1 without the rate


def test_the_emulator_has_no_clock_and_counts_failed_frames(camera, out):
    camera.apply(SETTINGS)
    assert camera.clock() is None
    camera.start()
    assert camera.status()["failed_buffers"] == 0
    fail_next(camera)
    assert kind_of(lambda: shoot(camera, out)) == "failed_buffer"
    assert camera.status()["failed_buffers"] == 1
    assert all(isinstance(value, float) for value in camera.status().values())


def fail_next(camera):
    node(camera, "ForceFailedBufferCount").Value = 1
    node(camera, "ForceFailedBuffer").Execute()


def test_damaged_frames_are_errors_although_their_pixels_could_be_read(camera, out, rng):
    camera.apply(SETTINGS)
    camera.start()
    damaged = set(rng.choice(40, 9, replace=False).tolist())
    seen = set()
    for index in range(40):
        if index in damaged:
            fail_next(camera)
        try:
            assert shoot(camera, out).block_id in (index, None)
        except CameraError as error:
            assert error.kind == "failed_buffer"
            assert "is damaged: The buffer was incompletely grabbed" in str(error)
            seen.add(index)
    assert seen == damaged


def test_a_broken_stream_is_a_disconnection_and_reopening_brings_everything_back(camera, out):
    before = camera.apply(with_trigger(delay_ms=3.0))
    camera.start()
    camera._camera.StreamGrabber.ImposedError.Value = "cable pulled"
    with pytest.raises(CameraError, match="cable pulled") as failure:
        shoot(camera, out)
    assert failure.value.kind == "disconnected"
    assert kind_of(lambda: camera.get(5, out)) == "disconnected"  # not a mere timeout: the stream has ended
    camera.stop()
    camera.start()
    shoot(camera, out)
    camera._camera.StreamGrabber.ImposedError.Value = "cable pulled"
    assert kind_of(lambda: shoot(camera, out)) == "disconnected"
    camera.close()
    assert kind_of(camera.start) == "disconnected"
    camera.open()
    assert kind_of(lambda: camera.get(5, out)) == "disconnected"
    assert camera.apply(with_trigger(delay_ms=3.0)) == before
    camera.start()
    assert shoot(camera, out).block_id in (0, None)


def test_opening_again_and_again_leaves_nothing_open():
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc to count open files in")
    camera, counts = PylonCamera("B", "0815-0000"), []
    for _ in range(6):
        camera.open()
        camera.apply(SETTINGS)
        camera.close()
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[-1] <= counts[1]


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
        with translated("camera B"):
            raise error("something : RuntimeException thrown (file 'X.cpp', line 1)")

    assert kind_of(fail) == kind
    with pytest.raises(CameraError, match="^camera B: something$"):
        fail()

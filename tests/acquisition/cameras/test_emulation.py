"""Emulated cameras fed from folders: frames bit for bit, the wire between them, and the faults they can be given."""

import numpy as np
import pytest
import tifffile

from localblur.acquisition.cameras.camera import CameraError, CameraSettings, TriggerSettings, opened
from localblur.acquisition.cameras.emulation import EmulatedCamera, emulated_pair, enable_emulator
from localblur.acquisition.cameras.pylon import list_cameras

pytestmark = pytest.mark.usefixtures("two_emulated")

WIDTH, HEIGHT = 96, 64
SETTINGS = CameraSettings(exposure_ms=5.0, width=WIDTH, height=HEIGHT, black_level=0)
DRIVES = SETTINGS.model_copy(update={"trigger": TriggerSettings(output_line="Line2")})
FOLLOWS = SETTINGS.model_copy(update={"trigger": TriggerSettings(source="line")})


def write_feed(folder, frames, shift=4):
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        tifffile.imwrite(folder / f"{index:06d}.tif", frame << shift, photometric="minisblack")


def buffer(dtype=np.uint16):
    return np.zeros((HEIGHT, WIDTH), dtype)


def shoot(camera):
    """The code of the frame, or the kind of error."""
    out = buffer()
    assert camera.ready(1000)
    camera.trigger()
    return fetch(camera, out)


def fetch(camera, out=None):
    out = buffer() if out is None else out
    try:
        camera.get(1000, out)
    except CameraError as error:
        return error.kind
    assert (out == out[0, 0]).all()
    return int(out[0, 0])


@pytest.fixture
def folders(tmp_path):
    """Frame n of B is all n, of S all 100 + n."""
    for role, code in (("B", 0), ("S", 100)):
        write_feed(tmp_path / role, [np.full((HEIGHT, WIDTH), code + index, np.uint16) for index in range(20)])
    return {role: tmp_path / role for role in "BS"}


def test_the_emulator_is_enabled_without_taking_cameras_away(monkeypatch):
    for before, after in ((None, 2), ("1", 2), ("nonsense", 2), ("3", 3)):
        monkeypatch.delenv("PYLON_CAMEMU") if before is None else monkeypatch.setenv("PYLON_CAMEMU", before)
        enable_emulator()
        assert len(list_cameras()) == after


@pytest.mark.parametrize(("depth", "dtype", "shift"), [(12, np.uint16, 4), (8, np.uint8, 0)])
def test_fed_frames_come_out_bit_for_bit(tmp_path, rng, depth, dtype, shift):
    frames = {role: list(rng.integers(0, 2**depth, (25, HEIGHT, WIDTH)).astype(dtype)) for role in "BS"}
    for role in "BS":
        write_feed(tmp_path / role, frames[role], shift)
    cameras = emulated_pair({role: tmp_path / role for role in "BS"})
    with opened(*cameras):
        for camera in cameras:
            camera.apply(SETTINGS.model_copy(update={"bit_depth": depth}))
            camera.start()
        for index in range(25):
            for camera in cameras:
                out = buffer(dtype)
                assert camera.ready(1000)
                camera.trigger()
                camera.get(1000, out)
                np.testing.assert_array_equal(out, frames[camera.role][index])


def test_a_delivered_size_other_than_set_is_noticed(tmp_path):
    write_feed(tmp_path / "B", [np.zeros((HEIGHT - 8, WIDTH), np.uint16)])
    camera = EmulatedCamera("B", tmp_path / "B")
    with opened(camera):
        camera.apply(SETTINGS)
        camera.start()
        camera.ready(1000)
        camera.trigger()
        with pytest.raises(CameraError, match="delivered 96x56, but 96x64 was set") as failure:
            camera.get(1000, buffer())
        assert failure.value.kind == "size_changed"


def test_a_broken_file_is_a_damaged_frame_at_its_place(folders):
    (folders["B"] / "000002.tif").write_bytes(b"no picture at all")
    camera = EmulatedCamera("B", folders["B"])
    with opened(camera):
        camera.apply(SETTINGS)
        camera.start()
        assert [shoot(camera) for _ in range(5)] == [0, 1, "failed_buffer", 3, 4]


def test_one_trigger_to_b_reaches_s_over_the_wire(folders):
    blurred, sharp = emulated_pair(folders, wired=True)
    with opened(blurred, sharp):
        blurred.apply(DRIVES)
        assert sharp.apply(FOLLOWS).features["TriggerSource"] == "Line1"
        sharp.start()
        blurred.start()
        for index in range(5):
            assert sharp.ready(1000)
            assert shoot(blurred) == index
            assert fetch(sharp) == 100 + index
        with pytest.raises(CameraError, match="follows Line1"):
            sharp.trigger()


def test_without_wire_or_output_line_nothing_reaches_s(folders):
    for wired, settings in ((False, DRIVES), (True, SETTINGS)):
        blurred, sharp = emulated_pair(folders, wired=wired)
        with opened(blurred, sharp):
            blurred.apply(settings)
            sharp.apply(FOLLOWS)
            sharp.start()
            blurred.start()
            assert shoot(blurred) == 0
            assert blurred.ready(1000)
            assert not sharp.pending()


def test_a_camera_set_back_to_software_no_longer_follows(folders):
    blurred, sharp = emulated_pair(folders, wired=True)
    with opened(blurred, sharp):
        blurred.apply(DRIVES)
        sharp.apply(FOLLOWS)
        sharp.apply(SETTINGS)
        sharp.start()
        blurred.start()
        assert sharp.ready(1000)
        assert shoot(blurred) == 0
        assert shoot(sharp) == 100
        assert fetch(sharp) == "timeout"


def test_an_edge_to_a_camera_that_is_stopped_or_closed_is_lost_without_a_word(folders):
    blurred, sharp = emulated_pair(folders, wired=True, faults={"S": {1: "failed_buffer"}})
    with opened(blurred, sharp):
        blurred.apply(DRIVES)
        sharp.apply(FOLLOWS)
        blurred.start()
        assert shoot(blurred) == 0
        sharp.start()
        assert sharp.ready(1000)
        assert shoot(blurred) == 1
        assert fetch(sharp) == 100  # the edge before was none of its triggers, else this were the damaged one
        sharp.close()
        assert shoot(blurred) == 2


def test_faults_come_at_their_triggers_over_all_starts(folders):
    camera = EmulatedCamera("B", folders["B"], faults={1: "failed_buffer", 3: "stream_error", 5: "failed_buffer"})
    with opened(camera):
        camera.apply(SETTINGS)
        camera.start()
        assert [shoot(camera) for _ in range(4)] == [0, "failed_buffer", 2, "disconnected"]
        camera.close()
        camera.open()
        camera.apply(SETTINGS)
        camera.start()
        assert [shoot(camera) for _ in range(3)] == [0, "failed_buffer", 2]


def test_faults_of_a_follower_are_counted_by_edges(folders):
    blurred, sharp = emulated_pair(folders, wired=True, faults={"S": {1: "failed_buffer"}})
    with opened(blurred, sharp):
        blurred.apply(DRIVES)
        sharp.apply(FOLLOWS)
        sharp.start()
        blurred.start()
        seen = []
        for _ in range(3):
            assert sharp.ready(1000)
            seen.append((shoot(blurred), fetch(sharp)))
        assert seen == [(0, 100), (1, "failed_buffer"), (2, 102)]

"""`capture` with cameras that it does not make itself."""

from capture_calls import assert_refused, capture, captured

from localblur.acquisition.cameras.simulated import SimulatedCamera
from localblur.acquisition.session.sources import CAMERA_MAKES
from localblur.datasets.recording import Recording, verify


def test_the_emulator_as_real_cameras(folder, monkeypatch):
    """Without a feed the emulated cameras are treated as real ones: their own settings, their own test image."""
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    cameras = ("--blur", "0815-0001", "--sharp", "0815-0000")
    captured("--pair", *cameras, "--scene", "desk", "--count", 4, "--size", "96x80", "-o", folder)
    recording = Recording.open(folder)
    assert (recording.manifest.camera_B.serial, recording.manifest.camera_S.serial) == ("0815-0001", "0815-0000")
    assert recording.manifest.rig == {}
    assert recording.frames("scenes/desk", 3)[0].shape == (80, 96)
    result = capture("--calibrate", "static", "--count", 2, "-o", folder)
    # test images are no static scene, and that is said at once
    assert result.exit_code == 3, result.output
    assert "calibration/static: 2 of 2 pairs committed, 0 lost" in result.output
    assert "a scene rich in texture" in result.output
    assert f"next: align-dataset {folder}" in result.output
    refused = (
        (("--size", "64x64"), "width 96 of camera B"),
        (("--exposure-long", 22), "an exposure of 20 ms of camera B, not 22 ms"),
        (("--blur", "0815-0000", "--sharp", "0815-0001"), "serial 0815-0001 of camera B"),
        (("--bit-depth", 8), "pixel_format BayerRG12"),
    )
    for options, words in refused:
        assert_refused(capture("--pair", "--scene", "t", *options, "-o", folder), 1, words)
    assert Recording.open(folder).scenes == ["desk"]
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    result = capture("--pair", "--scene", "t", "-o", folder)
    assert_refused(result, 1, "camera B (0815-0001): not found; connected: Emulation 0815-0000", "capture --list")


def test_settings_of_the_cameras_by_name(folder, monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    cameras = ("--blur", "0815-0000", "--sharp", "0815-0001", "--size", "96x96", "--count", 2)
    options = ("--camera", "gain_db=1.5", "--camera", "S.gain_db=3", "--camera", "B.link.packet_bytes=1500")
    captured("--pair", *cameras, "--scene", "a", *options, "-o", folder)
    manifest = Recording.open(folder).manifest
    assert [float(manifest.cameras[role].features["Gain"]) for role in "BS"] == [1.5, 3.0]
    assert manifest.camera_B.features["GevSCPSPacketSize"] == "1500"
    captured("--pair", "--scene", "b", "--count", 1, "-o", folder)  # the recording keeps them
    result = capture("--pair", "--scene", "c", "--camera", "gain_db=2", "-o", folder)
    assert_refused(result, 1, "was recorded with --camera gain_db=1.5 S.gain_db=3 B.link.packet_bytes=1500")


def test_cameras_of_another_make_are_one_line_in_the_table(folder, monkeypatch, coded_feed):
    monkeypatch.setitem(CAMERA_MAKES, "coded", lambda role, serial: SimulatedCamera(role, coded_feed))
    options = ("--size", "16x8", "--count", 7)
    captured("--pair", "--blur", "coded:1", "--sharp", "coded:2", "--scene", "a", *options, "-o", folder)
    captured("--pair", "--scene", "b", *options, "-o", folder)
    assert verify(folder) == (14, [])
    blurred, sharp = Recording.open(folder).frames("scenes/b", 6)
    assert (blurred[0, 0], sharp[0, 0]) == (6, 20_006)
    result = capture("--pair", "--blur", "other:1", "--sharp", "coded:2", "-o", folder.parent / "new")
    assert_refused(result, 1, "no make 'other'; known: basler, coded")


def test_list_shows_cameras_or_says_there_are_none(monkeypatch):
    assert "no cameras found" in captured("--list").output
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    assert captured("--list").output == "0815-0000  Emulation  BaslerCamEmu\n"
    assert "0815-0001" in captured("--list", "--emulate").output

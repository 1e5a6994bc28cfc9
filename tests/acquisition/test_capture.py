"""The command `capture`: what it records, what it refuses, and what it tells."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from localblur.acquisition.cameras.simulated import SimulatedCamera
from localblur.acquisition.capture import main
from localblur.acquisition.rig.simulator import RigSettings, RigSimulator, RigTruth, SceneSettings, resolve_rig
from localblur.acquisition.session.sources import CAMERA_MAKES
from localblur.datasets.recording import Recording, verify
from localblur.datasets.recordings.journal import FrameStore, read_journal

SIZE = "64x64"
COMMAND = "from localblur.acquisition.capture import main; main(prog_name='capture')"


@pytest.fixture(autouse=True)
def no_cameras_of_its_own(monkeypatch):
    """`--emulate` sets the variable for the whole process; this puts it back."""
    monkeypatch.setenv("PYLON_CAMEMU", "0")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "recording"


def capture(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def captured(*arguments):
    result = capture(*arguments)
    assert result.exit_code == 0, result.output
    return result


def assert_refused(result, code, *words):
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    for word in words:
        assert word in result.output
    if code == 1:
        assert len(result.stderr.splitlines()) == 1


def rendered_again(recording, scene, index):
    """The frames of a pair from the settings stored in the recording alone."""
    start = read_journal(recording.folder / "scenes" / scene / "journal.jsonl").starts[0]
    rig = RigSettings.model_validate(recording.manifest.rig)
    return RigSimulator(rig, SceneSettings.model_validate(start["scene"])).shot(index)


@pytest.mark.parametrize("way", ["--simulate", "--emulate"])
def test_a_simulated_scene_is_recorded_as_rendered_with_its_truth(folder, way):
    result = captured("--pair", way, "street", "--count", 5, "--size", SIZE, "--rig", 3, "-o", folder)
    assert "scenes/street: 5 of 5 pairs committed, 0 lost" in result.output
    assert f"next: capture {way} --calibrate static -o {folder}" in result.output
    recording = Recording.open(folder)
    assert recording.manifest.state == "complete"
    assert verify(folder) == (5, [])
    for index in range(5):
        shot = rendered_again(recording, "street", index)
        raw_blurred, raw_sharp = recording.frames("scenes/street", index)
        np.testing.assert_array_equal(raw_blurred, shot.raw_B)
        np.testing.assert_array_equal(raw_sharp, shot.raw_S)
        truth = RigTruth.load(folder / "truth" / "street" / f"{index:06d}.npz")
        np.testing.assert_allclose(truth.displacement, shot.truth.displacement, atol=0.001)
    journal = (folder / "scenes" / "street" / "journal.jsonl").read_text()
    assert "5 pairs checked: every frame equals the rendered one bit for bit" in journal
    assert not list(folder.glob(".feed*"))
    assert (folder / "camera_B.pfs").exists() == (way == "--emulate")
    cameras = recording.manifest.cameras
    assert (cameras["B"].exposure_ms, cameras["S"].exposure_ms) == (20, 2)
    assert (cameras["B"].black_level, cameras["B"].white_level) == (64, 4095)


def test_the_emulator_delivers_what_the_simulation_does(tmp_path):
    options = ("--count", 3, "--size", SIZE, "--bit-depth", 8, "--preset", "gain")
    recordings = []
    for way in ("--simulate", "--emulate"):
        captured("--pair", way, "x", *options, "-o", tmp_path / way)
        recordings.append(Recording.open(tmp_path / way))
    for index in range(3):
        simulated, emulated = (recording.frames("scenes/x", index) for recording in recordings)
        for one, other in zip(simulated, emulated, strict=True):
            assert one.dtype == np.uint8
            np.testing.assert_array_equal(one, other)


def test_calibrations_and_scenes_of_one_rig_add_up(folder):
    captured("--pair", "--simulate", "--count", 3, "--size", "320x240", "--rig", 5, "-o", folder)
    kinds = ("static", "dark", "flat", "chart")
    options = [argument for kind in kinds for argument in ("--calibrate", kind)]
    result = captured("--simulate", *options, "--count", 3, "-o", folder)
    assert f"next: align-dataset {folder} -o pairs.h5" in result.output
    captured("--pair", "--simulate", "--scene", "other", "--count", 1, "-o", folder)
    recording = Recording.open(folder)
    assert recording.scenes == ["other", "scene-01"]
    assert recording.calibrations == sorted(kinds)
    assert recording.manifest.rig["seed"] == 5
    dark_blurred, _ = recording.frames("calibration/dark", 0)
    assert abs(dark_blurred.mean() - 64) < 5
    assert not np.array_equal(recording.frames("scenes/other", 0)[0], recording.frames("scenes/scene-01", 0)[0])
    assert verify(folder) == (16, [])


def test_an_existing_scene_is_continued_only_when_asked(folder):
    options = ("--pair", "--simulate", "s", "--size", SIZE, "-o", folder)
    captured(*options, "--count", 2)
    assert_refused(capture(*options, "--count", 4), 1, "holds 2 pairs of scenes/s already", "--resume")
    result = captured(*options, "--count", 4, "--resume")
    assert "2 of 2 pairs committed, 2 held already, 0 lost" in result.output
    result = captured(*options, "--count", 4, "--resume")
    assert "0 of 0 pairs committed, 4 held already, 0 lost" in result.output
    recording = Recording.open(folder)
    assert [pair.index for pair in recording.pairs("scenes/s")] == [0, 1, 2, 3]
    np.testing.assert_array_equal(recording.frames("scenes/s", 3)[1], rendered_again(recording, "s", 3).raw_S)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rig", 4), ("seed=0, not 4",)),
        (("--size", "80x64"), ("width=64, not 80",)),
        (("--preset", "gain"), ("preset=nd, not gain",)),
        (("--exposure-long", 40), ("exposure_long_ms=20.0, not 40.0",)),
        (("--bit-depth", 8), ("bit_depth=12, not 8",)),
    ],
)
def test_another_rig_is_refused_on_an_existing_recording(folder, options, words):
    captured("--pair", "--simulate", "s", "--count", 1, "--size", SIZE, "-o", folder)
    before = sorted(folder.rglob("*"))
    result = capture("--pair", "--simulate", "t", "--count", 1, *options, "-o", folder)
    assert_refused(result, 1, *words, "choose another --output")
    assert sorted(folder.rglob("*")) == before
    assert Recording.open(folder).manifest.state == "complete"


def test_another_scene_cannot_be_continued_as_this_one(folder):
    options = ("--pair", "--simulate", "s", "--size", SIZE, "-o", folder)
    captured(*options, "--count", 1)
    for other in (("--textures", "test"), ("--seed", 1), ("--set", "objects=9")):
        assert_refused(capture(*options, "--count", 2, "--resume", *other), 1, "scenes/s was begun with")


def test_emulated_and_simulated_frames_are_not_mixed(folder):
    captured("--pair", "--simulate", "s", "--count", 1, "--size", SIZE, "-o", folder)
    result = capture("--pair", "--emulate", "t", "--count", 1, "-o", folder)
    assert_refused(result, 1, "was recorded with --simulate, not with --emulate")


def test_a_rig_from_a_file_is_used_and_cannot_be_contradicted(folder, tmp_path):
    rig = resolve_rig(seed=9, width=160, height=120).model_copy(update={"drift_px": 0.0})
    path = tmp_path / "rig.yaml"
    path.write_text(json.dumps(rig.model_dump(mode="json")))
    result = capture("--pair", "--simulate", "--rig", path, "--size", "80x64", "-o", folder)
    assert_refused(result, 1, "set width, height in that file")
    captured("--pair", "--simulate", "--count", 1, "--rig", path, "-o", folder)
    assert RigSettings.model_validate(Recording.open(folder).manifest.rig) == rig
    captured("--simulate", "--calibrate", "flat", "--count", 2, "--rig", path, "-o", folder)
    path.write_text(json.dumps({**rig.model_dump(mode="json"), "drift_px": 1.0}))
    result = capture("--simulate", "--calibrate", "dark", "--rig", path, "-o", folder)
    assert_refused(result, 1, "drift_px=0.0, not 1.0")
    path.write_text("seed: 1\nlens: fast\n")
    assert_refused(capture("--simulate", "--pair", "--rig", path, "-o", tmp_path / "new"), 1, "rig.yaml", "lens")


def test_a_scene_from_a_file_and_single_settings(folder, tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("objects: 7\nblur_px: [3, 4]\n")
    captured("--pair", "--simulate", path, "--count", 1, "--set", "pause=0", "--size", SIZE, "-o", folder)
    scene = read_journal(folder / "scenes" / "scene-01" / "journal.jsonl").starts[0]["scene"]
    assert (scene["objects"], scene["blur_px"], scene["pause"]) == (7, [3, 4], 0)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, ["--pair, --calibrate KIND, --advise, --list or --verify"]),
        (("--pair", "--simulate"), 2, ["--output"]),
        (("--pair", "--simulate", "--emulate", "-o", "x"), 2, ["exclude each other"]),
        (("--pair", "--simulate", "--size", "64", "-o", "x"), 2, ["'64' is no size"]),
        (("--pair", "--simulate", "--count", "0", "-o", "x"), 2, ["--count"]),
        (("--calibrate", "moving", "--simulate", "-o", "x"), 2, ["--calibrate"]),
        (("--pair", "--simulate", "--size", "63x64", "-o", "x"), 1, ["width", "63"]),
        (("--pair", "--simulate", "--exposure-short", "30", "-o", "x"), 1, ["30", "20"]),
        (("--pair", "--simulate", "--scene", "../x", "-o", "x"), 1, ["cannot be a group"]),
        (("--pair", "--simulate", "--textures", "nowhere", "-o", "x"), 1, ["nowhere"]),
        (("--pair", "--simulate", "--rig", "no.yaml", "-o", "x"), 1, ["no.yaml"]),
        (("--pair", "--simulate", "--set", "colour=red", "-o", "x"), 1, ["colour"]),
        (("--pair", "-o", "x"), 1, ["--blur SERIAL", "--simulate", "capture --list"]),
        (("--pair", "--blur", "1", "-o", "x"), 1, ["two cameras are needed"]),
        (("--pair", "--blur", "1", "--sharp", "1", "-o", "x"), 1, ["the same camera 1"]),
        (("--pair", "--blur", "1", "--sharp", "2", "-o", "x"), 1, ["camera B (1): not found; connected: none at all"]),
        (("--pair", "--simulate", "--mirror", "B", "-o", "x"), 1, ["--mirror", "real cameras"]),
        (("--pair", "--simulate", "--rate", "10", "-o", "x"), 1, ["--rate is for real cameras"]),
        (("--pair", "--simulate", "--average", "4", "-o", "x"), 1, ["--average is for real cameras"]),
        (("--pair", "--emulate", "--faults", "f.yaml", "-o", "x"), 1, ["f.yaml"]),
        (("--pair", "--simulate", "--camera", "gain_db=3", "-o", "x"), 1, ["--camera is for real cameras"]),
        (("--pair", "--blur", "1", "--sharp", "2", "--camera", "B.zoom=3", "-o", "x"), 1, ["zoom"]),
        (("--pair", "--blur", "1", "--sharp", "2", "--rate", "9", "-o", "x"), 1, ["a rate needs --sync line"]),
        (
            ("--pair", "--blur", "1", "--sharp", "2", "--sync", "line", "--rate", "60", "-o", "x"),
            1,
            ["--rate 60 leaves 16.6667 ms per pair, less than the long exposure of 20 ms"],
        ),
        (("--pair", "--simulate", "--rerecord", "x", "-o", "x"), 2, ["write a pair's number"]),
        (("--pair", "--simulate", "--rerecord", "0", "-o", "x"), 1, ["--rerecord 0", "holds 0 pairs"]),
        (("--pair", "--calibrate", "static", "--simulate", "--rerecord", "0", "-o", "x"), 2, ["name exactly one"]),
        (("--advise", "-o", "x"), 1, ["x is no recording"]),
        (("--advise",), 1, ["--blur SERIAL"]),
        (("--verify", "x"), 1, ["x is no recording"]),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    assert_refused(capture(*arguments), code, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_recording_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    result = capture("--pair", "--simulate", "--count", 1, "--size", SIZE, "-o", tmp_path)
    assert_refused(result, 1, "exists and is no recording")
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_damaged_manifest_or_journal_is_named(folder):
    captured("--pair", "--simulate", "s", "--count", 2, "--size", SIZE, "-o", folder)
    journal = folder / "scenes" / "s" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(b"rubbish\n" + whole)
    result = capture("--pair", "--simulate", "s", "--resume", "-o", folder)
    assert_refused(result, 1, "journal.jsonl line 1 is damaged")
    journal.write_bytes(whole)
    (folder / "recording.json").write_text("{")
    for arguments in (("--verify", folder), ("--pair", "--simulate", "t", "-o", folder)):
        assert_refused(capture(*arguments), 1, "cannot read", "recording.json")


def test_verify_names_a_damaged_frame(folder):
    captured("--pair", "--simulate", "s", "--count", 3, "--size", SIZE, "-o", folder)
    assert "3 pairs checked, 0 problems" in captured("--verify", folder).output
    path = folder / "scenes" / "s" / "000001_B.tif"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    result = capture("--verify", folder)
    assert result.exit_code == 1
    assert str(path) in result.output
    assert "3 pairs checked, 1 problems" in result.output


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


def with_faults(tmp_path, text):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    return "--faults", path


@pytest.mark.parametrize("sync", ["software", "line", "action"])
def test_losses_are_told_and_give_exit_code_3(folder, tmp_path, monkeypatch, sync):
    monkeypatch.setattr("localblur.acquisition.pairing.sync.FRAME_TIMEOUT_MS", 10)
    faults = with_faults(tmp_path, "S: [{kind: ignore, at: 1}, {kind: fail, at: 4}]\nB: [{kind: disconnect, at: 6}]")
    result = capture("--pair", "--simulate", "s", "--count", 6, "--size", SIZE, "--sync", sync, *faults, "-o", folder)
    assert result.exit_code == 3, result.output
    assert "scenes/s: 6 of 6 pairs committed, 3 lost" in result.output
    assert "last loss: simulated camera B does not answer" in result.output
    recording = Recording.open(folder)
    assert recording.manifest.settings["sync"]["mode"] == sync
    assert verify(folder) == (6, [])
    for index in range(6):
        np.testing.assert_array_equal(
            recording.frames("scenes/s", index)[1], rendered_again(recording, "s", index).raw_S
        )


def test_a_camera_that_is_gone_for_good_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("localblur.acquisition.recording.record.REOPEN_WAIT_S", 0.0)
    faults = with_faults(tmp_path, "S: [{kind: disconnect, at: 3, attempts: 100}]")
    result = capture("--pair", "--simulate", "s", "--count", 6, "--size", SIZE, *faults, "-o", folder)
    assert_refused_after_progress(result, "simulated camera S is not connected")
    assert verify(folder) == (3, [])
    captured("--pair", "--simulate", "s", "--count", 6, "--size", SIZE, "--resume", "-o", folder)
    assert verify(folder) == (6, [])


def test_a_driver_that_hangs_ends_the_process_with_everything_committed(folder, tmp_path):
    """In a process of its own: the thread inside the driver is never coming back."""
    faults = with_faults(tmp_path, "B: [{kind: block, at: 4}]")
    arguments = ["--pair", "--simulate", "s", "--count", "9", "--size", SIZE, *map(str, faults), "-o", str(folder)]
    program = "import localblur.acquisition.cameras.watchdog as w; import localblur.acquisition.pairing.sync as s\n"
    program += "w.PATIENCE = 0.1; s.FRAME_TIMEOUT_MS = 500\n"
    program += "import localblur.acquisition.session.session as session\n"
    program += "session.Watchdog = lambda: w.Watchdog(call_limit_ms=300)\n" + COMMAND
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "camera B: fetch a frame: the camera's driver does not come back" in done.stderr.splitlines()[-1]
    assert verify(folder) == (4, [])
    assert Recording.open(folder).manifest.state == "aborted"


def test_a_pair_that_went_wrong_is_recorded_again(folder):
    options = ("--pair", "--simulate", "s", "--size", SIZE, "-o", folder)
    captured(*options, "--count", 5)
    result = captured(*options, "--rerecord", "1,3", "--reason", "a hand in the picture")
    assert "scenes/s: 2 of 2 pairs replaced, 5 held already, 0 lost" in result.output
    assert verify(folder) == (5, [])
    journal = read_journal(folder / "scenes" / "s" / "journal.jsonl")
    assert [pair.B.name for pair in journal.pairs] == [
        "000000_B.tif",
        "000001-1_B.tif",
        "000002_B.tif",
        "000003-1_B.tif",
        "000004_B.tif",
    ]
    assert [event["index"] for event in journal.lost] == [1, 3]
    assert all("a hand in the picture" in event["reason"] for event in journal.lost)
    assert_refused(capture(*options, "--rerecord", "5"), 1, "--rerecord 5", "holds 5 pairs")


def test_a_complete_recording_has_a_list_of_checksums_that_verify_reads(folder):
    captured("--pair", "--simulate", "s", "--count", 2, "--size", SIZE, "-o", folder)
    listed = (folder / "sha256sums.txt").read_text()
    assert "scenes/s/000001_S.tif" in listed
    (folder / "truth" / "s" / "000001.npz").write_bytes(b"altered")
    result = capture("--verify", folder)
    assert result.exit_code == 1
    assert "000001.npz" in result.output


@pytest.mark.parametrize("way", ["--simulate", "--emulate"])
def test_the_line_drives_camera_s(folder, way):
    captured("--pair", way, "s", "--sync", "line", "--count", 4, "--size", SIZE, "-o", folder)
    assert verify(folder) == (4, [])
    result = capture("--pair", way, "t", "--sync", "software", "--size", SIZE, "-o", folder)
    assert_refused(result, 1, "was recorded with mode line, not software")
    captured("--pair", way, "t", "--count", 2, "--size", SIZE, "-o", folder)


def test_advice_from_a_recording_and_from_cameras_agrees(folder):
    rig = ("--simulate", "--size", "160x120", "--rig", 5)
    capture("--calibrate", "static", "--calibrate", "bracket", "--calibrate", "dark", *rig, "-o", folder)
    recorded = captured("--advise", "-o", folder, "--speed", 1.5).stdout.splitlines()
    measured = captured("--advise", *rig, "--speed", 1.5).stdout.splitlines()
    density = [float(lines[0].split(": ")[1].split(" ")[0]) for lines in (recorded, measured)]
    assert density[0] == pytest.approx(density[1], abs=0.01)
    assert "blur: 30.0 px in 20 ms" in recorded
    assert any(line.startswith("camera S: gain:") for line in recorded)
    assert any("record a bracket" in line for line in measured)


def test_a_bracket_scales_both_exposures(folder):
    capture("--calibrate", "bracket", "--simulate", "--size", SIZE, "-o", folder)
    pairs = Recording.open(folder).pairs("calibration/bracket")
    factors = [round(pair.B.exposure_ms / 20, 4) for pair in pairs]
    assert factors == [round(pair.S.exposure_ms / 2, 4) for pair in pairs]
    assert len(set(factors)) == 7
    assert [factors.count(factor) for factor in sorted(set(factors))] == [2] * 7


def test_a_preview_is_left_as_a_picture(folder, tmp_path):
    picture = tmp_path / "newest.jpg"
    captured("--pair", "--simulate", "s", "--count", 2, "--size", SIZE, "--preview", picture, "-o", folder)
    assert cv2.imread(str(picture)) is not None


def test_a_camera_that_delivers_something_else_is_found_out(folder, monkeypatch):
    class Lying(SimulatedCamera):
        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            if self.role == "S" and frame.block_id == 2:
                out[5, 7] ^= 1
            return frame

    monkeypatch.setattr("localblur.acquisition.cameras.simulated.SimulatedCamera", Lying)
    result = capture("--pair", "--simulate", "s", "--count", 6, "--size", SIZE, "-o", folder)
    assert_refused_after_progress(result, "camera S did not deliver shot 2 as it was fed")
    assert verify(folder) == (2, [])
    assert Recording.open(folder).manifest.state == "aborted"
    assert not list(folder.glob(".feed*"))


def assert_refused_after_progress(result, words):
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert words in result.stderr.splitlines()[-1]


def test_a_full_disk_is_one_line_and_keeps_what_is_committed(folder, monkeypatch):
    options = ("--pair", "--simulate", "s", "--count", 6, "--size", SIZE, "-o", folder)
    put = FrameStore.put

    def full(self, file, content):
        if str(file.name).endswith("000003_S.tif.part"):
            put(self, file, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, file, content)

    with monkeypatch.context() as patch:
        patch.setattr(FrameStore, "put", full)
        assert_refused_after_progress(capture(*options), "the disk is full")
    assert verify(folder) == (3, [])
    assert not list(folder.rglob("*.part"))
    captured(*options, "--resume")
    assert verify(folder) == (6, [])


def test_a_capture_that_cannot_fit_is_not_begun(folder, monkeypatch):
    result = capture("--pair", "--simulate", "s", "--count", 10**9, "--size", SIZE, "-o", folder)
    assert_refused(result, 1, "this capture needs about", "GB are free", "choose another output")
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_keeps_what_was_captured_and_exits_130(folder):
    arguments = ["--pair", "--simulate", "s", "--size", SIZE, "--workers", "1", "-o", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, "--count", "1000"],
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    journal = folder / "scenes" / "s" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and b'"pair"' in journal.read_bytes()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "capture: interrupted; what was finished is kept"
    held, problems = verify(folder)
    assert held >= 1
    assert problems == []
    assert Recording.open(folder).manifest.state == "aborted"
    assert json.loads(journal.read_text().splitlines()[-1])["status"] == "interrupted"
    assert not list(folder.glob(".feed*"))
    captured(*arguments, "--count", held + 2, "--resume")
    assert verify(folder) == (held + 2, [])


def test_an_even_field_in_a_small_frame_is_compared_without_a_warning(folder):
    """The shift of a field without structure is chance, and may leave nothing of a small frame."""
    result = capture("--simulate", "--calibrate", "bracket", "--size", "128x96", "-o", folder)
    assert result.exit_code in (0, 3), result.output
    assert "14 of 14 pairs committed" in result.output

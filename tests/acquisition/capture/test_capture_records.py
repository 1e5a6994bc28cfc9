"""What `capture` records, and what it tells."""

import cv2
import numpy as np
import pytest
from capture_calls import SIZE, assert_refused, capture, captured, rendered_again

from localblur.acquisition.rig.simulator import RigTruth
from localblur.datasets.recording import Recording, verify
from localblur.datasets.recordings.journal import read_journal


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


@pytest.mark.parametrize(("way", "start_delay_ms"), [("--simulate", 0.05), ("--simulate", -0.05), ("--emulate", 0.05)])
def test_a_start_delay_is_recorded_and_taken_for_kept_where_the_host_triggers_a_rendered_scene(
    folder, way, start_delay_ms
):
    captured("--pair", way, "s", "--count", 1, "--size", SIZE, "--start-delay", start_delay_ms, "-o", folder)
    recording = Recording.open(folder)
    sync = recording.manifest.settings["sync"]
    assert (sync["mode"], sync["alignment"], sync["start_delay_ms"]) == ("software", "centre", start_delay_ms)
    shot = rendered_again(recording, "s", 0)
    np.testing.assert_array_equal(recording.frames("scenes/s", 0)[1], shot.raw_S)


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


def test_a_scene_from_a_file_and_single_settings(folder, tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("objects: 7\nblur_px: [3, 4]\n")
    captured("--pair", "--simulate", path, "--count", 1, "--set", "pause=0", "--size", SIZE, "-o", folder)
    scene = read_journal(folder / "scenes" / "scene-01" / "journal.jsonl").starts[0]["scene"]
    assert (scene["objects"], scene["blur_px"], scene["pause"]) == (7, [3, 4], 0)


def test_verify_names_a_damaged_frame(folder):
    captured("--pair", "--simulate", "s", "--count", 3, "--size", SIZE, "-o", folder)
    assert "3 pairs checked, 0 problems" in captured("--verify", folder).output
    path = folder / "scenes" / "s" / "000001_B.tif"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    result = capture("--verify", folder)
    assert result.exit_code == 1
    assert str(path) in result.output
    assert "3 pairs checked, 1 problems" in result.output


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


def test_an_even_field_in_a_small_frame_is_compared_without_a_warning(folder):
    """The shift of a field without structure is chance, and may leave nothing of a small frame."""
    result = capture("--simulate", "--calibrate", "bracket", "--size", "128x96", "-o", folder)
    assert result.exit_code in (0, 3), result.output
    assert "14 of 14 pairs committed" in result.output

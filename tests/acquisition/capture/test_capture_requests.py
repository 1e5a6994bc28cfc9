"""What `capture` refuses, before anything is written."""

import json

import pytest
from capture_calls import (
    SIZE,
    assert_refused,
    capture,
    captured,
)

from localblur.acquisition.rig.simulator import RigSettings, resolve_rig
from localblur.datasets.recording import Recording


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


def test_a_capture_that_cannot_fit_is_not_begun(folder, monkeypatch):
    result = capture("--pair", "--simulate", "s", "--count", 10**9, "--size", SIZE, "-o", folder)
    assert_refused(result, 1, "this capture needs about", "GB are free", "choose another output")
    assert not folder.exists()

"""What goes wrong during `capture`: it is told, and nothing committed is lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from capture_calls import (
    COMMAND,
    SIZE,
    assert_refused_after_progress,
    capture,
    captured,
    rendered_again,
    with_faults,
)

from localblur.acquisition.cameras.simulated import SimulatedCamera
from localblur.datasets.recording import Recording, verify
from localblur.datasets.recordings.journal import FrameStore


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

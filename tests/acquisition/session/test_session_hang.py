"""Whatever call of a driver hangs, a capture ends in time with what was committed, and with every trigger on record."""

import functools
import threading

import pytest

from localblur.acquisition.cameras.camera import CameraError
from localblur.acquisition.cameras.simulated import SimulatedCamera
from localblur.acquisition.cameras.watchdog import Watchdog
from localblur.acquisition.session.plan import make_plan
from localblur.acquisition.session.request import CaptureRequest
from localblur.acquisition.session.session import run_plan
from localblur.datasets.recording import Recording, verify

NO_RECORDING_YET = {"open", "apply", "settings_text"}
CALLS = ["open", "apply", "settings_text", "status", "start", "ready", "pending", "trigger", "get", "stop", "close"]


@pytest.mark.parametrize("side", ["B", "S"])
@pytest.mark.parametrize("name", CALLS)
def test_any_call_may_hang(tmp_path, monkeypatch, name, side):
    monkeypatch.setattr("localblur.acquisition.cameras.watchdog.SETUP_LIMIT_MS", 10)
    monkeypatch.setattr("localblur.acquisition.cameras.watchdog.PATIENCE", 0.01)
    watchdog = functools.partial(Watchdog, call_limit_ms=150, leave=lambda code: None)
    monkeypatch.setattr("localblur.acquisition.session.session.Watchdog", watchdog)
    release, call, calls = threading.Event(), getattr(SimulatedCamera, name), []

    def hanging(camera, *arguments):
        calls.extend([1] * (camera.role == side))
        if camera.role == side and len(calls) == (3 if name in ("ready", "pending", "trigger", "get") else 1):
            release.wait(30)
        return call(camera, *arguments)

    monkeypatch.setattr(SimulatedCamera, name, hanging)
    folder = tmp_path / "recording"
    request = CaptureRequest(output=folder, source="simulate", scene="s", count=4, size=(64, 64))
    try:
        with pytest.raises(CameraError) as failure:
            run_plan(make_plan(request))
    finally:
        release.set()
    assert failure.value.kind == "hung"
    assert str(failure.value).startswith(f"camera {side}: ")
    if name in NO_RECORDING_YET:
        assert not folder.exists()
        return
    recording = Recording.open(folder)
    assert recording.manifest.state == "aborted"
    held = {"stop": 4, "close": 4, "start": 0, "status": 0}.get(name, 2)
    assert verify(folder) == (held, [])
    lost = recording.journal("scenes/s").lost
    assert [event["index"] for event in lost] == ([2] if held == 2 else [])

"""The simulated camera: its feed's camera and no other, and every fault; its contract is tested with all cameras."""

import numpy as np
import pytest

from localblur.acquisition.cameras.camera import CameraError, CameraSettings, TriggerSettings
from localblur.acquisition.cameras.faults import ClockSettings, Fault, FaultPlan, read_faults
from localblur.acquisition.cameras.simulated import BUFFERS, SimulatedCamera
from localblur.acquisition.cameras.timebase import VirtualTime
from localblur.common.errors import LocalblurError


@pytest.mark.parametrize("change", [{"width": 18}, {"height": 10}, {"bit_depth": 8}])
def test_settings_its_frames_were_not_made_with_are_refused(coded_feed, change):
    camera = SimulatedCamera("S", coded_feed)
    settings = CameraSettings(**{"exposure_ms": 2.0, "width": 16, "height": 8, **change})
    name = next(iter(change))
    with pytest.raises(CameraError, match=f"simulated camera S has {name}") as failure:
        camera.apply(settings)
    assert failure.value.kind == "refused"


def test_it_takes_no_trigger_before_it_is_started(coded_feed):
    camera = SimulatedCamera("S", coded_feed)
    assert not camera.ready(10)
    with pytest.raises(CameraError, match="is not started") as failure:
        camera.trigger()
    assert failure.value.kind == "disconnected"


def test_the_end_of_its_feed_is_a_timeout(coded_feed):
    coded_feed.length = 1
    camera, out = SimulatedCamera("S", coded_feed), np.zeros((8, 16), np.uint16)
    camera.start()
    camera.trigger()
    assert (camera.get(10, out).data == 20_000).all()
    camera.trigger()
    with pytest.raises(CameraError, match="its feed has no frame 1") as failure:
        camera.get(10, out)
    assert failure.value.kind == "timeout"


def test_faults_happen_at_their_triggers_and_nowhere_else(coded_feed):
    faults = [
        Fault(kind="ignore", at=1),
        Fault(kind="drop", at=2),
        Fault(kind="fail", at=3),
        Fault(kind="spurious", at=4),
        Fault(kind="delay", at=5, ms=70),
    ]
    time, out = VirtualTime(), np.zeros((8, 16), np.uint16)
    camera = SimulatedCamera("B", coded_feed, faults=faults, timebase=time)
    camera.start()
    seen = []
    for _ in range(7):
        camera.trigger()
        while True:
            begun = time.now_ns()
            try:
                frame = camera.get(100, out)
            except CameraError as error:
                seen.append(error.kind)
            else:
                seen.append((int(out[0, 0]), frame.block_id, (time.now_ns() - begun) // 1_000_000))
            if not camera.pending():
                break
    # an ignored trigger leaves no gap in the counter, a dropped frame does
    assert seen == [(0, 0, 0), "timeout", "timeout", "failed_buffer", (4, 3, 0), (4, 4, 0), (5, 5, 70), (6, 6, 0)]


def test_a_disconnected_camera_answers_nothing_until_it_is_found_again(coded_feed):
    camera = SimulatedCamera("S", coded_feed, faults=[Fault(kind="disconnect", at=0, attempts=2)])
    camera.start()
    for call in (camera.trigger, camera.pending, camera.start, camera.clock, lambda: camera.ready(1)):
        with pytest.raises(CameraError) as failure:
            call()
        assert failure.value.kind == "disconnected"
    camera.close()
    for _ in range(2):
        with pytest.raises(CameraError) as failure:
            camera.open()
        assert failure.value.kind == "missing"
    camera.open()
    camera.start()
    camera.trigger()
    assert camera.pending()


def test_its_clock_runs_as_it_is_told(coded_feed):
    clock = ClockSettings(offset_ms=1000.0, drift_ppm=50.0)
    time, out = VirtualTime(), np.zeros((8, 16), np.uint16)
    camera = SimulatedCamera("B", coded_feed, clock=clock, timebase=time)
    camera.start()
    stamps = []
    for _ in range(2):
        camera.trigger()
        stamps.append(camera.get(10, out).camera_time_ns)
        time.wait_until(time.now_ns() + 100 * 10**9)
    assert stamps[0] == 10**9
    assert stamps[1] - stamps[0] == 100 * 10**9 + 5_000_000
    reading = camera.clock()
    assert abs(reading.camera_ns - clock.time_ns(reading.host_ns)) <= reading.uncertainty_ns


def test_frames_the_host_does_not_fetch_are_dropped_when_the_buffers_are_full(coded_feed):
    time, out = VirtualTime(), np.zeros((8, 16), np.uint16)
    camera = SimulatedCamera("B", coded_feed, timebase=time)
    camera.apply(CameraSettings(exposure_ms=20.0, trigger=TriggerSettings(source="free", rate_hz=10.0)))
    camera.start()
    time.wait_until(10**9 * 3)
    got = []
    for _ in range(BUFFERS):
        got.append(camera.get(1000, out).block_id)
    assert got == list(range(BUFFERS))
    assert camera.get(1000, out).block_id == 31


def test_a_camera_that_follows_a_line_takes_no_trigger_from_the_host(coded_feed):
    camera = SimulatedCamera("S", coded_feed)
    camera.apply(CameraSettings(exposure_ms=2.0, trigger=TriggerSettings(source="line")))
    camera.start()
    with pytest.raises(CameraError, match="takes no trigger from the host") as failure:
        camera.trigger()
    assert failure.value.kind == "refused"


def test_a_fault_plan_is_read_from_yaml(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text("B: [{kind: ignore, at: 12}]\nclock_S: {drift_ppm: 50}\n")
    plan = read_faults(path)
    assert (Fault(kind="ignore", at=12),) == plan.B
    assert plan.clock_S.drift_ppm == 50


@pytest.mark.parametrize("text", ["B: [{kind: explode, at: 1}]", "B: [{kind: drop, at: -1}]", "C: []", "B: 5", "[", ""])
def test_a_fault_plan_that_makes_no_sense_is_one_line(tmp_path, text):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    if not text:  # an empty plan is a plan without faults
        assert read_faults(path) == FaultPlan()
        return
    with pytest.raises(LocalblurError, match=r"faults\.yaml") as failure:
        read_faults(path)
    assert "\n" not in str(failure.value)

"""Who triggers whom, and where the short exposure lies in the long one."""

import pytest

from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.pairing.stream_pairing import StreamPairer
from localblur.acquisition.pairing.sync import SyncSettings, make_pairer, trigger_settings
from localblur.common.errors import LocalblurError
from localblur.common.settings import validate

EXPOSURES = {"B": 20.0, "S": 2.0}


@pytest.mark.parametrize(("alignment", "delay_ms"), [("start", 0.0), ("centre", 9.0), ("end", 18.0)])
@pytest.mark.parametrize("mode", ["software", "line", "action"])
def test_the_delay_of_camera_s_puts_its_exposure_in_place(mode, alignment, delay_ms):
    triggers = trigger_settings(SyncSettings(mode=mode, alignment=alignment), EXPOSURES)
    # no camera delays a software trigger: there the host waits, which its pairer does
    assert triggers["S"].delay_ms == pytest.approx(0 if mode == "software" else delay_ms)
    assert triggers["B"].delay_ms == 0


@pytest.mark.parametrize(("alignment", "delay_ms"), [("start", 0.0), ("centre", 9.0), ("end", 18.0)])
def test_with_software_triggers_the_host_waits(faulty_pair, alignment, delay_ms):
    pair = faulty_pair()
    pairer = TriggeredPairer(pair.blurred, pair.sharp, delay_ms=delay_ms, timebase=pair.time)
    pairer.start()
    for _ in range(10):
        captured = pairer.take(*pair.buffers())
        between_ns = captured.sharp.camera_time_ns - captured.blurred.camera_time_ns
        assert between_ns == pytest.approx(delay_ms * 1e6)
        assert captured.gap_ms == pytest.approx(0, abs=1e-6)


def test_an_inverting_wire_is_said_once():
    triggers = trigger_settings(SyncSettings(mode="line", edge="falling"), EXPOSURES)
    assert triggers["S"].edge == "falling"


def test_in_line_mode_b_drives_and_s_listens():
    triggers = trigger_settings(SyncSettings(mode="line", output_line="Line3", input_line="Line4"), EXPOSURES)
    assert (triggers["B"].source, triggers["B"].output_line) == ("software", "Line3")
    assert (triggers["S"].source, triggers["S"].line, triggers["S"].output_line) == ("line", "Line4", None)
    running = trigger_settings(SyncSettings(mode="line", rate_hz=25.0), EXPOSURES)
    assert (running["B"].source, running["B"].rate_hz) == ("free", 25.0)
    assert running["S"] == triggers["S"].model_copy(update={"line": "Line1"})


def test_what_s_starts_late_by_itself_is_taken_off():
    sync = SyncSettings(mode="line", start_delay_ms=0.05)
    assert trigger_settings(sync, EXPOSURES)["S"].delay_ms == pytest.approx(8.95)
    with pytest.raises(LocalblurError, match="needs a trigger delay of -0.05 ms"):
        trigger_settings(sync.model_copy(update={"alignment": "start"}), EXPOSURES)


@pytest.mark.parametrize("mode", ["software", "action"])
def test_a_rate_is_for_line_mode(mode):
    with pytest.raises(LocalblurError, match="a rate needs --sync line"):
        validate(SyncSettings, {"mode": mode, "rate_hz": 5.0}, "synchronisation")


def test_a_rate_makes_a_stream(faulty_pair):
    pair = faulty_pair()
    records = {"B": pair.feed.record("B"), "S": pair.feed.record("S")}
    cameras = pair.blurred, pair.sharp
    assert isinstance(make_pairer(SyncSettings(mode="line"), cameras, records), TriggeredPairer)
    assert isinstance(make_pairer(SyncSettings(mode="line", rate_hz=10.0), cameras, records), StreamPairer)

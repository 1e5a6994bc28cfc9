"""What begins an exposure, on node maps of several families: lines, rates, action commands, network time."""

import logging
from types import SimpleNamespace

import pytest

from localblur.acquisition.cameras.camera import CameraError, TriggerSettings
from localblur.acquisition.cameras.pylon_actions import ActionSender
from localblur.acquisition.cameras.pylon_sdk import genicam, pylon
from localblur.acquisition.cameras.pylon_trigger import set_trigger, wait_for_ptp


def test_a_line_begins_the_exposure_and_another_tells_of_it(basler):
    nodes = basler.ace2_usb()
    nodes.nodes["LineSelector"].Value = "Line3"
    nodes.nodes["LineMode"].Value = "Output"
    set_trigger(
        basler.nodes_of(nodes), TriggerSettings(source="line", line="Line3", delay_ms=0.25, output_line="Line2")
    )
    assert (nodes["TriggerMode"], nodes["TriggerSource"], nodes["TriggerActivation"]) == ("On", "Line3", "RisingEdge")
    assert nodes["TriggerDelay"] == 250
    assert [nodes.nodes["LineMode"].at(line) for line in ("Line2", "Line3")] == ["Output", "Input"]
    assert (nodes.nodes["LineSource"].at("Line2"), nodes.nodes["LineInverter"].at("Line2")) == ("ExposureActive", False)


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ({"source": "line", "line": "Line7"}, "does not take TriggerSource = Line7: it offers Software, Line1, Line3"),
        ({"output_line": "Line7"}, "does not take LineSelector = Line7: it offers Line1, Line2, Line3"),
        ({"source": "line", "line": "Line3", "output_line": "Line3"}, "cannot be trigger input and exposure output"),
        ({"source": "line", "delay_ms": 1001}, "trigger delay 1001.0 ms is outside its range of 0 to 1000 ms"),
        ({"source": "action"}, "takes no action commands, only GigE cameras do"),
        ({"source": "free", "rate_hz": 80}, "rate 80.0 frames/s is more than the 60 that exposure"),
        ({"source": "free", "delay_ms": 2}, "no trigger to delay by 2.0 ms"),
    ],
)
def test_a_trigger_that_cannot_be_is_refused(basler, trigger, message):
    basler.refused(lambda: set_trigger(basler.nodes_of(basler.ace2_usb()), TriggerSettings(**trigger)), message)


def test_a_delay_that_the_camera_changes_is_refused(basler):
    nodes = basler.ace2_usb()
    nodes.nodes["TriggerDelay"] = basler.Node(0.0, high=1e6, keeps=lambda value: value // 100 * 100)
    set_trigger(basler.nodes_of(nodes), TriggerSettings(source="line", delay_ms=0.3))
    trigger = TriggerSettings(source="line", delay_ms=0.35)
    basler.refused(
        lambda: set_trigger(basler.nodes_of(nodes), trigger), "was asked for trigger delay 0.35 ms but has 0.3 ms"
    )


def test_running_free_has_the_rate_and_no_trigger(basler):
    nodes = basler.ace_gige()
    camera = basler.open_camera(nodes)
    camera.apply(basler.set_up({"source": "free", "rate_hz": 20.0, "output_line": "Line2"}))
    assert (nodes["TriggerMode"], nodes["AcquisitionFrameRateEnable"], nodes["AcquisitionFrameRateAbs"]) == (
        "Off",
        True,
        20,
    )
    assert camera.ready(10)
    basler.refused(camera.trigger, "runs free and cannot be triggered by the host")
    camera.apply(basler.SETTINGS)
    assert (nodes["TriggerMode"], nodes["AcquisitionFrameRateEnable"]) == ("On", False)


def test_a_camera_on_a_line_cannot_be_triggered_and_can_be_waited_for(basler):
    camera = basler.open_camera(basler.ace2_usb(), "S")
    camera.apply(basler.set_up({"source": "line"}))
    basler.refused(camera.trigger, r"camera S \(4000\): follows Line1 and cannot be triggered")
    assert not camera.ready(10)


def test_a_camera_that_cannot_tell_whether_it_is_ready_is_taken_as_ready(basler):
    nodes = basler.ace2_usb()
    nodes.nodes["AcquisitionStatusSelector"] = basler.Node("ExposureActive", entries=("ExposureActive",))
    camera = basler.open_camera(nodes)
    device = camera._camera
    camera.apply(basler.SETTINGS)
    assert camera.ready(10)
    assert device.calls == []


class Layer:
    """A GigE transport layer that notes commands and answers for the cameras."""

    def __init__(self, *answers):
        self.commands, self.answers = [], answers

    def ActionCommand(self, *arguments):  # noqa: N802
        self.commands.append(arguments)
        return SimpleNamespace(IssueWait=lambda timeout, cameras: (True, self.answers))

    ScheduledActionCommand = ActionCommand


ANSWERED = [("192.168.0.3", 0), ("192.168.0.4", 0)]


def test_an_action_command_is_scheduled_on_the_common_clock(basler, monkeypatch):
    monkeypatch.setattr("localblur.acquisition.cameras.pylon_trigger.PTP_POLL_S", 0)
    nodes = basler.ace_gige()
    camera = basler.open_camera(nodes)
    camera.apply(basler.set_up({"source": "action", "delay_ms": 9.0, "device_key": 7, "group_key": 8, "group_mask": 9}))
    assert (nodes["TriggerSource"], nodes["GevIEEE1588"], nodes["ActionGroupKey"]) == ("Action1", True, 8)
    assert nodes["GevIEEE1588StatusLatched"] == "Slave"  # it was waited for
    assert nodes.nodes["ActionDeviceKey"].at(None) == 7  # cannot be read back
    camera._actions._layer = layer = Layer(*ANSWERED)
    camera.trigger()
    ((*address, at_ns),) = layer.commands
    assert address == [7, 8, 9]
    assert 1000 + 5e6 <= at_ns < 1000 + 1e9  # the clock stands at 1000 ticks, of 1 ns each since PTP is on
    camera._actions._layer = None


def test_without_network_time_an_action_command_takes_effect_at_once(basler, caplog):
    nodes = basler.ace_gige()
    del nodes.nodes["GevIEEE1588"]
    camera = basler.open_camera(nodes)
    camera.apply(basler.set_up({"source": "action"}))
    assert "no PTP: action commands take effect on arrival" in caplog.text
    camera._actions._layer = layer = Layer(*ANSWERED)
    camera.trigger()
    assert len(layer.commands[0]) == 3
    camera._actions._layer = None


def test_only_camera_b_sends_action_commands(basler):
    nodes = basler.ace_gige()
    del nodes.nodes["GevIEEE1588"]
    camera = basler.open_camera(nodes, "S")
    camera.apply(basler.set_up({"source": "action"}))
    basler.refused(camera.trigger, "triggered by the action commands of camera B")


def test_a_camera_that_does_not_take_an_action_command_is_named(caplog):
    caplog.set_level(logging.DEBUG)
    sender = ActionSender()
    sender._layer = Layer(("192.168.0.3", 0), ("192.168.0.4", pylon.GigEActionCommandStatus_NoRefTime))
    with pytest.raises(CameraError, match=r"camera at 192\.168\.0\.4 does not take it: its clock") as failure:
        sender.send(TriggerSettings(source="action"), 5)
    assert failure.value.kind == "timeout"
    sender._layer = Layer(("192.168.0.3", 0), ("0.0.0.0", 0))
    sender.send(TriggerSettings(source="action"), 5)  # an answer that got lost is no lost exposure
    assert "1 of 2 cameras answered" in caplog.text


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([("Listening", None)], "PTP Listening, servo None"),
        ([("Slave", "Unknown")], "PTP Slave, servo Unknown"),
        ([("Initializing", "Unknown"), ("Master", "Unknown")], None),
        ([("Slave", "Unknown"), ("Slave", "Locked")], None),
    ],
)
def test_network_time_is_waited_for_until_it_leads_or_follows(basler, monkeypatch, states, message):
    monkeypatch.setattr("localblur.acquisition.cameras.pylon_trigger.PTP_POLL_S", 0.005)
    seen = iter(states)
    now = [states[0]]
    nodes = basler.NodeMap(
        PtpDataSetLatch=basler.Command(lambda: now.__setitem__(0, next(seen, states[-1]))),
        PtpStatus=basler.Node(lambda: now[0][0], genicam.RO),
        PtpServoStatus=basler.Node(lambda: now[0][1], genicam.RO),
    )
    if message is None:
        wait_for_ptp(basler.nodes_of(nodes), limit_s=1)
    else:
        basler.refused(lambda: wait_for_ptp(basler.nodes_of(nodes), limit_s=0.02), message)

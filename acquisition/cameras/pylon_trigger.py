"""What begins an exposure of a Basler camera, what it tells the other camera, and network time for action commands."""

import logging
import time

from localblur.acquisition.cameras import pylon_features as names
from localblur.acquisition.cameras.camera import TriggerSettings
from localblur.acquisition.cameras.pylon_nodes import Nodes

logger = logging.getLogger(__name__)

DELAY_TOLERANCE_US = 1.0
RATE_TOLERANCE = 0.01
EDGES = {"rising": "RisingEdge", "falling": "FallingEdge"}
PTP_TIMEOUT_S = 30.0
"""Electing a master takes some seconds, following it closely some more."""
PTP_POLL_S = 0.5


def set_trigger(nodes: Nodes, trigger: TriggerSettings) -> None:
    """Let `trigger` begin the exposures, and nothing else.

    Raises:
        CameraError: `refused`, naming the value and what the camera offers.
    """
    _all_triggers_off(nodes)
    for name, value in names.OVERLAP:
        nodes.change(name, value)
    nodes.set("TriggerSelector", "FrameStart")
    if trigger.source == "free":
        _run_free(nodes, trigger)
    else:
        nodes.set("TriggerMode", "On")
        nodes.set("TriggerSource", _source(nodes, trigger))
        if trigger.source == "line":
            nodes.set("TriggerActivation", EDGES[trigger.edge])  # after the source: only lines have edges
        _set_delay(nodes, trigger)
    if trigger.output_line is not None:
        if trigger.source == "line" and trigger.line == trigger.output_line:
            nodes.refuse(f"line {trigger.line} cannot be trigger input and exposure output at once; choose another")
        _drive(nodes, trigger.output_line)


def enable_ptp(nodes: Nodes) -> bool:
    """Switch network time on; False if the camera has none, so that action commands cannot be scheduled."""
    name = next((name for name in names.PTP_ENABLE if nodes.has(name)), None)
    if name is None:
        logger.warning("%s has no PTP: action commands take effect on arrival, not at a common time", nodes.owner)
        return False
    nodes.set(name, True)
    return True


def wait_for_ptp(nodes: Nodes, *, limit_s: float = PTP_TIMEOUT_S) -> None:
    """Wait until the camera's clock leads the network's or follows it.

    Raises:
        CameraError: `refused`, if it does neither within `limit_s`.
    """
    deadline = time.monotonic() + limit_s
    while True:
        latch = nodes.find(*names.PTP_LATCH)
        if latch is not None:
            latch.Execute()
        status, servo = nodes.value(*names.PTP_STATUS), nodes.value(*names.PTP_SERVO)
        if status == "Master" or (status == "Slave" and servo in (None, "Locked")):
            return
        if time.monotonic() >= deadline:
            nodes.refuse(
                f"its clock is not synchronised after {limit_s:g} s (PTP {status}, servo {servo}); connect both cameras"
                " to one switch that passes PTP, or use another sync mode"
            )
        time.sleep(PTP_POLL_S)


def _all_triggers_off(nodes: Nodes) -> None:
    for selector in nodes.offers("TriggerSelector"):
        nodes.change("TriggerSelector", selector)
        nodes.change("TriggerMode", "Off")


def _run_free(nodes: Nodes, trigger: TriggerSettings) -> None:
    if trigger.delay_ms > 0:
        nodes.refuse(f"a free-running camera has no trigger to delay by {trigger.delay_ms} ms; set the delay to 0")
    if trigger.rate_hz is None:
        return
    nodes.change("AcquisitionFrameRateEnable", True)
    nodes.set_quantity(
        names.FRAME_RATE,
        trigger.rate_hz,
        what="rate",
        unit="frames/s",
        per_unit=1.0,
        tolerance=RATE_TOLERANCE * trigger.rate_hz,
    )
    possible = nodes.value(*names.RESULTING_FRAME_RATE)
    if possible is not None and possible < (1 - RATE_TOLERANCE) * trigger.rate_hz:
        nodes.refuse(
            f"rate {trigger.rate_hz} frames/s is more than the {possible:g} that exposure, readout and cable allow;"
            " lower the rate, shorten the exposure or take a smaller area"
        )


def _source(nodes: Nodes, trigger: TriggerSettings) -> str:
    """Prepare the source and return its name."""
    if trigger.source == "line":
        if trigger.line in nodes.offers("LineSelector"):
            nodes.set("LineSelector", trigger.line)
            nodes.change("LineMode", "Input")
            nodes.change("LineInverter", False)
        return trigger.line
    if trigger.source == "action":
        return _action_source(nodes, trigger)
    return "Software"


def _action_source(nodes: Nodes, trigger: TriggerSettings) -> str:
    if not nodes.has("ActionDeviceKey"):
        nodes.refuse("takes no action commands, only GigE cameras do; use sync by line or software instead")
    selector = nodes.find("ActionSelector")
    number = 1
    if selector is not None:
        nodes.set("ActionSelector", selector.Min)
        number = selector.Min
    nodes.set("ActionDeviceKey", trigger.device_key)
    nodes.set("ActionGroupKey", trigger.group_key)
    nodes.set("ActionGroupMask", trigger.group_mask)
    return f"Action{number}"


def _set_delay(nodes: Nodes, trigger: TriggerSettings) -> None:
    if trigger.delay_ms == 0 and not nodes.has(*names.TRIGGER_DELAY):
        return
    nodes.set_quantity(
        names.TRIGGER_DELAY,
        trigger.delay_ms,
        what="trigger delay",
        unit="ms",
        per_unit=1000.0,
        tolerance=DELAY_TOLERANCE_US,
    )
    if trigger.delay_ms > 0 and trigger.source == "software":
        logger.warning("%s delays electrical triggers and action commands only, software triggers not", nodes.owner)


def _drive(nodes: Nodes, line: str) -> None:
    nodes.set("LineSelector", line)
    nodes.set("LineMode", "Output")
    nodes.change("LineInverter", False)
    nodes.set("LineSource", "ExposureActive")

"""What a Basler camera tells while it records: its clock, its temperature, what its stream lost."""

import time

from localblur.acquisition.cameras import pylon_features as names
from localblur.acquisition.cameras.camera import ClockReading
from localblur.acquisition.cameras.pylon_nodes import Nodes
from localblur.acquisition.cameras.pylon_sdk import genicam

CLOCK_TRIES = 3


def tick_ns(nodes: Nodes) -> float:
    """Nanoseconds per tick of the camera's clock; asked anew after PTP was switched on, which changes it."""
    frequency = nodes.value(*names.TIMESTAMP_TICKS_PER_S)
    return 1e9 / frequency if frequency else 1.0


def read_clock(nodes: Nodes, ns_per_tick: float) -> ClockReading | None:
    """The camera's clock beside the host's monotonic one, the narrowest of a few tries; None if it has no such command.

    The command takes effect somewhere between the two readings of the host's clock, nothing more is known.
    """
    for latch_name, value_name in names.TIMESTAMP_LATCH:
        latch = nodes.find(latch_name)
        if latch is not None and nodes.has(value_name):
            break
    else:
        return None
    best: ClockReading | None = None
    for _ in range(CLOCK_TRIES):
        before_ns = time.monotonic_ns()
        latch.Execute()
        after_ns = time.monotonic_ns()
        reading = ClockReading(
            camera_ns=round(nodes.value(value_name) * ns_per_tick),
            host_ns=(before_ns + after_ns) // 2,
            uncertainty_ns=(after_ns - before_ns + 1) // 2,
        )
        if best is None or reading.uncertainty_ns < best.uncertainty_ns:
            best = reading
    return best


def select_temperature(nodes: Nodes) -> None:
    """Choose the thermometer nearest to the sensor, where there is a choice."""
    for selector in names.TEMPERATURE_SELECTOR:
        places = nodes.offers(selector)
        place = next((place for place in names.TEMPERATURE_PLACES if place in places), None)
        if place is not None:
            nodes.change(selector, place)


def read_status(nodes: Nodes, stream: Nodes) -> dict[str, float]:
    """`temperature_c` and the counts of `STREAM_COUNTS` of which camera and stream grabber have any."""
    found = {"temperature_c": _number(nodes, *names.TEMPERATURE)}
    found |= {key: _number(stream, name) for key, name in names.STREAM_COUNTS.items()}
    return {key: value for key, value in found.items() if value is not None}


def _number(nodes: Nodes, *candidates: str) -> float | None:
    try:
        value = nodes.value(*candidates)
    except genicam.GenericException:  # a status that cannot be read now is no reason to stop recording
        return None
    return None if value is None else float(value)

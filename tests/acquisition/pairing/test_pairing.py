"""A pair is two frames of one trigger, or it is lost; never two frames of different triggers."""

import dataclasses
import re

import numpy as np
import pytest

from localblur.acquisition.cameras.faults import ClockSettings
from localblur.acquisition.pairing.pairing import PairLost


def take(pair, attempts, pause_ms=0.0):
    """Codes of the frames of each attempt, or the reason why there are none; restarts after a loss."""
    outcomes = []
    pair.pairer.start()
    for _ in range(attempts):
        pair.time.wait_until(pair.time.now_ns() + round(pause_ms * 1e6))
        try:
            captured = pair.pairer.take(*pair.buffers())
            outcomes.append(pair.codes(captured.blurred.data, captured.sharp.data))
        except PairLost as lost:
            outcomes.append(str(lost))
            pair.pairer.stop()
            pair.pairer.start()
    pair.pairer.stop()
    return outcomes


@pytest.mark.parametrize("each", [True, False], ids=["software", "line"])
def test_frames_of_one_trigger_belong_together(faulty_pair, each):
    assert take(faulty_pair(each=each), 5) == [(n, n) for n in range(5)]


def test_the_pair_carries_what_is_known(faulty_pair):
    pair = faulty_pair(virtual=False)
    pair.pairer.start()
    captured = pair.pairer.take(*pair.buffers())
    assert (captured.blurred.role, captured.sharp.role) == ("B", "S")
    assert (captured.blurred.exposure_ms, captured.sharp.exposure_ms) == (20.0, 2.0)
    assert 0 <= captured.gap_ms < 1000
    assert captured.lost_before == ()
    assert abs(captured.sharp.host_time_ns - captured.blurred.host_time_ns) < 1e9


@pytest.mark.parametrize("each", [True, False], ids=["software", "line"])
@pytest.mark.parametrize("side", ["B", "S"])
@pytest.mark.parametrize(
    ("fault", "reason", "kind"),
    [
        ("ignore", "no frame within 50 ms", "timeout"),
        ("drop", "no frame within 50 ms", "timeout"),
        (("delay", {"ms": 500.0}), "no frame within 50 ms", "timeout"),
        ("fail", "is damaged", "failed_buffer"),
    ],
)
def test_a_fault_costs_one_attempt_and_shifts_nothing(faulty_pair, side, fault, reason, kind, each):
    faults = {2: fault}
    pair = faulty_pair(faults, None, each=each) if side == "B" else faulty_pair(None, faults, each=each)
    outcomes = take(pair, 6)
    assert reason in outcomes[2]
    # a restart empties both cameras, and their feed begins again
    assert outcomes[:2] == [(0, 0), (1, 1)]
    assert outcomes[3:] == [(0, 0), (1, 1), (2, 2)]


def test_a_loss_says_what_kind_it_is(faulty_pair):
    for fault, kind in (("ignore", "timeout"), ("fail", "failed_buffer"), ("disconnect", "disconnected")):
        pair = faulty_pair(None, {0: fault})
        pair.pairer.start()
        with pytest.raises(PairLost) as lost:
            pair.pairer.take(*pair.buffers())
        assert (lost.value.kind, lost.value.restart, lost.value.count) == (kind, True, 1)


def test_a_frame_nobody_asked_for_is_noticed_before_the_next_trigger(faulty_pair):
    pair = faulty_pair(None, {1: "spurious"})
    outcomes = take(pair, 4)
    assert outcomes[:2] == [(0, 0), (1, 1)]
    assert outcomes[2] == "camera S holds a frame that no trigger asked for"
    assert outcomes[3] == (0, 0)
    assert pair.blurred.triggers == 3


def test_a_jump_of_the_frame_counter_is_noticed(faulty_pair):
    class Jumping(type(faulty_pair().sharp)):
        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            return dataclasses.replace(frame, block_id=frame.block_id + (frame.block_id >= 2))

    pair = faulty_pair()
    pair.sharp.__class__ = Jumping
    assert take(pair, 3)[2] == "camera S: frame counter went from 1 to 3, expected +1"


def test_a_camera_that_is_never_ready_is_no_endless_wait(faulty_pair):
    pair = faulty_pair()
    pair.pairer.start()
    pair.sharp.stop()
    with pytest.raises(PairLost, match="camera S was not ready for a trigger"):
        pair.pairer.take(*pair.buffers())
    assert pair.blurred.triggers == 0


def test_a_frame_of_another_size_is_a_loss(faulty_pair):
    pair = faulty_pair()
    pair.pairer.start()
    with pytest.raises(PairLost, match=r"camera B delivered \(8, 16\), but \(6, 16\) was set"):
        pair.pairer.take(np.zeros((6, 16), np.uint16), np.zeros((8, 16), np.uint16))


@pytest.mark.parametrize("counter", [lambda n: None, lambda n: (65533 + n) % 65535 + 1], ids=["none", "16 bit"])
def test_cameras_without_a_counter_or_with_one_that_wraps_lose_nothing(faulty_pair, counter):
    class Counting(type(faulty_pair().sharp)):
        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            return dataclasses.replace(frame, block_id=counter(frame.block_id))

    pair = faulty_pair()
    pair.sharp.__class__ = Counting
    assert take(pair, 5) == [(n, n) for n in range(5)]


CLOCKS = {
    "clock_B": ClockSettings(offset_ms=1.7e9, drift_ppm=-20, jitter_ms=0.2),
    "clock_S": ClockSettings(offset_ms=12.5, drift_ppm=30, jitter_ms=0.2),
}


@pytest.mark.parametrize("each", [True, False], ids=["software", "line"])
def test_a_stale_frame_with_the_right_counter_is_told_by_its_time(faulty_pair, each):
    """A driver that hands out the frame of the trigger before, all counters in order."""

    class Stale(type(faulty_pair().sharp)):
        older = None

        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            older, self.older = self.older, frame.camera_time_ns
            return dataclasses.replace(frame, camera_time_ns=older) if self.triggers == 31 else frame

    pair = faulty_pair(each=each, **CLOCKS)
    pair.sharp.__class__ = Stale
    outcomes = take(pair, 60, pause_ms=40)
    assert outcomes[:30] == [(n, n) for n in range(30)]
    assert re.search(r"camera S exposed -(39|40)\.\d ms away .* the frames are not of one trigger", outcomes[30])
    assert outcomes[31:] == [(n, n) for n in range(29)]


@pytest.mark.parametrize("each", [True, False], ids=["software", "line"])
def test_clocks_with_offset_drift_and_jitter_cost_nothing_in_hours(faulty_pair, each):
    pair = faulty_pair(each=each, **CLOCKS)
    assert take(pair, 1200, pause_ms=10_000) == [(n, n) for n in range(1200)]


def test_a_clock_that_is_set_anew_costs_one_pair(faulty_pair):
    class Set(type(faulty_pair().sharp)):
        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            step_ns = 10**12 if self.triggers > 20 else 0
            return dataclasses.replace(frame, camera_time_ns=frame.camera_time_ns + step_ns)

    pair = faulty_pair(**CLOCKS)
    pair.sharp.__class__ = Set
    outcomes = take(pair, 40, pause_ms=40)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, str)] == [20]

"""A pair is two frames of one trigger, or it is lost; never two frames of different triggers."""

import dataclasses

import numpy as np
import pytest

from localblur.acquisition.pairing import PairLost


def take(pair, attempts):
    """Codes of the frames of each attempt, or the reason why there are none; restarts after a loss."""
    outcomes = []
    pair.pairer.start()
    for _ in range(attempts):
        try:
            captured = pair.pairer.take(*pair.buffers())
            outcomes.append(pair.codes(captured.blurred.data, captured.sharp.data))
        except PairLost as lost:
            outcomes.append(str(lost))
            pair.pairer.stop()
            pair.pairer.start()
    pair.pairer.stop()
    return outcomes


def test_frames_of_one_trigger_belong_together(faulty_pair):
    assert take(faulty_pair(), 5) == [(n, n) for n in range(5)]


def test_the_pair_carries_what_is_known(faulty_pair):
    pair = faulty_pair()
    pair.pairer.start()
    captured = pair.pairer.take(*pair.buffers())
    assert (captured.blurred.role, captured.sharp.role) == ("B", "S")
    assert (captured.blurred.exposure_ms, captured.sharp.exposure_ms) == (20.0, 2.0)
    assert 0 <= captured.gap_ms < 1000
    assert abs(captured.sharp.host_time_ns - captured.blurred.host_time_ns) < 1e9


@pytest.mark.parametrize("side", ["B", "S"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("ignore", "no frame within 50 ms"),
        ("late", "no frame in time"),
        ("damaged", "incompletely grabbed"),
        ("refuse", "cable pulled"),
    ],
)
def test_a_fault_costs_one_attempt_and_shifts_nothing(faulty_pair, side, fault, reason):
    faults = {2: fault}
    pair = faulty_pair(faults, None) if side == "B" else faulty_pair(None, faults)
    outcomes = take(pair, 6)
    assert reason in outcomes[2]
    # a restart empties both cameras, and their feed begins again
    assert outcomes[:2] == [(0, 0), (1, 1)]
    assert outcomes[3:] == [(0, 0), (1, 1), (2, 2)]


def test_a_frame_nobody_asked_for_is_noticed_before_the_next_trigger(faulty_pair):
    pair = faulty_pair(None, {1: "twice"})
    outcomes = take(pair, 4)
    assert outcomes[:2] == [(0, 0), (1, 1)]
    assert outcomes[2] == "camera S holds a frame that no trigger asked for"
    assert outcomes[3] == (0, 0)
    assert pair.blurred.triggers == 3


def test_a_jump_of_the_frame_counter_is_noticed(faulty_pair):
    class Skipping(type(faulty_pair().sharp)):
        def trigger(self):
            super().trigger()
            if self.triggers == 3:
                self._triggered += 1

    pair = faulty_pair(None, {2: "skip"})
    pair.sharp.__class__ = Skipping
    outcomes = take(pair, 3)
    assert outcomes[2] == "camera S: frame counter went from 1 to 3, expected +1"


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

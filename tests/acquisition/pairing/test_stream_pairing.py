"""Two cameras that run by themselves: frames are joined by time, and whatever has no partner is reported lost."""

import dataclasses
import time

import numpy as np
import pytest

from localblur.acquisition.cameras.camera import CameraError
from localblur.acquisition.cameras.faults import ClockSettings
from localblur.acquisition.pairing.pairing import PairLost

DRIFTING = {
    "clock_B": ClockSettings(offset_ms=3.1e6, drift_ppm=-10, jitter_ms=0.2),
    "clock_S": ClockSettings(offset_ms=-7.7e5, drift_ppm=40, jitter_ms=0.2),
}


def run(pair, pairer, count):
    """Codes of `count` pairs and all reasons for losses; restarts when asked to."""
    codes, lost = [], []
    pairer.start()
    while len(codes) < count:
        try:
            captured = pairer.take(*pair.buffers())
        except PairLost as failure:
            lost += [str(failure)] * failure.count
            pairer.stop()
            pairer.start()
            continue
        codes.append(pair.codes(captured.blurred.data, captured.sharp.data))
        lost += captured.lost_before
    pairer.stop()
    return codes, lost


@pytest.mark.parametrize("rate_hz", [5.0, 30.0, 45.0])
def test_ten_thousand_pairs_with_drift_and_jitter_have_no_shift_and_no_loss(faulty_pair, rate_hz):
    """50 ppm between the clocks are 16 frames in this time, 0.2 ms of jitter on each."""
    pair = faulty_pair(**DRIFTING)
    codes, lost = run(pair, pair.stream(rate_hz), 10_000)
    assert codes == [(n, n) for n in range(10_000)]
    assert lost == []


def test_missed_triggers_and_dropped_frames_in_ten_thousand_are_all_found(faulty_pair, rng):
    sites = rng.choice(np.arange(1, 9_900), 300, replace=False)
    kinds = rng.choice(["ignore", "drop", "fail"], 300)
    sides = rng.integers(0, 3, 300)
    b_faults = {int(n): str(k) for n, k, s in zip(sites, kinds, sides, strict=True) if s != 0 and k != "ignore"}
    s_faults = {int(n): str(k) for n, k, s in zip(sites, kinds, sides, strict=True) if s != 1}
    pair = faulty_pair(b_faults, s_faults, **DRIFTING)
    count = 10_000 - len({*b_faults, *s_faults})
    codes, lost = run(pair, pair.stream(30.0), count)
    assert all(blurred == sharp for blurred, sharp in codes)
    missing = set(range(10_000)) - {blurred for blurred, _ in codes}
    assert missing == {*b_faults, *s_faults}
    assert len(lost) == len(missing)


@pytest.mark.parametrize(
    ("b_faults", "s_faults", "reason"),
    [
        (None, {5: "ignore"}, "camera S brought no frame of this trigger"),
        (None, {5: "drop"}, "camera S brought no frame of this trigger"),
        ({5: "drop"}, None, "camera B brought no frame of this trigger"),
        ({5: "drop"}, {5: "drop"}, "no camera brought a frame of this trigger"),
        (None, {5: "fail"}, "camera S brought no frame of this trigger (simulated camera S: frame 5 is damaged"),
        ({5: "fail"}, {5: "fail"}, "no camera brought a frame of this trigger (simulated camera B: frame 5 is damaged"),
    ],
)
def test_each_fault_costs_its_own_trigger_and_says_why(faulty_pair, b_faults, s_faults, reason):
    pair = faulty_pair(b_faults, s_faults, **DRIFTING)
    codes, lost = run(pair, pair.stream(), 19)
    assert codes == [(n, n) for n in range(20) if n != 5]
    assert len(lost) == 1
    assert lost[0].startswith(reason)


@pytest.mark.parametrize("side", ["B", "S"])
def test_the_first_triggers_may_be_missed_too(faulty_pair, side):
    faults = {0: ("drop", {"count": 2})}
    pair = faulty_pair(faults, None, **DRIFTING) if side == "B" else faulty_pair(None, faults, **DRIFTING)
    codes, lost = run(pair, pair.stream(), 50)
    assert codes == [(n, n) for n in range(2, 52)]
    assert lost == [f"camera {side} brought no frame of this trigger"] * 2


def test_cameras_that_do_not_tell_the_time_are_refused(faulty_pair):
    """Pairs could not be proved; the way that can be is named."""
    pair = faulty_pair()
    pairer = pair.stream()

    class Clockless(type(pair.sharp)):
        def clock(self):
            return None

    pair.sharp.__class__ = Clockless
    with pytest.raises(CameraError, match="do not tell their clocks .* leave --rate out"):
        pairer.start()

    class Timeless(type(pair.sharp).__mro__[1]):
        def get(self, timeout_ms, out):
            return dataclasses.replace(super().get(timeout_ms, out), camera_time_ns=None)

    pair.sharp.__class__ = Timeless
    pairer.start()
    with pytest.raises(PairLost, match="camera S does not stamp its frames") as lost:
        pairer.take(*pair.buffers())
    assert lost.value.kind == "refused"


def test_a_camera_that_has_stopped_following_costs_a_restart_and_all_triggers_until_then(faulty_pair):
    pair = faulty_pair(None, {10: ("ignore", {"count": 40})}, **DRIFTING)
    pairer = pair.stream()
    pairer.start()
    with pytest.raises(PairLost) as lost:
        for _ in range(11):
            pairer.take(*pair.buffers())
    pairer.stop()
    assert lost.value.restart
    assert pair.blurred.triggers == 10 + lost.value.count
    assert lost.value.count > 10


@pytest.mark.parametrize("seed", range(10))
def test_triggers_are_pairs_and_losses_through_restarts_too(faulty_pair, seed):
    """Two faults at one trigger, many in a row, damage and long delays; B's own count of triggers is the truth."""
    rng = np.random.default_rng(seed)
    kinds = ["drop", "fail", ("drop", {"count": 4}), ("delay", {"ms": 400.0}), ("ignore", {"count": 30})]
    sites = rng.choice(np.arange(100), 14, replace=False)
    # a camera that runs by itself has no trigger it could ignore
    b_faults = {int(n): kinds[int(rng.integers(4))] for n in sites[:9]}
    s_faults = {int(n): kinds[int(rng.integers(5))] for n in sites[5:]}
    pair = faulty_pair(b_faults, s_faults, **DRIFTING)
    codes, lost = run(pair, pair.stream(), 120)
    assert all(blurred == sharp for blurred, sharp in codes)
    assert len(lost) >= 14
    # an exposure that begins in the moment of a stop may count or not
    assert abs(pair.blurred.triggers - len(codes) - len(lost)) <= 2


def test_first_triggers_that_neither_camera_brought_are_known_from_the_counter(faulty_pair):
    faults = {5: "fail", 6: ("drop", {"count": 3})}
    pair = faulty_pair(faults, faults, **DRIFTING)
    pairer = pair.stream()
    _, lost = run(pair, pairer, 5)
    _, lost = run(pair, pairer, 5)
    assert len(lost) == 4


def test_a_counter_that_wraps_and_does_not_begin_anew_is_no_loss(faulty_pair):
    class Counting(type(faulty_pair().sharp)):
        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            return dataclasses.replace(frame, block_id=(65_500 + self.triggers - 1) % 65_535 + 1)

    pair = faulty_pair(None, {30: "drop", 37: "fail"}, **DRIFTING)
    pairer = pair.stream()
    pair.blurred.__class__ = pair.sharp.__class__ = Counting
    for _ in range(2):
        codes, lost = run(pair, pairer, 35)
        assert all(blurred == sharp for blurred, sharp in codes)
    assert len(lost) == 1


@pytest.mark.parametrize("side", ["blurred", "sharp"])
@pytest.mark.parametrize("periods", [1.0, -2.1, 3.5, 1e6])
def test_a_clock_that_is_set_anew_shifts_nothing(faulty_pair, side, periods):
    """By whole periods it looks as if frames were missing; the clocks themselves tell the difference."""
    pair = faulty_pair(**DRIFTING)
    pairer = pair.stream()
    camera = getattr(pair, side)
    step_ns = round(periods * 1e9 / 30)
    set_at = 20

    class Set(type(camera)):
        def get(self, timeout_ms, out):
            frame = super().get(timeout_ms, out)
            late_ns = step_ns if self.triggers > set_at else 0
            return dataclasses.replace(frame, camera_time_ns=frame.camera_time_ns + late_ns)

        def clock(self):
            reading = super().clock()
            late_ns = step_ns if self.triggers > set_at else 0
            return dataclasses.replace(reading, camera_ns=reading.camera_ns + late_ns)

    camera.__class__ = Set
    codes, lost = run(pair, pairer, 60)
    assert all(blurred == sharp for blurred, sharp in codes)
    assert any("set anew" in reason or "away from any trigger" in reason for reason in lost)


def test_a_camera_out_of_step_is_refused_and_not_paired(faulty_pair):
    """S a third of a period late: it is not driven by B."""
    pair = faulty_pair(**DRIFTING)
    pairer = pair.stream(delay_ms=9.0)
    pair.set_up("sharp", source="line", delay_ms=9.0 + 1000 / 30 / 3)
    pairer.start()
    with pytest.raises(PairLost, match="away from any trigger of camera B"):
        pairer.take(*pair.buffers())


def test_the_sync_gap_is_how_far_the_clocks_disagree(faulty_pair):
    pair = faulty_pair(clock_S=ClockSettings(offset_ms=5.0, drift_ppm=20, jitter_ms=0.2))
    pairer = pair.stream()
    pairer.start()
    gaps = [pairer.take(*pair.buffers()).gap_ms for _ in range(400)][100:]
    assert 0.15 < float(np.std(gaps)) < 0.25
    assert abs(float(np.mean(gaps))) < 0.05


def test_ten_thousand_pairs_take_seconds(faulty_pair):
    pair = faulty_pair(**DRIFTING)
    pairer = pair.stream()
    pairer.start()
    buffers = pair.buffers()
    begun = time.process_time()
    for _ in range(2000):
        pairer.take(*buffers)
    assert (time.process_time() - begun) / 2000 < 2e-3

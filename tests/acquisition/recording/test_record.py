"""The recording loop: triggers are committed or reported lost, on slow disks, full disks and Ctrl-C alike."""

import _thread
import errno
import time

import pytest

from localblur.acquisition.cameras.camera import CameraError
from localblur.acquisition.cameras.watchdog import Watchdog, WatchedCamera
from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.recording.record import (
    MAX_LOSSES_IN_A_ROW,
    REOPEN_ATTEMPTS,
    TOO_SLOW,
    RecordHooks,
    RecordOptions,
    record_pairs,
)
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import Recording, RecordingWriter, verify
from localblur.datasets.recordings.journal import FrameStore, read_journal

GROUP = "scenes/codes"


def record(pair, count, *, store=None, hooks=None, pairer=None, watchdog=None, **options):
    """Record into a new recording; returns the outcome, an exception included, and the recording."""
    writer = pair.writer()
    journal = writer.journal(GROUP, store)
    hooks = hooks or RecordHooks()
    if pairer is None:  # a running stream goes on, and only then
        hooks.seek = pair.feed.seek
    try:
        outcome = record_pairs(
            pairer or pair.pairer,
            journal,
            pair.manifest.cameras,
            range(count),
            hooks=hooks,
            options=RecordOptions(**options),
            watchdog=watchdog,
        )
    except BaseException as error:  # Ctrl-C is one of the cases
        outcome = error
    writer.close("complete")
    return outcome, Recording.open(writer.folder)


def lost_at(recording):
    """Index and count of each loss in the journal."""
    return [(event["index"], event["count"]) for event in read_journal(recording.folder / GROUP / "journal.jsonl").lost]


def assert_all_right(pair, recording, count):
    """`count` pairs, numbered without a gap, each of one trigger and the right one."""
    pairs = recording.pairs(GROUP)
    assert [record.index for record in pairs] == list(range(count))
    for index in range(count):
        assert pair.codes(*recording.frames(GROUP, index)) == (index, index)
    assert verify(recording.folder) == (count, [])
    assert not list(recording.folder.rglob("*.part"))


def test_committed_pairs_equal_triggers(faulty_pair):
    pair = faulty_pair()
    outcome, recording = record(pair, 40)
    assert (outcome.committed, outcome.lost) == (40, [])
    assert pair.blurred.triggers == pair.sharp.triggers == 40
    assert_all_right(pair, recording, 40)


def fifty_faults(rng, triggers):
    """50 faults of every kind that a recording survives, at random triggers of one camera or the other."""
    kinds = [
        "ignore",
        "drop",
        "fail",
        "spurious",
        ("delay", {"ms": 400.0}),
        ("disconnect", {}),
        ("disconnect", {"attempts": 1}),
    ]
    faults = {}, {}
    for site in rng.choice(triggers, 50, replace=False):
        faults[int(rng.integers(2))][int(site)] = kinds[int(rng.integers(len(kinds)))]
    return faults


@pytest.mark.parametrize("each", [True, False], ids=["software", "line"])
def test_a_thousand_pairs_with_fifty_faults_are_all_accounted_for(faulty_pair, rng, each, monkeypatch):
    """Every trigger is a committed pair or a reported loss, and no pair is of two triggers: pixels tell."""
    monkeypatch.setattr("localblur.acquisition.recording.record.REOPEN_WAIT_S", 0.0)
    pair = faulty_pair(*fifty_faults(rng, 1000), each=each)

    def reopen():
        for camera in (pair.blurred, pair.sharp):
            camera.close()
            camera.open()

    outcome, recording = record(pair, 1000, hooks=RecordHooks(reopen=reopen))
    assert outcome.committed == 1000
    spurious = sum(reason.endswith("no trigger asked for") for reason in outcome.lost)
    assert len(outcome.lost) >= 40
    # a frame too many is found before the next trigger is sent: a loss, but no trigger
    assert pair.blurred.triggers == outcome.committed + len(outcome.lost) - spurious
    journal = read_journal(recording.folder / GROUP / "journal.jsonl")
    assert [event["reason"] for event in journal.lost] == outcome.lost
    assert_all_right(pair, recording, 1000)


def test_a_camera_that_is_gone_for_good_ends_it_after_three_attempts(faulty_pair, monkeypatch):
    monkeypatch.setattr("localblur.acquisition.recording.record.REOPEN_WAIT_S", 0.0)
    pair = faulty_pair(None, {6: ("disconnect", {"attempts": 100})})
    attempts = []

    def reopen():
        attempts.append(1)
        pair.sharp.open()

    outcome, recording = record(pair, 20, hooks=RecordHooks(reopen=reopen))
    assert isinstance(outcome, CameraError)
    assert outcome.kind == "missing"
    assert len(attempts) == REOPEN_ATTEMPTS
    assert_all_right(pair, recording, 6)


def test_reopening_is_noted_in_the_journal(faulty_pair):
    pair = faulty_pair(None, {3: "disconnect"})
    outcome, recording = record(pair, 8, hooks=RecordHooks(reopen=lambda: pair.sharp.open()))
    assert (outcome.committed, len(outcome.lost)) == (8, 1)
    notes = (recording.folder / GROUP / "journal.jsonl").read_text()
    assert "cameras reopened at attempt 1 after: simulated camera S does not answer" in notes
    assert_all_right(pair, recording, 8)


def test_a_driver_that_hangs_ends_it_with_the_captured_pairs_committed(faulty_pair):
    pair = faulty_pair(None, {7: ("block", {"ms": 3000.0})})
    left = []
    watchdog = Watchdog(call_limit_ms=200, leave=left.append)
    pair.blurred, pair.sharp = WatchedCamera(pair.blurred, watchdog), WatchedCamera(pair.sharp, watchdog)
    pairer = TriggeredPairer(pair.blurred, pair.sharp, frame_timeout_ms=50)
    begun = time.monotonic()
    outcome, recording = record(pair, 20, pairer=pairer, watchdog=watchdog)
    assert time.monotonic() - begun < 2
    assert isinstance(outcome, CameraError)
    assert outcome.kind == "hung"
    assert left == [1]
    assert "camera S: fetch a frame: the camera's driver does not come back" in str(outcome)
    assert_all_right(pair, recording, 7)
    assert lost_at(recording) == [(7, 1)]


def test_a_driver_that_comes_back_too_late_finds_nobody_and_triggers_nothing(faulty_pair):
    pair = faulty_pair(None, {3: ("block", {"ms": 700.0})})
    camera, watchdog = pair.blurred, Watchdog(call_limit_ms=200, leave=lambda code: None)
    pairer = TriggeredPairer(WatchedCamera(camera, watchdog), WatchedCamera(pair.sharp, watchdog), frame_timeout_ms=50)
    outcome, recording = record(pair, 20, pairer=pairer, watchdog=watchdog)
    assert outcome.kind == "hung"
    time.sleep(1)
    assert camera.triggers == 4
    assert lost_at(recording) == [(3, 1)]
    assert_all_right(pair, recording, 3)


def test_cameras_that_are_gone_again_when_they_start_are_reopened_again(faulty_pair, monkeypatch):
    monkeypatch.setattr("localblur.acquisition.recording.record.REOPEN_WAIT_S", 0.0)
    pair = faulty_pair(None, {3: "disconnect"})
    attempts = []

    def reopen():
        attempts.append(1)
        if len(attempts) > 1:  # the first time it is found, and is gone at once
            pair.sharp.open()

    outcome, recording = record(pair, 8, hooks=RecordHooks(reopen=reopen))
    assert (outcome.committed, len(outcome.lost), len(attempts)) == (8, 1, 2)
    assert_all_right(pair, recording, 8)


def test_durable_commits_each_pair_before_the_next_trigger(faulty_pair):
    pair = faulty_pair()
    ahead = []
    hooks = RecordHooks(committed=lambda record, *_: ahead.append(pair.sharp.triggers - record.index - 1))
    outcome, recording = record(pair, 20, hooks=hooks, durable=True)
    assert outcome.committed == 20
    assert max(ahead) == 0
    assert_all_right(pair, recording, 20)


def test_a_running_stream_that_is_faster_than_the_disk_loses_pairs_and_says_so(faulty_pair):
    pair = faulty_pair(virtual=False)
    pairer = pair.stream(rate_hz=100.0, delay_ms=9.0)

    class SlowStore(FrameStore):
        def write(self, path, content):
            time.sleep(0.02)
            super().write(path, content)

    outcome, recording = record(pair, 30, pairer=pairer, store=SlowStore(), ring_pairs=3, period_ms=10.0)
    assert outcome.committed == 30
    assert TOO_SLOW in outcome.lost
    codes = [pair.codes(*recording.frames(GROUP, index)) for index in range(30)]
    assert all(blurred == sharp for blurred, sharp in codes)
    assert codes[-1][0] + 1 == 30 + len(outcome.lost)
    assert sum(count for _, count in lost_at(recording)) == len(outcome.lost)
    assert [codes[n][0] < codes[n + 1][0] for n in range(29)] == [True] * 29


def test_too_little_room_ends_it_before_the_disk_is_full(faulty_pair):
    pair = faulty_pair()
    left = iter([10**9] * 5 + [1000] * 100)
    outcome, recording = record(pair, 20, hooks=RecordHooks(free_bytes=lambda: next(left)))
    assert isinstance(outcome, LocalblurError)
    assert "the disk is nearly full" in str(outcome)
    assert_all_right(pair, recording, 5)


@pytest.mark.parametrize("count", [1, 4])
def test_averaged_pairs_are_the_rounded_mean_of_their_exposures(faulty_pair, count):
    pair = faulty_pair(None, {5: "drop"} if count > 1 else None)
    outcome, recording = record(pair, 3, average=count)
    assert [record.averaged for record in recording.pairs(GROUP)] == [count] * 3
    means = [pair.codes(*recording.frames(GROUP, index)) for index in range(3)]
    # frames count on within a run; a loss drops the whole mean and the feed begins at the pair's number
    expected = [(n, n) for n in range(3)] if count == 1 else [(2, 2), (3, 3), (7, 7)]
    assert means == expected
    assert outcome.committed == 3


def test_a_mean_that_fails_forgets_no_loss_among_its_exposures(faulty_pair):
    pair = faulty_pair(None, {2: "drop", 6: ("ignore", {"count": 40})})
    losses = []
    hooks = RecordHooks(lost=lambda reason, count: losses.append((reason, count)))
    outcome, _ = record(pair, 1, pairer=pair.stream(), hooks=hooks, average=8, period_ms=1000 / 30)
    assert losses[0] == ("camera S brought no frame of this trigger", 1)
    assert losses[1][0] == "simulated camera S: no frame within 500 ms"
    # all exposures that were good belong to the one mean or to the one that failed
    assert 0 <= pair.blurred.triggers - len(outcome.lost) - 8 - 5 <= 2


def test_pairs_can_be_replaced_and_the_old_ones_are_kept_as_lost(faulty_pair):
    pair = faulty_pair()
    _, recording = record(pair, 6)
    writer = RecordingWriter.open(recording.folder)
    pair.feed.seek(100)
    journal = writer.journal(GROUP)
    options = RecordOptions(replaces="a hand in the picture")
    outcome = record_pairs(pair.pairer, journal, pair.manifest.cameras, [2, 4], options=options)
    writer.close("complete")
    recording = Recording.open(recording.folder)
    assert outcome.committed == 2
    codes = [pair.codes(*recording.frames(GROUP, index))[0] for index in range(6)]
    assert codes == [0, 1, 100, 3, 101, 5]
    lost = read_journal(recording.folder / GROUP / "journal.jsonl").lost
    assert [event["index"] for event in lost] == [2, 4]
    assert all("a hand in the picture" in event["reason"] for event in lost)
    assert verify(recording.folder)[1] == []


def test_a_dead_camera_ends_the_recording_and_keeps_what_there_is(faulty_pair):
    pair = faulty_pair(None, dict.fromkeys(range(7, 100), "ignore"))
    outcome, recording = record(pair, 20)
    assert isinstance(outcome, LocalblurError)
    assert f"{MAX_LOSSES_IN_A_ROW} attempts in a row gave no pair" in str(outcome)
    assert pair.sharp.triggers == 7 + MAX_LOSSES_IN_A_ROW
    assert_all_right(pair, recording, 7)


def test_losses_that_are_not_in_a_row_do_not_end_it(faulty_pair):
    pair = faulty_pair(dict.fromkeys(range(0, 60, 2), "fail"), None)
    outcome, recording = record(pair, 20)
    assert (outcome.committed, len(outcome.lost)) == (20, 20)
    assert_all_right(pair, recording, 20)


def test_a_slow_disk_slows_the_triggers_and_costs_nothing(faulty_pair):
    pair = faulty_pair()
    ahead = []

    class SlowStore(FrameStore):
        def write(self, path, content):
            time.sleep(0.01)
            super().write(path, content)

    hooks = RecordHooks(committed=lambda record, *_: ahead.append(pair.sharp.triggers - record.index - 1))
    outcome, recording = record(pair, 20, store=SlowStore(), hooks=hooks, ring_pairs=3)
    assert (outcome.committed, outcome.lost) == (20, [])
    assert max(ahead) <= 3
    assert_all_right(pair, recording, 20)


def test_a_full_disk_ends_it_at_once_with_committed_pairs_intact(faulty_pair, caplog):
    pair = faulty_pair()

    class FullDisk(FrameStore):
        def put(self, file, content):
            if str(file.name).endswith("000006_S.tif.part"):
                super().put(file, content[:100])
                raise OSError(errno.ENOSPC, "No space left on device")
            super().put(file, content)

    outcome, recording = record(pair, 50, store=FullDisk())
    assert isinstance(outcome, OSError)
    assert outcome.errno == errno.ENOSPC
    assert pair.sharp.triggers < 20
    # what was captured and could not be written is told, to the last pair
    assert f"{pair.sharp.triggers - 6} captured pairs could not be stored" in caplog.text
    assert lost_at(recording) == [(6, pair.sharp.triggers - 6)]
    assert_all_right(pair, recording, 6)
    assert len(list((recording.folder / GROUP).glob("*.tif"))) == 12


def test_ctrl_c_commits_what_was_captured(faulty_pair):
    pair = faulty_pair()
    interrupt = RecordHooks(committed=lambda record, *_: _thread.interrupt_main() if record.index == 9 else None)
    outcome, recording = record(pair, 10_000, hooks=interrupt, watchdog=Watchdog())
    assert isinstance(outcome, KeyboardInterrupt)
    count = pair.sharp.triggers
    assert 10 <= count < 10_000
    assert_all_right(pair, recording, count)


def test_a_second_ctrl_c_drops_what_waits_and_says_how_much(faulty_pair, caplog):
    """The first one ends the capture, the second one comes while a slow disk takes what was captured."""
    pair = faulty_pair()

    class SlowStore(FrameStore):
        def write(self, path, content):
            if path.name.startswith(("000002_B", "000004_B")):
                _thread.interrupt_main()
            if path.name.startswith(("000002", "000003", "000004")):
                time.sleep(0.3)
            super().write(path, content)

    outcome, recording = record(pair, 10_000, store=SlowStore(), watchdog=Watchdog(), ring_pairs=6)
    assert isinstance(outcome, KeyboardInterrupt)
    held, triggers = len(recording.pairs(GROUP)), pair.sharp.triggers
    assert 2 < held < triggers
    assert sum(count for _, count in lost_at(recording)) == triggers - held
    assert f"{triggers - held} captured pairs could not be stored" in caplog.text
    assert_all_right(pair, recording, held)


def test_ctrl_c_does_not_wait_for_a_long_interval(faulty_pair):
    pair = faulty_pair()
    hooks = RecordHooks(committed=lambda *_: _thread.interrupt_main())
    begun = time.monotonic()
    outcome, recording = record(pair, 3, hooks=hooks, watchdog=Watchdog(), interval_ms=60_000)
    assert isinstance(outcome, KeyboardInterrupt)
    assert time.monotonic() - begun < 10
    assert_all_right(pair, recording, 1)


def test_a_pair_that_fails_its_check_is_not_committed(faulty_pair):
    pair = faulty_pair()

    def check(index, captured):
        if index == 4:
            raise LocalblurError("not what was fed")

    outcome, recording = record(pair, 30, hooks=RecordHooks(check=check))
    assert isinstance(outcome, LocalblurError)
    assert_all_right(pair, recording, 4)


def test_a_feed_that_ends_early_is_reported(faulty_pair):
    pair = faulty_pair(length=6)
    outcome, recording = record(pair, 8)
    assert isinstance(outcome, LocalblurError)
    assert "its feed has no frame" in str(outcome)
    assert_all_right(pair, recording, 6)


def test_the_interval_is_kept(faulty_pair):
    began = time.monotonic()
    record(faulty_pair(), 5, interval_ms=30)
    assert time.monotonic() - began >= 4 * 0.03


def test_buffers_are_reused_and_never_shared(faulty_pair):
    """Frames written late must not change under the writer when the ring comes round."""
    pair = faulty_pair()
    seen = []

    class Remembering(FrameStore):
        def write(self, path, content):
            time.sleep(0.002)
            seen.append(b"".join(bytes(part) for part in content))
            super().write(path, content)

    record(pair, 12, store=Remembering(), ring_pairs=2)
    assert len(set(seen)) == 24

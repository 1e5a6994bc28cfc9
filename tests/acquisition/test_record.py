"""The recording loop: triggers are committed or reported lost, on slow disks, full disks and Ctrl-C alike."""

import errno
import time

import numpy as np

from localblur.acquisition.record import MAX_LOSSES_IN_A_ROW, RecordHooks, record_pairs
from localblur.common.errors import LocalblurError
from localblur.datasets.journal import FrameStore, read_journal
from localblur.datasets.recording import Recording, verify

GROUP = "scenes/codes"


def record(pair, count, *, store=None, hooks=None, **options):
    """Record into a new recording; returns the outcome, an exception included, and the recording."""
    writer = pair.writer()
    journal = writer.journal(GROUP, store)
    hooks = hooks or RecordHooks()
    hooks.seek = pair.feed.seek
    try:
        outcome = record_pairs(pair.pairer, journal, pair.manifest.cameras, count, hooks=hooks, **options)
    except BaseException as error:  # Ctrl-C is one of the cases
        outcome = error
    writer.close("complete")
    return outcome, Recording.open(writer.folder)


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


def test_every_trigger_is_committed_or_reported_lost(faulty_pair, rng):
    kinds = ["ignore", "late", "damaged", "refuse"]
    sites = rng.choice(120, 24, replace=False)
    faults = [{int(site): str(rng.choice(kinds)) for site in part} for part in (sites[:12], sites[12:])]
    pair = faulty_pair(*faults)
    outcome, recording = record(pair, 80)
    assert outcome.committed == 80
    assert len(outcome.lost) >= 10
    assert pair.blurred.triggers == outcome.committed + len(outcome.lost)
    lost = read_journal(recording.folder / GROUP / "journal.jsonl").lost
    assert [event["reason"] for event in lost] == outcome.lost
    assert_all_right(pair, recording, 80)


def test_a_dead_camera_ends_the_recording_and_keeps_what_there_is(faulty_pair):
    pair = faulty_pair(None, dict.fromkeys(range(7, 100), "ignore"))
    outcome, recording = record(pair, 20)
    assert isinstance(outcome, LocalblurError)
    assert f"{MAX_LOSSES_IN_A_ROW} attempts in a row gave no pair" in str(outcome)
    assert pair.sharp.triggers == 7 + MAX_LOSSES_IN_A_ROW
    assert_all_right(pair, recording, 7)


def test_losses_that_are_not_in_a_row_do_not_end_it(faulty_pair):
    pair = faulty_pair(dict.fromkeys(range(0, 60, 2), "damaged"), None)
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

    hooks = RecordHooks(committed=lambda record: ahead.append(pair.sharp.triggers - record.index - 1))
    outcome, recording = record(pair, 20, store=SlowStore(), hooks=hooks, ring_pairs=3)
    assert (outcome.committed, outcome.lost) == (20, [])
    assert max(ahead) <= 3
    assert_all_right(pair, recording, 20)


def test_a_full_disk_ends_it_at_once_with_committed_pairs_intact(faulty_pair):
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
    assert_all_right(pair, recording, 6)
    assert len(list((recording.folder / GROUP).glob("*.tif"))) == 12


def test_ctrl_c_commits_what_was_captured(faulty_pair):
    pair = faulty_pair(None, {9: "interrupt"})
    outcome, recording = record(pair, 50)
    assert isinstance(outcome, KeyboardInterrupt)
    assert_all_right(pair, recording, 9)


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
            seen.append(np.frombuffer(content, np.uint8).copy())
            super().write(path, content)

    record(pair, 12, store=Remembering(), ring_pairs=2)
    assert len({bytes(content) for content in seen}) == 24

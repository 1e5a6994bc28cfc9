"""The recording loop: triggers or a running stream, a ring of buffers, a writer thread, and every loss on record.

The ring is the only queue. Where the host triggers and all buffers wait to be written, no trigger is sent: a slow disk
slows the rate and never costs a pair. Where the cameras run by themselves, pairs that find no buffer are counted as
lost. What is counted is what is committed.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localblur.acquisition.cameras.camera import CameraError, ErrorKind
from localblur.acquisition.cameras.watchdog import Watchdog
from localblur.acquisition.pairing.pairing import CapturedPair, Pairer, PairLost
from localblur.acquisition.recording.averaging import AveragingTaker
from localblur.acquisition.recording.pair_writer import Buffers, Job, PairStore, PairWriter, make_buffers
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import CameraRecord, PairRecord, Role

logger = logging.getLogger(__name__)

RING_PAIRS = 6
MAX_LOSSES_IN_A_ROW = 5
REOPEN_ATTEMPTS = 3
REOPEN_WAIT_S = 1.0
"""Before the second attempt; doubled before the third: a camera that was plugged in again needs seconds to be found."""
GONE: tuple[ErrorKind, ...] = ("disconnected", "missing", "busy")
"""Errors after which only a new connection helps."""
SPACE_RESERVE = 1.05
TOO_SLOW = "the disk is too slow: all buffers waited to be written"


class RecordJournal(PairStore, Protocol):
    """What the loop writes to; `JournalWriter` is one."""

    next_index: int

    def lost(self, index: int, reason: str, *, count: int = 1) -> None:
        """Record that attempts at pair `index` failed, and why."""

    def note(self, text: str) -> None:
        """Record a remark."""


@dataclass
class RecordHooks:
    """What a simulated rig and the screen add to the loop; a real rig needs none of the first three.

    Attributes:
        seek: called before the cameras start, with the number of the next pair.
        check: called with a captured pair before it is committed; raises `LocalblurError` if it must not be.
        before_commit: called with the number of a pair that is about to be committed.
        committed: called with each committed pair, its frames, and how many more wait to be written.
        lost: called with each reason for lost attempts and how many there were.
        reopen: connects to both cameras anew and sets them up as before; raises `CameraError` if it cannot.
        free_bytes: what is left on the disk; None if nobody knows.
    """

    seek: Callable[[int], None] = lambda index: None
    check: Callable[[int, CapturedPair], None] = lambda index, pair: None
    before_commit: Callable[[int], None] = lambda index: None
    committed: Callable[[PairRecord, CapturedPair, int], None] = lambda record, pair, waiting: None
    lost: Callable[[str, int], None] = lambda reason, count: None
    reopen: Callable[[], None] | None = None
    free_bytes: Callable[[], int | None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """How to record.

    Attributes:
        interval_ms: least time between two triggers, in milliseconds.
        ring_pairs: buffers, in pairs.
        average: exposures per pair, of which the mean is stored.
        durable: commit each pair before the next trigger.
        period_ms: the cameras run by themselves, one pair every so many ms; None if the host triggers.
        replaces: the pairs take the place of older ones, for this reason; None for new pairs.
    """

    interval_ms: float = 0.0
    ring_pairs: int = RING_PAIRS
    average: int = 1
    durable: bool = False
    period_ms: float | None = None
    replaces: str | None = None


@dataclass
class RecordResult:
    """How many pairs were committed, and why attempts were lost, one reason for each."""

    committed: int = 0
    lost: list[str] = field(default_factory=list)


def record_pairs(
    pairer: Pairer,
    journal: RecordJournal,
    cameras: dict[Role, CameraRecord],
    indices: Sequence[int],
    *,
    hooks: RecordHooks | None = None,
    options: RecordOptions | None = None,
    watchdog: Watchdog | None = None,
) -> RecordResult:
    """Capture until the pairs of all `indices` are committed; lost attempts are journalled and repeated.

    On an interruption (Ctrl-C), an error or a driver that hangs, the pairs already captured are committed before it is
    passed on. What was triggered and is not committed then is journalled as lost, unless the disk takes nothing more.

    Args:
        pairer: takes pairs from opened cameras.
        journal: where they go.
        cameras: the records the buffers are made for.
        indices: numbers of the pairs, in order: new ones from `journal.next_index`, or those to be replaced.
        watchdog: watches the cameras' calls; without one they are made in this thread.

    Raises:
        LocalblurError: after five losses in a row, if a pair fails its check or the disk is nearly full.
        CameraError: if a camera is gone for good, or its driver hangs.
        OSError: if the disk is full or fails; what was committed stays.
    """
    loop = _Loop(pairer, journal, cameras, indices, hooks or RecordHooks(), options or RecordOptions(), watchdog)
    with watchdog.gently() if watchdog is not None else contextlib.nullcontext():
        try:
            if watchdog is None:
                loop.run()
            else:
                watchdog.run(loop.run)
        finally:
            loop.finish()
    loop.writer.raise_failure()
    loop.result.committed = loop.writer.committed
    return loop.result


class _Loop:
    def __init__(
        self,
        pairer: Pairer,
        journal: RecordJournal,
        cameras: dict[Role, CameraRecord],
        indices: Sequence[int],
        hooks: RecordHooks,
        options: RecordOptions,
        watchdog: Watchdog | None,
    ) -> None:
        self.result = RecordResult()
        self._pairer, self._journal, self._indices = pairer, journal, indices
        self._hooks, self._options, self._watchdog = hooks, options, watchdog
        self._taker = AveragingTaker(pairer, options.average)
        self._pair_bytes = sum(record.frame_bytes for record in cameras.values())
        self._captured = self._in_a_row = 0
        self._taking: int | None = None
        self._scrap: Buffers | None = None
        self._cameras = cameras
        self.writer = PairWriter(journal, cameras, options.ring_pairs, before=self._before, after=self._after)

    def run(self) -> None:
        """Capture all pairs; stops both cameras at the end."""
        next_time = time.monotonic()
        try:
            self._start()
            while self._captured < len(self._indices) and not self.writer.failed:
                self._pause()
                buffers = self._room()
                if buffers is None:
                    continue
                if not self._options.period_ms:
                    self._wait(next_time - time.monotonic())
                    next_time = time.monotonic() + self._options.interval_ms / 1000
                index = self._index
                pair = self._take(buffers)
                if pair is None:
                    self.writer.give_back(buffers)
                    continue
                self.writer.submit(Job(index, pair, self._options.average, self._options.replaces))
                self._captured, self._in_a_row = self._captured + 1, 0
                if self._options.durable:
                    self.writer.wait_idle()
        finally:
            if not self._left:
                self._pairer.stop()

    def finish(self) -> None:
        """Commit what was captured; put on record what was not to be had."""
        index = self._taking
        if index is not None and self._left:
            with contextlib.suppress(OSError):
                self._lose("captured no longer: the cameras were not waited for", 1, index)
        try:
            self.writer.finish()
        finally:
            dropped = self.writer.dropped
            if dropped:
                logger.warning("%d captured pairs could not be stored and are lost", dropped)
                with contextlib.suppress(OSError):  # on a full disk
                    index = self._indices[min(self.writer.committed, len(self._indices) - 1)]
                    self._journal.lost(index, "captured, but not stored", count=dropped)

    @property
    def _left(self) -> bool:
        """Whether the thread that captures was left to itself: nobody takes what it brings."""
        return self._watchdog is not None and self._watchdog.left.is_set()

    @property
    def _index(self) -> int:
        """Number of the next pair."""
        return self._indices[min(self._captured, len(self._indices) - 1)]

    def _pause(self) -> None:
        """Between two pairs: has the user asked to stop, is there room on the disk?"""
        if self._watchdog is not None and self._watchdog.interrupted.is_set():
            raise KeyboardInterrupt
        free = self._hooks.free_bytes()
        needed = self._pair_bytes * (self._options.ring_pairs + 1) * SPACE_RESERVE
        if free is not None and free < needed:
            raise LocalblurError(
                f"the disk is nearly full ({free / 1e6:.0f} MB left, {needed / 1e6:.0f} MB needed for what is captured"
                " and not yet written); free some space and run again with --resume: all committed pairs are kept"
            )

    def _room(self) -> Buffers | None:
        """Buffers for the next pair; None if there are none because writing failed or a running stream is too fast."""
        if not self._options.period_ms:
            return self.writer.free_buffers()
        buffers = self.writer.free_buffers(self._options.period_ms / 1000)
        if buffers is None and not self.writer.failed:
            self._scrap = self._scrap or make_buffers(self._cameras)
            if self._take(self._scrap) is not None:
                self._lose(TOO_SLOW, 1)
        return buffers

    def _take(self, buffers: Buffers) -> CapturedPair | None:
        self._taking = self._index
        try:
            pair = self._taker.take(buffers)
            self._stop_if_left()
        except PairLost as lost:
            self._stop_if_left()
            self._taking = None
            self._in_a_row += 1
            for reason in lost.lost_before:
                self._lose(reason, 1)
            self._lose(str(lost), lost.count)
            self._give_up_if_vain(lost)
            self._recover(lost)
            return None
        self._taking = None
        for reason in pair.lost_before:
            self._lose(reason, 1)
        return pair

    def _recover(self, lost: PairLost) -> None:
        if lost.kind in GONE and self._hooks.reopen is not None:
            self._reopen(str(lost))
        elif lost.restart:
            self._pairer.stop()
            self._start()

    def _start(self) -> None:
        self._hooks.seek(self._index)
        try:
            self._pairer.start()
        except CameraError as error:
            if error.kind not in GONE or self._hooks.reopen is None:
                raise
            self._reopen(str(error))

    def _reopen(self, reason: str) -> None:
        """Connect to both cameras anew and start them; the last failure ends the recording."""
        for attempt in range(1, REOPEN_ATTEMPTS + 1):
            try:
                if self._hooks.reopen is not None:
                    self._hooks.reopen()
                self._pairer.reconnected()
                self._hooks.seek(self._index)
                self._pairer.start()
            except CameraError as error:
                if error.kind == "hung":
                    raise
                logger.warning("attempt %d of %d to reopen the cameras: %s", attempt, REOPEN_ATTEMPTS, error)
                if attempt == REOPEN_ATTEMPTS:
                    raise
                self._wait(REOPEN_WAIT_S * 2 ** (attempt - 1))
            else:
                self._journal.note(f"cameras reopened at attempt {attempt} after: {reason}")
                return

    def _lose(self, reason: str, count: int, index: int | None = None) -> None:
        index = self._index if index is None else index
        logger.debug("pair %d lost: %s", index, reason)
        self._journal.lost(index, reason, count=count)
        self.result.lost += [reason] * count
        self._hooks.lost(reason, count)

    def _stop_if_left(self) -> None:
        if self._left:
            raise KeyboardInterrupt

    def _wait(self, seconds: float) -> None:
        """Wait, unless the user asks to stop."""
        if seconds <= 0:
            return
        if self._watchdog is None:
            time.sleep(seconds)
        elif self._watchdog.interrupted.wait(seconds):
            raise KeyboardInterrupt

    def _give_up_if_vain(self, lost: PairLost) -> None:
        if lost.kind == "refused":
            raise CameraError("refused", str(lost))
        if self._in_a_row >= MAX_LOSSES_IN_A_ROW:
            raise LocalblurError(
                f"{self._in_a_row} attempts in a row gave no pair (last: {lost}); check cables, power and triggers,"
                " then run again with --resume"
            )

    def _before(self, job: Job) -> None:
        self._hooks.check(job.index, job.pair)
        self._hooks.before_commit(job.index)

    def _after(self, job: Job, record: PairRecord, waiting: int) -> None:
        self._hooks.committed(record, job.pair, waiting)

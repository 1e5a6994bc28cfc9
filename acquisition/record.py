"""The recording loop: triggers, a ring of buffers, and a writer thread.

The ring is the only queue. When all its buffers wait to be written, no trigger is sent: a slow disk slows the rate and
never costs a pair. What is counted is what is committed.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from localblur.acquisition.pairing import CapturedPair, Pairer, PairLost
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import CameraRecord, JournalWriter, PairRecord, Role

logger = logging.getLogger(__name__)

RING_PAIRS = 6
MAX_LOSSES_IN_A_ROW = 5


@dataclass(frozen=True)
class _Job:
    index: int
    pair: CapturedPair


@dataclass
class RecordHooks:
    """What a simulated rig and the screen add to the loop; a real rig needs none of the first three.

    Attributes:
        seek: called before the cameras start, with the number of the next pair.
        check: called with a captured pair before it is committed; raises `LocalblurError` if it must not be.
        before_commit: called with the number of a pair that is about to be committed.
        committed: called with each committed pair.
        lost: called with each reason for a lost attempt.
    """

    seek: Callable[[int], None] = lambda index: None
    check: Callable[[int, CapturedPair], None] = lambda index, pair: None
    before_commit: Callable[[int], None] = lambda index: None
    committed: Callable[[PairRecord], None] = lambda record: None
    lost: Callable[[str], None] = lambda reason: None


@dataclass
class RecordResult:
    """How many pairs were committed, and why attempts were lost."""

    committed: int = 0
    lost: list[str] = field(default_factory=list)


def record_pairs(
    pairer: Pairer,
    journal: JournalWriter,
    cameras: dict[Role, CameraRecord],
    count: int,
    *,
    hooks: RecordHooks | None = None,
    interval_ms: float = 0.0,
    ring_pairs: int = RING_PAIRS,
) -> RecordResult:
    """Capture until `count` more pairs are committed to `journal`; lost attempts are journalled and repeated.

    On an interruption (Ctrl-C) the pairs already captured are committed before it is passed on.

    Args:
        cameras: the records the buffers are made for.
        interval_ms: least time between two triggers, in milliseconds.
        ring_pairs: buffers, in pairs.

    Raises:
        LocalblurError: after five losses in a row, or if a pair fails its check.
        OSError: if the disk is full or fails; what was committed stays.
    """
    result, hooks = RecordResult(), hooks or RecordHooks()
    writer = _Writer(journal, hooks, cameras, ring_pairs)
    first, captured, in_a_row, next_time = journal.next_index, 0, 0, time.monotonic()
    try:
        _restart(pairer, hooks, first)
        while captured < count:
            buffers = writer.free_buffers()
            if buffers is None:
                break
            _sleep_until(next_time)
            next_time = time.monotonic() + interval_ms / 1000
            try:
                pair = pairer.take(*buffers)
            except PairLost as lost:
                writer.give_back(buffers)
                in_a_row += 1
                _lose(result, journal, hooks, first + captured, str(lost), in_a_row)
                _restart(pairer, hooks, first + captured)
                continue
            writer.submit(_Job(first + captured, pair))
            captured, in_a_row = captured + 1, 0
    finally:
        try:
            pairer.stop()
        finally:
            writer.finish()
    writer.raise_failure()
    result.committed = writer.committed
    return result


def _restart(pairer: Pairer, hooks: RecordHooks, index: int) -> None:
    pairer.stop()
    hooks.seek(index)
    pairer.start()


def _lose(
    result: RecordResult, journal: JournalWriter, hooks: RecordHooks, index: int, reason: str, in_a_row: int
) -> None:
    logger.warning("pair %d lost: %s", index, reason)
    journal.lost(index, reason)
    result.lost.append(reason)
    hooks.lost(reason)
    if in_a_row >= MAX_LOSSES_IN_A_ROW:
        raise LocalblurError(
            f"{in_a_row} attempts in a row gave no pair (last: {reason}); check cables, power and triggers, then run"
            " again with --resume"
        )


def _sleep_until(moment: float) -> None:
    remaining = moment - time.monotonic()
    if remaining > 0:
        time.sleep(remaining)


class _Writer(threading.Thread):
    """Commits pairs in their order; after a failure it keeps nothing more."""

    def __init__(
        self, journal: JournalWriter, hooks: RecordHooks, cameras: dict[Role, CameraRecord], ring_pairs: int
    ) -> None:
        super().__init__(name="pair writer", daemon=True)
        self.committed = 0
        self._journal, self._hooks = journal, hooks
        self._failure: BaseException | None = None
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._free: queue.Queue[_Buffers | None] = queue.Queue()
        for _ in range(ring_pairs):
            # filled, not empty: pages are touched now and not under the first frames
            self._free.put(_Buffers(*(np.full(cameras[role].shape, 1, cameras[role].dtype) for role in ("B", "S"))))
        self.start()

    def free_buffers(self) -> "_Buffers | None":
        """Wait for room; None if writing has failed."""
        buffers = self._free.get()
        return buffers if self._failure is None else None

    def give_back(self, buffers: "_Buffers") -> None:
        self._free.put(buffers)

    def submit(self, job: _Job) -> None:
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait until all submitted pairs are committed."""
        self._jobs.put(None)
        self.join()

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._failure is None:
                try:
                    self._commit(job)
                except BaseException as error:  # handed to the capturing thread, which ends the loop
                    self._failure = error
                    self._free.put(None)
            self._free.put(_Buffers(job.pair.blurred.data, job.pair.sharp.data))

    def _commit(self, job: _Job) -> None:
        self._hooks.check(job.index, job.pair)
        self._hooks.before_commit(job.index)
        record = self._journal.commit_pair(job.pair.blurred, job.pair.sharp, job.pair.gap_ms)
        self.committed += 1
        self._hooks.committed(record)


class _Buffers(NamedTuple):
    blurred: npt.NDArray[Any]
    sharp: npt.NDArray[Any]

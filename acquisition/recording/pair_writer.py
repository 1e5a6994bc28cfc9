"""The writer thread of a recording and its ring of buffers, which is the only queue."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from localblur.acquisition.pairing.pairing import CapturedPair
from localblur.datasets.recording import ROLES, CameraRecord, Frame, PairRecord, Role

_POLL_S = 0.05


class PairStore(Protocol):
    """Where pairs are committed; `JournalWriter` is one."""

    def commit_pair(
        self,
        blurred: Frame,
        sharp: Frame,
        gap_ms: float,
        *,
        averaged: int = 1,
        replaces: tuple[int, str] | None = None,
    ) -> PairRecord:
        """Store a pair so that it survives whatever comes."""


class Buffers(NamedTuple):
    """Room for one pair."""

    blurred: npt.NDArray[Any]
    sharp: npt.NDArray[Any]


@dataclass(frozen=True)
class Job:
    """A captured pair on its way to the disk.

    Attributes:
        index: its number.
        averaged: how many exposures it is the mean of.
        replaces: why it takes the place of an older pair of this number; None if it is a new one.
    """

    index: int
    pair: CapturedPair
    averaged: int = 1
    replaces: str | None = None


def make_buffers(cameras: dict[Role, CameraRecord]) -> Buffers:
    """Buffers for one pair; filled, not empty: pages are touched now and not under the first frames."""
    return Buffers(*(np.full(cameras[role].shape, 1, cameras[role].dtype) for role in ROLES))


class PairWriter(threading.Thread):
    """Commits pairs in their order; after a failure it keeps nothing more.

    Attributes:
        committed: pairs that are on the disk. dropped: captured pairs that are not, because writing failed.

    Args:
        store: where pairs go.
        before: called with each job before it is committed; what it raises ends the recording.
        after: called with each committed pair and how many more wait.
        cameras: what the buffers are made for.
        ring_pairs: how many.
    """

    def __init__(
        self,
        store: PairStore,
        cameras: dict[Role, CameraRecord],
        ring_pairs: int,
        *,
        before: Callable[[Job], None],
        after: Callable[[Job, PairRecord, int], None],
    ) -> None:
        super().__init__(name="pair writer", daemon=True)
        self.committed = self.dropped = 0
        self._store, self._before, self._after = store, before, after
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._free: queue.Queue[Buffers | None] = queue.Queue()
        self._idle = threading.Condition()
        self._open_jobs = 0
        for _ in range(ring_pairs):
            self._free.put(make_buffers(cameras))
        self.start()

    @property
    def failed(self) -> bool:
        """True once a pair could not be committed."""
        return self._failure is not None

    def free_buffers(self, timeout_s: float | None = None) -> Buffers | None:
        """Wait for room; None if writing has failed or there is none in time."""
        try:
            buffers = self._free.get(timeout=timeout_s)
        except queue.Empty:
            return None
        return None if self.failed else buffers

    def give_back(self, buffers: Buffers) -> None:
        """Return buffers that hold no pair."""
        self._free.put(buffers)

    def submit(self, job: Job) -> None:
        """Hand over a pair; its buffers come back once it is committed."""
        with self._idle:
            self._open_jobs += 1
        self._jobs.put(job)

    def wait_idle(self) -> None:
        """Wait until everything submitted is committed."""
        with self._idle:
            self._idle.wait_for(lambda: self._open_jobs == 0)

    def finish(self) -> None:
        """Wait until everything submitted is committed, and end; Ctrl-C meanwhile drops all but what is under way."""
        self._jobs.put(None)
        try:
            # not join: Ctrl-C inside it marks a running thread as ended before Python 3.13; a limit lets Windows see it
            while not self._ended.wait(_POLL_S):
                pass
        except KeyboardInterrupt as interrupt:
            self._failure = self._failure or interrupt
            self._ended.wait()
            raise

    def raise_failure(self) -> None:
        """Raise what made writing fail, if it did."""
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        """The thread."""
        while (job := self._jobs.get()) is not None:
            if self._failure is None:
                self._try(job)
            else:
                self.dropped += 1
            self._free.put(Buffers(job.pair.blurred.data, job.pair.sharp.data))
            with self._idle:
                self._open_jobs -= 1
                self._idle.notify_all()
        self._ended.set()

    def _try(self, job: Job) -> None:
        before = self.committed
        try:
            self._commit(job)
        except BaseException as error:  # handed to the capturing thread, which ends the loop
            self._failure = error
            self._free.put(None)
            self.dropped += before + 1 - self.committed  # none, if what follows the commit failed

    def _commit(self, job: Job) -> None:
        self._before(job)
        pair, replaces = job.pair, (job.index, job.replaces) if job.replaces is not None else None
        record = self._store.commit_pair(
            pair.blurred, pair.sharp, pair.gap_ms, averaged=job.averaged, replaces=replaces
        )
        self.committed += 1
        self._after(job, record, self._open_jobs - 1)

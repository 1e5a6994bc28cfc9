"""Parallel work over tasks through the `concurrent.futures.Executor` interface, with progress."""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from localblur.common.errors import LocalblurError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

PLAIN_INTERVAL_S = 10.0
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def default_workers() -> int:
    """Number of processor cores this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on Windows and macOS
        return os.cpu_count() or 1


def limit_threads() -> None:
    """Give a worker process one OpenCV thread, so that workers scale instead of fighting."""
    import cv2

    cv2.setNumThreads(1)


def prepare_worker() -> None:
    """Set up a worker process: one OpenCV thread, Ctrl-C left to the main process, and no life beyond it."""
    limit_threads()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # a killed main process cannot tell its workers to go, and they would wait for tasks for ever
        threading.Thread(target=_end_with, args=(parent.sentinel,), name="end with parent", daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Processes started meanwhile get one thread for matrix products, unless the user has set a number.

    N workers with N threads each wait for one another instead of working. BLAS reads these variables when numpy is
    loaded, which is before `prepare_worker` could say anything.
    """
    added = () if any(name in os.environ for name in BLAS_THREADS) else BLAS_THREADS
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def open_executor(workers: int, scheduler: str | None = None) -> Iterator[Executor | None]:
    """Yield an executor: a spawn-safe process pool, a Dask cluster (`scheduler` address), or None to run in place.

    `workers` of 0 or 1 without a scheduler means: run tasks in this process.
    """
    if scheduler is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise LocalblurError("--scheduler needs the cluster extra: pip install 'localblur[cluster]'") from error
        client = Client(scheduler)
        try:
            yield client.get_executor()
        finally:
            client.close()
    elif workers <= 1:
        yield None
    else:
        context = multiprocessing.get_context("spawn")
        with _one_blas_thread():
            pool = ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)
            try:
                yield pool
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def run_tasks(
    function: Callable[[Item], Result], items: Sequence[Item], executor: Executor | None, *, ahead: int = 8
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run `function` on every item and yield `(item, result)` as they finish; an exception is yielded, not raised.

    At most `ahead` tasks are in flight, so that results do not pile up in memory. Tasks must be idempotent.
    """
    if executor is None:
        for item in items:
            try:
                yield item, function(item)
            except Exception as error:  # handed to the caller, who decides what one failed task means
                yield item, error
        return
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    exhausted = False
    while running or not exhausted:
        while not exhausted and len(running) < ahead:
            try:
                item = next(waiting)
            except StopIteration:
                exhausted = True
            else:
                running[executor.submit(function, item)] = item
        if not running:
            break
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            item = running.pop(future)
            failure = future.exception()
            if isinstance(failure, BrokenProcessPool):
                raise LocalblurError(
                    "a worker process died (out of memory?); run again with fewer --workers"
                ) from failure
            if failure is None:
                yield item, future.result()
            elif isinstance(failure, Exception):
                yield item, failure
            else:
                raise failure


class Progress:
    """A progress bar on a terminal, a line every ten seconds elsewhere; nothing for work done within `delay_s`.

    Args:
        total: how much there is, None if not known.
        description, unit: what the line says.
        delay_s: time before anything is shown.
        done: what an earlier call did; counted, but no part of the rate.
    """

    def __init__(
        self, total: int | None, description: str, unit: str = "pair", *, delay_s: float = 0.0, done: int = 0
    ) -> None:
        self.total, self.description, self.unit = total, description, unit
        self.count = self._shown = done
        self._terminal = sys.stderr.isatty()
        self._bar = (
            tqdm(total=total, initial=done, desc=description, unit=unit, delay=delay_s) if self._terminal else None
        )
        self._last = time.monotonic()
        self._shown_from = self._last + delay_s

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.count != self._shown and time.monotonic() >= self._shown_from:
            self._line()

    def step(self, note: str = "", count: int = 1) -> None:
        """Advance by `count`; `note` is shown beside the bar or at the end of the line."""
        self.count += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last >= PLAIN_INTERVAL_S:
            self._line(note)

    def say(self, text: str) -> None:
        """A line of its own, for what should not wait until all is done."""
        tqdm.write(f"{self.description}: {text}", file=sys.stderr)

    def _line(self, note: str = "") -> None:
        self._last, self._shown = time.monotonic(), self.count
        of_total = f"/{self.total}" if self.total is not None else ""
        tail = f"  {note}" if note else ""
        sys.stderr.write(f"{self.description}: {self.count}{of_total} {self.unit}s{tail}\n")
        sys.stderr.flush()


def with_progress(items: Iterable[Any], total: int | None, description: str, unit: str = "pair") -> Iterator[Any]:
    """Iterate over `items` and show progress."""
    with Progress(total, description, unit) as progress:
        for item in items:
            yield item
            progress.step()

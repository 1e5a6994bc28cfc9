import importlib.util
import math
import os
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from localblur.common import parallel
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress, default_workers, open_executor, run_tasks, with_progress


class Watched(Executor):
    """A thread pool that remembers how many tasks were in flight at most."""

    def __init__(self) -> None:
        self.pool, self.futures, self.most = ThreadPoolExecutor(2), list[Future](), 0

    def submit(self, fn, /, *args, **kwargs):
        future = self.pool.submit(fn, *args, **kwargs)
        self.futures.append(future)
        self.most = max(self.most, sum(not f.done() for f in self.futures))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.pool.shutdown(wait=wait, cancel_futures=cancel_futures)


def roots(results):
    return {item: result if isinstance(result, float) else type(result) for item, result in results}


@pytest.mark.parametrize("workers", [0, 1])
def test_without_workers_tasks_run_here_and_errors_are_yielded(workers):
    with open_executor(workers) as executor:
        assert executor is None
        assert roots(run_tasks(math.sqrt, [4.0, -1.0, 9.0], executor)) == {4.0: 2.0, -1.0: ValueError, 9.0: 3.0}


def test_a_process_pool_gives_the_same_results():
    with open_executor(2) as executor:
        items = [4.0, -1.0, *(float(n * n) for n in range(20, 40))]
        assert roots(run_tasks(math.sqrt, items, executor)) == roots(run_tasks(math.sqrt, items, None))


def test_a_worker_that_dies_is_one_line_with_a_remedy():
    with (
        open_executor(2) as executor,
        pytest.raises(LocalblurError, match="worker process died.*fewer --workers"),
    ):
        list(run_tasks(os._exit, [3], executor))


def test_results_do_not_pile_up():
    executor = Watched()
    done = 0
    for _ in run_tasks(time.sleep, [0.001] * 40, executor, ahead=3):
        done += 1
        assert len(executor.futures) <= done + 3
    executor.shutdown()
    assert done == 40
    assert executor.most <= 3


def test_no_tasks_are_no_results():
    with ThreadPoolExecutor(1) as executor:
        assert list(run_tasks(math.sqrt, [], executor)) == []
    assert list(run_tasks(math.sqrt, [], None)) == []


def test_an_interrupt_in_a_task_is_not_swallowed():
    def interrupt(_item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_tasks(interrupt, [1], None))


@pytest.mark.skipif(importlib.util.find_spec("distributed") is not None, reason="the cluster extra is installed")
def test_a_scheduler_without_its_extra_says_what_to_install():
    with pytest.raises(LocalblurError, match=r"localblur\[cluster\]"), open_executor(2, "tcp://nowhere:8786"):
        pass


def test_there_is_at_least_one_worker():
    assert default_workers() >= 1


def test_progress_is_plain_lines_when_nobody_watches(capsys, monkeypatch):
    monkeypatch.setattr(parallel, "PLAIN_INTERVAL_S", 0.0)
    with Progress(3, "aligning") as progress:
        progress.step("first")
        progress.step(count=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["aligning: 1/3 pairs  first", "aligning: 3/3 pairs"]


def test_quick_work_is_one_line_and_no_work_none(capsys):
    assert list(with_progress(range(5), None, "reading", "file")) == list(range(5))
    assert list(with_progress([], 0, "reading", "file")) == []
    assert capsys.readouterr().err == "reading: 5 files\n"


@pytest.mark.parametrize("chosen", [None, "3"])
def test_workers_get_one_thread_for_matrix_products_unless_the_user_chose(chosen, monkeypatch):
    for name in parallel.BLAS_THREADS:
        monkeypatch.delenv(name, raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    with open_executor(2) as executor:
        assert executor is not None
        found = [executor.submit(os.getenv, name).result() for name in parallel.BLAS_THREADS]
    assert found == ([chosen, None, None] if chosen else ["1", "1", "1"])
    assert os.getenv("OMP_NUM_THREADS") == chosen

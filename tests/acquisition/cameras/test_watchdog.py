"""Calls that never come back and Ctrl-C are dealt with from outside the thread that makes the calls."""

import _thread
import signal
import subprocess
import sys
import threading
import time

import pytest

from localblur.acquisition.cameras.camera import CameraError
from localblur.acquisition.cameras.watchdog import Watchdog, WatchedCamera
from localblur.common.errors import LocalblurError


def test_results_and_errors_are_handed_over():
    watchdog = Watchdog()
    assert watchdog.run(lambda: 5) == 5
    with pytest.raises(LocalblurError, match="broken"):
        watchdog.run(lambda: (_ for _ in ()).throw(LocalblurError("broken")))
    assert watchdog.hung is None


def test_work_between_calls_may_take_as_long_as_it_likes():
    watchdog = Watchdog(call_limit_ms=20)

    def work():
        with watchdog.expect("quick"):
            pass
        time.sleep(0.3)
        return "done"

    assert watchdog.run(work) == "done"


def test_a_call_that_does_not_return_is_named_and_left_behind():
    left, release = [], threading.Event()
    watchdog = Watchdog(call_limit_ms=50, leave=left.append)

    def work():
        with watchdog.expect("camera B: stop"):
            release.wait(5)

    begun = time.monotonic()
    with pytest.raises(CameraError, match="camera B: stop: the camera's driver does not come back") as failure:
        watchdog.run(work)
    release.set()
    assert failure.value.kind == "hung"
    assert watchdog.hung == "camera B: stop"
    assert left == [1]
    assert time.monotonic() - begun < 2


def test_a_call_with_a_time_limit_of_its_own_gets_three_times_as_long():
    watchdog = Watchdog(call_limit_ms=10, leave=lambda code: None)

    def work(seconds):
        with watchdog.expect("wait", limit_ms=100):
            time.sleep(seconds)

    watchdog.run(lambda: work(0.2))
    with pytest.raises(CameraError):
        watchdog.run(lambda: work(1.0))


def test_ctrl_c_asks_the_function_to_end_and_waits_for_it():
    watchdog = Watchdog()
    threading.Timer(0.1, _thread.interrupt_main).start()

    def work():
        assert watchdog.interrupted.wait(5)
        time.sleep(0.1)
        return "ended well"

    assert watchdog.run(work) == "ended well"


def test_a_second_ctrl_c_waits_no_longer():
    codes, release = [], threading.Event()
    watchdog = Watchdog(leave=codes.append)
    for delay in (0.1, 0.3):
        threading.Timer(delay, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        watchdog.run(lambda: release.wait(5))
    release.set()
    assert codes == [130]
    assert watchdog.left.is_set()


@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_while_the_thread_begins_leaves_no_thread_behind(monkeypatch, when):
    watchdog, begin = Watchdog(), threading.Thread.start
    before = signal.getsignal(signal.SIGINT)  # a command run earlier in this process leaves its own

    def interrupted_start(thread):
        if when == "before":
            signal.raise_signal(signal.SIGINT)
        begin(thread)
        if when == "after":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    assert watchdog.run(lambda: watchdog.interrupted.wait(5)) is True
    assert signal.getsignal(signal.SIGINT) is before


def test_after_a_hang_the_camera_is_not_touched_again(faulty_pair):
    watchdog, camera = Watchdog(), faulty_pair().sharp
    watched = WatchedCamera(camera, watchdog)
    watched.open()
    watched.start()
    assert watched.ready(10)
    watchdog.hung = "camera S: fetch a frame"
    watched.stop()
    watched.close()
    assert camera.ready(10)
    for call in (watched.trigger, watched.start, watched.open, watched.clock, watched.status, watched.pending):
        with pytest.raises(CameraError, match="camera S: fetch a frame: the camera's driver does not come back"):
            call()
    assert camera.triggers == 0


PROGRAM = """
import atexit, threading
from localblur.acquisition.cameras.camera import CameraError
from localblur.acquisition.cameras.watchdog import Watchdog

watchdog = Watchdog(call_limit_ms=50)
never = threading.Event()
atexit.register(never.wait)  # the SDK's own farewell, which hangs like its call

def work():
    with watchdog.expect("camera B: stop"):
        never.wait()

try:
    watchdog.run(work)
except CameraError as error:
    print(error.kind)
"""


def test_the_process_ends_although_a_thread_hangs():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "hung\n"), done.stderr

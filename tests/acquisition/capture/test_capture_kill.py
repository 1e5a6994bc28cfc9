"""SIGKILL during the real command: the next run continues, and nothing committed is lost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.recording import Recording, verify
from localblur.datasets.recordings.journal import read_journal

COMMAND = "from localblur.acquisition.capture import main; main(prog_name='capture')"
KILLS = 5


def start(way, folder, count, workers):
    arguments = [
        "--pair",
        way,
        "s",
        "--size",
        "64x64",
        "--count",
        count,
        "--workers",
        workers,
        "--resume",
        "-o",
        folder,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def journalled(folder):
    path = folder / "scenes" / "s" / "journal.jsonl"
    return read_journal(path).pairs if path.exists() else []


def kill_while_recording(process, folder, held, rng):
    """Wait for a new pair, then a random moment more, then SIGKILL; some moments fall into rendering, some into
    writing, some between two lines."""
    deadline = time.monotonic() + 90
    while len(journalled(folder)) <= held:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no pair was committed"
        time.sleep(0.005)
    time.sleep(float(rng.uniform(0, 0.5)))
    process.kill()
    process.communicate()


def assert_nothing_lost(folder, before):
    """Every pair of `before` is still there as it was, whole, and the numbers have no gap."""
    now = journalled(folder)
    assert now[: len(before)] == before
    checked, problems = verify(folder)
    assert problems == []
    assert checked == len(now) >= len(before)
    assert [pair.index for pair in now] == list(range(len(now)))
    return now


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--simulate", "--emulate"])
def test_killed_captures_continue_and_lose_nothing(tmp_path, way):
    folder, rng = tmp_path / "recording", np.random.default_rng(len(way))
    kills = KILLS if way == "--simulate" else 2
    pairs = []
    for _ in range(kills):
        process = start(way, folder, 100_000, workers=1)
        kill_while_recording(process, folder, len(pairs), rng)
        pairs = assert_nothing_lost(folder, pairs)
        assert Recording.open(folder).manifest.state == "running"
    assert len(pairs) >= kills
    wanted = len(pairs) + 3
    process = start(way, folder, wanted, workers=1)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"3 of 3 pairs committed, {len(pairs)} held already, 0 lost" in output
    assert len(assert_nothing_lost(folder, pairs)) == wanted
    assert Recording.open(folder).manifest.state == "complete"
    frames = {path.name for path in (folder / "scenes" / "s").glob("*.tif*")}
    assert frames == {f"{index:06d}_{role}.tif" for index in range(wanted) for role in "BS"}
    truth = {path.stem for path in (folder / "truth" / "s").iterdir()}
    assert truth == {f"{index:06d}" for index in range(wanted)}
    assert not list(folder.glob(".feed*"))


@pytest.mark.slow
def test_a_kill_before_the_first_pair_leaves_a_folder_that_can_be_used(tmp_path):
    """At any time after the start: before the folder exists, before the manifest, before the journal."""
    rng = np.random.default_rng(0)
    for number in range(4):
        folder = tmp_path / f"recording{number}"
        process = start("--simulate", folder, 100_000, workers=1)
        deadline = time.monotonic() + 60
        while number and not folder.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.03)))
        process.kill()
        process.communicate()
        try:
            held = verify(folder)[0]
        except LocalblurError as error:
            assert "is no recording" in str(error)  # killed before there was one
            held = 0
        if number % 2:
            process = start("--simulate", folder, held + 1, workers=1)
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            assert verify(folder) == (held + 1, [])


@pytest.mark.slow
def test_worker_processes_do_not_outlive_a_killed_capture(tmp_path):
    folder = tmp_path / "recording"
    arguments = ["--pair", "--simulate", "s", "--size", "128x96", "--count", "200", "--workers", "2", "-o", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    children = []
    deadline = time.monotonic() + 90
    while not journalled(folder) and time.monotonic() < deadline:
        children = _children(process.pid) or children
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert len(children) >= 2
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_alive(child) for child in children):
        time.sleep(0.1)
    assert not [child for child in children if _alive(child)]
    checked, problems = verify(folder)
    assert checked >= 1
    assert problems == []


def _children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    return [int(child) for child in path.read_text().split()]


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

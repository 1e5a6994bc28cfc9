"""`--scheduler` hands the same tasks to a Dask cluster: a real scheduler and two workers on the loopback interface."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.alignment.align_dataset import main
from localblur.datasets.store import PairsFile

WORKERS = 2
PATIENCE_S = 90

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="the cluster extra is missing")


def started(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__DASHBOARD__LINK": ""}
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", *arguments], stdout=file, stderr=file, env=environment)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler to which both workers have connected."""
    told = tmp_path / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    log = tmp_path / "scheduler.log"
    scheduler = ["distributed.cli.dask_scheduler", *common, "--port", "0", "--scheduler-file", str(told)]
    processes = [started(scheduler, log)]
    try:
        until(lambda: told.exists() and told.read_text().strip().endswith("}"), log)
        address = json.loads(told.read_text())["address"]
        for number in range(WORKERS):
            folder = ["--local-directory", str(tmp_path / f"worker{number}")]
            alone = ["--nthreads", "1", "--nworkers", "1", "--no-nanny"]
            worker = ["distributed.cli.dask_worker", address, *common, *alone, *folder]
            processes.append(started(worker, tmp_path / f"worker{number}.log"))
        until(lambda: len(re.findall(r"Register worker", log.read_text())) >= WORKERS, log)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(20)


def until(reached: Any, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def contents(path: Path) -> dict[str, Any]:
    with PairsFile.open(path) as pairs:
        return {
            f"{scene.name}/{info.name}": (repr(info), pairs.read(scene.name, index))
            for scene in pairs.scenes
            for index, info in enumerate(pairs.info(scene.name))
        }


@pytest.mark.slow
@needs_dask
def test_a_cluster_makes_the_same_file(cluster: str, small_rig: Any, tmp_path: Path) -> None:
    folder = small_rig.folder(tmp_path / "in", {"a": 3, "b": 2})
    alone = CliRunner().invoke(main, [str(folder), "-o", str(tmp_path / "alone.h5"), "--workers", "1"])
    assert alone.exit_code == 0, alone.output
    program = "from localblur.alignment.align_dataset import main; main()"
    command = [sys.executable, "-c", program, str(folder), "-o", str(tmp_path / "cluster.h5"), "--scheduler", cluster]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    assert "5 accepted, 0 rejected, 0 lost" in result.stdout
    assert "Traceback" not in result.stderr
    one, other = contents(tmp_path / "alone.h5"), contents(tmp_path / "cluster.h5")
    assert one.keys() == other.keys()
    for key, (info, pair) in one.items():
        assert info == other[key][0]
        np.testing.assert_array_equal(pair.blurred, other[key][1].blurred)
        np.testing.assert_array_equal(pair.mask, other[key][1].mask)


@pytest.mark.slow
@needs_dask
def test_without_a_scheduler_at_the_address_it_says_so(small_rig: Any, tmp_path: Path) -> None:
    folder = small_rig.folder(tmp_path / "in", {"a": 1}, static=0)
    program = "from localblur.alignment.align_dataset import main; main()"
    command = [sys.executable, "-c", program, str(folder), "-o", str(tmp_path / "x.h5")]
    command += ["--scheduler", "tcp://127.0.0.1:9"]
    environment = os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert result.returncode == 1
    assert "127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr

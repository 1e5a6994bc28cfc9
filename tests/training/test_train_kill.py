"""`train-lbag` killed again and again ends where an undisturbed run ends."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.checkpoint import load_model, load_state
from localblur.training.running.run_log import read_log

KILLS = 5
CHECKPOINT_EVERY = 3
STEPS = 90
PATIENCE_S = 120


@pytest.fixture
def pairs(tmp_path, rng):
    path = tmp_path / "pairs.h5"
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for split in ("train", "val"):
            sharp = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            mask = np.full((48, 48), 255, np.uint8)
            pair = Pair(scene=split, info=PairInfo(name="00"), blurred=sharp // 2, sharp=sharp, mask=mask)
            writer.add(pair, split)
    return path


def command(pairs, run):
    settings = (
        f"steps={STEPS}",
        f"checkpoint_every_steps={CHECKPOINT_EVERY}",
        "log_every_steps=1",
        "network.options.width=8",
        "network.options.num_res=1",
        "data.stages=[]",
        "data.patch_px=48",
        "data.batch=1",
        "validation.patch_px=48",
        "validation.samples=1",
        "validation.every_steps=10",
    )
    sets = [item for setting in settings for item in ("--set", setting)]
    module = [sys.executable, "-m", "localblur.training.train_lbag", str(pairs), "-o", str(run)]
    return [*module, "--recipe", "lbag-small", "--resume", *sets]


def logged_step(run):
    return max((record["step"] for record in read_log(run)), default=0)


def checkpoint_step(run):
    path = run / "checkpoint.pt"
    return load_state(path)["step"] if path.exists() else 0


def killed_after_progress(arguments, run, delays):
    """Run until some steps were done, then kill -9 at a random moment."""
    begin = checkpoint_step(run)
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while logged_step(run) < begin + 5 or checkpoint_step(run) <= begin:
            assert process.poll() is None, process.stdout.read().decode()
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.01)
        time.sleep(delays.uniform(0, 0.1))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return process.returncode


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_killed_five_times_it_goes_on_and_ends_with_the_same_bits(tmp_path, pairs):
    run, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    delays = random.Random(0)
    reached = 0
    for _ in range(KILLS):
        assert killed_after_progress(command(pairs, run), run, delays) == -signal.SIGKILL
        done, kept = logged_step(run), checkpoint_step(run)
        assert reached < kept < STEPS
        assert done - kept <= CHECKPOINT_EVERY
        load_model(run)  # whatever was best so far is whole
        reached = kept
    for folder in (run, undisturbed):
        subprocess.run(command(pairs, folder), check=True, capture_output=True, timeout=PATIENCE_S)
    one, other = load_state(run / "checkpoint.pt"), load_state(undisturbed / "checkpoint.pt")
    assert one["step"] == other["step"] == STEPS
    assert all(torch.equal(one["module"][key], tensor) for key, tensor in other["module"].items())
    assert [r["step"] for r in read_log(run) if r["kind"] == "train"] == list(range(1, STEPS + 1))
    assert not list(run.rglob(".*.part*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM")
def test_a_polite_stop_of_the_whole_group_spares_the_loader_processes(tmp_path, pairs):
    """As `timeout`, systemd and schedulers send it."""
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*command(pairs, run), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while logged_step(run) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=PATIENCE_S)[0].decode()
    assert process.returncode == 130, output
    assert checkpoint_step(run) == logged_step(run) < STEPS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM")
def test_a_polite_stop_finishes_the_step_and_leaves_a_checkpoint(tmp_path, pairs):
    run = tmp_path / "run"
    process = subprocess.Popen(command(pairs, run), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE_S
    while logged_step(run) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=PATIENCE_S)[0].decode()
    assert process.returncode == 130, output
    assert "continue with --resume" in output
    assert checkpoint_step(run) == logged_step(run) < STEPS

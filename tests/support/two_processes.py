"""Trainings in two processes that talk through gloo; importable, so that processes can be spawned."""

import multiprocessing
import os
import socket

import torch
from striped_data import striped_data, tiny_settings

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import load_state
from localblur.training.running.loop import STATE_NAME, train
from localblur.training.runtime import Runtime

RANKS = 2
PATIENCE_S = 240


def run_in_two(function, *arguments):
    """Call `function(runtime, *arguments)` in both processes; an exit code other than 0 is an error."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_child, args=(rank, port, function, arguments)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
    assert codes == [0] * RANKS


def _child(rank, port, function, arguments):
    torch.set_num_threads(1)
    os.environ.update(
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(RANKS),
            "LOCAL_WORLD_SIZE": str(RANKS),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
    )
    runtime = Runtime("cpu")
    assert (runtime.rank, runtime.ranks) == (rank, RANKS)
    function(runtime, *arguments)
    torch.distributed.destroy_process_group()


def whole_and_interrupted(runtime, folder, changes, workers, stop_at):
    """Train without and with an interruption."""
    chosen = tiny_settings(**changes)
    train(chosen, striped_data(), folder / "whole", runtime=runtime, workers=workers)
    runtime.wait()
    first = train(chosen, striped_data(stop_at=stop_at), folder / "parts", runtime=runtime, workers=workers)
    assert first.reason == "interrupted", first
    assert 0 < first.step < chosen.steps
    runtime.wait()
    state = load_state(folder / "parts" / STATE_NAME)
    train(chosen, striped_data(), folder / "parts", runtime=runtime, workers=workers, state=state)


def stopped_by_a_batch_of_the_second(runtime, folder):
    """Train with a sample that only the second process gets and that is not finite; leave what each was told."""
    chosen = tiny_settings(nonfinite_limit=0)
    try:
        train(chosen, striped_data(broken={1}), folder / "run", runtime=runtime)
    except LocalblurError as error:
        (folder / f"told{runtime.rank}").write_text(str(error))

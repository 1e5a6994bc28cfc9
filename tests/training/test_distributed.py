"""Training on two processes."""

import sys

import pytest
import torch
from striped_data import assert_equal_bits, tiny_settings
from two_processes import run_in_two, stopped_by_a_batch_of_the_second, whole_and_interrupted

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import load_state
from localblur.training.running.loop import DUMP_NAME, STATE_NAME
from localblur.training.running.run_log import read_log
from localblur.training.running.updater import check_shares

FOUR = {"patch_px": 48, "batch": 4}
CRITIC = {"adversarial": {"kind": "wgan-gp", "critic": "patch", "weight": 0.01}}


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over spawn is not set up there")
@pytest.mark.parametrize(
    ("changes", "workers"),
    [
        ({"precision": "bf16", "objective": CRITIC, "steps": 3}, 0),
        pytest.param(
            {"precision": "bf16", "steps": 24, "accumulate": 2, "data": FOUR, "optimizer": {"name": "muon"}},
            1,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["critic", "loader processes"],
)
def test_two_processes_resume_to_the_same_bits(tmp_path, changes, workers):
    run_in_two(whole_and_interrupted, tmp_path, changes, workers, 3)
    whole, parts = (load_state(tmp_path / name / STATE_NAME) for name in ("whole", "parts"))
    assert_equal_bits(whole, parts)
    assert len(whole["random"]) == 2
    steps = [record["step"] for record in read_log(tmp_path / "parts") if record["kind"] == "validation"]
    assert steps == sorted(set(steps))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over spawn is not set up there")
def test_the_batch_that_was_not_finite_is_kept_whichever_process_had_it(tmp_path):
    run_in_two(stopped_by_a_batch_of_the_second, tmp_path)
    for rank in range(2):
        assert "loss nan or gradient nan is not finite at step 1" in (tmp_path / f"told{rank}").read_text()
    dump = load_state(tmp_path / "run" / DUMP_NAME)
    assert dump["rank"] == 1
    assert bool(torch.isnan(dump["batch"]["blurred"]).any())


def test_a_batch_that_processes_cannot_share_is_refused():
    settings = tiny_settings(data={"patch_px": 48, "batch": 6}, accumulate=2)
    check_shares(settings, 3)
    with pytest.raises(LocalblurError, match="a batch of 6 cannot be shared evenly by 2 processes in 2 parts"):
        check_shares(settings, 2)

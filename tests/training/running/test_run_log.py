"""What a run writes about itself, beside its own files."""

import json
import sys
import types

import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.training.running.run_log import RunLog, read_log


class Project:
    """A run of Weights & Biases that keeps what it is given."""

    def __init__(self):
        self.records, self.ended, self.begun_with = [], None, None

    def log(self, record):
        self.records.append(record)

    def finish(self, exit_code):
        self.ended = exit_code


@pytest.fixture
def project(monkeypatch):
    stand_in, run = types.ModuleType("wandb"), Project()

    def init(**arguments):
        run.begun_with = arguments
        return run

    stand_in.init = init
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    return run


def test_records_reach_weights_and_biases_where_it_is_asked_for(tmp_path, project):
    (tmp_path / "run").mkdir()
    with RunLog(tmp_path / "run", 0, wandb_project="deblurring") as log:
        log.add("train", 3, {"loss": 0.5, "strange": float("nan")})
        log.add_pictures(3, [torch.rand(3, 4, 16)])
    assert project.begun_with["project"] == "deblurring"
    assert project.begun_with["name"] == "run"
    assert project.records == [{"train/loss": 0.5, "step": 3}]
    assert project.ended == 0
    assert read_log(tmp_path / "run") == [{"kind": "train", "step": 3, "loss": 0.5, "strange": None}]


def test_a_resumed_run_is_the_same_there_and_one_of_another_folder_is_not(tmp_path, project):
    found = []
    for folder in ("a", "a", "b"):
        (tmp_path / folder / "lbag").mkdir(parents=True, exist_ok=True)
        with RunLog(tmp_path / folder / "lbag", 0, wandb_project="p"):
            found.append(project.begun_with["id"])
    assert found[0] == found[1] != found[2]


def test_a_run_that_fails_is_marked_so(tmp_path, project):
    with pytest.raises(LocalblurError), RunLog(tmp_path, 0, wandb_project="p"):
        raise LocalblurError("stop")
    assert project.ended == 1


def test_processes_that_do_not_write_leave_nothing(tmp_path, project):
    with RunLog(tmp_path, 0, writing=False, wandb_project="p") as log:
        log.add("train", 1, {"loss": 1.0})
        log.add_pictures(1, [torch.rand(3, 4, 4)])
    assert list(tmp_path.iterdir()) == []
    assert project.begun_with is None


def test_a_torn_last_line_is_left_out(tmp_path):
    lines = [json.dumps({"kind": "train", "step": step}) for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"kind": "tr')
    assert [record["step"] for record in read_log(tmp_path)] == [1, 2]

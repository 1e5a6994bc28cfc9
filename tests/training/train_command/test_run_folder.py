"""What `train-lbag` does with the folder of a run: it is resumed as what it is, and nothing in it is lost."""

import shutil

import pytest
import torch
from train_calls import call, one_line, write_pairs

from localblur.common.locking import LOCK_NAME, FolderLock
from localblur.training.checkpoint import load_model, load_state
from localblur.training.running.run_log import read_log


def test_an_existing_run_is_not_replaced_by_accident(finished, pairs):
    run, _ = finished
    before = (run / "checkpoint.pt").read_bytes()
    assert "exists already" in one_line(call(pairs, "--recipe", "lbag-small", "-o", run))
    assert (run / "checkpoint.pt").read_bytes() == before


def test_a_finished_run_resumed_says_so(finished, pairs):
    run, _ = finished
    before = load_state(run / "checkpoint.pt")
    result = call(pairs, "--resume", "-o", run, small=False)
    assert result.exit_code == 0, result.output
    assert "finished at step 4 of 4" in result.output
    after = load_state(run / "checkpoint.pt")
    assert all(torch.equal(before["module"][key], after["module"][key]) for key in before["module"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "lbag"), "was begun with recipe lbag-small"),
        (("--set", "network.name=lbag"), "not permitted in the network lbag"),
        (("--set", "optimizer.lr=1"), "optimizer.lr was"),
        (("--seed", "4"), "seed was 3, now 4"),
    ],
)
def test_a_run_is_not_resumed_as_something_else(finished, pairs, arguments, message):
    run, _ = finished
    before = (run / "checkpoint.pt").read_bytes()
    assert message in one_line(call(pairs, "--resume", "-o", run, *arguments, small=False))
    assert (run / "checkpoint.pt").read_bytes() == before


def test_a_run_is_not_resumed_on_other_pairs(finished, tmp_path):
    run, _ = finished
    other = write_pairs(tmp_path / "other.h5", splits=("train", "val"))
    assert "other pairs" in one_line(call(other, "--resume", "-o", run, small=False))


def test_a_damaged_checkpoint_is_one_line(tmp_path, pairs):
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.pt").write_bytes(b"PK\x03\x04 torn")
    assert "damaged" in one_line(call(pairs, "--resume", "-o", run, small=False))


def test_resume_begins_a_run_that_has_not_begun_and_overwrite_begins_again(tmp_path, pairs):
    run = tmp_path / "run"
    assert call(pairs, "--recipe", "lbag-small", "-o", run, "--resume", "--minutes", "0.0001").exit_code == 0
    assert load_state(run / "checkpoint.pt")["step"] == 1
    result = call(pairs, "-o", run, "--resume", small=False)
    assert "finished at step 4 of 4" in result.output
    result = call(pairs, "--recipe", "lbag-small", "-o", run, "--overwrite", "--minutes", "0.0001")
    assert result.exit_code == 0, result.output
    assert "out of time at step 1 of 4" in result.output
    assert "continue with --resume" in result.output
    assert [record["step"] for record in read_log(run)] == [0, 1, 1]


def only_run_json(run, finished):
    """What a kill before the first checkpoint leaves."""
    run.mkdir()
    shutil.copy(finished / "run.json", run)
    (run / ".lock").touch()
    return run


def test_a_run_without_a_checkpoint_begins_with_its_own_settings(finished, tmp_path, pairs):
    run = only_run_json(tmp_path / "run", finished[0])
    assert "begun with recipe lbag-small" in one_line(call(pairs, "--resume", "-o", run, "--recipe", "lbag"))
    result = call(pairs, "--resume", "-o", run, small=False)
    assert "finished at step 4 of 4" in result.output
    expected, own = (load_state(folder / "checkpoint.pt") for folder in (finished[0], run))
    assert own["settings"] == expected["settings"]
    assert all(torch.equal(own["module"][key], tensor) for key, tensor in expected["module"].items())


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "not of a run"), ('{"format": "localblur-run"}', "holds no settings"), ("{", "cannot")]
)
def test_a_damaged_run_json_is_one_line(tmp_path, pairs, text, message):
    (tmp_path / "run.json").write_text(text)
    assert message in one_line(call(pairs, "--resume", "-o", tmp_path, small=False))


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_run_that_lost_its_checkpoint_keeps_its_models(finished, tmp_path, pairs, name):
    run = only_run_json(tmp_path / "run", finished[0])
    shutil.copytree(finished[0] / name, run / name)
    assert "there is no" in one_line(call(pairs, "--resume", "-o", run, small=False))
    load_model(run)


STRANGE = ("best/photo.png", "tensorboard/notes.txt", "metrics.csv", ".cache.part", "deep/.model.1.part.json")


def test_a_folder_of_something_else_is_refused_and_with_overwrite_kept(tmp_path, pairs):
    for name in STRANGE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for how in ((), ("--resume",)):
        assert "not the folder of a run" in one_line(call(pairs, "--recipe", "lbag-small", "-o", tmp_path, *how))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(STRANGE)
    leftover = tmp_path / ".checkpoint.7.part.pt"
    leftover.touch()
    for _ in range(2):
        result = call(pairs, "--recipe", "lbag-small", "-o", tmp_path, "--overwrite", "--minutes", "0.0001")
        assert result.exit_code == 0, result.output
    assert all((tmp_path / name).read_text() == name for name in STRANGE)
    assert not leftover.exists()
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 1


def test_a_checkpoint_of_something_else_is_kept(tmp_path, pairs):
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert "not the folder of a run" in one_line(call(pairs, "-o", tmp_path))
    assert "not a training state" in one_line(call(pairs, "-o", tmp_path, "--resume"))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_two_processes_do_not_train_in_one_folder(finished, pairs):
    run, _ = finished
    lock = FolderLock(run, "trained in")
    for how in ("--resume", "--overwrite"):
        assert "by another process" in one_line(call(pairs, "-o", run, how, small=False))
    lock.release()
    assert call(pairs, "-o", run, "--resume", small=False).exit_code == 0


def test_a_call_that_fails_costs_nothing(finished, tmp_path, pairs):
    """Neither the run that it was to replace, nor the folder that it was to begin in."""
    run = tmp_path / "copy"
    shutil.copytree(finished[0], run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != LOCK_NAME}
    typo = ("--recipe", "lbag-small", "--set", f"initial_weights={tmp_path / 'typo.pkl'}")
    assert "typo.pkl" in one_line(call(pairs, "-o", run, "--overwrite", *typo))
    assert {path: path.read_bytes() for path in before} == before
    assert "typo.pkl" in one_line(call(pairs, "-o", tmp_path / "new", *typo))
    assert not (tmp_path / "new").exists()
    result = call(pairs, "-o", tmp_path / "new", "--recipe", "lbag-small")
    assert result.exit_code == 0, result.output

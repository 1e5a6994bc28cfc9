"""The command `train-lbag`, on a small pairs file."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.common.locking import LOCK_NAME, FolderLock
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader
from localblur.training.checkpoint import load_model, load_state
from localblur.training.running.config import TrainingSettings
from localblur.training.running.data import fingerprint
from localblur.training.running.run_log import read_log
from localblur.training.train_lbag import main

SMALL = (
    "steps=4",
    "network.options.width=8",
    "network.options.num_res=1",
    "data.stages=[]",
    "data.patch_px=48",
    "data.batch=2",
    "schedule.warmup_steps=1",
    "validation.patch_px=48",
    "validation.samples=2",
    "checkpoint_every_steps=1",
)


def write_pairs(path, splits=("train", "train", "val"), seed=0, masked=True, **info):
    random = np.random.default_rng(seed)
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for number, split in enumerate(splits):
            coarse = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            sharp = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
            blurred, mask = sharp.copy(), np.zeros((64, 64), np.uint8)
            blurred[20:40, 10:50], mask[20:40, 10:50] = cv2.blur(sharp, (9, 1))[20:40, 10:50], 255
            pair = Pair(
                scene=f"scene{number}",
                info=PairInfo(name="00", **info),
                blurred=blurred,
                sharp=sharp,
                mask=mask if masked else None,
            )
            writer.add(pair, split)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.h5")


def call(*arguments, small=True):
    sets = [item for setting in SMALL for item in ("--set", setting)] if small else []
    return CliRunner().invoke(main, [*sets, *map(str, arguments)])


def one_line(result):
    lines = [line for line in result.output.splitlines() if "error" in line]
    assert result.exit_code == 1, result.output
    assert len(lines) == 1
    return lines[0]


def test_missing_and_foreign_files_are_refused(tmp_path, pairs):
    assert "nothing.h5" in one_line(call(tmp_path / "nothing.h5", "--recipe", "lbag-small", "-o", tmp_path / "run"))
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    assert "text.h5" in one_line(call(text, "--recipe", "lbag-small", "-o", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_file_without_training_pairs_is_refused(tmp_path):
    path = write_pairs(tmp_path / "test.h5", splits=("test",))
    assert "train split" in one_line(call(path, "--recipe", "lbag-small", "-o", tmp_path / "run"))


def test_patches_larger_than_the_pictures_are_refused(tmp_path, pairs):
    line = one_line(call(pairs, "--recipe", "lbag-small", "-o", tmp_path / "run", small=False))
    assert "64x64" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "lbag-tiny"), "known recipes: deblurgan, "),
        (("--recipe", "lbag-small", "--set", "optimizer.rate=1"), "optimizer.rate"),
        (("--recipe", "lbag-small", "--device", "gpu"), "unknown device"),
        (("--recipe", "lbag-small", "--config", "missing.yaml"), "missing.yaml"),
        (("--recipe", "lbag-small", "--resume", "--overwrite"), "give one of them"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, pairs, arguments, message):
    assert message in one_line(call(pairs, "-o", tmp_path / "run", *arguments))
    assert not (tmp_path / "run").exists()


def test_usage_errors_exit_with_2(tmp_path):
    assert CliRunner().invoke(main, ["-o", str(tmp_path / "run")]).exit_code == 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pairs):
    run = tmp_path_factory.mktemp("runs") / "run"
    result = call(pairs, "--recipe", "lbag-small", "-o", run, "--seed", 3)
    assert result.exit_code == 0, result.output
    return run, result.output


def test_a_run_leaves_models_checkpoint_and_log(finished):
    run, output = finished
    assert "finished at step 4 of 4" in output
    assert "validation weighted PSNR" in output
    for name in ("best", "last"):
        _, card = load_model(run / name)
        assert (card.network, card.options["width"], card.recipe["seed"]) == ("lbag-small", 8, 3)
    assert load_state(run / "checkpoint.pt")["step"] == 4
    assert {record["kind"] for record in read_log(run)} == {"train", "validation"}
    about = json.loads((run / "run.json").read_text())
    assert about["settings"]["recipe"] == "lbag-small"
    assert about["data_fingerprint"] == load_model(run)[1].data_fingerprint


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


def test_the_fingerprint_knows_pixels_masks_and_verdicts_but_not_places(tmp_path):
    def of(name, **changes):
        with PairsFile.open(write_pairs(tmp_path / name, **changes)) as file:
            return fingerprint([file])

    prints = [of("a.h5"), of("b.h5", seed=1), of("c.h5", masked=False), of("d.h5", verdict=Verdict.REJECT)]
    assert len(set(prints)) == 4
    assert of("e.h5") == prints[0]


def test_pairs_without_masks_train_and_are_judged_by_plain_psnr(tmp_path, caplog):
    path = write_pairs(tmp_path / "plain.h5", masked=False)
    result = call(path, "--recipe", "lbag-small", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "all of 2 training pairs have no blur mask" in caplog.text
    metrics = load_model(tmp_path / "run")[1].metrics
    assert metrics["weighted_psnr_restored"] is None
    assert metrics["psnr_restored"] > 0
    assert "nan" not in result.output


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


def test_flags_outrank_a_file_and_a_file_without_a_recipe_has_none(tmp_path, pairs):
    about = tmp_path / "own.yaml"
    small = (
        "data: {patch_px: 48, batch: 2}\nvalidation: {patch_px: 48, samples: 2}\nseed: 3\nmax_minutes: 60\nsteps: 2\n"
        "schedule: {warmup_steps: 0}\n"
    )
    about.write_text("network: {name: tiny}\n" + small)
    result = call(pairs, "--config", about, "-o", tmp_path / "a", "--seed", 5, "--minutes", 7, small=False)
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "a" / "run.json").read_text())["settings"]
    assert (settings["seed"], settings["max_minutes"], settings["recipe"]) == (5, 7, "custom")
    assert settings["objective"] == TrainingSettings().objective.model_dump(mode="json")
    about.write_text("recipe: tiny\n" + small)
    assert call(pairs, "--config", about, "-o", tmp_path / "b", small=False).exit_code == 0
    settings = json.loads((tmp_path / "b" / "run.json").read_text())["settings"]
    assert (settings["recipe"], settings["network"]["name"], settings["seed"]) == ("tiny", "tiny", 3)
    assert settings["objective"]["gate_weight"] == 0.05


@pytest.mark.parametrize(
    ("recipe", "sets", "fetched"),
    [
        ("tiny", ("schedule.warmup_steps=0", "steps=1"), 0),
        ("deblurgan", ("optimizer.lr=-1",), 0),
        ("deblurgan", ("objective.vgg_weights=own.pth",), 0),
        ("deblurgan", (), 1),
    ],
)
def test_weights_are_fetched_only_where_needed(tmp_path, pairs, monkeypatch, recipe, sets, fetched):
    calls = []

    def fetch(folder):
        calls.append(folder)
        raise LocalblurError("no network in tests")

    monkeypatch.setattr("localblur.training.objectives.vgg_features.download_vgg19", fetch)
    more = [item for setting in sets for item in ("--set", setting)]
    shape = ["--set", "data.patch_px=48", "--set", "validation.patch_px=48", "--set", "schedule.constant_steps=0"]
    result = call(pairs, "--recipe", recipe, "--download", "-o", tmp_path / "run", *shape, *more, small=False)
    assert len(calls) == fetched, result.output
    assert ("no network in tests" in result.output) == bool(fetched)


def test_a_dry_run_tells_what_a_run_takes_and_writes_nothing(tmp_path, pairs):
    stages = "data.stages=[{duration: 1, patch_px: 48, batch: 2}, {duration: 3, patch_px: 64, batch: 2}]"
    result = call(pairs, "--recipe", "lbag-small", "-o", tmp_path / "run", "--dry-run", "--set", stages)
    assert result.exit_code == 0, result.output
    for words in (
        "lbag-small: ",
        "2 patches of 64 px",
        "MiB",
        "all 4 steps: about",
        "validation: works",
        "nothing was",
    ):
        assert words in result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("dry run: ")]
    assert [line.split()[2] for line in told] == ["building", "step", "step", "validating"]
    assert not (tmp_path / "run").exists()


def test_a_dry_run_finds_what_would_stop_a_run(finished, tmp_path, pairs):
    assert "exists already" in one_line(call(pairs, "--recipe", "lbag-small", "-o", finished[0], "--dry-run"))
    missing = ("--recipe", "lbag-plus", "--set", f"initial_weights={tmp_path / 'none.pkl'}", "--dry-run")
    assert "none.pkl" in one_line(call(pairs, "-o", tmp_path / "run", *missing))
    others = write_pairs(tmp_path / "others.h5", seed=5)
    for arguments, message in (((others,), "trained on other pairs"), ((pairs, "--seed", 9), "seed was 3, now 9")):
        assert message in one_line(call(*arguments, "-o", finished[0], "--resume", "--dry-run", small=False))


def test_a_run_whose_patches_grow(tmp_path, pairs):
    stages = "data.stages=[{duration: 1, patch_px: 48, batch: 2}, {duration: 1, patch_px: 64, batch: 1}]"
    common = (pairs, "--recipe", "lbag-small", "--set", stages)
    assert call(*common, "-o", tmp_path / "whole").exit_code == 0
    assert call(*common, "-o", tmp_path / "parts", "--minutes", "0.0001").exit_code == 0
    assert call(pairs, "-o", tmp_path / "parts", "--resume", small=False).exit_code == 0
    whole, parts = (load_state(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert parts["step"] == 4
    assert all(torch.equal(parts["module"][key], tensor) for key, tensor in whole["module"].items())


@pytest.mark.slow
def test_a_loader_process_changes_no_bit(tmp_path, pairs):
    states = []
    for workers in (0, 1):
        run = tmp_path / f"run{workers}"
        stop = ("--set", "precision=bf16", "--workers", workers)
        assert call(pairs, "--recipe", "lbag-small", "-o", run, *stop, "--minutes", "0.0001").exit_code == 0
        assert load_state(run / "checkpoint.pt")["step"] == 1
        result = call(pairs, "-o", run, "--resume", "--workers", workers, small=False)
        assert result.exit_code == 0, result.output
        states.append(load_state(run / "checkpoint.pt"))
    whole = tmp_path / "whole"
    assert call(pairs, "--recipe", "lbag-small", "-o", whole, "--set", "precision=bf16").exit_code == 0
    expected = load_state(whole / "checkpoint.pt")
    for state in states:
        assert state["step"] == expected["step"] == 4
        assert all(torch.equal(state["module"][key], tensor) for key, tensor in expected["module"].items())


@pytest.mark.slow
def test_an_error_in_a_loader_process_is_one_line(tmp_path):
    path = write_pairs(tmp_path / "pairs.h5")
    run = tmp_path / "run"
    common = ("--recipe", "lbag-small", "-o", run)
    assert call(path, *common, "--minutes", "0.0001").exit_code == 0
    content = bytearray(path.read_bytes())
    at = content.find(b"\x78\x01") if content.find(b"\x78\x01") >= 0 else content.find(b"\x78\x5e")
    assert at > 0, "no gzip chunk found"
    for start in range(at, len(content) - 64, 512):
        content[start : start + 4] = b"\xff\xff\xff\xff"
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    line = one_line(call(damaged, "--recipe", "lbag-small", "-o", tmp_path / "run2", "--workers", "1"))
    assert "Traceback" not in line
    assert "damaged.h5" in line

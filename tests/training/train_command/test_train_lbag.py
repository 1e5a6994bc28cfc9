"""The command `train-lbag`, on a small pairs file."""

import json

import pytest
import torch
from click.testing import CliRunner
from train_calls import call, one_line, write_pairs

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.store import PairsFile
from localblur.training.checkpoint import load_model, load_state
from localblur.training.running.config import TrainingSettings
from localblur.training.running.data import fingerprint
from localblur.training.running.run_log import read_log
from localblur.training.train_lbag import main


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

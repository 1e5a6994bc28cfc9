"""The training loop: what it learns, writes, resumes, and how it ends."""

import json
import os
import signal

import pytest
import torch
from torch.utils.data import Dataset

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import load_model, load_state, save_state
from localblur.training.config import TrainingSettings
from localblur.training.data import TrainingData
from localblur.training.loop import STATE_NAME, train
from localblur.training.run_log import LOG_NAME, read_log
from localblur.training.runtime import Runtime, resolve_device

STEPS = 7


class Stripes(Dataset):
    """Patches of random stripes, their right half blurred; a sample is a function of its number."""

    def __init__(self, patch_px=48, broken=(), stop_at=None, different=10**9):
        self.patch_px, self.broken, self.stop_at, self.different = patch_px, broken, stop_at, different

    def __getitem__(self, number):
        if number == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        generator = torch.Generator().manual_seed(number % self.different)
        row = torch.rand(3, 1, self.patch_px // 4, generator=generator).repeat_interleave(4, dim=2)
        sharp = row.expand(3, self.patch_px, self.patch_px).contiguous()
        smooth = torch.nn.functional.avg_pool1d(row, 5, stride=1, padding=2, count_include_pad=False)
        mask = torch.zeros(1, self.patch_px, self.patch_px)
        mask[..., self.patch_px // 2 :] = 1
        blurred = torch.where(mask > 0, smooth.expand_as(sharp), sharp)
        if number in self.broken:
            blurred = blurred * float("nan")
        return {"blurred": blurred, "sharp": sharp, "mask": mask, "has_mask": torch.tensor(True)}


def data(fingerprint="stripes", validation=True, **options):
    return TrainingData(
        training=Stripes(**options), validation=Stripes() if validation else None, fingerprint=fingerprint
    )


def settings(**changes):
    values = {
        "network": {"name": "lbag-small", "options": {"width": 8, "num_res": 1, "dropout": 0.2}},
        "optimizer": {"name": "adamw", "lr": 3e-3, "clip_norm": 1.0},
        "schedule": {"kind": "cosine", "warmup_steps": 2},
        "data": {"patch_px": 48, "batch": 2},
        "validation": {"every_steps": 100, "samples": 2, "patch_px": 48},
        "steps": STEPS,
        "ema_decay": 0.5,
        "precision": "fp32",
        "checkpoint_every_steps": 1000,
        "log_every_steps": 1000,
    }
    return TrainingSettings.model_validate(values | changes)


@pytest.fixture(scope="module")
def runtime():
    return Runtime("cpu")


def final_state(folder):
    return load_state(folder / STATE_NAME)


def assert_equal_bits(a, b):
    """Weights, averaged weights, optimizer and random state of two training states."""
    flat_a, flat_b = dict(tensors(a)), dict(tensors(b))
    assert flat_a.keys() == flat_b.keys()
    different = [name for name in flat_a if not torch.equal(flat_a[name], flat_b[name])]
    assert not different
    assert a["step"] == b["step"]


def tensors(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(value, list):
        for key, item in enumerate(value):
            yield from tensors(item, f"{name}.{key}")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop", [1, 4])
def test_an_interrupted_and_resumed_run_ends_with_the_same_bits(tmp_path, runtime, precision, stop):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    chosen = settings(precision=precision)
    train(chosen, data(), whole, runtime=runtime)
    torch.manual_seed(99)  # whatever state the caller leaves
    # the interrupt comes while the batch of step `stop` + 1 is loaded: that step is finished, then the run stops
    first = train(chosen, data(stop_at=2 * stop), parts, runtime=runtime)
    assert (first.reason, first.step) == ("interrupted", stop + 1)
    torch.manual_seed(77)
    second = train(chosen, data(), parts, runtime=runtime, state=final_state(parts))
    assert (second.reason, second.step) == ("finished", STEPS)
    assert_equal_bits(final_state(whole), final_state(parts))


def test_a_run_out_of_time_and_resumed_ends_with_the_same_bits(tmp_path, runtime):
    # it validates and writes models where the uninterrupted run does not
    chosen = settings(precision="bf16")
    train(chosen, data(), tmp_path / "whole", runtime=runtime)
    late = chosen.model_copy(update={"max_minutes": 1e-4})
    first = train(late, data(), tmp_path / "parts", runtime=runtime)
    assert (first.reason, first.step) == ("out of time", 1)
    train(chosen, data(), tmp_path / "parts", runtime=runtime, state=final_state(tmp_path / "parts"))
    assert_equal_bits(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))


def test_the_seed_decides_the_run(tmp_path, runtime):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(settings(seed=seed, steps=3), data(), tmp_path / name, runtime=runtime)
    a, b, c = (final_state(tmp_path / name)["module"] for name in "abc")
    key = "feat_extract.0.main.0.weight"
    assert torch.equal(a[key], b[key])
    assert not torch.equal(a[key], c[key])


def test_training_leaves_the_random_state_of_the_caller(tmp_path, runtime):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(settings(steps=3), data(), tmp_path, runtime=runtime)
    assert torch.equal(torch.rand(3), expected)


def test_it_learns_what_it_is_shown(tmp_path, runtime):
    chosen = settings(steps=80, ema_decay=0.0)
    summary = train(chosen, data(different=2), tmp_path, runtime=runtime)
    assert summary.figures["weighted_psnr_restored"] > summary.figures["weighted_psnr_blurred"] + 1


def test_the_models_and_the_log_say_what_was_done(tmp_path, runtime):
    chosen = settings(log_every_steps=2, validation={"every_steps": 3, "samples": 2, "patch_px": 48})
    summary = train(chosen, data(), tmp_path, runtime=runtime)
    log = read_log(tmp_path)
    assert [record["step"] for record in log if record["kind"] == "train"] == [2, 4, 6, 7]
    assert [record["step"] for record in log if record["kind"] == "validation"] == [0, 3, 6, 7]
    record = next(record for record in log if record["kind"] == "train")
    assert {"loss", "l1", "ssim", "fft", "gate", "lr", "images_per_s", "data_wait", "skipped"} <= record.keys()
    scores = {r["step"]: r["weighted_psnr_restored"] for r in log if r["kind"] == "validation"}
    assert summary.best_step == max(scores, key=lambda step: scores[step])
    _, best = load_model(tmp_path / "best")
    assert best.metrics["step"] == summary.best_step
    assert best.metrics["weighted_psnr_restored"] == pytest.approx(scores[summary.best_step])
    last, card = load_model(tmp_path / "last")
    assert (card.metrics["step"], card.recipe["steps"], card.data_fingerprint) == (STEPS, STEPS, "stripes")
    averaged = final_state(tmp_path)["average"]
    key = "feat_extract.0.main.0.weight"
    assert torch.equal(last.state_dict()[key], averaged[f"module.{key}"])
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_resumed_log_has_each_step_once(tmp_path, runtime):
    chosen = settings(log_every_steps=1)
    train(chosen, data(stop_at=6), tmp_path, runtime=runtime)
    state = final_state(tmp_path)
    assert state["step"] == 4
    train(chosen, data(), tmp_path, runtime=runtime, state=state)
    with (tmp_path / LOG_NAME).open("a") as file:
        file.write('{"kind": "train", "st')  # torn by a kill
    train(chosen, data(), tmp_path, runtime=runtime, state=state)
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, STEPS + 1))


def test_it_stops_when_the_time_is_over(tmp_path, runtime):
    summary = train(settings(max_minutes=1e-4), data(), tmp_path, runtime=runtime)
    assert (summary.reason, summary.step) == ("out of time", 1)
    assert final_state(tmp_path)["step"] == 1
    assert load_model(tmp_path)[1].metrics["step"] in (0, 1)


def test_without_a_validation_split_the_last_model_is_the_model(tmp_path, runtime):
    summary = train(settings(steps=3), data(validation=False), tmp_path, runtime=runtime)
    assert (summary.figures, summary.best_step) == ({}, None)
    assert load_model(tmp_path)[1].metrics == {"step": 3}


def test_a_step_without_a_finite_loss_is_skipped_and_counted(tmp_path, runtime):
    summary = train(settings(), data(broken={4}), tmp_path, runtime=runtime)
    assert (summary.reason, summary.skipped) == ("finished", 1)
    state = final_state(tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in state["module"].values())


def test_a_loss_that_stays_not_finite_ends_the_run_in_words(tmp_path, runtime):
    chosen = settings(nonfinite_limit=1, checkpoint_every_steps=1)
    with pytest.raises(LocalblurError, match=r"not finite at step 3.*2 in a row.*optimizer\.lr"):
        train(chosen, data(broken={2, 4}), tmp_path, runtime=runtime)
    assert final_state(tmp_path)["step"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"name": "lbag-small", "options": {"width": 12, "num_res": 1}}}, r"network\.options\.width was 8"),
        ({"network": {"name": "lbag"}}, r"network\.name was 'lbag-small', now 'lbag'"),
        ({"steps": 9}, "steps was 7, now 9"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, runtime, changes, message):
    train(settings(max_minutes=1e-4), data(), tmp_path, runtime=runtime)
    state = final_state(tmp_path)
    with pytest.raises(LocalblurError, match=message):
        train(settings(**changes), data(), tmp_path, runtime=runtime, state=state)


def test_a_checkpoint_of_other_pairs_is_refused(tmp_path, runtime):
    train(settings(max_minutes=1e-4), data(), tmp_path, runtime=runtime)
    with pytest.raises(LocalblurError, match="trained on other pairs"):
        train(settings(), data(fingerprint="other"), tmp_path, runtime=runtime, state=final_state(tmp_path))


def test_a_checkpoint_with_other_weights_than_it_says_is_refused(tmp_path, runtime):
    train(settings(max_minutes=1e-4), data(), tmp_path, runtime=runtime)
    state = final_state(tmp_path)
    del state["module"]["feat_extract.0.main.0.weight"]
    save_state(tmp_path / STATE_NAME, state)
    with pytest.raises(LocalblurError, match="1 missing"):
        train(settings(), data(), tmp_path, runtime=runtime, state=final_state(tmp_path))


def test_a_checkpoint_that_lacks_something_is_refused(tmp_path, runtime):
    train(settings(max_minutes=1e-4), data(), tmp_path, runtime=runtime)
    state = final_state(tmp_path)
    del state["random"], state["best"]
    with pytest.raises(LocalblurError, match="it lacks best, random"):
        train(settings(), data(), tmp_path, runtime=runtime, state=state)


def test_killed_before_the_first_model_a_run_has_its_checkpoint_already(tmp_path, runtime, monkeypatch):
    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("localblur.training.loop.validate", killed)
        train(settings(), data(), tmp_path / "parts", runtime=runtime)
    state = final_state(tmp_path / "parts")
    assert state["step"] == 0
    train(settings(), data(), tmp_path / "parts", runtime=runtime, state=state)
    train(settings(), data(), tmp_path / "whole", runtime=runtime)
    assert_equal_bits(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(LocalblurError, match="device"):
        resolve_device(device)

"""The training loop: what it learns, writes, resumes, and how it ends."""

import json
import math

import pytest
import torch
from striped_data import STEPS, assert_equal_bits
from striped_data import striped_data as data
from striped_data import tiny_settings as settings
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import load_model, load_state, save_state
from localblur.training.networks.table import NETWORKS
from localblur.training.running.loop import DUMP_NAME, STATE_NAME, better, train
from localblur.training.running.run_log import LOG_NAME, read_log
from localblur.training.running.updater import Updater
from localblur.training.runtime import Runtime, resolve_device


@pytest.fixture(scope="module")
def runtime():
    return Runtime("cpu")


def final_state(folder):
    return load_state(folder / STATE_NAME)


def first_weight(state):
    """The name of the first convolution's weight."""
    return next(name for name, values in state.items() if values.ndim == 4)


@pytest.mark.parametrize(
    ("stop", "changes"),
    [
        (1, {"precision": "fp32"}),
        (4, {"precision": "bf16"}),
        (3, {"precision": "fp16", "accumulate": 2}),
        (2, {"precision": "fp32", "optimizer": {"name": "muon"}}),
    ],
    ids=["fp32", "bf16", "fp16 in parts", "muon"],
)
def test_an_interrupted_and_resumed_run_ends_with_the_same_bits(tmp_path, runtime, stop, changes):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    chosen = settings(**changes)
    train(chosen, data(), whole, runtime=runtime)
    torch.manual_seed(99)  # whatever state the caller leaves
    # the interrupt comes while the batch of step `stop` + 1 is loaded: that step is finished, then the run stops
    first = train(chosen, data(stop_at=2 * stop), parts, runtime=runtime)
    assert (first.reason, first.step) == ("interrupted", stop + 1)
    torch.manual_seed(77)
    second = train(chosen, data(), parts, runtime=runtime, state=final_state(parts))
    assert (second.reason, second.step) == ("finished", chosen.steps)
    assert_equal_bits(final_state(whole), final_state(parts))


def test_a_stop_during_the_last_step_leaves_a_finished_run(tmp_path, runtime):
    chosen = settings(steps=3)
    summary = train(chosen, data(stop_at=4), tmp_path, runtime=runtime)
    assert (summary.reason, summary.step) == ("finished", 3)
    assert load_model(tmp_path / "last")[1].metrics["step"] == 3


def test_a_validation_that_an_interrupt_left_out_is_made_up_for(tmp_path, runtime):
    chosen = settings(validation={"every_steps": 3, "samples": 2, "patch_px": 48})
    first = train(chosen, data(stop_at=4), tmp_path / "parts", runtime=runtime)
    assert (first.reason, first.step) == ("interrupted", 3)
    for name, state in (("parts", final_state(tmp_path / "parts")), ("whole", None)):
        train(chosen, data(), tmp_path / name, runtime=runtime, state=state)
    parts, whole = (
        [record for record in read_log(tmp_path / name) if record["kind"] == "validation"]
        for name in ("parts", "whole")
    )
    assert [record["step"] for record in parts] == [0, 3, 6, 7]
    assert parts == whole
    assert final_state(tmp_path / "parts")["best"] == final_state(tmp_path / "whole")["best"]


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
    key = first_weight(a)
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
    assert {"loss", "l1", "ssim", "fft", "gate", "lr", "gradient_norm", "skipped"} <= record.keys()
    assert record["images_per_s"] > 0 and record["memory_mib"] > 0 and 0 <= record["data_wait"] <= 1
    scores = {r["step"]: r["weighted_psnr_restored"] for r in log if r["kind"] == "validation"}
    assert summary.best_step == max(scores, key=lambda step: scores[step])
    _, best = load_model(tmp_path / "best")
    assert best.metrics["step"] == summary.best_step
    assert best.metrics["weighted_psnr_restored"] == pytest.approx(scores[summary.best_step])
    last, card = load_model(tmp_path / "last")
    assert (card.metrics["step"], card.recipe["steps"], card.data_fingerprint) == (STEPS, STEPS, "stripes")
    averaged = final_state(tmp_path)["average"]
    key = first_weight(last.state_dict())
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
    dump = load_state(tmp_path / DUMP_NAME)
    assert dump["step"] == 2
    assert bool(torch.isnan(dump["batch"]["blurred"]).any())
    assert len(dump["gradients"]) > 10


@pytest.mark.parametrize(
    ("error", "accumulate", "remedy"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "--resume --set accumulate=2"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "a smaller data.batch"),
    ],
)
def test_too_little_memory_is_one_line_with_a_remedy_that_works(
    tmp_path, runtime, monkeypatch, error, accumulate, remedy
):
    update = Updater.update

    def fails(self, batch, step):
        if step == 2:
            raise error
        return update(self, batch, step)

    monkeypatch.setattr(Updater, "update", fails)
    chosen = settings(accumulate=accumulate, checkpoint_every_steps=1)
    with pytest.raises(
        LocalblurError, match=rf"not enough memory for step 3: \d patches of 48 px at a time; .*{remedy}"
    ):
        train(chosen, data(), tmp_path, runtime=runtime)
    monkeypatch.setattr(Updater, "update", update)
    more = settings(accumulate=2, checkpoint_every_steps=1)
    assert train(more, data(), tmp_path, runtime=runtime, state=final_state(tmp_path)).reason == "finished"


def test_a_score_that_is_none_is_replaced_by_any_number():
    assert better(1.0, math.nan)
    assert better(2.0, 1.0)
    for value, best in ((1.0, 2.0), (math.nan, 1.0), (math.nan, math.nan), (1.0, 1.0)):
        assert not better(value, best)


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
    del state["module"][first_weight(state["module"])]
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
        patch.setattr("localblur.training.running.loop.validate", killed)
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


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(tmp_path, runtime):
    """Of a network without dropout; what is left is the order of sums."""
    still = {
        "network": {"name": "lbag-small", "options": {"width": 8, "num_res": 1}},
        "data": {"patch_px": 48, "batch": 4},
    }
    for parts in (1, 2):
        train(settings(**still, steps=3, accumulate=parts), data(), tmp_path / str(parts), runtime=runtime)
    one, two = (final_state(tmp_path / str(parts))["module"] for parts in (1, 2))
    for name, values in one.items():
        torch.testing.assert_close(values, two[name], rtol=1e-3, atol=1e-5)


def test_float16_overflows_are_no_failed_steps(tmp_path, runtime):
    """The loss scale begins at 65536 and is halved until gradients fit; the run goes on."""
    chosen = settings(precision="fp16", nonfinite_limit=0, steps=3, objective={"l1_weight": 30000.0})
    summary = train(chosen, data(), tmp_path, runtime=runtime)
    assert summary.reason == "finished"
    assert summary.skipped > 0
    assert final_state(tmp_path)["scaler"]["scale"] < 65536


def test_pictures_of_validation_are_in_the_board(tmp_path, runtime):
    train(settings(steps=3), data(), tmp_path, runtime=runtime)
    board = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    shown = board.Images("validation/01")
    assert [event.step for event in shown] == [0, 3]
    assert (shown[0].width, shown[0].height) == (4 * 48, 48)


def test_a_run_begins_with_the_weights_it_is_given(tmp_path, runtime, caplog):
    train(settings(steps=3), data(), tmp_path / "first", runtime=runtime)
    # a step so small that it changes nothing
    later = settings(initial_weights=tmp_path / "first" / "last", steps=3, optimizer={"lr": 1e-30})
    train(later, data(), tmp_path / "second", runtime=runtime)
    first, second = (load_model(tmp_path / name / "last")[0].state_dict() for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    told = [record.getMessage() for record in caplog.records if "begins with" in record.getMessage()]
    assert told == [f"lbag-small begins with first/last: all {len(first)} tensors copied, none random"]


def test_what_a_resumed_run_began_with_stays_on_record(tmp_path, runtime):
    first, run = tmp_path / "first", tmp_path / "run"
    train(settings(steps=3), data(), first, runtime=runtime)
    train(settings(), data(stop_at=6), run, runtime=runtime)
    later = settings(initial_weights=first / "last")
    assert train(later, data(), run, runtime=runtime, state=final_state(run)).reason == "finished"
    assert load_model(run / "last")[1].recipe["initial_weights"] is None


def test_what_is_random_in_a_run_that_begins_with_other_weights_is_said(tmp_path, runtime, caplog):
    options = {"width": 8, "num_res": 1}
    state = NETWORKS["mimo-unet"](options).state_dict()
    torch.save({"model": state}, tmp_path / "MIMO-UNet.pkl")
    chosen = settings(network={"name": "lbag", "options": options}, initial_weights=tmp_path / "MIMO-UNet.pkl", steps=3)
    train(chosen, data(), tmp_path / "run", runtime=runtime)
    (line,) = [record.getMessage() for record in caplog.records if "begins with" in record.getMessage()]
    assert f"MIMO-UNet.pkl: {len(state) - 6} tensors copied; 6 expanded" in line
    assert "feat_extract.5.main.0.bias[0]" in line


def test_weights_that_are_left_out_begin_at_random_and_are_named(tmp_path, runtime, caplog):
    train(settings(steps=3), data(), tmp_path / "first", runtime=runtime)
    first = tmp_path / "first" / "last"
    later = settings(
        initial_weights=first, initial_weights_except=["heads.2.*"], steps=3, optimizer={"lr": 1e-30}, seed=5
    )
    train(later, data(), tmp_path / "second", runtime=runtime)
    before, after = (load_model(tmp_path / name / "last")[0].state_dict() for name in ("first", "second"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and changed <= {"heads.2.weight", "heads.2.bias"}
    (line,) = [record.getMessage() for record in caplog.records if "begins with" in record.getMessage()]
    assert line.endswith("2 random, as asked: heads.2.weight, heads.2.bias")


def test_a_compiled_network_learns_the_same_and_is_saved_as_itself(tmp_path, runtime, monkeypatch):
    """The backend that only captures: what a compiler makes of it needs one, and minutes."""
    compiled = []

    def capture(module):
        compiled.append(module)
        return torch_compile(module, backend="eager")

    torch_compile = torch.compile
    train(settings(steps=3), data(), tmp_path / "plain", runtime=runtime)
    monkeypatch.setattr(torch, "compile", capture)
    train(settings(steps=3, compile=True), data(), tmp_path / "compiled", runtime=runtime)
    assert len(compiled) == 1
    plain, captured = (load_model(tmp_path / name / "last")[0].state_dict() for name in ("plain", "compiled"))
    assert plain.keys() == captured.keys()
    for name in plain:
        torch.testing.assert_close(captured[name], plain[name], rtol=1e-4, atol=1e-6)


def test_wandb_that_is_not_installed_is_one_line(tmp_path, runtime):
    with pytest.raises(LocalblurError, match="wandb is not installed"):
        train(settings(wandb_project="x"), data(), tmp_path, runtime=runtime)

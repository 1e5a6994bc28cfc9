"""Model folders and training states."""

import json
import sys

import pytest
import safetensors.torch
import torch

from localblur.common.errors import LocalblurError
from localblur.training import checkpoint
from localblur.training.checkpoint import CARD_NAME, WEIGHTS_NAME, load_model, load_state, save_model, save_state
from localblur.training.networks.table import NETWORKS

SMALL = {"width": 8, "num_res": 1}


def saved(folder, seed=0, metrics=None):
    torch.manual_seed(seed)
    network = NETWORKS["lbag-small"](SMALL)
    save_model(folder, "lbag-small", SMALL, network, {"steps": 3}, metrics or {"psnr": 30.0}, "abc")
    return network


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(LocalblurError, match="no model in"):
        load_model(tmp_path)


def test_truncated_weights_are_refused(tmp_path):
    saved(tmp_path)
    path = tmp_path / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LocalblurError, match="damaged or truncated"):
        load_model(tmp_path)


def rewrite(folder, **changes):
    """Replace the description inside the weights."""
    path = folder / WEIGHTS_NAME
    weights = safetensors.torch.load_file(path)
    card = json.loads((folder / CARD_NAME).read_text()) | changes
    safetensors.torch.save_file(weights, path, metadata={"localblur": json.dumps(card)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "lbga"}, "unknown network"),
        ({"schema_version": 99}, "schema version 99"),
        ({"options": {"width": 16, "num_res": 1}}, "weights of another network"),
        ({"options": {"width": 8, "num_res": 2}}, "missing"),
        ({"options": {"depth": 3}}, "depth"),
        ({"format": "something"}, "format"),
    ],
)
def test_weights_that_do_not_fit_their_description_are_refused(tmp_path, changes, message):
    saved(tmp_path)
    rewrite(tmp_path, **changes)
    with pytest.raises(LocalblurError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize("header", ["no JSON", "[1, 2]", '"text"', "null"])
def test_a_description_that_is_none_is_refused(tmp_path, header):
    saved(tmp_path)
    path = tmp_path / WEIGHTS_NAME
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata={"localblur": header})
    with pytest.raises(LocalblurError, match=rf"description in .*{WEIGHTS_NAME}.* damaged"):
        load_model(tmp_path)


def test_a_model_comes_back_bit_for_bit_in_evaluation_mode(tmp_path):
    network = saved(tmp_path, metrics={"psnr": 31.5, "weighted_psnr": float("nan"), "best": float("inf")})
    loaded, card = load_model(tmp_path)
    assert same_weights(network, loaded)
    assert not loaded.training
    assert (card.network, card.options["width"], card.options["clamp_gate"]) == ("lbag-small", 8, 0.0)
    assert card.metrics == {"psnr": 31.5, "weighted_psnr": None, "best": None}
    assert (card.recipe, card.data_fingerprint) == ({"steps": 3}, "abc")
    assert card.versions["torch"] == torch.__version__
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network.eval()(image).images[-1], loaded(image).images[-1])


def test_channels_last_weights_are_stored_as_they_are_meant(tmp_path):
    network = NETWORKS["lbag-small"](SMALL).to(memory_format=torch.channels_last)
    save_model(tmp_path, "lbag-small", SMALL, network, {}, {}, "")
    assert same_weights(network, load_model(tmp_path)[0])


def test_after_a_kill_between_the_two_files_the_description_in_the_weights_counts(tmp_path, monkeypatch):
    saved(tmp_path, seed=0, metrics={"psnr": 30.0})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, seed=1, metrics={"psnr": 31.0})
    torch.manual_seed(1)
    loaded, card = load_model(tmp_path)
    assert same_weights(loaded, NETWORKS["lbag-small"](SMALL))
    assert card.metrics == {"psnr": 31.0}


def test_a_failed_save_leaves_the_earlier_model(tmp_path, monkeypatch):
    network = saved(tmp_path)

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path, seed=1)
    assert same_weights(network, load_model(tmp_path)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [CARD_NAME, WEIGHTS_NAME]


def test_a_run_folder_stands_for_its_best_model(tmp_path):
    last = saved(tmp_path / "last", seed=1)
    assert same_weights(last, load_model(tmp_path)[0])
    best = saved(tmp_path / "best", seed=2)
    assert same_weights(best, load_model(tmp_path)[0])


def test_a_state_comes_back(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 3, "weights": {"a": torch.arange(3)}, "settings": {"lr": 1e-4}})
    state = load_state(path)
    assert (state["step"], state["settings"]) == (3, {"lr": 1e-4})
    assert torch.equal(state["weights"]["a"], torch.arange(3))


def test_damaged_and_foreign_states_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 3})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LocalblurError, match="damaged"):
        load_state(path)
    path.write_bytes(b"")
    with pytest.raises(LocalblurError, match="damaged"):
        load_state(path)
    torch.save({"model": {}}, path)
    with pytest.raises(LocalblurError, match="not a training state"):
        load_state(path)
    save_state(path, {"step": 3, "schema_version": 99})
    with pytest.raises(LocalblurError, match="schema version 99"):
        load_state(path)


@pytest.mark.parametrize("lost", ["schema_version", "settings"])
def test_a_state_that_lacks_something_is_refused(tmp_path, lost):
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 3, "settings": {}})
    state = torch.load(path, weights_only=True)
    del state[lost]
    torch.save(state, path)
    with pytest.raises(LocalblurError, match=f"its {lost} is missing"):
        load_state(path)


class Hostile:
    def __reduce__(self):
        return (open, ("owned", "w"))


def test_a_state_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "localblur-training-state", "step": Hostile()}, tmp_path / "checkpoint.pt")
    with pytest.raises(LocalblurError, match="damaged or something else"):
        load_state(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_state_that_does_not_fit_on_the_disk_is_one_line_and_the_one_before_stays(tmp_path):
    import resource

    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 3, "settings": {}})
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises((LocalblurError, OSError), match=r"checkpoint\.pt"):
            save_state(path, {"step": 4, "settings": {}, "weights": torch.rand(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

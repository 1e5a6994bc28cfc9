"""Published weight files: wrappers, prefixes, what is missing, and what LBAG+ begins with."""

from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from golden_networks import fill

from localblur.common.errors import LocalblurError
from localblur.training import model_in_the_box as box
from localblur.training.checkpoint import WEIGHTS_NAME, save_model
from localblur.training.inference.model_skipping import stored_skipping
from localblur.training.networks.table import NETWORKS
from localblur.training.published_weights import (
    Start,
    load_published,
    named,
    open_model,
    origin,
    read_weights,
    start_from,
)

SMALL = {"width": 8, "num_res": 1}
HEADS = ("ConvsOut.0.main.0", "ConvsOut.1.main.0", "feat_extract.5.main.0")


def lbag_file(state):
    return {
        "global_step": 10000,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4}]}],
        "state_dict": {"model": state},
    }


def mimo_file(state):
    scheduler = {"milestones": Counter({500: 1}), "last_epoch": 3}
    return {"model": state, "optimizer": {}, "scheduler": scheduler, "epoch": 3}


def parallel(state):
    return OrderedDict((f"module.{key}", value) for key, value in state.items())


def saved(path, content, *, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def same(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


FILES = {
    "lbag": (SMALL, lambda state: lbag_file(state)),
    "lbag-plus": (SMALL, lambda state: lbag_file(parallel(state))),
    "mimo-unet": (SMALL, mimo_file),
    "mimo-unet-plus": (SMALL, mimo_file),
    "deepdeblur-k3": ({"features": 4, "num_res": 1}, lambda state: {"G": state, "D": {"dense.weight": torch.ones(1)}}),
    "restormer": ({"width": 8, "blocks": [1, 1, 1, 1]}, lambda state: {"params": state}),
    "nafnet-w32": ({"width": 4, "encoder_blocks": [1, 1, 1, 1]}, lambda state: {"params": parallel(state)}),
    "tiny": ({}, lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}}),
    "unet-autoencoder": ({"width": 4}, parallel),
}


@pytest.mark.parametrize("name", FILES)
def test_published_files_load_in_their_wrappers(tmp_path, name):
    options, wrapped = FILES[name]
    state = fill(NETWORKS[name](options)).state_dict()
    path = saved(tmp_path / "weights.pth", wrapped(state), legacy=name.startswith("lbag"))
    network = load_published(name, path, options)
    assert same(network, state)
    assert not network.training


def test_safetensors_and_half_precision_load_as_float32(tmp_path):
    state = fill(NETWORKS["lbag"](SMALL)).state_dict()
    safetensors.torch.save_file({key: value.half() for key, value in state.items()}, tmp_path / "weights.safetensors")
    network = load_published("lbag", tmp_path / "weights.safetensors", SMALL)
    assert same(network, {key: value.half().float() for key, value in state.items()})


def test_deblurgan_keeps_its_names_and_loses_the_statistics_it_never_used(tmp_path):
    options = {"width": 4, "num_res": 1}
    state = fill(NETWORKS["deblurgan"](options)).state_dict()
    statistics = {"model.2.running_mean": torch.ones(4), "model.2.running_var": torch.ones(4)}
    statistics["model.2.num_batches_tracked"] = torch.tensor(3)
    path = saved(tmp_path / "latest_net_G.pth", state | statistics)
    assert same(load_published("deblurgan", path, options), state)


def test_statistics_that_are_used_are_not_dropped(tmp_path):
    state = NETWORKS["unet-autoencoder"]({"width": 4}).state_dict()
    del state["bottleneck.norm.running_mean"]
    path = saved(tmp_path / "weights.pth", state)
    with pytest.raises(LocalblurError, match=r"1 missing.*running_mean"):
        load_published("unet-autoencoder", path, {"width": 4})


def broken(state, kind):
    if kind == "missing":
        del state["SCM1.conv.main.0.bias"]
    elif kind == "unexpected":
        state["SCM3.conv.main.0.bias"] = torch.zeros(3)
    else:
        state["SCM1.conv.main.0.bias"] = torch.zeros(3)
    return state


@pytest.mark.parametrize("kind", ["missing", "unexpected", "misshapen"])
@pytest.mark.parametrize("load", [load_published, None])
def test_keys_that_do_not_fit_are_errors(tmp_path, kind, load):
    state = dict(NETWORKS["lbag"](SMALL).state_dict())
    path = saved(tmp_path / "weights.pth", lbag_file(broken(state, kind)))
    with pytest.raises(LocalblurError, match=rf"1 {kind}.*first: SCM"):
        if load is not None:
            load("lbag", path, SMALL)
        else:
            start_from(NETWORKS["lbag"](SMALL), "lbag", path)


def test_a_shallower_network_does_not_load_as_a_deeper_one(tmp_path):
    """Its keys are a part of those needed, which a lenient load takes without a word."""
    path = saved(tmp_path / "MIMO-UNet.pkl", mimo_file(NETWORKS["mimo-unet"](SMALL).state_dict()))
    with pytest.raises(LocalblurError, match="24 missing"):
        start_from(NETWORKS["lbag"]({"width": 8, "num_res": 2}), "lbag", path)


def test_lbag_plus_begins_with_mimo_unet_plus_and_fresh_gates(tmp_path):
    mimo = fill(NETWORKS["mimo-unet-plus"](SMALL)).state_dict()
    path = saved(tmp_path / "MIMO-UNetPlus.pkl", mimo_file(mimo))
    torch.manual_seed(0)
    network = NETWORKS["lbag-plus"](SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    start = start_from(network, "lbag-plus", path)
    assert start.fresh == start.unused == ()
    assert set(start.expanded) == {f"{head}.{part}[0]" for head in HEADS for part in ("weight", "bias")}
    for key, value in network.state_dict().items():
        if key.rsplit(".", 1)[0] in HEADS:
            assert torch.equal(value[:1], before[key][:1])
            assert torch.equal(value[1:], mimo[key])
        else:
            assert torch.equal(value, mimo[key])


@torch.no_grad()
def test_with_open_gates_lbag_plus_begins_as_mimo_unet_plus(tmp_path):
    mimo = fill(NETWORKS["mimo-unet-plus"](SMALL))
    path = saved(tmp_path / "MIMO-UNetPlus.pkl", mimo_file(mimo.state_dict()))
    network = NETWORKS["lbag-plus"](SMALL).eval()
    start_from(network, "lbag-plus", path)
    for head in HEADS:
        network.get_parameter(f"{head}.bias")[0] = 100
    image = torch.rand(1, 3, 32, 32)
    for ours, theirs in zip(network(image).images, mimo(image).images, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_training_starts_from_own_models_and_published_files_alike(tmp_path):
    state = fill(NETWORKS["lbag"](SMALL)).state_dict()
    save_model(tmp_path / "model", "lbag", SMALL, fill(NETWORKS["lbag"](SMALL)), {}, {}, "")
    for path in (tmp_path / "model", saved(tmp_path / "published.ckpt", lbag_file(state))):
        network = NETWORKS["lbag-plus"](SMALL)
        assert start_from(network, "lbag-plus", path) == Start()
        assert same(network, state)
        assert network.training


def test_weights_that_are_named_may_be_missing_too_many_or_of_another_shape(tmp_path):
    state = dict(fill(NETWORKS["mimo-unet"](SMALL)).state_dict())
    state["Encoder.0.layers.0.main.0.main.0.weight"] = torch.zeros(2, 2)
    del state["SCM1.conv.main.0.bias"]
    state |= {"extra.weight": torch.ones(1)}
    path = saved(tmp_path / "changed.pkl", mimo_file(state))
    torch.manual_seed(0)
    network = NETWORKS["mimo-unet"](SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(LocalblurError, match="1 missing, 0 unexpected"):
        start_from(network, "mimo-unet", path, ("Encoder.0.*", "extra.*"))
    assert same(network, before)
    start = start_from(network, "mimo-unet", path, ("Encoder.0.*", "SCM1.conv.main.0.bias", "extra.*"))
    assert start.unused == ("extra.weight",) and start.expanded == ()
    named = {key for key in before if key.startswith("Encoder.0.")} | {"SCM1.conv.main.0.bias"}
    assert set(start.fresh) == named
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key] if key in named else state[key])
    with pytest.raises(LocalblurError, match="'heads.\\*' names no weight"):
        start_from(network, "mimo-unet", path, ("heads.*",))


@pytest.mark.skipif(not (box.FOLDER / WEIGHTS_NAME).is_file(), reason="this copy comes without a model")
def test_the_model_in_the_box_has_a_name_of_its_own():
    network = NETWORKS["lbag-small"]({})
    assert start_from(network, "lbag-small", Path(box.NAME)) == Start()
    assert same(network, open_model(Path(box.NAME))[0].state_dict())
    assert stored_skipping(Path(box.NAME)) == stored_skipping(box.FOLDER)
    with pytest.raises(LocalblurError, match="another network"):
        start_from(NETWORKS["tiny"]({}), "tiny", Path(box.NAME))


def test_a_folder_of_that_name_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / box.NAME).mkdir()
    with pytest.raises(LocalblurError, match="give its whole path"):
        named(Path(box.NAME))
    assert named(tmp_path / box.NAME) == tmp_path / box.NAME


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/MIMO.pkl", "MIMO.pkl"), ("/x/run/best", "run/best"), (r"C:\x\run\last", "run/last"), ("best", "best")],
)
def test_weights_are_told_of_without_the_folders_they_lay_in(path, name):
    assert origin(path) == name


def test_a_failed_start_changes_nothing(tmp_path):
    network = NETWORKS["lbag"](SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = fill(NETWORKS["mimo-unet"](SMALL)).state_dict()
    del state["SCM1.conv.main.0.bias"]
    with pytest.raises(LocalblurError, match="1 missing"):
        start_from(network, "lbag", saved(tmp_path / "MIMO-UNet.pkl", mimo_file(state)))
    assert same(network, before)


def test_a_model_opens_from_a_folder_or_from_a_named_file(tmp_path):
    network = fill(NETWORKS["tiny"]())
    save_model(tmp_path / "model", "tiny", {}, network, {}, {"psnr": 30.0}, "")
    path = saved(tmp_path / "tiny.pth", network.state_dict())
    for module, card in (open_model(tmp_path / "model"), open_model(path, "tiny")):
        assert same(module, network.state_dict())
        assert not module.training
        assert (card.network, card.parameters) == ("tiny", 244_856)
    with pytest.raises(LocalblurError, match="does not say which network it is of; name it with --network: lbag,"):
        open_model(path)
    with pytest.raises(LocalblurError, match="holds a model of tiny, not of lbag"):
        open_model(tmp_path / "model", "lbag")
    with pytest.raises(LocalblurError, match="no model in"):
        open_model(tmp_path / "nowhere", "lbag")


class Hostile:
    def __reduce__(self):
        return (open, ("owned", "w"))


def test_a_file_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalblurError, match="Python objects"):
        read_weights(saved(tmp_path / "weights.pth", {"model": {}, "more": Hostile()}))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "args": {}}, "it holds epoch, args"),
        ({}, "it holds nothing"),
        ({"model": {}}, "it holds nothing"),
        ([1, 2], "it holds a list"),
        (torch.zeros(3), "it holds a Tensor"),
    ],
)
def test_a_file_without_weights_is_refused_with_what_it_holds(tmp_path, content, message):
    with pytest.raises(LocalblurError, match=message):
        read_weights(saved(tmp_path / "weights.pth", content))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all, but a page that says 404"])
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LocalblurError, match="damaged"):
        read_weights(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LocalblurError, match=r"no such file"):
        load_published("lbag", tmp_path / "weights.pth")

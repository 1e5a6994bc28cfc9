"""Exported networks give torch's values at any size; needs the onnx extra."""

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_image, write_image
from localblur.training.checkpoint import ModelCard, save_model
from localblur.training.deblur import main as deblur
from localblur.training.export_model import main as export_model
from localblur.training.inference import deblur_run, onnx_export
from localblur.training.inference.engine import TorchEngine
from localblur.training.inference.model_skipping import store_skipping
from localblur.training.inference.onnx_export import CHECK_SIZES, METADATA_KEY, export_onnx
from localblur.training.inference.onnx_runtime import OnnxEngine
from localblur.training.inference.restore import restore_pixels
from localblur.training.inference.selective import coarse_gate
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks import nafnet as nafnet_module
from localblur.training.networks.table import NETWORKS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
OPTIONS = {"width": 8, "num_res": 1, "identity_start": False}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return NETWORKS["lbag"](OPTIONS).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, network) -> Path:
    folder = tmp_path_factory.mktemp("export")
    save_model(folder / "model", "lbag", OPTIONS, network, {}, {}, "none")
    result = CliRunner().invoke(export_model, [str(folder / "model"), "-o", str(folder / "model.onnx")])
    assert result.exit_code == 0, result.output
    assert result.output.count("largest difference to torch") == 3
    return folder / "model.onnx"


def test_files_that_are_no_exported_models_are_one_line(tmp_path, exported):
    with pytest.raises(LocalblurError, match="no ONNX file"):
        OnnxEngine(tmp_path / "none.onnx", CPU)
    (tmp_path / "broken.onnx").write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(LocalblurError, match="cannot read"):
        OnnxEngine(tmp_path / "broken.onnx", CPU)
    model = onnx.load(str(exported))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(LocalblurError, match="was not made by"):
        OnnxEngine(tmp_path / "foreign.onnx", CPU)


def test_published_weights_without_the_name_of_their_network_are_refused(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "small.pth")
    result = CliRunner().invoke(export_model, [str(tmp_path / "small.pth"), "-o", str(tmp_path / "small.onnx")])
    assert result.exit_code == 1
    assert "name it with --network" in result.stderr
    assert not (tmp_path / "small.onnx").exists()


def test_an_existing_file_and_another_suffix_are_refused(exported):
    for target, message in ((exported, "exists already"), (exported.with_suffix(".bin"), "must end in .onnx")):
        result = CliRunner().invoke(export_model, [str(exported.parent / "model"), "-o", str(target)])
        assert result.exit_code == 1
        assert message in result.stderr


@pytest.mark.parametrize("size", [(64, 64), (52, 204), (300, 120)])
def test_outputs_equal_torch_at_sizes_it_was_not_exported_with(exported, network, rng, size):
    image = torch.from_numpy(rng.random((1, 3, *size), dtype=np.float32))
    expected, found = TorchEngine(network).run(image), OnnxEngine(exported, CPU).run(image)
    where = OnnxEngine(exported, CPU).find(image)
    torch.testing.assert_close(where, TorchEngine(network).find(image), rtol=0, atol=1e-4)
    assert float((where - found[:, 3:]).abs().max()) > 1e-3
    assert found.shape == expected.shape == (1, 4, *size)
    assert float((found - expected).abs().max()) < 1e-4


@pytest.fixture(scope="module")
def nafnet():
    """Local averages that count (fresh blocks are the identity), over windows of 48 px."""
    torch.manual_seed(0)
    network = NETWORKS["nafnet-w32"]({"width": 4, "encoder_blocks": [1, 1, 1, 1], "train_patch_px": 32}).eval()
    for name, values in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.ones_(values)
    return network


def test_local_averages_are_exported_and_checked_above_their_window(tmp_path, nafnet, rng):
    path = tmp_path / "nafnet.onnx"
    differences = export_onnx(nafnet, ModelCard(network="nafnet-w32", options={}, parameters=1), path)
    assert len(differences) == len(CHECK_SIZES) + 1
    assert min(list(differences)[-1]) > 48
    for size in ((48, 48), (32, 160), (160, 32), (48, 64), (256, 320)):
        image = rng.random((1, 3, *size), dtype=np.float32)
        image[..., : size[1] // 2] *= 0.2  # that averages differ from place to place
        image = torch.from_numpy(image)
        assert float((OnnxEngine(path, CPU).run(image) - TorchEngine(nafnet).run(image)).abs().max()) < 1e-5


def test_a_file_that_averages_over_the_whole_picture_is_not_written(tmp_path, nafnet, monkeypatch):
    local = nafnet_module.window_mean

    def whole_when_exported(features, side):
        return features.mean((-2, -1), keepdim=True) if torch.compiler.is_exporting() else local(features, side)

    monkeypatch.setattr(nafnet_module, "window_mean", whole_when_exported)
    monkeypatch.setattr(onnx_export, "CHECK_SIZES", ((32, 48),))
    with pytest.raises(LocalblurError, match="differs from torch"):
        export_onnx(nafnet, ModelCard(network="nafnet-w32", options={}, parameters=1), tmp_path / "nafnet.onnx")
    assert not (tmp_path / "nafnet.onnx").exists()


def test_the_file_says_what_it_is(exported):
    entry = next(entry for entry in onnx.load(str(exported)).metadata_props if entry.key == METADATA_KEY)
    described = json.loads(entry.value)
    assert described["network"] == "lbag"
    assert described["size_multiple"] == 4
    assert described["gated"]
    assert described["finds_early"]


def test_a_file_without_a_coarse_gate_is_searched_by_its_only_one(tmp_path, rng):
    network = NETWORKS["lbag"](OPTIONS | {"multiscale_gate": False}).eval()
    export_onnx(network, ModelCard(network="lbag", options={}, parameters=1), tmp_path / "one.onnx")
    engine, image = OnnxEngine(tmp_path / "one.onnx", CPU), torch.from_numpy(rng.random((1, 3, 64, 96), np.float32))
    torch.testing.assert_close(engine.find(image), engine.run(image)[:, 3:], rtol=0, atol=0)
    torch.testing.assert_close(engine.find(image), TorchEngine(network).find(image), rtol=0, atol=1e-4)


def test_finding_takes_less_time_than_restoring(exported):
    engine, image = OnnxEngine(exported, CPU), torch.full((1, 3, 512, 512), 0.5)

    def seconds(work) -> float:
        start = time.perf_counter()
        work(image)
        return time.perf_counter() - start

    finding, restoring = (min(seconds(work) for _ in range(4)) for work in (engine.find, engine.run))
    assert finding < 0.85 * restoring


def test_a_graphics_card_without_its_onnxruntime_is_no_reason_to_fail(exported, monkeypatch):
    monkeypatch.setattr(deblur_run, "resolve_device", lambda name: torch.device("cpu" if name == "cpu" else "cuda"))
    ready = deblur_run.make_engine(exported, runtime="onnx")
    assert ready.engine.device.type == "cpu"
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(LocalblurError, match="no GPU support"):
            deblur_run.make_engine(exported, runtime="onnx", device="cuda")


def test_deblur_finds_blur_with_it_as_with_the_model_and_its_settings(tmp_path, network, rng):
    """Whatever is found: the same by both, and something by neither nor all."""
    folder = tmp_path / "model"
    save_model(folder, "lbag", OPTIONS, network, {}, {}, "none")
    picture = cv2.GaussianBlur(rng.integers(0, 255, (656, 672, 3), dtype=np.uint8), (0, 0), 2)
    picture[200:400, 250:500] = rng.integers(0, 255, (200, 250, 3))
    write_image(tmp_path / "a.png", picture)
    gate = coarse_gate(TorchEngine(network), picture, 2) / 255
    settings = SkipSettings(
        reduction=2, threshold=float(np.quantile(gate, 0.9)), seed_threshold=float(gate.max()) - 0.01
    )
    store_skipping(folder, settings, {})
    assert CliRunner().invoke(export_model, [str(folder), "-o", str(tmp_path / "m.onnx")]).exit_code == 0
    results = []
    for name, more in (("torch", ["--precision", "fp32"]), ("onnx", ["--runtime", "onnx"])):
        model = folder if name == "torch" else tmp_path / "m.onnx"
        call = [str(tmp_path / "a.png"), "--model", str(model), "-o", str(tmp_path / name), *more]
        result = CliRunner().invoke(deblur, call)
        assert result.exit_code == 0, result.output
        results.append(read_image(tmp_path / name / "a.png").astype(int))
    assert np.abs(results[0] - results[1]).max() <= 1
    changed = (results[1] != picture).any(2).mean()
    assert 0 < changed < 0.9


def test_deblur_runs_it(exported, network, rng, tmp_path):
    pixels = rng.integers(0, 255, (61, 83, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", pixels)
    arguments = [str(tmp_path / "a.png"), "--model", str(exported), "--runtime", "onnx", "--dense"]
    result = CliRunner().invoke(deblur, [*arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    expected = restore_pixels(TorchEngine(network), pixels).pixels.astype(int)
    assert np.abs(read_image(tmp_path / "out" / "a.png") - expected).max() <= 1

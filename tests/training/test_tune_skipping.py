"""`tune_skipping` on a small pairs file: what it refuses, prints, measures and keeps."""

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.checkpoint import SKIPPING_NAME, save_model
from localblur.training.inference.model_skipping import stored_skipping
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.table import NETWORKS
from localblur.training.tune_skipping import main, simulated_examples

OPTIONS = {"lbag": {"width": 8, "num_res": 1, "identity_start": False}, "mimo-unet": {"num_res": 1}}


def write_model(folder, network="lbag"):
    torch.manual_seed(0)
    save_model(folder, network, OPTIONS[network], NETWORKS[network](OPTIONS[network]), {}, {}, "")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pairs.h5"
    rng = np.random.default_rng(0)
    sharp = np.rint(cv2.GaussianBlur(rng.random((960, 970, 3)), (0, 0), 1) * 200).astype(np.uint8)
    mask = np.zeros((960, 970), np.uint8)
    mask[300:550, 300:600] = 255
    blurred = np.where(mask[..., None] > 0, cv2.blur(sharp, (21, 1)), sharp)
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for scene, name, area in (("a", "00", None), ("a", "01", mask), ("b", "00", None)):
            writer.add(Pair(scene=scene, info=PairInfo(name=name), blurred=blurred, sharp=sharp, mask=area), "val")
    return path


def tune(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("mimo-unet", [], "has no gate"),
        ("lbag", ["--split", "test"], "no pair with a mask"),
        ("lbag", [], "loses less than"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path, data, network, options, message):
    result = tune(write_model(tmp_path, network), data, "--loss", "-99", "--write", *options)
    assert result.exit_code == 1
    assert message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / SKIPPING_NAME).exists()


def test_only_folders_of_models_are_taken(tmp_path, data):
    (tmp_path / "weights.pth").write_bytes(b"")
    for path in (tmp_path, tmp_path / "weights.pth", tmp_path / "gone"):
        result = tune(path, data)
        assert result.exit_code == 1
        assert f"no model in {path}" in result.stderr


def test_the_choice_is_printed_measured_and_kept_on_request(tmp_path, data):
    model = write_model(tmp_path)
    result = tune(model, data, "--loss", "99")
    assert result.exit_code == 0, result.output
    assert "<- chosen" in result.output
    assert "pictures 1; blurred_share 0.0805" in result.output
    assert not (model / SKIPPING_NAME).exists()
    result = tune(model, data, "--loss", "99", "--write")
    assert f"written: {model / SKIPPING_NAME}" in result.output
    assert stored_skipping(model) != SkipSettings()


def test_simulated_pictures_are_the_same_every_time_and_partly_blurred():
    (first,), (again,) = simulated_examples(1, 96, 128), simulated_examples(1, 96, 128)
    np.testing.assert_array_equal(first.blurred, again.blurred)
    assert 0 < first.mask.mean() < 0.5
    assert (first.blurred != first.sharp).any()

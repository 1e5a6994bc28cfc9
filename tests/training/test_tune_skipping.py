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
from localblur.training.inference.skip_tuning import CONFIRM_THRESHOLDS
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.table import NETWORKS
from localblur.training.tune_skipping import main, simulated_examples

OPTIONS = {"lbag": {"width": 8, "num_res": 1, "identity_start": False}, "mimo-unet": {"num_res": 1}}


def write_model(folder, network="lbag"):
    torch.manual_seed(0)
    save_model(folder, network, OPTIONS[network], NETWORKS[network](OPTIONS[network]), {}, {}, "")
    return folder


def partly_blurred(scene, name, height, width, *, masked=True, **info):
    rng = np.random.default_rng(0)
    sharp = np.rint(cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 1) * 200).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[300:550, 300:600] = 255
    blurred = np.where(mask[..., None] > 0, cv2.blur(sharp, (21, 1)), sharp)
    info = PairInfo(name=name, **info)
    return Pair(scene=scene, info=info, blurred=blurred, sharp=sharp, mask=mask if masked else None)


def write_pairs(path, *pairs):
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for pair in pairs:
            writer.add(pair, "val")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pairs(
        tmp_path_factory.mktemp("data") / "pairs.h5",
        partly_blurred("a", "00", 960, 970, masked=False),
        partly_blurred("a", "01", 960, 970),
        partly_blurred("b", "00", 960, 970, masked=False),
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_pairs(
        tmp_path_factory.mktemp("small") / "small.h5",
        partly_blurred("narrow", "00", 700, 639),
        partly_blurred("cropped", "00", 640, 700, valid_box=(1, 0, 640, 700)),
    )


def tune(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_choice_is_printed_measured_and_kept_on_request(tmp_path, data):
    model = write_model(tmp_path)
    result = tune(model, data, "--loss", "99")
    assert result.exit_code == 0, result.output
    assert result.output.count("<- chosen") == 2
    assert "confirm  loss dB  worst  outside dB  sharp kept" in result.output
    assert "outside_gained_db 0" in result.output
    assert "pictures 1; blurred_share 0.0805" in result.output
    assert not (model / SKIPPING_NAME).exists()
    result = tune(model, data, "--loss", "99", "--write")
    assert f"written: {model / SKIPPING_NAME}" in result.output
    assert stored_skipping(model) != SkipSettings()
    assert stored_skipping(model).confirm_threshold == CONFIRM_THRESHOLDS[-1]  # of a loss of 99 dB


def test_pictures_that_are_looked_at_whole_tell_nothing_and_are_refused(tmp_path, small):
    model = write_model(tmp_path)
    result = tune(model, small, "--loss", "99", "--write")
    assert result.exit_code == 1
    assert "at least 640 px a side" in result.stderr.strip().splitlines()[-1]
    assert "<- chosen" not in result.output
    assert not (model / SKIPPING_NAME).exists()


@pytest.mark.slow
def test_pictures_that_are_looked_at_whole_are_left_out_among_larger_ones(tmp_path, small):
    large = write_pairs(tmp_path / "large.h5", partly_blurred("large", "00", 640, 700))
    result = tune(write_model(tmp_path / "model"), small, large, "--loss", "99", "--scenes", "1")
    assert result.exit_code == 0, result.output
    assert "pictures 1; blurred_share 0.167" in result.output
    assert "2 pictures below 640 px a side left out" in result.stderr


def test_simulated_pictures_are_the_same_every_time_and_partly_blurred():
    (first,), (again,) = simulated_examples(1, 96, 128), simulated_examples(1, 96, 128)
    np.testing.assert_array_equal(first.blurred, again.blurred)
    assert 0 < first.mask.mean() < 0.5
    assert (first.blurred != first.sharp).any()

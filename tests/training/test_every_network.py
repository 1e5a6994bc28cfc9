"""Every network learns with its own recipe, made small: its validation error falls by a tenth and more."""

import pytest
from striped_data import striped_data

from localblur.training.networks.table import NETWORKS
from localblur.training.running.config import TrainingSettings, read_recipe
from localblur.training.running.loop import train
from localblur.training.running.run_log import read_log
from localblur.training.runtime import Runtime

SMALLER = {
    "lbag": {"width": 8, "num_res": 1, "dropout": 0.0},
    "lbag-small": {"width": 8, "num_res": 1},
    "mimo-unet": {"width": 8, "num_res": 1},
    "mimo-unet-plus": {"width": 8, "num_res": 2, "dropout": 0.0},
    "deepdeblur-k1": {"features": 8, "num_res": 2},
    "deepdeblur-k2": {"features": 8, "num_res": 2},
    "deepdeblur-k3": {"features": 8, "num_res": 2},
    "deblurgan": {"width": 8, "num_res": 1, "dropout": 0.0},
    "restormer": {"width": 8, "blocks": [1, 1, 1, 1], "refinement_blocks": 1},
    "nafnet-w32": {"width": 8, "encoder_blocks": [1, 1, 1, 1]},
    "nafnet-w64": {"width": 8, "encoder_blocks": [1, 1, 1, 1]},
    "unet-autoencoder": {"width": 16},
    "tiny": {},
}
# without VGG19's weights a picture term takes the place of the perceptual one
OBJECTIVE = {"deblurgan": {"perceptual_weight": 0.0, "mse_weight": 100.0}}
STEPS = 60


def shortened(name):
    """The recipe of `name` with a small network, small patches, few steps, and a rate that suits so few."""
    values = read_recipe(name)
    values["network"] = {"name": name, "options": SMALLER[name]}
    values["objective"] = values["objective"] | OBJECTIVE.get(name, {})
    values["optimizer"] = values["optimizer"] | {"lr": 2e-3, "clip_norm": 1.0}
    values["schedule"] = {"kind": "cosine", "warmup_steps": 5}
    values["data"] = {"patch_px": 48, "batch": 2}
    values["validation"] = {"every_steps": STEPS, "samples": 2, "patch_px": 48}
    return TrainingSettings.model_validate(values | {"steps": STEPS, "ema_decay": 0.0, "precision": "fp32"})


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_its_validation_error_falls_by_a_tenth(tmp_path, name):
    train(shortened(name), striped_data(different=2), tmp_path, runtime=Runtime("cpu"))
    judged = [record for record in read_log(tmp_path) if record["kind"] == "validation"]
    errors = [10 ** (-record["psnr_restored"] / 10) for record in judged]
    assert errors[-1] < 0.9 * errors[0]


def test_no_network_is_left_out():
    assert set(SMALLER) | {"lbag-plus"} == set(NETWORKS)  # which is lbag with other weights to begin with

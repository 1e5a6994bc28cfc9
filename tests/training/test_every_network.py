"""Every network learns: in a few steps its validation error falls by a tenth and more.

On simulated scenes, judged on others; but networks that begin as the identity have to undo blur from the first step on,
for which that is too little: they learn two patches of stripes, and are judged on these.
"""

import pytest
from striped_data import striped_data

from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.networks.table import NETWORKS
from localblur.training.running.config import TrainingSettings, read_recipe
from localblur.training.running.data import open_data
from localblur.training.running.loop import train
from localblur.training.running.run_log import read_log
from localblur.training.runtime import Runtime
from localblur.training.simulated_scenes import scene_pairs, scene_settings

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
BEGIN_AS_THE_IDENTITY = ("lbag", "lbag-small", "tiny")
STEPS, STEPS_FROM_THE_IDENTITY = 30, 60


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Eight scenes to learn from and four others."""
    path = tmp_path_factory.mktemp("scenes") / "scenes.h5"
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for number in range(12):
            for pair in scene_pairs(scene_settings("train", number), f"scene{number}", 1, 96, 128):
                writer.add(pair, "train" if number < 8 else "val")
    return path


def shortened(name):
    """The recipe of `name` with a small network, small patches, few steps, and a rate that suits so few.

    What becomes of its patches, its objective and its optimizer stay the recipe's.
    """
    values, identity = read_recipe(name), name in BEGIN_AS_THE_IDENTITY
    steps = STEPS_FROM_THE_IDENTITY if identity else STEPS
    values["network"] = {"name": name, "options": SMALLER[name]}
    values["objective"] = values["objective"] | OBJECTIVE.get(name, {})
    values["optimizer"] = values["optimizer"] | {"lr": 2e-3, "clip_norm": 1.0}
    values["schedule"] = {"kind": "cosine", "warmup_steps": 5}
    values["data"] = values.get("data", {}) | {"patch_px": 48, "batch": 2, "stages": []}
    values["validation"] = {"every_steps": steps, "samples": 2 if identity else 8, "patch_px": 48}
    return TrainingSettings.model_validate(values | {"steps": steps, "ema_decay": 0.0, "precision": "fp32"})


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_its_validation_error_falls_by_a_tenth(tmp_path, scenes, name):
    chosen = shortened(name)
    identity = name in BEGIN_AS_THE_IDENTITY
    data = striped_data(different=2) if identity else open_data([scenes], chosen)
    train(chosen, data, tmp_path, runtime=Runtime("cpu"))
    judged = [record for record in read_log(tmp_path) if record["kind"] == "validation"]
    assert (abs(judged[0]["psnr_restored"] - judged[0]["psnr_blurred"]) < 0.1) == identity
    errors = [10 ** (-record["psnr_restored"] / 10) for record in judged]
    assert errors[-1] < 0.9 * errors[0]


def test_no_network_is_left_out():
    assert set(SMALLER) | {"lbag-plus"} == set(NETWORKS)  # which is lbag with other weights to begin with

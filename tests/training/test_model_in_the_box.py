"""The model in the box: where it is looked for, what is said without one, what it must be and do."""

from pathlib import Path

import numpy as np
import pytest
import torch

import localblur.training
from localblur.common.errors import LocalblurError
from localblur.datasets.images import from_unit, to_array, to_unit
from localblur.datasets.pair import binary_mask
from localblur.training import model_in_the_box as box
from localblur.training.checkpoint import WEIGHTS_NAME, load_model
from localblur.training.inference.deblur_run import make_engine
from localblur.training.inference.selective import restore_blurred
from localblur.training.inference.skip_tuning import weighted_psnr
from localblur.training.running.shared_glow import glowing
from localblur.training.simulated_scenes import scene_pairs, scene_settings

LARGEST_BYTES = 10_000_000


def test_without_a_model_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(box, "FOLDER", tmp_path)
    with pytest.raises(LocalblurError, match="comes without a model; give the folder of one"):
        box.model_in_the_box()


def test_it_is_data_of_the_package_training():
    package = Path(localblur.training.__file__).resolve().parent
    assert box.FOLDER.resolve() == package / "models" / "lbag-small"


needs_model = pytest.mark.skipif(not (box.FOLDER / WEIGHTS_NAME).is_file(), reason="this copy comes without a model")


@needs_model
def test_it_is_small_whole_and_described():
    folder = box.model_in_the_box()
    module, card = load_model(folder)
    assert card.network == "lbag-small"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST_BYTES
    assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
    text = (folder / "card.md").read_text(encoding="utf-8")
    assert "Limits" in text
    assert f"{card.parameters:,}" in text


@pytest.fixture(scope="module")
def scenes():
    """Scenes that come after the sixty of the test."""
    return [scene_pairs(scene_settings("test", seed), f"scene{seed}", 1, 192, 256)[0] for seed in range(60, 68)]


@pytest.fixture(scope="module")
def ready():
    return make_engine(None, device="cpu")


@needs_model
def test_it_restores_what_moved_and_leaves_the_rest(scenes, ready):
    inside, outside = [], []
    for pair in scenes:
        restored = restore_blurred(ready.engine, pair.blurred, ready.skipping).pixels
        moved = binary_mask(pair.mask).reshape(restored.shape[:2])
        for where, gains in ((moved, inside), (~moved, outside)):
            gains.append(weighted_psnr(restored, pair.sharp, where) - weighted_psnr(pair.blurred, pair.sharp, where))
    assert np.mean(inside) > 1
    assert np.mean(outside) > -0.1


@needs_model
def test_it_does_not_take_soft_light_and_shade_for_motion(scenes, ready):
    touched = []
    for seed, pair in enumerate(scenes):
        sharp = torch.from_numpy(to_unit(pair.sharp)).permute(2, 0, 1)
        lit = glowing({"blurred": sharp, "sharp": sharp}, np.random.default_rng(seed), (6.0, 20.0))["sharp"]
        assert float((lit - sharp).abs().max()) > 0.05
        restored = restore_blurred(ready.engine, from_unit(to_array(lit[None]), 8), ready.skipping)
        touched.append(restored.restored.mean())
    assert np.mean(touched) < 0.02

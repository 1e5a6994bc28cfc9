"""A model's own way to find blur: kept beside its weights, and never used with others."""

import json
import logging

import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.training.checkpoint import SKIPPING_NAME, save_model
from localblur.training.inference.model_skipping import store_skipping, stored_skipping
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.table import NETWORKS

OWN = SkipSettings(reduction=5, threshold=0.33, seed_threshold=0.66, grow_cells=3)


def write_model(folder, seed=0):
    torch.manual_seed(seed)
    save_model(folder, "tiny", {}, NETWORKS["tiny"](), {}, {}, "")
    return folder


def test_without_a_model_nothing_is_written(tmp_path):
    with pytest.raises(LocalblurError, match="no model in"):
        store_skipping(tmp_path, OWN, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["[]", "{", '{"settings": {}}', '{"format": "something else"}'])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (write_model(tmp_path) / SKIPPING_NAME).write_text(content)
    with pytest.raises(LocalblurError, match=SKIPPING_NAME) as error:
        stored_skipping(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_without_settings_takes_those_of_the_program(tmp_path):
    assert stored_skipping(write_model(tmp_path)) == SkipSettings()
    assert stored_skipping(tmp_path / "weights.pth") == SkipSettings()


def test_settings_lie_beside_the_weights_of_a_model_or_a_runs_best(tmp_path):
    run = tmp_path / "run"
    write_model(run / "last", seed=1)
    write_model(run / "best")
    assert store_skipping(run, OWN, {"faster": 4.5}) == run / "best" / SKIPPING_NAME
    assert stored_skipping(run) == stored_skipping(run / "best") == OWN
    assert stored_skipping(run / "last") == SkipSettings()
    assert json.loads((run / "best" / SKIPPING_NAME).read_text())["measured"] == {"faster": 4.5}


def test_settings_of_other_weights_are_not_used_and_said_so(tmp_path, caplog):
    store_skipping(write_model(tmp_path), OWN, {})
    write_model(tmp_path, seed=1)
    with caplog.at_level(logging.WARNING):
        assert stored_skipping(tmp_path) == SkipSettings()
    assert "other weights" in caplog.text

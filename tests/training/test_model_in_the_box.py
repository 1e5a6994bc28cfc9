"""The model in the box: where it is looked for, what is said without one, and what it must be."""

from pathlib import Path

import pytest

import localblur.training
from localblur.common.errors import LocalblurError
from localblur.training import model_in_the_box as box
from localblur.training.checkpoint import WEIGHTS_NAME, load_model

LARGEST_BYTES = 10_000_000


def test_without_a_model_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(box, "FOLDER", tmp_path)
    with pytest.raises(LocalblurError, match="comes without a model; give the folder of one"):
        box.model_in_the_box()


def test_it_is_data_of_the_package_training():
    package = Path(localblur.training.__file__).resolve().parent
    assert box.FOLDER.resolve() == package / "models" / "lbag-small"


@pytest.mark.skipif(not (box.FOLDER / WEIGHTS_NAME).is_file(), reason="this copy comes without a model")
def test_it_is_small_whole_and_described():
    folder = box.model_in_the_box()
    module, card = load_model(folder)
    assert card.network == "lbag-small"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST_BYTES
    assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
    text = (folder / "card.md").read_text(encoding="utf-8")
    assert "Limits" in text
    assert f"{card.parameters:,}" in text

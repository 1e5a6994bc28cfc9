"""Models between two others."""

import pytest
import torch
from click.testing import CliRunner

from localblur.training.average_models import main
from localblur.training.checkpoint import load_model, save_model
from localblur.training.evaluation.model_card import write_card
from localblur.training.networks.table import network_entry


def saved(folder, network, value, options=None):
    module = network_entry(network)(options or {})
    with torch.no_grad():
        for values in module.parameters():
            values.fill_(value)
    save_model(folder, network, options or {}, module, {"recipe": network}, {"step": 30.0}, f"data-{value}")
    return folder


def test_weights_lie_between_and_the_card_says_so(tmp_path):
    before, after = saved(tmp_path / "before", "tiny", 1.0), saved(tmp_path / "after", "tiny", 2.0)
    output = tmp_path / "between"
    result = CliRunner().invoke(main, [str(before), str(after), "--share", "0.75", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "25% of before and 75% of after" in result.output
    module, card = load_model(output)
    assert all(bool((values == 1.75).all()) for values in module.parameters())
    assert card.data_fingerprint == "data-2.0"
    assert [(part.name, part.share, part.step, part.data) for part in card.averaged] == [
        ("before", 0.25, 30.0, "data-1.0"),
        ("after", 0.75, 30.0, "data-2.0"),
    ]
    text = write_card(card, 1000, [], [], "", [], {})
    assert "25% of `before` (step 30) and 75% of `after` (step 30)" in text
    assert "these are the weights of step" not in text


def test_models_of_other_networks_have_no_average(tmp_path):
    first, second = saved(tmp_path / "a", "tiny", 1.0), saved(tmp_path / "b", "mimo-unet", 1.0, {"width": 8})
    result = CliRunner().invoke(main, [str(first), str(second), "-o", str(tmp_path / "c")])
    assert result.exit_code == 1
    assert "only models of one network have an average" in result.output
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("share", ["0", "1", "nan"])
def test_a_share_that_is_none_is_refused(tmp_path, share):
    first, second = saved(tmp_path / "a", "tiny", 1.0), saved(tmp_path / "b", "tiny", 2.0)
    result = CliRunner().invoke(main, [str(first), str(second), "--share", share, "-o", str(tmp_path / "c")])
    assert result.exit_code == 2
    assert not (tmp_path / "c").exists()


def test_what_is_there_already_stays(tmp_path):
    first, second = saved(tmp_path / "a", "tiny", 1.0), saved(tmp_path / "b", "tiny", 2.0)
    result = CliRunner().invoke(main, [str(first), str(second), "-o", str(second)])
    assert result.exit_code == 1
    assert "--overwrite" in result.output
    assert bool((next(load_model(second)[0].parameters()) == 2).all())

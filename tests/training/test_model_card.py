"""A model's card: what it refuses to speak of, and that its numbers are those of the files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from localblur.datasets.images import write_image
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader
from localblur.training.checkpoint import ModelCard, save_model
from localblur.training.evaluate_deblur import main as evaluate_deblur
from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.model_card import write_card
from localblur.training.inference.model_skipping import store_skipping
from localblur.training.inference.skipping import SkipSettings
from localblur.training.model_card import main
from localblur.training.networks.table import NETWORKS
from localblur.training.running.data import fingerprint

OPTIONS = {"width": 8, "num_res": 1, "identity_start": False}
RECIPE = {"recipe": "lbag", "seed": 17, "steps": 4321}
SCENES = 8


def write_pairs(path: Path, split: str, source: str) -> Path:
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8, source=source, licence="CC0")) as writer:
        for number in range(SCENES):
            rng = np.random.default_rng(number)
            sharp = np.rint(cv2.GaussianBlur(rng.random((48, 48, 3)), (0, 0), 1) * 200).astype(np.uint8)
            mask = np.zeros((48, 48), np.uint8)
            mask[8:30, 10 : 30 + number] = 255
            blurred = np.where(mask[..., None] > 0, cv2.blur(sharp, (5 + 2 * number, 1)), sharp)
            writer.add(
                Pair(scene=f"s{number}", info=PairInfo(name="00"), blurred=blurred, sharp=sharp, mask=mask), split
            )
    return path


def write_model(folder: Path, trained_on: str, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    metrics = {"step": 1234.0}
    save_model(folder, "lbag", OPTIONS, NETWORKS["lbag"](OPTIONS), RECIPE, metrics, trained_on)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.h5, a model trained on it, and its evaluation on test.h5."""
    folder = tmp_path_factory.mktemp("card")
    train = write_pairs(folder / "train.h5", "train", "generated textures")
    test = write_pairs(folder / "test.h5", "test", "other textures")
    with PairsFile.open(train) as file:
        write_model(folder / "model", fingerprint([file]))
    arguments = [str(test), "--model", str(folder / "model"), "-o", str(folder / "scores"), "--pictures", "0"]
    result = CliRunner().invoke(evaluate_deblur, arguments)
    assert result.exit_code == 0, result.output
    return folder


def card(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def one_error(result: Result) -> str:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_folders_that_hold_no_report_are_refused(place, tmp_path):
    assert "cannot read" in one_error(card(place / "model", tmp_path, "-o", tmp_path / "card.md"))
    (tmp_path / "summary.json").write_text("{}")
    assert "no report of evaluate-deblur" in one_error(card(place / "model", tmp_path, "-o", tmp_path / "card.md"))


def test_a_report_of_other_weights_is_refused(place, tmp_path):
    other = write_model(tmp_path / "other", "", seed=1)
    message = one_error(card(other, place / "scores", "-o", tmp_path / "card.md"))
    assert "tells of model, and none has the weights" in message
    assert not (tmp_path / "card.md").exists()


def test_data_it_was_not_trained_on_is_refused(place, tmp_path):
    message = one_error(
        card(place / "model", place / "scores", "--data", place / "test.h5", "-o", tmp_path / "card.md")
    )
    assert "fingerprint" in message


def test_missing_pictures_and_terms_and_existing_cards_are_refused(place, tmp_path):
    out = tmp_path / "card.md"
    call = [place / "model", place / "scores", "-o", out]
    assert "no picture" in one_error(card(*call, "--picture", tmp_path / "none.png", "A picture"))
    assert "cannot read" in one_error(card(*call, "--terms", tmp_path / "none.md"))
    out.write_text("mine")
    assert "card.md" in one_error(card(*call))
    assert out.read_text() == "mine"


def test_the_numbers_of_the_card_are_those_of_the_files(place, tmp_path):
    (tmp_path / "terms.md").write_text("Textures of nobody, for everybody.\n")
    write_image(tmp_path / "images" / "strip.png", np.zeros((4, 4, 3), np.uint8))
    result = card(
        *(place / "model", place / "scores", "--data", place / "train.h5", "--terms", tmp_path / "terms.md"),
        *("--picture", tmp_path / "images" / "strip.png", "A strip", "-o", tmp_path / "card.md"),
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "card.md").read_text()
    summary = json.loads((place / "scores" / "summary.json").read_text())
    own = summary["methods"]["model"]
    for name in ("psnr", "weighted_psnr", "ssim", "weighted_ssim"):
        digits = MEASURES[name].digits
        low, high = own["gain"][name]["interval_95_over_scenes"]
        assert f"{own['mean'][name]['value']:.{digits}f}" in text
        assert f"({own['gain'][name]['mean']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}])" in text
    assert f"{sum(value.numel() for value in NETWORKS['lbag'](OPTIONS).parameters()):,} parameters" in text
    for part in ("seed 17, 4321 steps", "step 1234", "8 train", "generated textures", "CC0", "Textures of nobody"):
        assert part in text
    assert "![A strip](images/strip.png)" in text
    assert "## Limits" in text
    assert ": every pixel restored\n" in text
    assert "8 pairs of 8 scenes, split test," in text
    assert "Restoring only what is blurred" not in text


def test_verdicts_follow_the_intervals(place, tmp_path):
    """A random network does harm: the card says so, in the table of lengths too."""
    card(place / "model", place / "scores", "-o", tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert ": worse." in text
    assert "8 of 8 pairs came out worse than the blurred picture" in text
    assert "| blur length (estimated), px | pairs |" in text


def test_what_skipping_saves_is_told_as_it_was_measured(place, tmp_path):
    measured = {
        "pictures": 3,
        "blurred_share": 0.125,
        "faster": 4.56,
        "weighted_psnr_lost_db": 0.0321,
        "sharp_kept_share": 0.987,
    }
    path = store_skipping(place / "model", SkipSettings(), measured)
    card(place / "model", place / "scores", "-o", tmp_path / "card.md")
    path.unlink()
    text = (tmp_path / "card.md").read_text()
    assert "On 3 pictures, 12.5% of their area blurred" in text
    assert "4.6 times as fast" in text
    assert "0.032 dB" in text


def test_what_was_measured_with_other_weights_is_not_told(place, tmp_path):
    measured = dict.fromkeys(("pictures", "blurred_share", "faster", "weighted_psnr_lost_db"), 2.0)
    path = store_skipping(place / "model", SkipSettings(), measured | {"sharp_kept_share": 0.5})
    path.write_text(path.read_text().replace(json.loads(path.read_text())["weights_sha256"], "0" * 64))
    result = card(place / "model", place / "scores", "-o", tmp_path / "card.md")
    path.unlink()
    assert result.exit_code == 0, result.output
    assert "Restoring only what is blurred" not in (tmp_path / "card.md").read_text()


@pytest.mark.parametrize("start", [None, "/far/away/earlier", "/far/away/earlier/best", r"C:\\far\\away\\earlier"])
def test_weights_a_model_began_with_are_named(start):
    recipe = RECIPE | {"initial_weights": start, "objective": {"vgg_weights": "/far/away/vgg19.pth"}}
    text = write_card(ModelCard(network="lbag", options={}, parameters=1, recipe=recipe), 1, [], [], "")
    assert ("not begin at random but with the weights of `earlier" in text) == (start is not None)
    assert "earlier/best" in text or start is None or not start.endswith("best")
    assert "vgg19.pth" in text
    assert "far" not in text and "away" not in text

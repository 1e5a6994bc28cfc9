"""`evaluate-deblur`: refusals, numbers against independent ones, what is left out and counted, intervals, report."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_image
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.checkpoint import WEIGHTS_NAME, save_model
from localblur.training.evaluate_deblur import main
from localblur.training.evaluation.measures import MEASURES, take_measures
from localblur.training.evaluation.run import unique_labels
from localblur.training.evaluation.scoring import Score, comparable_mean, finite_mean, prepare_pair, showcase
from localblur.training.model_in_the_box import NAME
from localblur.training.networks.table import NETWORKS

OPTIONS = {"width": 8, "num_res": 1, "identity_start": False}
HEADER = StoreHeader(encoding="srgb", bit_depth=8)


def make_pair(seed: int, scene: str, name: str, *, mask: str | None = "some", **info: object) -> Pair:
    """A 60 x 80 pair; `mask` is "some", "empty" or None, and the picture is blurred inside it."""
    rng = np.random.default_rng(seed)
    sharp = np.rint(cv2.GaussianBlur(rng.random((60, 80, 3)), (0, 0), 1) * 255).astype(np.uint8)
    area = np.zeros((60, 80), np.uint8)
    area[20:45, 25 : 40 + seed % 20] = 255
    blurred = np.where(area[..., None] > 0, cv2.blur(sharp, (9, 1)), sharp)
    stored = {"some": area, "empty": np.zeros_like(area), None: None}[mask]
    return Pair(scene=scene, info=PairInfo(name=name, **info), blurred=blurred, sharp=sharp, mask=stored)


def write_pairs(path: Path, pairs: list[Pair], split: str = "test") -> Path:
    with PairsWriter(path, HEADER) as writer:
        for pair in pairs:
            writer.add(pair, split)
    return path


def score(value: float) -> Score:
    values = dict.fromkeys(MEASURES, value)
    facts = {"blurred_share": 0.1, "blur_px": 9.0, "blur_estimated": True}
    return Score(data="d", scene="s", pair="0", method="m", values=values, **facts)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "net"
    save_model(folder, "lbag", OPTIONS, NETWORKS["lbag"](OPTIONS), {"recipe": "tiny"}, {}, "abc")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = [make_pair(3 * number + index, f"s{number}", f"{index:02d}") for number in range(3) for index in range(2)]
    pairs += [
        make_pair(20, "s0", "90", verdict=Verdict.REJECT, reasons="parallax"),
        make_pair(21, "s1", "90", mask="empty"),
        make_pair(22, "s2", "90", mask=None),
    ]
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.h5", pairs)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def one_error(result: Result) -> str:
    """The only line of a refused call."""
    assert result.exit_code == 1, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_split_the_file_has_not_is_refused_with_those_it_has(tmp_path, model):
    path = write_pairs(tmp_path / "train.h5", [make_pair(0, "s", "00")], split="train")
    message = one_error(evaluate(path, "--model", model, "-o", tmp_path / "out"))
    assert "no pair in split 'test', only in train" in message
    assert not (tmp_path / "out").exists()
    assert evaluate(path, "--split", "nowhere", "-o", tmp_path / "out").exit_code == 2


def test_a_split_with_nothing_but_rejects_is_refused(tmp_path):
    path = write_pairs(tmp_path / "bad.h5", [make_pair(0, "s", "00", verdict=Verdict.REJECT)])
    assert "all 1 pairs of split 'test' are rejected" in one_error(evaluate(path, "-o", tmp_path / "out"))


@pytest.mark.parametrize("content", [None, b"", b"not hdf5"])
def test_missing_and_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in one_error(evaluate(path, "-o", tmp_path / "out"))


def test_a_missing_or_damaged_model_is_refused(tmp_path, data, model):
    assert "no model in" in one_error(evaluate(data, "--model", tmp_path / "none", "-o", tmp_path / "out"))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / WEIGHTS_NAME).write_bytes((model / WEIGHTS_NAME).read_bytes()[:500])
    assert "damaged" in one_error(evaluate(data, "--model", broken, "-o", tmp_path / "out"))


def test_used_outputs_and_outputs_inside_files_are_refused(tmp_path, data):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("x")
    assert "not empty" in one_error(evaluate(data, "-o", out))
    assert "is a file" in one_error(evaluate(data, "-o", out / "precious.txt" / "deeper"))
    assert evaluate(data, "-o", out, "--overwrite").exit_code == 0
    assert (out / "precious.txt").read_text() == "x"


def test_the_same_thing_twice_is_refused(tmp_path, data, model):
    assert "is given twice" in one_error(evaluate(data, data, "-o", tmp_path / "out"))
    assert "is given twice" in one_error(evaluate(data, "--model", model, "--model", model, "-o", tmp_path / "out"))


def test_a_valid_box_below_the_window_of_ssim_is_refused(tmp_path):
    path = write_pairs(tmp_path / "x.h5", [make_pair(0, "s", "00", valid_box=(0, 0, 60, 10))])
    assert "its valid box is 10x60 px" in one_error(evaluate(path, "-o", tmp_path / "out"))


def test_numbers_equal_scikit_image():
    pair = make_pair(5, "s", "00", valid_box=(4, 6, 58, 77))
    prepared = prepare_pair(pair, "srgb")
    found = take_measures(prepared.blurred, prepared)
    blurred, sharp = pair.blurred[4:58, 6:77], pair.sharp[4:58, 6:77]
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(sharp, blurred), abs=1e-6)
    expected = structural_similarity(
        sharp, blurred, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert found["ssim"] == pytest.approx(expected, abs=1e-4)
    inside = pair.mask[4:58, 6:77] >= 128
    error = ((sharp / 255.0 - blurred / 255.0) ** 2)[inside].mean()
    assert found["weighted_psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-6)
    assert prepared.blurred_share == pytest.approx(inside.mean())
    assert found["weighted_psnr"] < found["psnr"]
    assert found["outside_psnr"] == float("inf")
    assert found["weighted_sharpness"] < take_measures(prepared.sharp, prepared)["weighted_sharpness"]
    assert np.isnan([found["gate_iou"], found["aligned_psnr"]]).all()


def test_the_valid_box_hides_what_lies_outside():
    pair = make_pair(5, "s", "00", valid_box=(4, 6, 58, 77))
    ruined = pair.blurred.copy()
    ruined[:4] = ruined[:, 77:] = 0
    other = Pair(scene="s", info=pair.info, blurred=ruined, sharp=pair.sharp, mask=pair.mask)
    assert torch.equal(prepare_pair(pair, "srgb").blurred, prepare_pair(other, "srgb").blurred)


def test_linear_pairs_are_coded_before_they_are_measured():
    pair = make_pair(5, "s", "00")
    linear, coded = prepare_pair(pair, "linear"), prepare_pair(pair, "srgb")
    assert float(linear.sharp.mean()) > float(coded.sharp.mean())


def test_means_leave_out_what_is_not_finite_and_count_it():
    mean = finite_mean([1.0, 3.0, float("nan"), float("inf")])
    assert (mean.value, mean.count, mean.infinite, mean.missing) == (2.0, 2, 1, 1)
    assert finite_mean([float("nan")]).value is None


def test_best_median_and_worst_are_named_once():
    before = [score(0.0)] * 5
    after = [score(value) for value in (3.0, -1.0, float("nan"), 2.0, 0.5)]
    assert showcase(before, after, "psnr") == {"best1": 0, "median": 3, "worst1": 1}
    assert showcase(before, after, "psnr", 2) == {"best1": 0, "best2": 3, "worst1": 1, "worst2": 4}
    assert showcase(before[:1], after[:1], "psnr") == {"best1": 0}
    assert showcase(before[:1], [score(float("nan"))], "psnr") == {}


def test_means_of_methods_stand_on_the_same_pairs():
    """A changed picture that was perfect has a high PSNR: it must not raise the mean of the method that changed it."""
    before, after = [score(float("inf")), score(30.0), score(20.0)], [score(50.0), score(31.0), score(float("inf"))]
    mean = comparable_mean(before, after, "psnr")
    assert (mean.value, mean.count, mean.infinite) == (31.0, 1, 2)


def test_labels_tell_paths_apart():
    assert unique_labels([Path("/r/a/best"), Path("/r/b/best")]) == ["a/best", "b/best"]
    assert unique_labels([Path("/r/blurred")], reserved=["blurred"]) == ["r/blurred"]
    with pytest.raises(LocalblurError, match="twice"):
        unique_labels([Path("a"), Path("a")])
    assert unique_labels([Path("/r/a/best")]) == ["a/best"]
    assert unique_labels([Path("/r/a/last"), Path(NAME)]) == ["a/last", NAME]


def test_the_report_holds_every_pair_and_counts_what_is_left_out(tmp_path, data, model):
    out = tmp_path / "out"
    result = evaluate(data, "--model", model, "-o", out, "--precision", "fp32")
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["pairs"], summary["scenes"], summary["rejected"]) == (8, 3, 1)
    assert (summary["without_mask"], summary["empty_mask"]) == (1, 1)
    blurred, best = summary["methods"]["blurred"], summary["methods"]["net"]
    assert blurred["mean"]["weighted_psnr"]["pairs"] == 6
    assert len(best["model"]["weights_sha256"]) == 64
    assert best["model"]["trained_on"] == "abc"
    table = rows(out)
    assert len(table) == 16
    assert not [row for row in table if row["scene"] == "s0" and row["pair"] == "90"]
    means = {
        method: np.mean([float(row["psnr"]) for row in table if row["method"] == method])
        for method in ("blurred", "net")
    }
    assert means["net"] == pytest.approx(best["mean"]["psnr"]["value"], abs=1e-5)
    gain = best["gain"]["psnr"]
    assert gain["mean"] == pytest.approx(means["net"] - means["blurred"], abs=1e-5)
    low, high = gain["interval_95_over_scenes"]
    assert low <= gain["mean"] <= high
    unmasked = next(row for row in table if row["scene"] == "s2" and row["pair"] == "90")
    assert unmasked["weighted_psnr"] == unmasked["blurred_share"] == ""
    assert "1 pairs without a mask and 1 whose mask is empty" in result.stdout
    assert "1 rejected pairs left out" in result.stdout
    assert "3 scenes are few" in result.stdout


def test_the_page_needs_no_other_file_and_its_links_lead_somewhere(tmp_path, data, model):
    out = tmp_path / "out"
    assert evaluate(data, "--model", model, "-o", out, "--pictures", "1").exit_code == 0
    expected = ["net_best1.png", "net_median.png", "net_worst1.png"]
    assert sorted(path.name for path in (out / "strips").iterdir()) == expected
    assert read_image(out / "strips" / "net_best1.png").shape[1] > 3 * 400
    page = (out / "index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert page.count("data:image/png;base64,") == (out / "curves.png").is_file()
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {link for link in links if not link.startswith("data:")} == {"scores.csv", "summary.json"}
    assert (out / "scores.csv").is_file()
    assert not list(out.rglob("*.part*"))


def test_the_same_seed_gives_the_same_summary(tmp_path, data, model):
    contents = []
    for name in ("a", "b"):
        assert evaluate(data, "--model", model, "-o", tmp_path / name, "--seed", "4", "--pictures", "0").exit_code == 0
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        contents.append({key: value for key, value in summary.items() if key != "created"})
    assert contents[0] == contents[1]


def test_strips_of_an_earlier_report_go_and_nothing_else_does(tmp_path, data, model):
    out = tmp_path / "out"
    assert evaluate(data, "--model", model, "-o", out, "--pictures", "1").exit_code == 0
    (out / "strips" / "mine.png").write_text("x")
    assert evaluate(data, "-o", out, "--overwrite").exit_code == 0
    assert [path.name for path in (out / "strips").iterdir()] == ["mine.png"]
    assert evaluate(data, "-o", out, "--overwrite").exit_code == 0
    (out / "summary.json").write_text("{}")
    (out / "strips" / "my_best1.png").write_text("x")
    assert evaluate(data, "-o", out, "--overwrite").exit_code == 0
    assert (out / "strips" / "my_best1.png").exists()


def test_without_masks_weighted_numbers_are_absent_and_said_to_be(tmp_path, model):
    path = write_pairs(tmp_path / "plain.h5", [make_pair(number, "s", f"{number}", mask=None) for number in range(2)])
    result = evaluate(path, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "no pair has a blur mask" in result.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["methods"]["net"]["mean"]["weighted_ssim"]["value"] is None
    assert summary["methods"]["net"]["gain"]["weighted_psnr"]["mean"] is None


def test_without_a_model_only_the_blurred_pictures_are_measured(tmp_path, data):
    result = evaluate(data, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert list(json.loads((tmp_path / "out" / "summary.json").read_text())["methods"]) == ["blurred"]
    assert not (tmp_path / "out" / "strips").exists()


def test_equal_pictures_do_not_make_the_mean_infinite(tmp_path, model):
    same = make_pair(0, "s", "00")
    equal = Pair(scene="s", info=same.info, blurred=same.sharp, sharp=same.sharp, mask=same.mask)
    path = write_pairs(tmp_path / "x.h5", [equal, make_pair(1, "s", "01")])
    result = evaluate(path, "--model", model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    methods = json.loads((tmp_path / "out" / "summary.json").read_text())["methods"]
    means = [methods[name]["mean"]["psnr"] for name in ("blurred", "net")]
    assert [(mean["pairs"], mean["equal_pictures"]) for mean in means] == [(1, 1)] * 2
    assert means[1]["value"] - means[0]["value"] == pytest.approx(methods["net"]["gain"]["psnr"]["mean"])
    assert "leaves out, for every method, 1 pairs" in result.stdout

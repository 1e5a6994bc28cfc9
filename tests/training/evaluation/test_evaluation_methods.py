"""What `evaluate-deblur` measures beside a model on one file: baselines, published files, several models and files,
detectors, aligned pictures, gates, and what is refused."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner, Result
from tiny_yolo import SIZE_PX, write_tiny_yolo

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader
from localblur.training.checkpoint import WEIGHTS_NAME, load_model, save_model
from localblur.training.evaluate_deblur import main, network_names
from localblur.training.evaluation.cross_dataset import trained_on
from localblur.training.evaluation.curves import binned, draw_curves, gains
from localblur.training.evaluation.detection import YoloDetector
from localblur.training.evaluation.journal import NAME, Journal
from localblur.training.evaluation.measures import MEASURES, take_measures
from localblur.training.evaluation.methods import Model, Outcome
from localblur.training.evaluation.run import EvaluationSettings, evaluate, journal_key
from localblur.training.evaluation.scoring import EvaluationPair, Score, prepare_pair
from localblur.training.evaluation.summary import summarise
from localblur.training.networks.table import NETWORKS
from localblur.training.running.data import fingerprint

OPTIONS = {
    "lbag": {"width": 8, "num_res": 1, "identity_start": False},
    "mimo-unet": {"num_res": 1},
    "tiny": {},
    "deblurgan": {"num_res": 1},
}


def make_pair(seed: int, scene: str, name: str = "00") -> Pair:
    """64 x 64 px of texture, and a red cell of a detector that is blurred away."""
    rng = np.random.default_rng(seed)
    sharp = np.rint(cv2.GaussianBlur(rng.random((64, 64, 3)), (0, 0), 1) * 120).astype(np.uint8)
    sharp[16:32, 32:48] = (255, 0, 0)
    area = np.zeros((64, 64), np.uint8)
    area[8:40, 16:62] = 255
    blurred = np.where(area[..., None] > 0, cv2.blur(sharp, (61, 31)), sharp)
    return Pair(scene=scene, info=PairInfo(name=name), blurred=blurred, sharp=sharp, mask=area)


def write_pairs(path: Path, first: int, scenes: int = 3) -> Path:
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for number in range(scenes):
            writer.add(make_pair(first + number, f"s{number}"), "test")
    return path


def write_model(folder: Path, network: str = "lbag", trained: str = "") -> Path:
    torch.manual_seed(1)
    options = OPTIONS[network]
    save_model(folder, network, options, NETWORKS[network](options), {}, {}, trained)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "a.h5", 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("run") / "small")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in (*arguments, "--pictures", "0")])


def one_error(result: Result) -> str:
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("evaluate: ")]
    assert len(lines) == 1, lines
    return lines[0]


def summary(folder: Path) -> dict:
    return dict(json.loads((folder / "summary.json").read_text()))


class Perfect:
    """A method that has seen the sharp picture."""

    label = "perfect"

    def restore(self, pair: EvaluationPair) -> Outcome:
        return Outcome(pair.sharp, pair.mask)


def test_a_network_that_returns_nan_is_named(tmp_path, data, model):
    broken = tmp_path / "broken"
    broken.mkdir()
    weights = safetensors.torch.load_file(model / WEIGHTS_NAME)
    with safetensors.safe_open(model / WEIGHTS_NAME, framework="pt") as file:
        header = file.metadata()
    ruined = {name: torch.full_like(value, float("nan")) for name, value in weights.items()}
    safetensors.torch.save_file(ruined, broken / WEIGHTS_NAME, metadata=header)
    message = one_error(run(data, "--model", broken, "-o", tmp_path / "out"))
    assert "broken, pair 00: the network returned NaN" in message
    assert not (tmp_path / "out").exists()


def test_published_files_need_the_name_of_their_network(tmp_path, data):
    file = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save({"params": NETWORKS["tiny"]().state_dict()}, file)
    out = tmp_path / "out"
    assert "does not say which network" in one_error(run(data, "--model", file, "-o", out))
    assert "weights of another network" in one_error(run(data, "--model", file, "--network", "lbag", "-o", out))
    result = run(data, "--model", file, "--network", "tiny", "-o", out)
    assert result.exit_code == 0, result.output
    assert summary(out)["methods"]["weights.pth"]["model"]["network"] == "tiny"


def test_names_of_networks_belong_to_files_in_their_order(tmp_path, data, model):
    files = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for file in files:
        file.touch()
    paths = [files[0], model, files[1]]
    assert network_names(paths, ["tiny", "lbag"]) == ["tiny", None, "lbag"]
    assert network_names(paths, ["tiny"]) == ["tiny", None, "tiny"]
    assert network_names(paths, []) == [None, None, None]
    assert "given 1 times for 0" in one_error(run(data, "--model", model, "--network", "lbag", "-o", tmp_path / "out"))


def test_selective_restoring_needs_a_gate(tmp_path, data, model):
    gateless = write_model(tmp_path / "gateless", "mimo-unet")
    assert "leave out --selective" in one_error(run(data, "--model", gateless, "--selective", "-o", tmp_path / "out"))
    result = run(data, "--model", model, "--selective", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert summary(tmp_path / "out")["settings"]["selective"] is True


def test_baselines_stand_beside_models_and_are_tested_against_them(tmp_path, data, model):
    out = tmp_path / "out"
    result = run(data, "--baseline", "none", "--baseline", "wiener", "--model", model, "-o", out)
    assert result.exit_code == 0, result.output
    found = summary(out)
    assert list(found["methods"]) == ["blurred", "wiener", "small"]
    assert found["methods"]["wiener"]["baseline"]["kernel"] == "oracle"
    assert found["methods"]["wiener"]["mean"]["outside_change"]["value"] == 0
    (pair,) = found["comparisons"]
    assert (pair["first"], pair["second"]) == ("wiener", "small")
    means = [found["methods"][name]["mean"]["psnr"]["value"] for name in ("wiener", "small")]
    assert pair["measures"]["psnr"]["difference"] == pytest.approx(means[1] - means[0])
    assert "small over wiener" in result.stdout
    assert "one kernel fitted to the sharp picture" in result.stdout


def test_two_models_and_two_files_give_a_table_of_what_was_trained_on_which(tmp_path, data):
    other = write_pairs(tmp_path / "b.h5", 50)
    with PairsFile.open(other) as file:
        own = write_model(tmp_path / "own", trained=fingerprint([file]))
    strange = write_model(tmp_path / "strange", "tiny", trained="0")
    out = tmp_path / "out"
    result = run(data, other, "--model", own, "--model", strange, "-o", out)
    assert result.exit_code == 0, result.output
    rows = {row["method"]: row for row in summary(out)["files"]}
    assert rows["own"]["trained_on"] == ["b.h5"]
    assert rows["strange"]["trained_on"] == []
    assert [rows["own"]["tested_on"][name]["own"] for name in ("a.h5", "b.h5")] == [False, True]
    with (out / "scores.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    there = [float(row["weighted_psnr"]) for row in table if (row["data"], row["method"]) == ("b.h5", "own")]
    assert rows["own"]["tested_on"]["b.h5"]["value"] == pytest.approx(np.mean(there), abs=1e-5)
    assert "tested on b.h5" in result.stdout


def test_a_run_folder_tells_what_it_was_trained_on(tmp_path, data):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    about = {"data": [str(data), "elsewhere/gopro.h5"], "data_fingerprint": "f"}
    (run_folder / "run.json").write_text(json.dumps(about))
    with PairsFile.open(data) as file:
        files = {"label": file}
        assert trained_on(run_folder / "best", "f", files) == ("label", "gopro.h5")
        assert trained_on(run_folder, "g", files) == ()  # another model was put there
        (run_folder / "run.json").write_text("{")
        assert trained_on(run_folder, "f", files) == ()


def test_a_perfect_method_is_seen_to_be_perfect(data, tmp_path):
    detector = YoloDetector(write_tiny_yolo(tmp_path / "tiny.onnx"), size_px=SIZE_PX)
    with PairsFile.open(data) as file:
        evaluation = evaluate({"a": file}, [Perfect()], EvaluationSettings(aligned=True), detector)
        found = summarise(evaluation)
    perfect, blurred = found["methods"]["perfect"]["mean"], found["methods"]["blurred"]["mean"]
    assert perfect["psnr"] == {"value": None, "pairs": 0, "equal_pictures": 3, "missing": 0}
    assert perfect["ssim"]["value"] == pytest.approx(1)
    assert perfect["gate_iou"]["value"] == 1
    assert blurred["gate_iou"] == {"value": None, "pairs": 0, "equal_pictures": 0, "missing": 3}
    assert perfect["weighted_sharpness"]["value"] == pytest.approx(found["reference"]["weighted_sharpness"]["value"])
    assert perfect["aligned_shift"]["value"] < 0.05
    assert blurred["aligned_psnr"]["pairs"] + blurred["aligned_psnr"]["missing"] == 3
    detection = found["detection"]
    assert (detection["perfect"]["f1"], detection["perfect"]["both"]) == (1.0, 3)
    assert (detection["blurred"]["recall"], detection["blurred"]["only_sharp"]) == (0.0, 3)


def test_detections_of_the_command_are_those_of_every_pair(tmp_path, data, model):
    detector, out = write_tiny_yolo(tmp_path / "tiny.onnx"), tmp_path / "out"
    refused = run(data, "--model", model, "--detector", detector, "-o", out)
    assert "--detector-size" in one_error(refused)
    assert "at least 64x128" in one_error(run(data, "--detector", "people", "-o", out))
    result = run(data, "--model", model, "--detector", detector, "--detector-size", SIZE_PX, "-o", out)
    assert result.exit_code == 0, result.output
    with (out / "scores.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "blurred"]
    assert [row["detected_only_in_sharp"] for row in rows] == ["1", "1", "1"]
    assert summary(out)["detection"]["blurred"]["only_sharp"] == 3
    assert "precision" in result.stdout


class Counting(Perfect):
    """Fails at the third pair of the first run, as a kill would."""

    def __init__(self, fail_at: int) -> None:
        self.calls, self.fail_at = 0, fail_at

    def restore(self, pair: EvaluationPair) -> Outcome:
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return super().restore(pair)


def test_an_interrupted_evaluation_continues_with_the_pairs_that_are_left(tmp_path, data):
    detector = YoloDetector(write_tiny_yolo(tmp_path / "tiny.onnx"), size_px=SIZE_PX)
    settings, path, stopped, second = EvaluationSettings(), tmp_path / "out" / NAME, Counting(3), Counting(9)
    with PairsFile.open(data) as file:
        files = {"a": file}
        key = journal_key(files, [stopped], settings)
        with pytest.raises(KeyboardInterrupt):
            evaluate(files, [stopped], settings, detector, Journal(path, key, resume=False))
        path.write_text(path.read_text() + '{"scores": {"blurr')  # what a kill leaves
        journal = Journal(path, key, resume=True)
        assert len(journal) == 2
        resumed = evaluate(files, [second], settings, detector, journal)
        whole = evaluate(files, [Counting(9)], settings, detector)
        assert second.calls == 1
        drop = {"created"}
        contents = [{k: v for k, v in summarise(one).items() if k not in drop} for one in (resumed, whole)]
    assert contents[0] == contents[1]
    assert len(Journal(path, key, resume=True)) == 3


def test_a_journal_of_something_else_is_not_continued(tmp_path, data, model):
    out = tmp_path / "out"
    assert "no unfinished evaluation" in one_error(run(data, "--resume", "-o", out))
    out.mkdir()
    (out / NAME).write_text('{"key": "x"}\n')
    assert "pass --resume" in one_error(run(data, "-o", out))
    assert "other data, models or settings" in one_error(run(data, "--resume", "-o", out))
    (out / NAME).write_text('{"key": 3\n')
    assert "damaged" in one_error(run(data, "--resume", "-o", out))
    assert run(data, "-o", out, "--overwrite").exit_code == 0
    assert not (out / NAME).exists()


def test_the_key_knows_weights_settings_and_masks(tmp_path, data, model):
    def key(path: Path, **changes: object) -> str:
        with PairsFile.open(path) as file:
            return journal_key({"a": file}, [], EvaluationSettings(**changes))

    other = write_pairs(tmp_path / "b.h5", 7)
    assert len({key(data), key(other), key(data, aligned=True)}) == 3
    assert key(data) == key(data, seed=4)
    detector = write_tiny_yolo(tmp_path / "tiny.onnx")
    first = key(data, detector=str(detector))
    write_tiny_yolo(detector, "v5")
    assert key(data, detector=str(detector)) != first
    with PairsFile.open(data) as file:
        settings = EvaluationSettings()
        networks = [load_model(model), load_model(write_model(tmp_path / "tiny", "tiny"))]
        methods = [Model(label="m", path=model, module=module, card=card) for module, card in networks]
        assert journal_key({"a": file}, methods[:1], settings) != journal_key({"a": file}, methods[1:], settings)


def test_pictures_that_cannot_be_aligned_are_counted(data):
    pair = make_pair(0, "s")
    flat = Pair(scene="s", info=pair.info, blurred=np.full_like(pair.sharp, 90), sharp=pair.sharp, mask=pair.mask)
    prepared = prepare_pair(flat, "srgb")
    found = take_measures(prepared.blurred, prepared, aligned=True)
    assert np.isnan([found["aligned_psnr"], found["realblur_psnr"], found["aligned_shift"]]).all()
    assert found["psnr"] > 0


def test_aligning_forgives_a_shift_and_says_how_far():
    sharp = np.rint(255 * cv2.GaussianBlur(np.random.default_rng(3).random((160, 200, 3)), (0, 0), 3)).astype(np.uint8)
    sharp = cv2.normalize(sharp, None, 0, 255, cv2.NORM_MINMAX)
    pair = Pair(scene="s", info=PairInfo(name="0"), blurred=np.roll(sharp, 2, axis=1), sharp=sharp)
    prepared = prepare_pair(pair, "srgb")
    found = take_measures(prepared.blurred, prepared, aligned=True)
    assert found["aligned_shift"] == pytest.approx(2, abs=0.1)
    assert found["realblur_psnr"] > found["psnr"] + 5
    assert found["aligned_psnr"] >= found["realblur_psnr"]  # the strip without data counts as right


def test_bins_hold_equally_many_pairs_in_their_order():
    values = np.linspace(10, 40, 24)
    facts = {"data": "d", "pair": "0", "method": "m", "blurred_share": 0.1, "blur_estimated": True}
    scores = [
        Score(scene=f"s{n}", values=dict.fromkeys(MEASURES, 50 - v), blur_px=v, **facts) for n, v in enumerate(values)
    ]
    bins = binned(scores[::-1], "psnr", lambda score: score.blur_px, seed=0)
    assert [one.count for one in bins] == [4] * 6
    for one in bins:
        assert one.mean == pytest.approx(50 - one.position)
        assert one.interval is not None
        assert one.interval[0] <= one.mean <= one.interval[1]
    assert binned(scores[:3], "psnr", lambda score: score.blur_px, seed=0) == []
    assert binned(scores, "psnr", lambda score: float("nan"), seed=0) == []


def test_curves_are_drawn_of_what_there_is():
    facts = {"data": "d", "pair": "0", "blurred_share": float("nan"), "blur_estimated": True}
    scores = {
        name: [
            Score(scene=f"s{n}", method=name, values=dict.fromkeys(MEASURES, n + gain), blur_px=float(n), **facts)
            for n in range(12)
        ]
        for name, gain in (("blurred", 0.0), ("model", 0.5))
    }
    assert draw_curves({"blurred": scores["blurred"][:5]}, "psnr", seed=0) is None
    alone, both = (draw_curves(chosen, "psnr", seed=0) for chosen in ({"blurred": scores["blurred"]}, scores))
    assert alone is not None
    assert both is not None
    heights = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape[0] for content in (alone, both)]
    assert heights[1] == 2 * heights[0]
    assert [one.value("psnr") for one in gains(scores, "psnr")["model"]] == [0.5] * 12


@pytest.mark.parametrize(
    ("network", "tile", "told"), [("deblurgan", "160", 1), ("deblurgan", "none", 0), ("lbag", "160", 0)]
)
def test_networks_that_look_at_the_whole_image_say_what_windows_change(tmp_path, network, tile, told):
    rng = np.random.default_rng(0)
    sharp = np.rint(cv2.GaussianBlur(rng.random((200, 72, 3)), (0, 0), 1) * 200).astype(np.uint8)
    with PairsWriter(tmp_path / "tall.h5", StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for name in ("a", "b"):
            writer.add(Pair(scene=name, info=PairInfo(name="00"), blurred=sharp, sharp=sharp, mask=None), "test")
    model = write_model(tmp_path / "net", network)
    result = run(tmp_path / "tall.h5", "--model", model, "--tile", tile, "--precision", "fp32", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("run in windows on 2 pairs") == told
    effect = summary(tmp_path / "out")["methods"]["net"]["model"]["windows"]
    assert (effect is not None) == bool(told)
    if told:
        assert effect["levels"] > 0

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from localblur.datasets.curation.stats import AREA_EDGES, distribution, measure_pairs
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.pairs_file import main
from localblur.datasets.storage.edits import EditsWriter
from localblur.datasets.store import PairsFile


def square(side_px):
    mask = np.zeros((64, 64), np.uint8)
    mask[:side_px, :side_px] = 255
    return mask


@pytest.fixture
def path(tmp_path, make_file):
    """Masks of 1/16, 1/4 and all of the picture, the last one rejected; one test pair without a mask."""
    image = np.zeros((64, 64, 3), np.uint8)

    def pair(scene, name, side_px, verdict, **quality):
        info = PairInfo(name=name, verdict=verdict, quality=quality)
        mask = None if side_px is None else square(side_px)
        return Pair(scene=scene, info=info, blurred=image, sharp=image, mask=mask)

    train = [
        pair("a", "0", 16, Verdict.ACCEPT, noise=0.1, saturated=0.5),
        pair("a", "1", 32, Verdict.UNDECIDED, noise=0.3, saturated=float("nan")),
        pair("b", "0", 64, Verdict.REJECT, noise=9.0),
    ]
    return make_file(tmp_path / "a.h5", {"train": train, "test": [pair("c", "0", None, Verdict.ACCEPT)]})


def run(*arguments):
    return CliRunner().invoke(main, ["stats", *[str(argument) for argument in arguments]])


def test_statistics_in_closed_form(path):
    with PairsFile(path) as pairs:
        found = measure_pairs(pairs).splits
    assert list(found) == ["all", "train", "test"]
    train = found["train"]
    assert (train.scenes, train.pairs, train.masked, train.mended) == (2, 3, 3, 0)
    assert train.verdicts == {"accept": 1, "reject": 1, "undecided": 1}
    area = train.blurred_area
    assert (area.count, area.mean, area.median) == (2, (1 / 16 + 1 / 4) / 2, (1 / 16 + 1 / 4) / 2)
    assert (area.minimum, area.maximum) == (1 / 16, 1 / 4)
    assert sum(area.counts) == 2
    bins = dict(zip(zip(AREA_EDGES, AREA_EDGES[1:], strict=False), area.counts, strict=True))
    assert bins[0.04, 0.08] == bins[0.16, 0.32] == 1
    assert train.measures["noise"].mean == pytest.approx(0.2)
    assert train.measures["noise"].maximum == 0.3
    assert train.measures["saturated"].count == 1
    assert found["test"].blurred_area is None
    assert found["test"].measures == {}
    assert found["all"].pairs == 4


def test_statistics_follow_the_edits(path):
    with PairsFile(path) as pairs, EditsWriter(path, pairs.identity, "kim") as edits:
        edits.set_verdict("b", "0", Verdict.ACCEPT)
        edits.set_mask("c", "0", square(64))
    with PairsFile(path) as pairs:
        found = measure_pairs(pairs).splits["all"]
    assert found.blurred_area.maximum == 1.0
    assert found.blurred_area.count == 4
    assert (found.masked, found.mended) == (4, 1)
    assert found.decided_by == {"auto": 3, "kim": 1}


def test_a_distribution_of_nothing_is_none():
    assert distribution([]) is None
    assert distribution([float("nan"), float("inf")]) is None
    same = distribution([2.0, 2.0])
    assert (same.mean, same.p05, same.p95, sum(same.counts)) == (2.0, 2.0, 2.0, 2)


def test_the_command_prints_text_and_json(path):
    text = run(path)
    assert text.exit_code == 0, text.output
    for fact in (
        "train: 3 pairs in 2 scenes",
        "1 accept, 1 reject, 1 undecided",
        "3 of 3, 0 mended by hand",
        "15.6 % mean, 15.6 % median, 6.25 to 25 %",
        "ReLoBlur: 11.75 % mean",
        "unknown: no masks; make them with mask-dataset",
        "no quality measures are stored",
    ):
        assert fact in text.stdout, fact
    (row,) = [line for line in text.stdout.splitlines() if line.startswith("    noise")][:1]
    assert row.split() == ["noise", "0.2", "0.2", "0.11", "0.29", "2"]
    content = json.loads(run(path, "--json").stdout)
    assert content["splits"]["train"]["blurred_area"]["mean"] == 0.15625


def test_plots_are_pictures_and_are_not_replaced_unasked(path, tmp_path):
    folder = tmp_path / "plots"
    result = run(path, "-o", folder)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in folder.iterdir()) == [
        "blur-length.png",
        "blurred-area.png",
        "measures.png",
        "verdicts.png",
    ]
    for file in folder.iterdir():
        image = cv2.imread(str(file))
        assert min(image.shape[:2]) > 60
        assert image.min() < 100 < image.max()
    again = run(path, "-o", folder)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert run(path, "-o", folder, "--overwrite").exit_code == 0


def test_a_file_that_does_not_exist_is_one_line(tmp_path):
    result = run(tmp_path / "none.h5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1

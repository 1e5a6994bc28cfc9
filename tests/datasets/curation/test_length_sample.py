"""Blur lengths of samples, against blurs of known length."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from skimage.data import astronaut

from localblur.datasets.curation.length_sample import LengthSampler
from localblur.datasets.curation.stats import measure_pairs
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.pairs_file import main
from localblur.datasets.storage.edits import EditsWriter
from localblur.datasets.store import PairsFile

SHARP = np.ascontiguousarray(astronaut()[60:124, 190:270])
BLURRED = cv2.blur(SHARP, (13, 1))
RECORDED_PX = 7.5


def pair(scene, name, blurred=BLURRED, verdict=Verdict.ACCEPT, **quality):
    mask = np.full(SHARP.shape[:2], 255, np.uint8)
    info = PairInfo(name=name, verdict=verdict, quality=quality)
    return Pair(scene=scene, info=info, blurred=blurred, sharp=SHARP, mask=mask)


@pytest.fixture
def path(tmp_path, make_file):
    """Twelve pairs blurred along 13 px and a rejected one to train; recorded lengths to test."""
    train = [pair("a", str(number)) for number in range(12)]
    train.append(pair("a", "bad", SHARP, Verdict.REJECT))
    test = [pair("t", str(number), travel_px=RECORDED_PX + number) for number in range(5)]
    return make_file(tmp_path / "a.h5", {"train": train, "test": test})


def test_lengths_are_estimated_for_no_more_pairs_than_asked(path):
    made = []
    with PairsFile(path) as pairs:
        found = measure_pairs(pairs, LengthSampler(most=3, advance=made.append)).splits
    train = found["train"]
    assert (train.lengths_sampled, train.lengths_recorded) == (3, 0)
    assert 10 < train.blur_length_px.median < 17
    assert len(set(made)) == len(made) == 3
    assert found["all"].lengths_sampled == 3


def test_recorded_lengths_are_used_and_all_of_them(path):
    with PairsFile(path) as pairs:
        test = measure_pairs(pairs, LengthSampler(most=2)).splits["test"]
    assert (test.lengths_sampled, test.lengths_recorded) == (5, 5)
    assert test.blur_length_px.mean == RECORDED_PX + 2


def test_rejected_pairs_are_not_sampled(path):
    with PairsFile(path) as pairs:
        train = measure_pairs(pairs, LengthSampler(most=100)).splits["train"]
    assert train.lengths_sampled == 12
    assert train.blur_length_px.minimum > 0


def test_only_what_was_edited_is_estimated_again(path):
    made = []
    sampler = LengthSampler(most=100, advance=made.append)
    with PairsFile(path) as pairs:
        before = measure_pairs(pairs, sampler)
        assert measure_pairs(pairs, sampler) == before
        assert len(made) == 12
        with EditsWriter(path, pairs.identity, "kim") as edits:
            edits.set_mask("a", "5", np.zeros(SHARP.shape[:2], np.uint8))
    with PairsFile(path) as pairs:
        after = measure_pairs(pairs, sampler).splits["train"]
    assert made[12:] == ["a/5"]
    assert (after.lengths_sampled, after.blur_length_px.count) == (12, 11)


def test_a_sample_hardly_changes_with_a_pair(path):
    with PairsFile(path) as pairs:
        places = [("a", number) for number in range(12)]
        one, other = LengthSampler(most=6), LengthSampler(most=6)
        one.take(pairs, places)
        other.take(pairs, places[:-1])
    assert len(one.known.keys() & other.known.keys()) >= 5


def test_the_command_says_how_many_were_sampled(path):
    runner = CliRunner()
    text = runner.invoke(main, ["stats", str(path), "--lengths", "3"]).stdout
    assert "(from 3 of 13 pairs, 0 recorded, 3 estimated)" in text
    assert "blur length   9.5 px mean, 9.5 px median" in text
    assert "(from 5 of 5 pairs, 5 recorded, 0 estimated)" in text
    content = json.loads(runner.invoke(main, ["stats", str(path), "--lengths", "0", "--json"]).stdout)
    assert content["splits"]["train"]["blur_length_px"] is None
    assert "blur length" not in runner.invoke(main, ["stats", str(path), "--lengths", "0"]).stdout

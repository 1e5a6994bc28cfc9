"""Intervals and tests: coverage, clusters, agreement with scipy and closed forms, degenerate inputs."""

import numpy as np
import pytest
from scipy import stats

from localblur.training.evaluation.bootstrap import (
    bootstrap_interval,
    number_groups,
    percentile_interval,
    resampled_means,
    resampled_sums,
    two_sided_p,
)
from localblur.training.evaluation.comparison import compare, paired_gain
from localblur.training.evaluation.measures import MEASURES
from localblur.training.evaluation.scoring import Score


def score(value: float, scene: str = "s", pair: str = "0") -> Score:
    values = dict.fromkeys(MEASURES, value)
    facts = {"blurred_share": 0.1, "blur_px": 9.0, "blur_estimated": True}
    return Score(data="d", scene=scene, pair=pair, method="m", values=values, **facts)


def scores(values: np.ndarray) -> list[Score]:
    """One scene a row, one pair a column."""
    return [score(float(v), f"s{n}", str(i)) for n, row in enumerate(values) for i, v in enumerate(row)]


def test_nothing_to_draw_gives_no_interval(rng):
    assert bootstrap_interval(np.empty(0), np.empty(0, np.int64), rng) is None
    assert bootstrap_interval(np.array([1.0, 2.0]), np.zeros(2, np.int64), rng) is None
    assert percentile_interval(np.full(5, np.nan)) is None
    assert two_sided_p(None) is None


def test_one_scene_or_one_pair_has_no_interval():
    gain = paired_gain([score(1.0)], [score(2.0)], "psnr", seed=0)
    assert (gain.mean, gain.over_scenes, gain.over_pairs) == (1.0, None, None)
    assert paired_gain([score(float("inf"))], [score(2.0)], "psnr", seed=0).mean is None
    empty = compare([score(float("nan"))], [score(2.0)], "psnr", seed=0)
    assert (empty.mean, empty.interval, empty.p_bootstrap, empty.p_wilcoxon, empty.pairs) == (None,) * 4 + (0,)


def test_groups_are_numbered_in_the_order_of_their_appearance():
    assert number_groups(["b", "a", "b"]).tolist() == [0, 1, 0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says(rng):
    truth, covered, trials = 0.3, 0, 300
    for _ in range(trials):
        values = rng.normal(truth, 1.0, 60)
        interval = bootstrap_interval(values, np.arange(60), rng, resamples=400)
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.90 < covered / trials < 0.985


def test_resampled_means_spread_as_the_standard_error(rng):
    values = rng.normal(0, 2.0, 400)
    means = resampled_means(values, np.arange(400), rng, resamples=4000)
    assert means is not None
    assert means.std() == pytest.approx(values.std() / 20, rel=0.06)


def test_groups_of_different_sizes_keep_their_weight(rng):
    columns = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 1.0], [5.0, 1.0]])
    sums = resampled_sums(columns, np.array([0, 1, 1, 1]), rng, resamples=500)
    assert sums is not None
    assert {tuple(row) for row in sums.tolist()} == {(2.0, 2.0), (16.0, 4.0), (30.0, 6.0)}


def test_drawing_scenes_gives_wider_intervals_when_pairs_of_a_scene_agree(rng):
    level = rng.normal(0, 1, (8, 1)) + 0.01 * np.arange(10)
    before, after = scores(np.zeros((8, 10))), scores(level)
    gain = paired_gain(before, after, "psnr", seed=0)
    assert gain.over_scenes is not None
    assert gain.over_pairs is not None
    width = [high - low for low, high in (gain.over_scenes, gain.over_pairs)]
    assert width[0] > 2 * width[1]
    assert gain == paired_gain(before, after, "psnr", seed=0)
    assert (gain.scenes, gain.count) == (8, 80)


def test_p_values_are_even_where_there_is_no_difference(rng):
    """Under the null hypothesis 5 % of p values lie below 0.05, also when pairs of a scene resemble each other."""
    below = np.zeros(2)
    for seed in range(40):
        scene = rng.normal(0, 1, (20, 1))
        found = compare(scores(np.zeros((20, 3))), scores(scene + rng.normal(0, 0.1, (20, 3))), "psnr", seed)
        below += [found.p_bootstrap < 0.05, found.p_wilcoxon < 0.05]
    assert (below <= 7).all(), below


def test_the_signed_rank_test_is_that_of_the_scene_means(rng):
    values = rng.normal(0.4, 1, (15, 4))
    found = compare(scores(np.zeros((15, 4))), scores(values), "psnr", seed=1)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(values.mean(axis=1)).pvalue)
    means = values.mean(axis=1)
    assert (found.higher, found.lower, found.equal) == ((means > 0).sum(), (means < 0).sum(), 0)
    assert found.mean == pytest.approx(values.mean())


def test_p_is_below_5_percent_exactly_where_the_interval_leaves_out_0(rng):
    for shift in np.linspace(0, 1.2, 13):
        found = compare(scores(np.zeros((12, 1))), scores(rng.normal(shift, 1, (12, 1))), "psnr", seed=2)
        assert found.interval is not None
        assert (found.p_bootstrap < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])


def test_equal_methods_are_equal():
    same = scores(np.ones((4, 2)))
    found = compare(same, same, "psnr", seed=0)
    assert (found.mean, found.interval, found.p_bootstrap, found.p_wilcoxon) == (0.0, (0.0, 0.0), 1.0, None)
    assert (found.higher, found.lower, found.equal) == (0, 0, 4)

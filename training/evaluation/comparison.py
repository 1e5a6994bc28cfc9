"""Comparing methods on the same pairs: mean gains with intervals, and tests whether one is better than another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from localblur.training.evaluation.bootstrap import (
    Groups,
    Vector,
    bootstrap_interval,
    number_groups,
    percentile_interval,
    resampled_means,
    two_sided_p,
)
from localblur.training.evaluation.scoring import Score

TIE = 1e-9
"""Differences below this are none."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Mean paired gain over the blurred picture with bootstrap confidence intervals.

    Pairs of one scene resemble each other, so `over_scenes`, which draws whole scenes, is the honest interval for
    another scene; `over_pairs` holds for more pairs of the same scenes. None where there are fewer than two to draw.
    """

    mean: float | None
    count: int
    scenes: int
    over_scenes: tuple[float, float] | None
    over_pairs: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method against another on the same pairs; a positive difference means that the second has more.

    Attributes:
        mean: mean difference; None without a pair that both have a finite value for.
        interval: 95 % bootstrap interval of it, drawing scenes; None with fewer than two scenes.
        p_bootstrap: two-sided, from the same draws.
        p_wilcoxon: of Wilcoxon's signed-rank test of the scenes' mean differences; None when all are 0.
        higher, lower, equal: scenes in which the second has more, less, the same.
        pairs: compared pairs.
    """

    mean: float | None
    interval: tuple[float, float] | None
    p_bootstrap: float | None
    p_wilcoxon: float | None
    higher: int
    lower: int
    equal: int
    pairs: int


def paired_gain(before: Sequence[Score], after: Sequence[Score], measure_name: str, seed: int) -> Gain:
    """Mean gain in `measure_name` of `after` over `before`, which hold the same pairs in the same order.

    Pairs without a finite value on both sides are left out.
    """
    values, scenes = _differences(before, after, measure_name)
    own = np.arange(values.size)
    return Gain(
        mean=float(values.mean()) if values.size else None,
        count=values.size,
        scenes=len(set(scenes.tolist())),
        over_scenes=bootstrap_interval(values, scenes, np.random.default_rng(seed)),
        over_pairs=bootstrap_interval(values, own, np.random.default_rng(seed)),
    )


def compare(first: Sequence[Score], second: Sequence[Score], measure_name: str, seed: int) -> Comparison:
    """Test whether two methods differ in `measure_name`; both hold the same pairs in the same order.

    A scene is one observation: pairs of a scene are no independent witnesses.

    Reference:
        Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1945; Demšar, "Statistical
        Comparisons of Classifiers over Multiple Data Sets", JMLR 2006.
    """
    values, scenes = _differences(first, second, measure_name)
    draws = resampled_means(values, scenes, np.random.default_rng(seed))
    means = np.bincount(scenes, values) / np.bincount(scenes) if values.size else np.empty(0)
    equal = int((np.abs(means) < TIE).sum())
    return Comparison(
        mean=float(values.mean()) if values.size else None,
        interval=percentile_interval(draws),
        p_bootstrap=two_sided_p(draws),
        p_wilcoxon=_signed_rank(means),
        higher=int((means >= TIE).sum()),
        lower=int((means <= -TIE).sum()),
        equal=equal,
        pairs=values.size,
    )


def _signed_rank(means: Vector) -> float | None:
    """Two-sided p value of Wilcoxon's signed-rank test, differences of 0 left out."""
    differing = means[np.abs(means) >= TIE]
    if differing.size < 2:
        return None
    return float(stats.wilcoxon(differing).pvalue)


def _differences(first: Sequence[Score], second: Sequence[Score], measure_name: str) -> tuple[Vector, Groups]:
    """Differences of the pairs that are finite on both sides, and the numbers of their scenes."""
    values: list[float] = []
    scenes: list[tuple[str, str]] = []
    for old, new in zip(first, second, strict=True):
        before, after = old.value(measure_name), new.value(measure_name)
        if math.isfinite(before) and math.isfinite(after):
            values.append(after - before)
            scenes.append((old.data, old.scene))
    return np.array(values, np.float64), number_groups(scenes)

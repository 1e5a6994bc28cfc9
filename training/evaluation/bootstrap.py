"""Confidence intervals of means by the bootstrap: whole groups are drawn, because their members resemble each other."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CHUNK = 1 << 22


def number_groups(names: Sequence[Hashable]) -> Groups:
    """0..G-1 for each of `names`, equal names getting equal numbers, in the order of their first appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def resampled_sums(
    columns: Vector, groups: Groups, random: np.random.Generator, resamples: int = RESAMPLES
) -> Vector | None:
    """Sums of columns over groups drawn with replacement, as many as there are.

    Any ratio of sums (a mean, a precision) of a resample is a ratio of its columns.

    Args:
        columns: shape (N, K).
        groups: the group 0..G-1 of each row, shape (N,).
        random: the source of randomness.
        resamples: number of draws R.

    Returns:
        Shape (R, K); None with fewer than two groups.

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13; Davison and Hinkley, "Bootstrap Methods
        and their Application", section 3.8 (groups).
    """
    count = int(groups.max()) + 1 if groups.size else 0
    if count < 2:
        return None
    per_group = np.stack([np.bincount(groups, column, count) for column in columns.T], axis=1)
    parts: list[Vector] = []
    per_draw = max(1, _CHUNK // (count * columns.shape[1]))  # bounds the memory on data sets of any size
    for begin in range(0, resamples, per_draw):
        drawn = random.integers(count, size=(min(per_draw, resamples - begin), count))
        parts.append(per_group[drawn].sum(axis=1))
    return np.concatenate(parts)


def resampled_means(
    values: Vector, groups: Groups, random: np.random.Generator, resamples: int = RESAMPLES
) -> Vector | None:
    """Means of `values`, shape (N,), over groups drawn with replacement: shape (R,); None with fewer than two."""
    sums = resampled_sums(np.stack([values, np.ones_like(values)], axis=1), groups, random, resamples)
    return None if sums is None else sums[:, 0] / sums[:, 1]


def percentile_interval(draws: Vector | None) -> tuple[float, float] | None:
    """The middle 95 % of resampled values, those that are NaN left out; None without any."""
    known = np.empty(0) if draws is None else draws[~np.isnan(draws)]
    if not known.size:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return float(low), float(high)


def bootstrap_interval(
    values: Vector, groups: Groups, random: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95 % percentile interval of the mean of `values`, drawing whole groups; None with fewer than two groups."""
    return percentile_interval(resampled_means(values, groups, random, resamples))


def two_sided_p(means: Vector | None) -> float | None:
    """How compatible a mean of 0 is with resampled means: below 0.05 exactly where the 95 % interval leaves out 0.

    Never 0: of R resamples the least is 2 / (R + 1).
    """
    if means is None:
        return None
    least = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (least + 1) / (len(means) + 1))

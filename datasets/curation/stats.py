"""Statistics of a pairs file: how much is blurred, how the quality measures spread, who decided what, per split."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from localblur.datasets.curation.length_sample import LengthSampler
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.mask_confidence import MASK_CONFIDENCE, doubtful_below
from localblur.datasets.storage.reader import PairsFile
from localblur.datasets.storage.schema import SPLITS

ALL = "all"
AREA_EDGES = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)
"""Bins of the blurred share of the area: the same for every file, so that files can be compared."""
LENGTH_EDGES_PX = (0.0, 1.0, 2.4, 3.7, 5.4, 7.6, 11.0, 15.0, 22.0, 31.0, 43.0, 61.0, 86.0, 122.0, 100_000.0)
"""Bins of the blur length: between the lengths that an estimate tries."""
LENGTHS_SAMPLED = 100
"""Pairs per split whose blur length is estimated: about 0.15 s each."""
BINS = 20
RELOBLUR_AREA = 0.1175
"""Mean blurred share of ReLoBlur (Li et al., AAAI 2023)."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How a number spreads over pairs; `counts[i]` of them lie in [edges[i], edges[i + 1]), the last bin closed."""

    count: int
    mean: float
    median: float
    p05: float
    p95: float
    minimum: float
    maximum: float
    edges: list[float]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """Statistics of a split, or of all.

    Attributes:
        scenes, pairs: how many.
        verdicts: pairs by verdict.
        decided_by: pairs by who decided.
        masked, mended: pairs with a mask, and with one that a person drew or mended.
        doubtful: pairs whose mask has little confidence, see `mask_confidence`.
        blurred_area: share of the area, of pairs that have a mask and are not rejected; None without any.
        blur_length_px: of a sample of the pairs that are not rejected; None if it is empty or nothing is blurred.
        lengths_sampled, lengths_recorded: pairs in that sample, and those whose length is known, not estimated.
        measures: every quality measure, of pairs that are not rejected.
    """

    scenes: int
    pairs: int
    verdicts: dict[str, int]
    decided_by: dict[str, int]
    masked: int
    mended: int
    doubtful: int
    blurred_area: Distribution | None
    blur_length_px: Distribution | None
    lengths_sampled: int
    lengths_recorded: int
    measures: dict[str, Distribution]


@dataclass(frozen=True, kw_only=True)
class PairsStatistics:
    """Statistics of a file: of `all`, and of every split that has pairs."""

    file: str
    splits: dict[str, SplitStatistics]

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def measure_pairs(pairs: PairsFile, sampler: LengthSampler | None = None) -> PairsStatistics:
    """The statistics of a pairs file as its readers see it.

    Args:
        pairs: the file.
        sampler: of blur lengths; None leaves them out.
    """
    present = {entry.split for entry in pairs.scenes if entry.count}
    splits = {ALL: _measure_split(pairs, SPLITS, sampler)}
    splits |= {split: _measure_split(pairs, (split,), sampler) for split in SPLITS if split in present}
    return PairsStatistics(file=pairs.path.name, splits=splits)


def distribution(values: Sequence[float], edges: Sequence[float] | None = None) -> Distribution | None:
    """How finite `values` spread; None if there are none.

    Args:
        values: numbers; those that are not finite are left out.
        edges: of the bins; None for 20 of equal width from the smallest to the largest value.
    """
    finite = np.array([value for value in values if math.isfinite(value)], np.float64)
    if not finite.size:
        return None
    counts, found_edges = np.histogram(finite, np.array(edges) if edges is not None else BINS)
    p05, median, p95 = (float(value) for value in np.percentile(finite, (5, 50, 95)))
    return Distribution(
        count=int(finite.size),
        mean=float(finite.mean()),
        median=median,
        p05=p05,
        p95=p95,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        edges=[float(edge) for edge in found_edges],
        counts=[int(count) for count in counts],
    )


def _measure_split(pairs: PairsFile, splits: Sequence[str], sampler: LengthSampler | None) -> SplitStatistics:
    entries = [entry for entry in pairs.scenes if entry.split in splits and entry.count]
    verdicts, deciders = Counter[str](), Counter[str]()
    areas: list[float] = []
    places: list[tuple[str, int]] = []
    measures: dict[str, list[float]] = {}
    mended = doubtful = 0
    limit = doubtful_below(pairs.mask_settings, pairs.header.settings.get("mask"))
    for entry in entries:
        shares = pairs.blurred_shares(entry.name)
        mended += sum(pairs.is_mended(entry.name, index) for index in range(entry.count))
        for index, (info, share) in enumerate(zip(pairs.info(entry.name), shares, strict=True)):
            verdicts[info.verdict.value] += 1
            deciders[info.decided_by] += 1
            doubtful += info.quality.get(MASK_CONFIDENCE, 1.0) < limit
            if info.verdict is not Verdict.REJECT:
                areas.append(float(share))
                places.append((entry.name, index))
                for key, value in info.quality.items():
                    measures.setdefault(key, []).append(value)
    sample = (sampler or LengthSampler(most=0)).take(pairs, places if sampler else [])
    spread = {key: distribution(values) for key, values in sorted(measures.items())}
    return SplitStatistics(
        scenes=len(entries),
        pairs=sum(entry.count for entry in entries),
        verdicts={verdict.value: verdicts[verdict.value] for verdict in Verdict},
        decided_by=dict(deciders.most_common()),
        masked=sum(entry.masked for entry in entries),
        mended=mended,
        doubtful=doubtful,
        blurred_area=distribution(areas, AREA_EDGES),
        blur_length_px=distribution(sample.lengths_px, LENGTH_EDGES_PX),
        lengths_sampled=len(sample.lengths_px),
        lengths_recorded=sample.recorded,
        measures={key: found for key, found in spread.items() if found is not None},
    )


def statistics_lines(statistics: PairsStatistics) -> list[str]:
    """The statistics as text for people, line by line."""
    lines = [f"{statistics.file}: statistics; spreads are over pairs that are not rejected"]
    for split, found in statistics.splits.items():
        verdicts = ", ".join(f"{n} {verdict}" for verdict, n in found.verdicts.items())
        by = ", ".join(f"{n} by {who}" for who, n in found.decided_by.items())
        lines += ["", f"  {split}: {found.pairs} pairs in {found.scenes} scenes"]
        lines += [f"    verdicts      {verdicts} ({by})"]
        lines += [
            (
                f"    masks         {found.masked} of {found.pairs}, {found.mended} mended by hand, "
                f"{found.doubtful} doubtful"
            )
        ]
        lines += _area_lines(found.blurred_area)
        lines += _length_lines(found)
        head = f"    {'measure':<22}{'mean':>10}{'median':>10}{'p5':>10}{'p95':>10}{'pairs':>8}"
        lines += [head] if found.measures else ["    no quality measures are stored"]
        lines += [
            f"    {name:<22}{d.mean:>10.4g}{d.median:>10.4g}{d.p05:>10.4g}{d.p95:>10.4g}{d.count:>8}"
            for name, d in found.measures.items()
        ]
    return lines


def _area_lines(area: Distribution | None) -> list[str]:
    if area is None:
        return ["    blurred area  unknown: no masks; make them with mask-dataset"]
    spread = f"{100 * area.mean:.3g} % mean, {100 * area.median:.3g} % median"
    limits = f"{100 * area.minimum:.3g} to {100 * area.maximum:.3g} %"
    lines = [f"    blurred area  {spread}, {limits} (ReLoBlur: {100 * RELOBLUR_AREA:.4g} % mean)"]
    most = max(area.counts)
    for low, high, count in zip(area.edges, area.edges[1:], area.counts, strict=False):
        bar = "#" * math.ceil(40 * count / most)
        lines.append(f"      {100 * low:>5.4g} to {100 * high:>4.4g} %  {count:>6}  {bar}".rstrip())
    return lines


def _length_lines(found: SplitStatistics) -> list[str]:
    if not found.lengths_sampled:
        return []
    length, recorded = found.blur_length_px, found.lengths_recorded
    how = f"{recorded} recorded, {found.lengths_sampled - recorded} estimated"
    sample = f"from {found.lengths_sampled} of {found.pairs} pairs, {how}"
    if length is None:
        return [f"    blur length   none found ({sample})"]
    spread = f"{length.mean:.3g} px mean, {length.median:.3g} px median, p5 {length.p05:.3g}, p95 {length.p95:.3g} px"
    return [f"    blur length   {spread} ({sample})"]

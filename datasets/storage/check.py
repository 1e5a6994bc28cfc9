"""Looking at a pairs file as a whole: what a person wants to know about it, and whether it is intact."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.storage.patch_choice import blurred_fraction
from localblur.datasets.storage.reader import PairsFile, SceneEntry
from localblur.datasets.storage.schema import blur_cells, crc32, thumbnail_size

REASON_SEPARATOR = "; "


@dataclass(frozen=True, kw_only=True)
class SceneSummary:
    """What `inspect` says about a scene.

    Attributes:
        entry: name, split, size, counts.
        verdicts, reasons: how often each occurs.
        exposures: (long, short) in milliseconds, each combination once; NaN where unknown.
        blurred: share of the area that is blurred, for every pair with a mask.
    """

    entry: SceneEntry
    verdicts: Counter[str]
    reasons: Counter[str]
    exposures: frozenset[tuple[float, float]]
    blurred: list[float]


def summarise(pairs: PairsFile) -> list[SceneSummary]:
    """Summaries of all scenes, sorted by name."""
    return [_summarise_scene(pairs, entry) for entry in pairs.scenes]


def find_damage(path: Path, step: Callable[[], None] = lambda: None) -> list[str]:
    """Read everything in a pairs file and describe what is wrong, one line each; an intact file gives no line.

    Args:
        path: the pairs file.
        step: called after each pair.

    Raises:
        LocalblurError: if the file cannot be opened at all.
    """
    problems: list[str] = []
    with PairsFile(path) as pairs:
        for entry in pairs.scenes:
            names = pairs.names(entry.name)
            problems += [f"{entry.name}: {n} pairs are called {name}" for name, n in Counter(names).items() if n > 1]
            for index, name in enumerate(names):
                problems += [f"{entry.name}/{name}: {problem}" for problem in _pair_damage(pairs, entry, index)]
                step()
        try:
            pairs.calibration()
        except LocalblurError as error:
            problems.append(f"calibration: {error}")
    return problems


def _summarise_scene(pairs: PairsFile, entry: SceneEntry) -> SceneSummary:
    infos = pairs.info(entry.name)
    cells = [pairs.blur_cells(entry.name, index) for index in range(entry.count)]
    return SceneSummary(
        entry=entry,
        verdicts=Counter(Verdict(info.verdict).value for info in infos),
        reasons=Counter(reason for info in infos for reason in info.reasons.split(REASON_SEPARATOR) if reason),
        exposures=frozenset((info.exposure_long_ms, info.exposure_short_ms) for info in infos),
        blurred=[blurred_fraction(c, entry.height, entry.width) for c in cells if c is not None],
    )


def _pair_damage(pairs: PairsFile, entry: SceneEntry, index: int) -> list[str]:
    try:
        pair = pairs.read(entry.name, index)
        checks = pairs.checksums(entry.name, index)
        cells = pairs.blur_cells(entry.name, index)
        small = pairs.thumbnail(entry.name, index)
    except LocalblurError as error:
        return [str(error)]
    problems = [f"{what} differs from its checksum" for what in _differing(pair, checks)]
    if pair.mask is not None and (cells is None or not np.array_equal(blur_cells(pair.mask), cells)):
        problems.append("blur_cells do not fit the mask")
    if small.shape != (*thumbnail_size(entry.height, entry.width), 3):
        problems.append(f"thumbnail has shape {small.shape}")
    return problems + _info_damage(pair.info, entry)


def _differing(pair: Pair, checks: dict[str, int]) -> list[str]:
    images = {"blurred": pair.blurred, "sharp": pair.sharp, "mask": pair.mask}
    return [what for what, image in images.items() if image is not None and crc32(image) != checks[what]]


def _info_damage(info: PairInfo, entry: SceneEntry) -> list[str]:
    y0, x0, y1, x1 = info.valid_box or (0, 0, entry.height, entry.width)
    problems = []
    if not (0 <= y0 < y1 <= entry.height and 0 <= x0 < x1 <= entry.width):
        problems.append(f"valid box {(y0, x0, y1, x1)} does not lie in the {entry.width}x{entry.height} picture")
    for what, value in (("long", info.exposure_long_ms), ("short", info.exposure_short_ms)):
        if not np.isnan(value) and not 0 < value < np.inf:
            problems.append(f"{what} exposure is {value} ms")
    return problems

"""Whether a bracket of exposures holds what a photon transfer needs: levels, in proportion, and nothing that moves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from localblur.acquisition.calibrating.findings import Case
from localblur.acquisition.calibrating.movement import Look, step_cases
from localblur.acquisition.calibrating.shots import Shot
from localblur.datasets.recording import ROLES, Role

FEWEST_LEVELS = 4
_SATURATED_PERCENT = 0.1
_DARKEST_SHARE = 0.005
"""Mean light in full scales below which a frame says little."""
_SAME_EXPOSURE = 1.01
_PROPORTION_PERCENT = 10.0
_BLACK_SHARE = 0.001
"""So far, in full scales, the true black may lie from the level that the camera reports."""


@dataclass(frozen=True)
class Level:
    """Mean light of one frame in full scales, and the exposure it came from."""

    pair: int
    exposure_ms: float
    light: float
    usable: bool

    @classmethod
    def of(cls, shot: Shot) -> "Level":
        """Measure a frame; it is usable if it is neither dark nor saturated."""
        light, saturated_percent = shot.light(), round(100 * float(shot.saturated().mean()), 1)
        usable = light >= _DARKEST_SHARE and saturated_percent <= _SATURATED_PERCENT
        return cls(shot.pair, shot.exposure_ms, light, usable)


def bracket_cases(looks: Sequence[Look], levels: dict[Role, list[Level]], first: int) -> Iterator[Case]:
    """Check both cameras.

    Args:
        looks: the pairs in small. levels: of each camera, in the order of the pairs.
        first: number of the first pair whose own problems count.
    """
    for role in ROLES:
        yield from _level_cases(role, levels[role], first)
        order = sorted(range(len(looks)), key=lambda number: (levels[role][number].exposure_ms, number))
        cases = step_cases(role, [looks[number] for number in order])
        yield from (case for case in cases if case.pair is not None and case.pair >= first)


def _level_cases(role: Role, levels: Sequence[Level], first: int) -> Iterator[Case]:
    usable = sorted((level for level in levels if level.usable), key=lambda level: level.exposure_ms)
    steps = [number for number, level in enumerate(usable) if number == 0 or _longer(usable[number - 1], level)]
    if len(steps) < FEWEST_LEVELS:
        yield Case(problem="few levels", camera=role, value=len(steps), limit=FEWEST_LEVELS)
        return
    for start in steps[1:]:
        shorter, longer = usable[start - 1], usable[start]
        if longer.light <= shorter.light and longer.pair >= first:
            yield Case(problem="not brighter", pair=longer.pair, camera=role)
    per_ms = float(np.median([level.light / level.exposure_ms for level in usable]))
    for level in usable:
        expected = per_ms * level.exposure_ms
        off = max(0.0, abs(level.light - expected) - _BLACK_SHARE) / expected
        if 100 * off > _PROPORTION_PERCENT and level.pair >= first:
            yield Case(
                problem="not proportional", pair=level.pair, camera=role, value=100 * off, limit=_PROPORTION_PERCENT
            )


def _longer(before: Level, after: Level) -> bool:
    return after.exposure_ms > _SAME_EXPOSURE * before.exposure_ms

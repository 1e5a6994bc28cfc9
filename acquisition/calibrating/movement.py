"""What moved between the shots of a calibration: something in the picture, one camera, or both."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from localblur.acquisition.calibrating.findings import Case
from localblur.acquisition.calibrating.shots import Shot, Small
from localblur.acquisition.measuring.stillness import Change, find_changes, view_shift
from localblur.datasets.recording import ROLES, Role

_SLIP_PX, _SHAKE_PX = 0.7, 1.5
_MANY = 3
_NEW_VIEW_PX = 16.0
"""A view that moves by more in both cameras was moved on purpose."""


@dataclass(frozen=True)
class Look:
    """A pair in small."""

    pair: int
    shots: dict[Role, Small]

    @classmethod
    def at(cls, shots: Sequence[Shot]) -> "Look":
        """Keep of the frames what comparisons need."""
        return cls(shots[0].pair, {shot.role: shot.small() for shot in shots})


def movement_cases(looks: Sequence[Look]) -> Iterator[Case]:
    """Compare the static pairs that show one view with each other; another target begins another view."""
    for view in _views(looks):
        changes = {role: _changes([look.shots[role] for look in view]) for role in ROLES}
        cases = [
            case
            for number, look in enumerate(view)
            for case in _pair_cases(look, {role: changes[role][number] for role in ROLES})
        ]
        unsteady = [case for case in cases if case.problem != "moved"]
        # the median of pictures that lie all over the place is no reference for what moved in them
        yield from unsteady if _MANY * len(unsteady) > len(view) else cases


def step_cases(role: Role, looks: Sequence[Look]) -> Iterator[Case]:
    """Compare the frames of one camera with their neighbours, for shots whose exposures grow from one to the next.

    One that differs from both neighbours is to blame; where a change stays, the pair recorded later.
    """
    changes = [_changes([first.shots[role], second.shots[role]])[1] for first, second in pairwise(looks)]
    for number, change in enumerate(changes):
        if change.place is None:
            continue
        before, after = ((0 <= n < len(changes) and changes[n].place is not None) for n in (number - 1, number + 1))
        if after:
            yield _moved(looks[number + 1], role, change)
        elif not before:
            yield _moved(max(looks[number : number + 2], key=lambda look: look.pair), role, change)


def _views(looks: Sequence[Look]) -> list[list[Look]]:
    views: list[list[Look]] = []
    for number, look in enumerate(looks):
        if number and any(_same_view(looks[number - 1].shots[role], look.shots[role]) for role in ROLES):
            views[-1].append(look)
        else:
            views.append([look])
    return views


def _same_view(first: Small, second: Small) -> bool:
    shift = view_shift(first.light, second.light)
    return shift is not None and math.hypot(*shift) * first.size_px <= _NEW_VIEW_PX


def _changes(shots: Sequence[Small]) -> list[Change]:
    return find_changes([shot.light for shot in shots], [shot.clear for shot in shots])


def _pair_cases(look: Look, changes: dict[Role, Change]) -> Iterator[Case]:
    size_px = look.shots["B"].size_px
    shifts = {role: (size_px * changes[role].shift[0], size_px * changes[role].shift[1]) for role in ROLES}
    slip_px = math.dist(shifts["B"], shifts["S"])
    if slip_px > _SLIP_PX:
        yield Case(problem="slipped", pair=look.pair, value=slip_px, limit=_SLIP_PX)
        return
    for role in ROLES:
        shake_px = math.hypot(*shifts[role])
        if shake_px > _SHAKE_PX:
            yield Case(problem="shaken", pair=look.pair, camera=role, value=shake_px, limit=_SHAKE_PX)
        elif changes[role].place is not None:
            yield _moved(look, role, changes[role])


def _moved(look: Look, role: Role, change: Change) -> Case:
    size_px, (x, y) = look.shots[role].size_px, change.place or (0.0, 0.0)
    where = f"near x={size_px * (x + 0.5):.0f}, y={size_px * (y + 0.5):.0f}"
    return Case(problem="moved", pair=look.pair, camera=role, value=100 * change.share, where=where)

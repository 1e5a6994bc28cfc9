"""What is said in words while recording, when a pair shows that something is wrong. Pure functions."""

from localblur.acquisition.screen.screen_text import (
    CLIPPED_LIMIT,
    FOCUS_LIMIT,
    LEVEL_LIMIT_STOPS,
    SATURATED_LIMIT,
    gap_limit_ms,
)
from localblur.datasets.recording import ROLES, PairRecord, Role

_EXPOSURE_OPTIONS: dict[Role, str] = {"B": "--exposure-long", "S": "--exposure-short"}


def pair_warnings(pair: PairRecord, *, level_stops: float | None, best_focus: float, moving: bool) -> dict[str, str]:
    """What is wrong with a pair, by kind, so that each kind can be said once.

    Args:
        level_stops: how much brighter B is than S, None if that is not known (yet).
        best_focus: largest focus measure of S so far.
        moving: whether this is a scene; in a calibration nothing moves that a gap could harm, and another target has
            another sharpness.
    """
    found = {}
    for role in ROLES:
        percent = 100 * pair.frames[role].saturated
        if percent > 100 * SATURATED_LIMIT:
            remedy = f"shorten {_EXPOSURE_OPTIONS[role]} or dim the light"
            found[f"saturated {role}"] = f"camera {role}: {percent:.1f} % of the pixels are saturated; {remedy}"
        percent = 100 * pair.frames[role].clipped
        if percent > 100 * CLIPPED_LIMIT:
            found[f"clipped {role}"] = (
                f"camera {role}: {percent:.1f} % of the pixels are cut off at 0; raise its black level"
            )
    if level_stops is not None and abs(level_stops) > LEVEL_LIMIT_STOPS:
        brighter, darker = ("B", "S") if level_stops > 0 else ("S", "B")
        found["level"] = (
            f"camera {brighter} is {abs(level_stops):.2f} stops brighter than camera {darker}; match the exposures or"
            " the ND filter, `capture --advise` says how"
        )
    if moving and pair.S.focus is not None and pair.S.focus < FOCUS_LIMIT * best_focus:
        percent = 100 * pair.S.focus / best_focus
        found["focus"] = (
            f"camera S has only {percent:.0f} % of the sharpness it had; check its lens and what it looks at"
        )
    limit_ms = gap_limit_ms(pair.S.exposure_ms)
    if moving and abs(pair.gap_ms) > limit_ms:
        found["gap"] = (
            f"pair {pair.index}: the triggers came {abs(pair.gap_ms):.1f} ms apart (limit {limit_ms:.1f} ms), so moving"
            " objects do not match; hardware triggers (--sync line) do better, and so does a computer with less to do"
        )
    return found

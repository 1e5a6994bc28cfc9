"""What can be wrong with a calibration, in words: what was found, in which pairs, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """How a problem is told.

    Attributes:
        text: may name {camera}, {worst}, {limit} and {where}.
        remedy: {again} becomes how to capture the pairs again.
        lowest: whether the smallest of several measured values is the worst, not the largest.
    """

    text: str
    remedy: str
    lowest: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One occurrence of a problem.

    Attributes:
        problem: a key of `PROBLEMS`.
        pair: its number, None if the group as a whole is meant.
        camera: B, S, or empty.
        value: what was measured. limit: what it is compared with.
        where: place in the picture, in words.
    """

    problem: str
    pair: int | None = None
    camera: str = ""
    value: float = 0.0
    limit: float = 0.0
    where: str = ""


PROBLEMS = {
    "too small": Problem(
        "frames with a side of {worst:.0f} px are too small to be checked or aligned",
        "use at least {limit:.0f} px in a new recording",
    ),
    "few pairs": Problem(
        "only {worst:.0f} of the {limit:.0f} pairs needed",
        "capture more with --count {limit:.0f} --resume",
        lowest=True,
    ),
    "saturated": Problem(
        "{worst:.1f} % of camera {camera}'s pixels are saturated (limit {limit:.1f} %)",
        "dim the light or close the aperture and {again}",
    ),
    "too dark": Problem(
        "camera {camera} sees only {worst:.1f} % of full scale on average (at least {limit:.0f} % are needed)",
        "add light or open the aperture and {again}",
        lowest=True,
    ),
    "other scene": Problem(
        "cameras B and S do not show the same (correlation {worst:.2f}, {limit:.2f} is needed)",
        "remove what hides the view of one, check focus and --mirror, and {again}",
        lowest=True,
    ),
    "texture": Problem(
        "only {worst:.0f} % of the {where} has texture to register the cameras by (at least {limit:.0f} % are needed)",
        "show something with fine detail everywhere, in focus, and {again}",
        lowest=True,
    ),
    "moved in pair": Problem("something moved during the long exposure, {where}", "keep everything still and {again}"),
    "moved": Problem(
        "camera {camera}: something moved between the shots, {where} ({worst:.1f} % of the picture)",
        "keep everything still and {again}",
    ),
    "shaken": Problem(
        "the picture of camera {camera} moved by {worst:.1f} px between the shots (limit {limit:.1f} px)",
        "fasten the rig, wait until it is at rest, and {again}",
    ),
    "slipped": Problem(
        "cameras B and S moved by {worst:.1f} px against each other (limit {limit:.1f} px)",
        "fasten them, let them warm up, and {again}",
    ),
    "not dark": Problem(
        "camera {camera} lies {worst:.1f} DN off its black level (limit {limit:.1f} DN)",
        "put the lens caps on, keep stray light off the splitter, and {again}; if the value stays, the black level that"
        " the camera reports is wrong",
    ),
    "light leak": Problem(
        "camera {camera} sees a pattern of {worst:.1f} DN in the dark, {where} (limit {limit:.1f} DN)",
        "put the lens caps on, keep stray light off the splitter, and {again}",
    ),
    "clipped": Problem(
        "{worst:.1f} % of camera {camera}'s pixels are cut off at 0 (limit {limit:.1f} %)",
        "raise the camera's black level, in a new recording",
    ),
    "uneven": Problem(
        "camera {camera} sees more than an even surface, {where} ({worst:.1f} % of the picture)",
        "fill the picture with an even white surface, out of focus, and {again}",
    ),
    "slanted": Problem(
        "camera {camera} gets {worst:.0f} % less light on one side than on the other (limit {limit:.0f} %)",
        "light the surface evenly and {again}",
    ),
    "no chart": Problem(
        "the colour chart was not found in the picture of camera {camera}",
        "show the whole chart upright, in focus, and large, and {again}",
    ),
    "patches": Problem(
        "camera {camera}: {worst:.0f} of the chart's 24 patches are saturated or black",
        "bring the white patch just below full scale and {again}",
    ),
    "few levels": Problem(
        "camera {camera} has only {worst:.0f} of the {limit:.0f} exposures needed that are neither dark nor saturated",
        "light the field so that the longest exposure just does not saturate and capture all with --calibrate bracket"
        " --rerecord all",
        lowest=True,
    ),
    "not brighter": Problem(
        "camera {camera} is not brighter than with a shorter exposure", "keep the light constant and {again}"
    ),
    "not proportional": Problem(
        "camera {camera}'s light is {worst:.0f} % out of proportion to its exposure (limit {limit:.0f} %)",
        "use light that does not flicker, keep everything still, and {again}",
    ),
}


def tell(kind: str, cases: Sequence[Case]) -> list[str]:
    """One line per problem and camera, with the pairs concerned and the worst value measured."""
    together: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        together.setdefault((case.problem, case.camera), []).append(case)
    return [_line(kind, same) for same in together.values()]


def _line(kind: str, cases: Sequence[Case]) -> str:
    problem = PROBLEMS[cases[0].problem]
    pairs = sorted({case.pair for case in cases if case.pair is not None})
    worst = (min if problem.lowest else max)(cases, key=lambda case: abs(case.value))
    words = {"camera": worst.camera, "worst": worst.value, "limit": worst.limit, "where": worst.where}
    numbers = ",".join(str(pair) for pair in pairs)
    again = f"capture {'it' if len(pairs) == 1 else 'them'} again with --calibrate {kind} --rerecord {numbers}"
    which = f"{_numbers(pairs)}: " if pairs else ""
    return f"calibration/{kind}: {which}{problem.text.format(**words)}; {problem.remedy.format(again=again, **words)}"


def _numbers(pairs: Sequence[int]) -> str:
    if len(pairs) == 1:
        return f"pair {pairs[0]}"
    if len(pairs) > 2 and pairs[-1] - pairs[0] == len(pairs) - 1:
        return f"pairs {pairs[0]}-{pairs[-1]}"
    return f"pairs {', '.join(str(pair) for pair in pairs)}"

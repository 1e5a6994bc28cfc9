"""Whether a calibration just captured is any good: said at once, while everything still stands there."""

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from localblur.acquisition.calibrating.bracket import Level, bracket_cases
from localblur.acquisition.calibrating.findings import Case, tell
from localblur.acquisition.calibrating.movement import Look, movement_cases
from localblur.acquisition.calibrating.shots import Shot, new_shots, read_shots
from localblur.acquisition.measuring.even_fields import measure_dark, measure_flat
from localblur.acquisition.measuring.pair_match import match_pair
from localblur.acquisition.measuring.raw_pictures import cells
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import CALIBRATION_KINDS, PairRecord, Recording, Role
from localblur.datasets.recordings.color_chart import find_chart, read_patches

SMALLEST_PX = 96
FEWEST_STATIC_PAIRS = 3
SATURATED_PERCENT = 0.1
"""Compared as it is shown, with one decimal."""
CLIPPED_PERCENT = 0.1
_EARLIER_PAIRS = 8
"""So many static pairs before the new ones are compared with them."""
_STATIC_LIGHT_PERCENT, _FLAT_LIGHT_PERCENT = 5.0, 10.0
_TEXTURE_PERCENT, _QUARTER_TEXTURE_PERCENT = 30.0, 10.0
_SAME_SCENE = 0.5
_MOVED_TILES = 2
_DARK_SHARE, _DARK_DN = 0.001, 0.5
_UNEVEN_PERCENT, _SLANT_PERCENT = 0.2, 20.0
"""A few specks of dust are what a flat field is for."""
_CHART_WIDTH_PX = 640


def check_calibration(recording: Recording, kind: str, *, first: int = 0) -> list[str]:
    """Check the pairs of `calibration/<kind>` from number `first` on; earlier ones serve for comparison.

    Returns:
        One line per problem and camera: which pairs, what is wrong, what to do. Empty if all is well.

    Raises:
        LocalblurError: if the kind is unknown or a frame cannot be read.
    """
    if kind not in _CHECKS:
        raise LocalblurError(f"kind of calibration must be one of {', '.join(CALIBRATION_KINDS)}, got {kind!r}")
    smallest = min(min(camera.width, camera.height) for camera in recording.manifest.cameras.values())
    if smallest < SMALLEST_PX:
        return tell(kind, [Case(problem="too small", value=smallest, limit=SMALLEST_PX)])
    return tell(kind, list(_CHECKS[kind](recording, recording.pairs(f"calibration/{kind}"), first)))


def _check_static(recording: Recording, pairs: Sequence[PairRecord], first: int) -> Iterator[Case]:
    if len(pairs) < FEWEST_STATIC_PAIRS:
        yield Case(problem="few pairs", value=len(pairs), limit=FEWEST_STATIC_PAIRS)
    looks = []
    for pair in pairs:
        if pair.index < first - _EARLIER_PAIRS:
            continue
        shots = read_shots(recording, "static", pair)
        if pair.index >= first:
            light = [case for shot in shots for case in _light_cases(shot, _STATIC_LIGHT_PERCENT)]
            yield from light
            if all(case.problem != "too dark" for case in light):
                yield from _match_cases(*shots)
        looks.append(Look.at(shots))
    yield from (case for case in movement_cases(looks) if case.pair is not None and case.pair >= first)


def _check_dark(recording: Recording, pairs: Sequence[PairRecord], first: int) -> Iterator[Case]:
    for shot in new_shots(recording, "dark", pairs, first):
        camera, found = shot.camera, measure_dark(shot.raw, shot.camera, shot.averaged)
        limit = max(_DARK_DN, _DARK_SHARE * (camera.white_level - camera.black_level))
        if abs(found.offset_dn) > limit:
            yield shot.case("not dark", found.offset_dn, limit)
        elif found.pattern_dn > limit:
            yield shot.case("light leak", found.pattern_dn, limit, found.place)
        if 100 * found.clipped > CLIPPED_PERCENT:
            yield shot.case("clipped", 100 * found.clipped, CLIPPED_PERCENT)


def _check_flat(recording: Recording, pairs: Sequence[PairRecord], first: int) -> Iterator[Case]:
    for shot in new_shots(recording, "flat", pairs, first):
        light = list(_light_cases(shot, _FLAT_LIGHT_PERCENT))
        yield from light
        if light:
            continue
        found = measure_flat(shot.raw, shot.camera)
        if 100 * found.uneven > _UNEVEN_PERCENT:
            yield shot.case("uneven", 100 * found.uneven, _UNEVEN_PERCENT, found.place)
        elif 100 * found.slant > _SLANT_PERCENT:
            yield shot.case("slanted", 100 * found.slant, _SLANT_PERCENT)


def _check_chart(recording: Recording, pairs: Sequence[PairRecord], first: int) -> Iterator[Case]:
    for shot in new_shots(recording, "chart", pairs, first):
        camera = shot.camera
        unit = 1 / (camera.white_level - camera.black_level)
        light = (cells(shot.raw, camera.bayer) - np.float32(camera.black_level)) * np.float32(unit)
        saturated = cells(shot.saturated(), camera.bayer).max(2)
        factor = min(1.0, _CHART_WIDTH_PX / light.shape[1])
        size = round(factor * light.shape[1]), round(factor * light.shape[0])
        light, saturated = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (light, saturated))
        corners = find_chart(light)
        if corners is None:
            yield shot.case("no chart")
            continue
        _, clear = read_patches(light, saturated > 0, corners)
        if not clear.all():
            yield shot.case("patches", int((~clear).sum()))


def _check_bracket(recording: Recording, pairs: Sequence[PairRecord], first: int) -> Iterator[Case]:
    looks: list[Look] = []
    levels: dict[Role, list[Level]] = {"B": [], "S": []}
    for pair in pairs:
        shots = read_shots(recording, "bracket", pair)
        looks.append(Look.at(shots))
        for shot in shots:
            levels[shot.role].append(Level.of(shot))
    yield from bracket_cases(looks, levels, first)


def _light_cases(shot: Shot, least_percent: float) -> Iterator[Case]:
    saturated, light = 100 * float(shot.saturated().mean()), 100 * shot.light()
    if round(saturated, 1) > SATURATED_PERCENT:
        yield shot.case("saturated", saturated, SATURATED_PERCENT)
    if light < least_percent:
        yield shot.case("too dark", light, least_percent)


def _match_cases(blurred: Shot, sharp: Shot) -> Iterator[Case]:
    found, pair = match_pair(blurred.raw, sharp.raw, blurred.camera, sharp.camera), blurred.pair
    if found.overall < _SAME_SCENE:
        yield Case(problem="other scene", pair=pair, value=found.overall, limit=_SAME_SCENE)
        return
    parts = [("picture", found.share_usable(), _TEXTURE_PERCENT)]
    parts += [(name, share, _QUARTER_TEXTURE_PERCENT) for name, share in found.quarters()]
    for where, share, limit in parts:
        if 100 * share < limit:
            yield Case(problem="texture", pair=pair, value=100 * share, limit=limit, where=where)
            break
    if int(found.differing.sum()) >= _MOVED_TILES:
        row, column = np.argwhere(found.differing).mean(0) + 0.5
        where = f"near x={column * found.tile_px:.0f}, y={row * found.tile_px:.0f}"
        yield Case(problem="moved in pair", pair=pair, where=where)


_CHECKS: dict[str, Callable[[Recording, Sequence[PairRecord], int], Iterator[Case]]] = {
    "static": _check_static,
    "dark": _check_dark,
    "flat": _check_flat,
    "chart": _check_chart,
    "bracket": _check_bracket,
}

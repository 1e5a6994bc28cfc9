"""Which exposures to use: where the short one lies in the long one, a bracket, advice from a measured transmittance."""

import math
from dataclasses import dataclass
from typing import Literal

from localblur.acquisition.measuring.transmittance import Transmittance
from localblur.common.errors import LocalblurError

Alignment = Literal["start", "centre", "end"]
"""Which moment the two exposures share."""

BRACKET_FACTORS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 0.4, 0.6, 0.85)
"""Exposures of a bracket relative to the usual ones, at which an even white surface is to be just below full scale."""
BRACKET_LEVELS = len(BRACKET_FACTORS)
BRACKET_SHOTS = 2
"""Shots at each level, one after the other: their difference is noise alone."""

LEVEL_LIMIT_STOPS = 0.1
SPREAD_LIMIT = 0.03
CLIPPING_LIMIT = 0.001
UNSURE_DENSITY = 0.01
SHARP_MOTION_PX = 0.5
"""Motion during the short exposure up to which its frame counts as sharp."""
FILTER_STEP = 0.1
"""Neutral density filters are sold in such steps of optical density."""


def bracket_factor(index: int) -> float:
    """Factor of both exposures in shot `index` of a bracket, for simulated and real cameras alike.

    `BRACKET_SHOTS` shots at each of the `BRACKET_FACTORS` in turn, and then from the start.

    Raises:
        LocalblurError: if the index is negative.
    """
    if index < 0:
        raise LocalblurError(f"index of a shot must be 0 or more, got {index}")
    return BRACKET_FACTORS[index // BRACKET_SHOTS % BRACKET_LEVELS]


def trigger_delay_ms(
    alignment: Alignment, exposure_long_ms: float, exposure_short_ms: float, *, start_delay_ms: float = 0.0
) -> float:
    """Trigger delay of camera S, counted from the begin of B's exposure, that puts the short exposure in its place.

    Args:
        alignment: which moment the exposures share: their start, their middle (the one that suits deblurring: the
            sharp frame then shows the middle of the blur), or their end.
        exposure_long_ms, exposure_short_ms: exposure times in milliseconds.
        start_delay_ms: what passes from B's begin to S's without a delay set: line delay plus S's exposure start delay
            minus B's.

    Raises:
        LocalblurError: if the exposures do not fit into each other or S would have to begin before its trigger.
    """
    _check_exposures(exposure_long_ms, exposure_short_ms)
    room = exposure_long_ms - exposure_short_ms
    places: dict[str, float] = {"start": 0.0, "centre": room / 2, "end": room}
    if alignment not in places:
        raise LocalblurError(f"alignment must be one of {', '.join(places)}, got {alignment!r}")
    delay = places[alignment] - start_delay_ms
    if delay < 0:
        raise LocalblurError(
            f"alignment {alignment} of {exposure_short_ms:g} ms in {exposure_long_ms:g} ms needs a trigger delay of"
            f" {delay:.4g} ms, because camera S begins {start_delay_ms:g} ms late by itself; choose alignment"
            f" {'end' if alignment == 'centre' else 'centre or end'} or a longer --exposure-long"
        )
    return delay


def middle_offset_ms(
    delay_ms: float, exposure_long_ms: float, exposure_short_ms: float, *, start_delay_ms: float = 0.0
) -> float:
    """Time from the middle of B's exposure to the middle of S's for a trigger delay of S; below 0 S is early.

    What moves at v px/ms is displaced in the sharp frame by v times this against the middle of its blur.
    """
    return delay_ms + start_delay_ms + (exposure_short_ms - exposure_long_ms) / 2


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a measured transmittance means for a pair of exposures.

    Attributes:
        measured: what it rests on.
        exposure_long_ms, exposure_short_ms: the exposures it is about.
        ideal_density: optical density at which levels match at these exposures, log10(tL/tS).
        level_stops: level error at these exposures, in factors of two; above 0 camera B is the brighter one.
        matched_long_ms: long exposure that matches levels while the short one stays.
        matched_short_ms: short exposure that matches levels while the long one stays.
        filter_step: optical density to add before camera B, in steps of 0.1; below 0 to take away.
        filtered_stops: level error left with that filter.
        blur_px, motion_px: path during the long and during the short exposure; None if no speed is stated.
        longest_sharp_ms: longest short exposure with no more than 0.5 px of motion; None if no speed is stated.
        offset_px: displacement of the sharp frame against the middle of the blur; None if no speed is stated.
        warnings: what is wrong, one line each.
    """

    measured: Transmittance
    exposure_long_ms: float
    exposure_short_ms: float
    ideal_density: float
    level_stops: float
    matched_long_ms: float
    matched_short_ms: float
    filter_step: float
    filtered_stops: float
    blur_px: float | None
    motion_px: float | None
    longest_sharp_ms: float | None
    offset_px: float | None
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """The advice in words, one line each, with units; warnings last."""
        return [*self._light_lines(), *self._motion_lines(), *(f"warning: {text}" for text in self.warnings)]

    def _light_lines(self) -> list[str]:
        long, short, measured = self.exposure_long_ms, self.exposure_short_ms, self.measured
        colours = ", ".join(f"{name} {value:.3f}" for name, value in zip("RGB", measured.densities, strict=True))
        found = f"{measured.density:.3f} +- {measured.density_error:.3f}"
        lines = [
            f"density of camera B against S: {found} ({colours}), {measured.transmittance:.2%} of the light",
            f"ideal density for {long:g} ms / {short:g} ms: {self.ideal_density:.3f}",
            f"level: {_stops(self.level_stops)}",
            f"to match levels: --exposure-long {self.matched_long_ms:.4g} (short one kept at {short:g} ms)",
            f"             or: --exposure-short {self.matched_short_ms:.4g} (long one kept at {long:g} ms)",
        ]
        if self.filter_step:
            change = "add ND {:.1f} before camera B" if self.filter_step > 0 else "take ND {:.1f} away from camera B"
            left = _stops(self.filtered_stops)
            lines.append(
                f"             or: {change.format(abs(self.filter_step))} and keep both exposures; then {left}"
            )
        else:
            lines.append("filter: none of the common steps of ND 0.1 would be nearer")
        return lines

    def _motion_lines(self) -> list[str]:
        if self.blur_px is None or self.motion_px is None:
            return []
        limit = f"limit {SHARP_MOTION_PX} px, kept up to {_ms(self.longest_sharp_ms)}"
        return [
            f"blur: {self.blur_px:.1f} px in {self.exposure_long_ms:g} ms",
            f"sharpness: {self.motion_px:.2f} px of motion in {self.exposure_short_ms:g} ms ({limit})",
            f"alignment: the sharp frame lies {abs(self.offset_px or 0.0):.1f} px from the middle of the blur",
        ]


def advise(
    transmittance: Transmittance,
    exposure_long_ms: float,
    exposure_short_ms: float,
    *,
    speed_px_per_ms: float | None = None,
    alignment: Alignment = "centre",
) -> Advice:
    """Say what to change so that both cameras see the same level, and whether the short exposure is short enough.

    With the ideal optical density log10(tL/tS) both frames have the same exposure and the same noise. At a measured T,
    levels match at tL' = tS / T or at tS' = tL T.

    Args:
        transmittance: of the rig; the exposures may be others than it was measured at.
        exposure_long_ms, exposure_short_ms: exposures planned.
        speed_px_per_ms: speed of what will move, in px of the image per ms, 0 or more.
        alignment: which moment the exposures share.

    Raises:
        LocalblurError: if the exposures do not fit into each other or the speed is negative.
    """
    _check_exposures(exposure_long_ms, exposure_short_ms)
    speed = speed_px_per_ms
    if speed is not None and not (speed >= 0 and math.isfinite(speed)):
        raise LocalblurError(f"speed must be 0 px/ms or more, got {speed:g}")
    ideal = math.log10(exposure_long_ms / exposure_short_ms)
    excess = ideal - transmittance.density
    step = round(excess / FILTER_STEP) * FILTER_STEP
    delay = trigger_delay_ms(alignment, exposure_long_ms, exposure_short_ms)
    offset = middle_offset_ms(delay, exposure_long_ms, exposure_short_ms)
    motion = None if speed is None else speed * exposure_short_ms
    return Advice(
        measured=transmittance,
        exposure_long_ms=exposure_long_ms,
        exposure_short_ms=exposure_short_ms,
        ideal_density=ideal,
        level_stops=excess / math.log10(2),
        matched_long_ms=exposure_short_ms / transmittance.transmittance,
        matched_short_ms=exposure_long_ms * transmittance.transmittance,
        filter_step=step,
        filtered_stops=(excess - step) / math.log10(2),
        blur_px=None if speed is None else speed * exposure_long_ms,
        motion_px=motion,
        longest_sharp_ms=None if speed is None else (SHARP_MOTION_PX / speed if speed else math.inf),
        offset_px=None if speed is None else speed * offset,
        warnings=tuple(_warnings(transmittance, excess / math.log10(2), motion)),
    )


def _warnings(measured: Transmittance, stops: float, motion_px: float | None) -> list[str]:
    found = []
    if abs(stops) > LEVEL_LIMIT_STOPS:
        found.append(f"levels differ by {abs(stops):.2f} stops (limit {LEVEL_LIMIT_STOPS}); change exposure or filter")
    if motion_px is not None and motion_px > SHARP_MOTION_PX:
        found.append(
            f"{motion_px:.2f} px of motion during the short exposure (limit {SHARP_MOTION_PX}); shorten both exposures"
        )
    if measured.spread > SPREAD_LIMIT:
        found.append(
            f"the colours' transmittance differs by {measured.spread:.1%} (limit {SPREAD_LIMIT:.0%}); the filter or the"
            " splitter is tinted: calibrate colour with --calibrate chart"
        )
    for role in ("B", "S"):
        if measured.saturated[role] > CLIPPING_LIMIT:
            found.append(
                f"camera {role}: {measured.saturated[role]:.1%} of the pixels are saturated (limit"
                f" {CLIPPING_LIMIT:.1%}); shorten its exposure, dim the light or close the aperture"
            )
        if measured.clipped[role] > CLIPPING_LIMIT:
            found.append(
                f"camera {role}: {measured.clipped[role]:.1%} of the pixels are at 0 DN (limit {CLIPPING_LIMIT:.1%});"
                " raise its black level"
            )
    if measured.density_error > UNSURE_DENSITY:
        found.append(
            f"the density is known to +- {measured.density_error:.3f} only (limit {UNSURE_DENSITY}); measure again"
            " before an even white surface"
        )
    return found


def _check_exposures(exposure_long_ms: float, exposure_short_ms: float) -> None:
    if not 0 < exposure_short_ms <= exposure_long_ms < math.inf:
        raise LocalblurError(
            f"the short exposure ({exposure_short_ms:g} ms) must be above 0 and no longer than the long one"
            f" ({exposure_long_ms:g} ms); see --exposure-long and --exposure-short"
        )


def _stops(stops: float) -> str:
    if abs(stops) < 0.005:
        return "both cameras see the same level"
    return f"camera B is {abs(stops):.2f} stops {'brighter' if stops > 0 else 'darker'} than camera S"


def _ms(time_ms: float | None) -> str:
    return "any exposure" if time_ms is None or math.isinf(time_ms) else f"{time_ms:.3g} ms"

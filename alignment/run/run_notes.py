"""What a whole run shows that no single pair does, in words."""

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import mean, median

from localblur.alignment.run.inputs import Coding

_PAIRS_NAMED = 5
_CODED_BELOW, _DECODED_ABOVE = 0.3, 1.25
"""Noise exponents: right 0.8 to 1.1 on simulated rigs, coded values declared linear -0.1 at most, the reverse 1.36 at
least."""


def bumped_note(source: str, drift_px: Mapping[str, float], limit_px: float) -> str:
    """Say that the rig of an input was bumped since its calibration, by how much, and in which pairs; else nothing.

    Args:
        source: name of the input.
        drift_px: by pair, its distance from the calibration.
        limit_px: what drift from shot to shot may reach.
    """
    far = {pair: value for pair, value in drift_px.items() if value > limit_px}
    if not far:
        return ""
    named = [f"{pair} {value:.1f} px" for pair, value in list(far.items())[:_PAIRS_NAMED]]
    if len(far) > _PAIRS_NAMED:
        named.append(f"and {len(far) - _PAIRS_NAMED} more")
    return (
        f"rig bumped since calibration: {len(far)} of {len(drift_px)} pairs of {source} lie more than {limit_px:g} px"
        f" from it, {mean(far.values()):.1f} px in the mean ({', '.join(named)}); record static pairs again"
    )


def encoding_note(source: str, exponents: Sequence[float], coding: Coding) -> str:
    """Say that the noise of an input does not grow with the light as shot noise does; else nothing.

    Nothing either where the values cannot be coded otherwise than declared: pictures that a camera smoothed.

    Args:
        source: name of the input.
        exponents: of its pairs, NaN where unknown.
        coding: how its values were taken.
    """
    known = [value for value in exponents if not isnan(value)]
    if not known or _CODED_BELOW <= median(known) <= _DECODED_ABOVE:
        return ""
    coded = median(known) < _CODED_BELOW
    if coded == (coding == "srgb"):
        return ""
    told = (
        f"wrong encoding? the noise of {source} grows with the light to the power of {median(known):.1f} instead of 1:"
    )
    if not coded:
        return f"{told} are these values linear, although declared sRGB-coded? (--encoding linear)"
    if coding == "raw":
        return f"{told} is a gamma curve or noise reduction switched on in the cameras?"
    return f"{told} are these values sRGB-coded, although declared linear? (--encoding srgb)"


def run_notes(
    pairs: Sequence[tuple[str, str, Mapping[str, float]]], codings: Mapping[str, Coding], limit_px: float
) -> list[str]:
    """Notes on a run.

    Args:
        pairs: (input, pair, quality measures) of every pair. The noise of those that could not be aligned is not
            looked at: what does not fit is no noise. Wrong colours may come from the encoding, so they count.
        codings: by input, how its values were taken.
        limit_px: see `bumped_note`.
    """
    notes = []
    for source, coding in codings.items():
        own = {label: quality for name, label, quality in pairs if name == source}
        drifts = {label: found["drift_px"] for label, found in own.items() if found.get("calibrated")}
        exponents = [found["noise_exponent"] for found in own.values() if not isnan(found["residual_p50_px"])]
        notes += [bumped_note(source, drifts, limit_px), encoding_note(source, exponents, coding)]
    return [note for note in notes if note]

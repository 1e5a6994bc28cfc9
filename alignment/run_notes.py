"""What a whole run shows that no single pair does, in words."""

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import mean, median

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


def encoding_note(source: str, exponents: Sequence[float]) -> str:
    """Say that the noise of an input does not grow with the light as shot noise does; else nothing.

    Args:
        source: name of the input.
        exponents: of its pairs, NaN where unknown.
    """
    known = [value for value in exponents if not isnan(value)]
    if not known or _CODED_BELOW <= median(known) <= _DECODED_ABOVE:
        return ""
    told = (
        f"wrong encoding? the noise of {source} grows with the light to the power of {median(known):.1f} instead of 1:"
    )
    if median(known) < _CODED_BELOW:
        return f"{told} are these values sRGB-coded, although declared linear? (--encoding srgb)"
    return f"{told} are these values linear, although declared sRGB-coded? (--encoding linear)"


def run_notes(pairs: Sequence[tuple[str, str, Mapping[str, float]]], limit_px: float) -> list[str]:
    """Notes on a run: (input, pair, quality measures) of every pair."""
    drifts: dict[str, dict[str, float]] = {}
    for source, pair, quality in pairs:
        if quality.get("calibrated") and "drift_px" in quality:
            drifts.setdefault(source, {})[pair] = quality["drift_px"]
    notes = [bumped_note(source, drift_px, limit_px) for source, drift_px in drifts.items()]
    exponents: dict[str, list[float]] = {}
    for source, _, quality in pairs:
        exponents.setdefault(source, []).append(quality.get("noise_exponent", float("nan")))
    notes += [encoding_note(source, values) for source, values in exponents.items()]
    return [note for note in notes if note]

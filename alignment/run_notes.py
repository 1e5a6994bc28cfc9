"""What a whole run shows that no single pair does, in words."""

from collections.abc import Mapping, Sequence
from statistics import mean

_PAIRS_NAMED = 5


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


def run_notes(pairs: Sequence[tuple[str, str, Mapping[str, float]]], limit_px: float) -> list[str]:
    """Notes on a run: (input, pair, quality measures) of every pair that was aligned with a calibration."""
    drifts: dict[str, dict[str, float]] = {}
    for source, pair, quality in pairs:
        if quality.get("calibrated") and "drift_px" in quality:
            drifts.setdefault(source, {})[pair] = quality["drift_px"]
    notes = [bumped_note(source, drift_px, limit_px) for source, drift_px in drifts.items()]
    return [note for note in notes if note]

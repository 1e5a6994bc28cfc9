"""How far blur masks can be trusted. Kept among a pair's quality measures, so whatever sorts by those sorts by it."""

from collections.abc import Mapping
from typing import Any

MASK_CONFIDENCE = "mask_confidence"
"""Name of the measure: 0..1, the share of a mask's area that is beyond doubt; absent where no method made the mask."""
DOUBTFUL_BELOW = 0.7
"""Masks of less confidence are worth a look, unless the settings they were made with say otherwise."""

_DIGITS = 3


def with_confidence(quality: Mapping[str, float], confidence: float | None) -> dict[str, float]:
    """Quality measures with the confidence of a new mask in place of the old one's; None for one made by a person."""
    others = {name: value for name, value in quality.items() if name != MASK_CONFIDENCE}
    return others if confidence is None else {**others, MASK_CONFIDENCE: round(confidence, _DIGITS)}


def doubtful_below(*settings: Mapping[str, Any] | None) -> float:
    """The limit that the first of some stored mask settings states, else `DOUBTFUL_BELOW`."""
    for stated in settings:
        value = stated.get("doubtful_below") if isinstance(stated, Mapping) else None
        if isinstance(value, int | float):
            return float(value)
    return DOUBTFUL_BELOW

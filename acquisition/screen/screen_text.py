"""The status line as text: fields, their short forms, and what fits into the width of a terminal. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localblur.datasets.recording import CameraRecord, PairRecord, Role

SATURATED_LIMIT = 0.001
LEVEL_LIMIT_STOPS = 0.1
GAP_LIMIT_MS = 1.0
GAP_LIMIT_EXPOSURES = 0.1
"""Of the short exposure; the larger of both limits counts."""
FOCUS_LIMIT = 0.5
CLIPPED_LIMIT = 0.001
_DARK_SHARE = 0.01
_SEPARATOR = "  "


@dataclass(frozen=True)
class Field:
    """One entry of the status line.

    Attributes:
        text: in full. short: what it may shrink to; empty if it may go altogether.
        rank: the larger, the sooner it is shortened, and then left out. Rank 0 stays.
    """

    text: str
    short: str
    rank: int


def fit_line(fields: Sequence[Field], width: int) -> str:
    """Join the fields; shorten and then leave out the least important ones until `width` characters hold them all."""
    texts = [field.text for field in fields]
    by_rank = sorted(range(len(fields)), key=lambda number: -fields[number].rank)
    for number in by_rank:
        if _length(texts) <= width:
            break
        texts[number] = fields[number].short or texts[number]
    for number in by_rank:
        if _length(texts) <= width or fields[number].rank == 0:
            break
        texts[number] = ""
    line = _SEPARATOR.join(text for text in texts if text)
    return line if len(line) <= width else line[: max(0, width - 3)] + "..."


def _length(texts: Sequence[str]) -> int:
    return len(_SEPARATOR.join(text for text in texts if text))


def lost_field(count: int, reason: str) -> Field:
    """`lost 2 (camera S: no frame in time)`."""
    return Field(f"lost {count} ({reason})" if count else "lost 0", f"lost {count}", 2)


def gap_field(median_ms: float, largest_ms: float, limit_ms: float) -> Field:
    """Median and largest distance of the two triggers: `gap 92/310 us`, or in ms from 1 ms on."""
    mark = "!" if largest_ms > limit_ms else ""
    if largest_ms < 1:
        text = f"gap {1000 * median_ms:.0f}/{1000 * largest_ms:.0f} us{mark}"
    else:
        text = f"gap {median_ms:.2f}/{largest_ms:.2f} ms{mark}"
    return Field(text, text, 4)


def saturation_field(blurred: float, sharp: float) -> Field:
    """Saturated shares of B and S in percent: `saturated 0.0/0.2 %!`."""
    mark = "!" if max(blurred, sharp) > SATURATED_LIMIT else ""
    text = f"{100 * blurred:.1f}/{100 * sharp:.1f} %{mark}"
    return Field(f"saturated {text}", f"sat {text}", 3)


def level_field(stops: float | None) -> Field:
    """How much brighter B is than S: `level +0.02 stops`."""
    if stops is None:
        return Field("level -", "", 5)
    mark = "!" if abs(stops) > LEVEL_LIMIT_STOPS else ""
    return Field(f"level {stops:+.2f} stops{mark}", f"level {stops:+.2f}{mark}", 5)


def focus_field(share: float) -> Field:
    """Focus of S relative to the best so far: `focus 97 %`."""
    mark = "!" if share < FOCUS_LIMIT else ""
    return Field(f"focus {100 * share:.0f} %{mark}", f"focus {100 * share:.0f}{mark}", 6)


def disk_field(free_bytes: int, pair_bytes: int) -> Field:
    """What is left on the disk, and how many pairs that is: `disk 812 GB (40321 pairs)`."""
    pairs = free_bytes // max(pair_bytes, 1)
    size = f"{free_bytes / 1e9:.0f} GB" if free_bytes >= 10e9 else f"{free_bytes / 1e9:.1f} GB"
    return Field(f"disk {size} ({pairs} pairs)", f"disk {size}", 7)


def level_error_stops(pair: PairRecord, cameras: Mapping[Role, CameraRecord]) -> float | None:
    """How much brighter B is than S, in factors of two; None if there is hardly any light."""
    shares = [_light_share(pair.frames[role].mean, cameras[role]) for role in ("B", "S")]
    return math.log2(shares[0] / shares[1]) if min(shares) >= _DARK_SHARE else None


def gap_limit_ms(exposure_short_ms: float) -> float:
    """Distance of the triggers from which a moving scene suffers."""
    return max(GAP_LIMIT_MS, GAP_LIMIT_EXPOSURES * exposure_short_ms)


def _light_share(mean: float, camera: CameraRecord) -> float:
    return (mean - camera.black_level) / (camera.white_level - camera.black_level)

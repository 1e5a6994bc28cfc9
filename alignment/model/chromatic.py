"""Lateral chromatic shift: lenses magnify red and blue a little differently from green, each camera's in its own way.

What matters to a pair is the difference between the two cameras: how far red (or blue) of the aligned blurred picture
still lies off when green fits. It is measured on tiles of the static pairs and described by a shift and a linear growth
over the frame, which holds different magnifications and a lens pair that is off its axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from localblur.alignment.model.pair import AlignedPair
from localblur.alignment.registration.displacement import PolynomialField, monomials
from localblur.alignment.registration.robust import Vector, robust_sigma, robust_solve
from localblur.alignment.registration.tiles import TileSettings, measure_tiles

CHANNELS = {"red": 0, "blue": 2}
_GREEN = 1
_DEGREE = 1
_SMOOTHING_PX = 2.0
"""Demosaicing takes the finest detail of red and blue from green, where it does not show their shift."""
_MIN_TILES = 24


@dataclass(frozen=True)
class ChromaticSamples:
    """Shifts of red and blue against green on the usable tiles of one pair, in px.

    Attributes:
        position: middle of the tiles, (n, 2) as x, y.
        shift_px: by channel, (n, 2).
    """

    position: Vector
    shift_px: Mapping[str, Vector]


@dataclass(frozen=True)
class ChromaticShift:
    """By channel, the displacement of red and blue against green in the blurred camera.

    Attributes:
        fields: linear displacement on the grid of the sharp image.
        uncertainty_px: standard deviation of the displacement in the corner where it is largest.
        tiles: how many tiles told.
    """

    fields: dict[str, PolynomialField]
    uncertainty_px: dict[str, float]
    tiles: int

    def largest_px(self, channel: str) -> float:
        """Length of the displacement in the corner where it is largest."""
        field = self.fields[channel]
        x, y = np.array([0, field.width - 1, 0, field.width - 1]), np.array([0, 0, field.height - 1, field.height - 1])
        return float(np.hypot(*field.displacement(x, y).T).max())

    def content(self) -> dict[str, Any]:
        """As stored under /calibration of a pairs file."""
        return {
            "tiles": self.tiles,
            **{f"{name}_field": field.coefficients for name, field in self.fields.items()},
            **{f"{name}_largest_px": self.largest_px(name) for name in self.fields},
            **{f"{name}_uncertainty_px": value for name, value in self.uncertainty_px.items()},
        }


def chromatic_samples(aligned: AlignedPair, settings: TileSettings) -> ChromaticSamples:
    """Measure the shift of each channel by tiles where an aligned pair stood still."""
    static = aligned.valid & ~aligned.saturated & ~aligned.moving
    tiles = []
    for channel in (_GREEN, *CHANNELS.values()):
        sharp, blurred = (light[..., [channel] * 3] for light in (aligned.sharp, aligned.blurred))
        tiles.append(measure_tiles(sharp, blurred, static, aligned.valid, settings, _SMOOTHING_PX))
    usable = np.logical_and.reduce([found.usable for found in tiles])
    rows, columns = np.nonzero(usable)
    position = np.stack([columns, rows], -1) * settings.size_px + (settings.size_px - 1) / 2
    green = tiles[0].shift_px[usable]
    shifts = {
        name: (found.shift_px[usable] - green).astype(np.float64)
        for name, found in zip(CHANNELS, tiles[1:], strict=True)
    }
    return ChromaticSamples(position, shifts)


def fit_chromatic(samples: Sequence[ChromaticSamples], width: int, height: int) -> ChromaticShift | None:
    """One linear field per channel through the tiles of all pairs; None with too few of them."""
    position = np.concatenate([part.position for part in samples]) if samples else np.zeros((0, 2))
    if len(position) < _MIN_TILES:
        return None
    terms = monomials(position[:, 0], position[:, 1], width, height, _DEGREE)
    corners = monomials([0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], width, height, _DEGREE)
    spread = float(np.sqrt(np.einsum("ij,jk,ik->i", corners, np.linalg.inv(terms.T @ terms), corners).max()))
    fields, uncertainty = dict[str, PolynomialField](), dict[str, float]()
    for name in CHANNELS:
        shift = np.concatenate([part.shift_px[name] for part in samples])
        solved = [robust_solve(terms, shift[:, axis], np.ones(len(shift)), 4.0) for axis in (0, 1)]
        coefficients = np.stack(solved, -1)
        fields[name] = PolynomialField(coefficients, width, height)
        uncertainty[name] = robust_sigma(shift - terms @ coefficients) * spread
    return ChromaticShift(fields, uncertainty, len(position))

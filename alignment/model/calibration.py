"""The rig calibration: how the two cameras differ when nothing moves, fitted once from static pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from localblur.alignment.light.color import ColorModel, ColorSamples, block_samples, fit_color
from localblur.alignment.light.sensor_fields import FlatField, vignetting_ratio
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.displacement import (
    PolynomialField,
    monomials,
    term_count,
    valid_area,
    warp,
    warp_flags,
)
from localblur.alignment.registration.registration import coarse_shift, register
from localblur.alignment.registration.registration_level import Luma, luma, stabilised_luma
from localblur.alignment.registration.robust import correlation
from localblur.alignment.registration.static_region import grown
from localblur.alignment.registration.tiles import measure_tiles
from localblur.common.errors import LocalblurError

_SURROUNDINGS_PX = 24.0
_LEAST_SIGMA_PX = 0.01
_LARGEST_MISFIT = 25.0
"""A tile in which something moved after all must not outvote the others."""


@dataclass(frozen=True)
class FieldFit:
    """One displacement field of a static pair.

    Attributes:
        field: the field.
        misfit: squares of the residual shifts of the tiles in standard deviations, summed; infinite if the pair does
            not determine the field.
        tiles: how many tiles that are.
    """

    field: PolynomialField
    misfit: float
    tiles: int


@dataclass(frozen=True)
class StaticFit:
    """What one static pair says about the rig; small enough to come back from a worker process.

    Attributes:
        label: which pair.
        fits: its displacement field by degree; the lowest degree is always determined.
        samples: corresponding colours.
        correlation: of the lumas after registration: near 1 for two pictures of one scene.
        mirrored: whether a mirrored blurred image would match better.
    """

    label: str
    fits: Mapping[int, FieldFit]
    samples: ColorSamples
    correlation: float
    mirrored: bool

    @property
    def field(self) -> PolynomialField:
        """The field of the lowest degree."""
        return self.fits[min(self.fits)].field


@dataclass(frozen=True)
class RigCalibration:
    """How to get from the blurred camera to the sharp one.

    Attributes:
        field: displacement field, the median over the static pairs; of the degree that their tiles speak for.
        color: colour model of all static pairs together.
        labels: the static pairs used.
        spread_px: distance of each pair's own field from the common one: the rig's drift between the pairs plus the
            error of the fits.
        vignetting_from: what told the vignetting ratio: "static pairs" or "flat frames".
    """

    field: PolynomialField
    color: ColorModel
    labels: tuple[str, ...]
    spread_px: tuple[float, ...]
    vignetting_from: str = "static pairs"

    def content(self) -> dict[str, Any]:
        """As stored under /calibration of a pairs file: arrays and plain values."""
        return {
            "field": self.field.coefficients,
            "field_size": np.array([self.field.width, self.field.height]),
            "color_matrix": self.color.matrix,
            "color_offset": self.color.offset,
            "vignetting": self.color.vignetting,
            "vignetting_from": self.vignetting_from,
            "color_residual": self.color.residual,
            "static_pairs": list(self.labels),
            "spread_px": list(self.spread_px),
        }


def fit_static_pair(captured: CapturedPair, settings: AlignmentSettings) -> StaticFit:
    """Fit the rig's field on one static pair, in every degree asked for, and take its colour samples.

    Raises:
        LocalblurError: if the two pictures differ in size or hold no numbers.
    """
    captured.check()
    sharp, blurred = captured.sharp, captured.blurred
    height, width = sharp.light.shape[:2]
    lumas = [stabilised_luma(image.light, image.saturated) for image in (sharp, blurred)]
    field = PolynomialField.identity(width, height)
    fits = dict[int, FieldFit]()
    for degree in sorted(settings.rig_degrees):
        field = register(lumas[0], lumas[1], field, degree, settings.registration).field
        fits[degree] = _checked(captured, field, settings)
    positions = field.positions()
    warped = warp(blurred.light, positions)
    usable = valid_area(positions, width, height) & ~sharp.saturated & ~warp_flags(blurred.saturated, positions)
    moved = stabilised_luma(warped, usable).values
    agreement = correlation(lumas[0].values[usable], moved[usable]) if usable.any() else 0.0
    return StaticFit(
        captured.label,
        fits,
        block_samples(sharp.light, warped, usable, settings.color.block_px),
        agreement,
        agreement < settings.min_static_correlation and looks_mirrored(*lumas),
    )


def _checked(captured: CapturedPair, field: PolynomialField, settings: AlignmentSettings) -> FieldFit:
    """How well a field fits the tiles of a pair in which nothing moves."""
    positions = field.positions()
    grey = [np.ascontiguousarray(luma(image.light)) for image in (captured.sharp, captured.blurred)]
    warped = warp(grey[1], positions)
    valid = valid_area(positions, field.width, field.height)
    clear = valid & ~grown(captured.sharp.saturated | warp_flags(captured.blurred.saturated, positions))
    # the cameras differ in brightness and vignetting, which is not known yet
    near = [cv2.GaussianBlur(image, (0, 0), _SURROUNDINGS_PX) for image in (grey[0], warped)]
    warped *= near[0] / np.maximum(near[1], 1e-4)
    first, second = (np.repeat(image[..., None], 3, 2) for image in (grey[0], warped))
    tiles = measure_tiles(first, second, clear, valid, settings.tiles)
    uncertain = tiles.field_uncertainty_px(field.degree, field.width, field.height) > settings.max_uncertainty_px
    sigma = np.maximum(tiles.uncertainty_px[tiles.usable], _LEAST_SIGMA_PX)
    misfit = float(np.minimum((tiles.lengths_px() / sigma) ** 2, _LARGEST_MISFIT).sum())
    return FieldFit(field, float("inf") if uncertain else misfit, int(tiles.usable.sum()))


def calibrate(
    fits: Sequence[StaticFit], settings: AlignmentSettings, flats: tuple[FlatField, FlatField] | None = None
) -> RigCalibration:
    """Combine what the static pairs say.

    Args:
        fits: of the static pairs.
        settings: constants of the fits.
        flats: how cameras B and S see an even field: gives the vignetting ratio, which is fitted on the static pairs
            otherwise.

    Raises:
        LocalblurError: if none of them could be registered, or they differ in size.
    """
    good = [fit for fit in fits if fit.correlation >= settings.min_static_correlation]
    if not good:
        best = max(fits, key=lambda fit: fit.correlation)
        hint = (
            "one camera's picture is mirrored: flip it in the camera (ReverseX) or before alignment"
            if any(fit.mirrored for fit in fits)
            else "record static pairs of one textured, evenly lit scene with both cameras"
        )
        raise LocalblurError(
            f"no static pair could be registered: the best, {best.label}, correlates by {best.correlation:.2f},"
            f" {settings.min_static_correlation:.2f} is needed; {hint}"
        )
    sizes = {(fit.field.width, fit.field.height) for fit in good}
    if len(sizes) > 1:
        raise LocalblurError(f"static pairs differ in size: {sorted(sizes)}; use one size for a calibration")
    (width, height) = sizes.pop()
    degree = _degree(good)
    fields = [fit.fits[degree].field for fit in good]
    field = _median(fields)
    vignetting = vignetting_ratio(flats[1], flats[0], field) if flats else None
    samples = ColorSamples.joined([fit.samples for fit in good])
    return RigCalibration(
        field,
        fit_color(samples, width, height, settings.color, np.random.default_rng(0), vignetting),
        tuple(fit.label for fit in good),
        tuple(round(field.distance_px(own), 4) for own in fields),
        "flat frames" if flats else "static pairs",
    )


def _degree(fits: Sequence[StaticFit]) -> int:
    """The degree that the tiles speak for by Schwarz's criterion: a higher one has to earn its terms."""

    def cost(degree: int) -> float:
        tiles = max(1, sum(fit.fits[degree].tiles for fit in fits))
        terms = 2 * term_count(degree) * len(fits)
        return sum(fit.fits[degree].misfit for fit in fits) + terms * float(np.log(2 * tiles))

    degrees = sorted(fits[0].fits)
    costs = {degree: cost(degree) for degree in degrees}
    return min((degree for degree in degrees if np.isfinite(costs[degree])), key=lambda x: costs[x], default=degrees[0])


def _median(fields: Sequence[PolynomialField]) -> PolynomialField:
    """What the fields have in common: the medians of their shapes and, apart from that, of their linear parts.

    From pair to pair the rig drifts by a shift and a turn. A median of whole fields would follow now one, now another
    of them across the frame, and one of coefficients would tear correlated terms apart.
    """
    width, height, degree = fields[0].width, fields[0].height, fields[0].degree
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, width - 1, 33), np.linspace(0, height - 1, 25)))
    moved = [field.displacement(x, y) for field in fields]
    flat = monomials(x, y, width, height, min(1, degree))
    linear = [np.linalg.lstsq(flat, displacement, rcond=None)[0] for displacement in moved]
    shapes = [displacement - flat @ part for displacement, part in zip(moved, linear, strict=True)]
    middle = np.median(shapes, axis=0) + flat @ np.median(linear, axis=0)
    terms = monomials(x, y, width, height, degree)
    return PolynomialField(np.linalg.lstsq(terms, middle, rcond=None)[0], width, height)


def looks_mirrored(sharp: Luma, blurred: Luma) -> bool:
    """Whether the blurred image matches clearly better when mirrored left to right or top to bottom."""
    height, width = sharp.values.shape
    reduction = max(1, width // 160)
    identity = PolynomialField.identity(width, height)

    def match(candidate: Luma) -> float:
        shift = coarse_shift(sharp, candidate, identity, reduction)
        moved = warp(candidate.values, identity.plus(shift[None]).positions())
        return correlation(sharp.values, moved)

    flipped = [
        Luma(np.ascontiguousarray(np.flip(blurred.values, axis)), np.flip(blurred.saturated, axis)) for axis in (0, 1)
    ]
    return max(match(candidate) for candidate in flipped) > match(blurred) + 0.2

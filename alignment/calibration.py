"""The rig calibration: how the two cameras differ when nothing moves, fitted once from static pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from localblur.alignment.color import ColorModel, ColorSamples, block_samples, fit_color
from localblur.alignment.displacement import PolynomialField, valid_area, warp, warp_flags
from localblur.alignment.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration import coarse_shift, register
from localblur.alignment.registration_level import Luma, stabilised_luma
from localblur.alignment.robust import correlation
from localblur.alignment.sensor_fields import FlatField, vignetting_ratio
from localblur.common.errors import LocalblurError


@dataclass(frozen=True)
class StaticFit:
    """What one static pair says about the rig; small enough to come back from a worker process.

    Attributes:
        label: which pair.
        field: its displacement field.
        samples: corresponding colours.
        correlation: of the lumas after registration: near 1 for two pictures of one scene.
        mirrored: whether a mirrored blurred image would match better.
    """

    label: str
    field: PolynomialField
    samples: ColorSamples
    correlation: float
    mirrored: bool


@dataclass(frozen=True)
class RigCalibration:
    """How to get from the blurred camera to the sharp one.

    Attributes:
        field: displacement field, the median over the static pairs.
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
    """Fit the rig's field on one static pair and take its colour samples.

    Raises:
        LocalblurError: if the two pictures differ in size or hold no numbers.
    """
    captured.check()
    sharp, blurred = captured.sharp, captured.blurred
    height, width = sharp.light.shape[:2]
    lumas = [stabilised_luma(image.light, image.saturated) for image in (sharp, blurred)]
    identity = PolynomialField.identity(width, height)
    field = register(lumas[0], lumas[1], identity, settings.rig_degree, settings.registration).field
    positions = field.positions()
    warped = warp(blurred.light, positions)
    usable = valid_area(positions, width, height) & ~sharp.saturated & ~warp_flags(blurred.saturated, positions)
    moved = stabilised_luma(warped, usable).values
    agreement = correlation(lumas[0].values[usable], moved[usable]) if usable.any() else 0.0
    return StaticFit(
        captured.label,
        field,
        block_samples(sharp.light, warped, usable, settings.color.block_px),
        agreement,
        agreement < settings.min_static_correlation and looks_mirrored(*lumas),
    )


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
    field = PolynomialField(np.median([fit.field.coefficients for fit in good], axis=0), width, height)
    vignetting = vignetting_ratio(flats[1], flats[0], field) if flats else None
    samples = ColorSamples.joined([fit.samples for fit in good])
    return RigCalibration(
        field,
        fit_color(samples, width, height, settings.color, np.random.default_rng(0), vignetting),
        tuple(fit.label for fit in good),
        tuple(round(field.distance_px(fit.field), 4) for fit in good),
        "flat frames" if flats else "static pairs",
    )


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

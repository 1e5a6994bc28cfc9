"""Aligning one pair: refine the rig's field, warp the blurred image once, match colour and brightness."""

from dataclasses import dataclass

import numpy as np

from localblur.alignment.light.brightness import match_brightness
from localblur.alignment.light.color import ColorModel, block_samples, fit_color
from localblur.alignment.model.calibration import RigCalibration
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.displacement import BoolArray, PolynomialField, valid_area, warp, warp_flags
from localblur.alignment.registration.registration import register
from localblur.alignment.registration.registration_level import stabilised_luma
from localblur.alignment.registration.static_region import grown
from localblur.alignment.registration.tiles import TileResiduals, measure_tiles
from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

REFINEMENTS: dict[str, int | None] = {"cubic": 3, "quadratic": 2, "affine": 1, "translation": 0, "none": None}
"""What may be fitted on the pair itself, and the degree of its polynomial."""

CALIBRATED_LADDER = ("affine", "translation", "none")
BUMPED_REFINEMENT = "quadratic"
"""A lens distortion looked at from elsewhere changes by its derivative, which is one degree below the cubic field."""
UNCALIBRATED_LADDER = ("cubic", "affine", "translation", "none")


@dataclass(frozen=True)
class AlignedPair:
    """A pair on the grid and in the colours of the sharp camera.

    Attributes:
        sharp, blurred: linear light, float32, (H, W, 3); the sharp one is as captured.
        field: where each sharp pixel lies in the captured blurred image; `positions` is the same as (H, W, 2).
        valid: pixels for which the warp had data, (H, W).
        saturated: pixels clipped in either image, grown by the reach of the resampling.
        moving: pixels that differ by more than noise: what moved (or is badly aligned).
        tiles: residual shifts.
        color: the colour model applied to the blurred image.
        gain: brightness factor applied to the blurred image.
        refinement: key of `REFINEMENTS`: what the pair itself had enough texture to determine.
        calibrated: whether a rig calibration was used.
        drift_px: mean distance between the field and the rig's (0 without calibration).
    """

    sharp: FloatArray
    blurred: FloatArray
    field: PolynomialField
    positions: FloatArray
    valid: BoolArray
    saturated: BoolArray
    moving: BoolArray
    tiles: TileResiduals
    color: ColorModel
    gain: float
    refinement: str
    calibrated: bool
    drift_px: float


def align_pair(captured: CapturedPair, calibration: RigCalibration | None, settings: AlignmentSettings) -> AlignedPair:
    """Align one pair.

    The refinement starts with the richest model and falls back to a simpler one while the tiles that stood still do
    not carry enough information to determine it. A pair far from the calibration (the rig was bumped) gets a richer
    one, if there is enough information for it.

    Args:
        captured: both images in linear light, of one size.
        calibration: the rig's field and colour model; without, both are fitted on the pair itself.
        settings: constants of every step.

    Raises:
        LocalblurError: if sizes disagree with each other or with the calibration.
    """
    captured.check()
    height, width = captured.sharp.light.shape[:2]
    if calibration is not None and (calibration.field.width, calibration.field.height) != (width, height):
        raise LocalblurError(
            f"the pair is {width}x{height} but the rig was calibrated at {calibration.field.width}x"
            f"{calibration.field.height}; calibrate at the size the scenes were captured with"
        )
    for refinement in CALIBRATED_LADDER if calibration else UNCALIBRATED_LADDER:
        aligned = _attempt(captured, calibration, refinement, settings)
        if _determined(aligned, settings):
            break
    if calibration is not None and aligned.drift_px > settings.bumped_px:
        richer = _attempt(captured, calibration, BUMPED_REFINEMENT, settings)
        if _determined(richer, settings):
            return richer
    return aligned


def _determined(aligned: AlignedPair, settings: AlignmentSettings) -> bool:
    """The information test: whether the tiles that stood still determine what was fitted."""
    degree = REFINEMENTS[aligned.refinement]
    if degree is None:
        return True
    field = aligned.field
    return aligned.tiles.field_uncertainty_px(degree, field.width, field.height) <= settings.max_uncertainty_px


def _attempt(
    captured: CapturedPair, calibration: RigCalibration | None, refinement: str, settings: AlignmentSettings
) -> AlignedPair:
    sharp, blurred = captured.sharp, captured.blurred
    height, width = sharp.light.shape[:2]
    rig = calibration.field if calibration else PolynomialField.identity(width, height)
    field, degree = rig, REFINEMENTS[refinement]
    if degree is not None:
        lumas = [stabilised_luma(image.light, image.saturated) for image in (sharp, blurred)]
        field = register(lumas[0], lumas[1], rig, degree, settings.registration).field
    positions = field.positions()
    warped = warp(blurred.light, positions)
    valid = valid_area(positions, width, height)
    saturated = grown(sharp.saturated | warp_flags(blurred.saturated, positions))
    usable = valid & ~saturated
    color = calibration.color if calibration else color_of_pair(sharp.light, warped, usable, settings)
    offset = color.offset.astype(np.float32)
    colored, gain, moving = match_brightness(sharp.light, color.apply(warped), offset, usable)
    tiles = measure_tiles(sharp.light, colored, usable & ~moving, valid, settings.tiles)
    return AlignedPair(
        sharp=sharp.light,
        blurred=colored,
        field=field,
        positions=positions,
        valid=valid,
        saturated=saturated,
        moving=moving,
        tiles=tiles,
        color=color,
        gain=gain,
        refinement=refinement,
        calibrated=calibration is not None,
        drift_px=field.distance_px(rig) if calibration else 0.0,
    )


def color_of_pair(sharp: FloatArray, warped: FloatArray, usable: BoolArray, settings: AlignmentSettings) -> ColorModel:
    """Colour model from the pair itself; with too few usable pixels the model that changes nothing."""
    height, width = usable.shape
    samples = block_samples(sharp, warped, usable, settings.color.block_px)
    try:
        return fit_color(samples, width, height, settings.color, np.random.default_rng(0))
    except LocalblurError:
        return ColorModel.identity()

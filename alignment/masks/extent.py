"""From where motion is seen to the extent of the moving objects: shapes, completed, refined, softened.

Everything happens on maps of at most `WORK_WIDTH_PX` width; the soft mask is brought to full size at the end.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.masks.input import BoolArray, FloatArray, PairLevels, reduced, work_size
from localblur.alignment.masks.pair_evidence import gather_evidence
from localblur.alignment.masks.settings import MaskSettings, RegionSettings
from localblur.datasets.masks.mask_regions import RimRule, fill_regions
from localblur.datasets.masks.mask_shapes import clean, disc, hysteresis, scaled, soften

Mask = npt.NDArray[np.uint8]

_CUT_HOLE = RimRule(coverage=0.9, imbalance=0.0, border=0.5, largest_area=0.1)
"""A hole that the image's border cuts open is a hole if all the rest of its rim is blurred."""
_UNNOTICED_AREA = 1e-3
"""Doubt about much less than this share of the image is no doubt worth a look."""


@dataclass(frozen=True)
class MotionMaps:
    """What one pair says about motion, at reduced size (h, w).

    Attributes:
        score: log-likelihood ratio of "moved", averaged over a window; 0 outside the usable area.
        plain: where the picture is too plain to show motion.
        usable: where there is data.
        picture: the blurred picture, levels, (h, w, 3): the mask's edge is drawn to its edges.
        full_usable: where there is data at full size, (H, W).
    """

    score: FloatArray
    plain: BoolArray
    usable: BoolArray
    picture: FloatArray
    full_usable: BoolArray


@dataclass(frozen=True)
class Comparison:
    """Where a pair shows something else than the known background, and where it surely shows the background, (h, w)."""

    differs: BoolArray
    agrees: BoolArray


@dataclass(frozen=True)
class MaskResult:
    """A soft mask, uint8 (H, W), and how far it can be trusted.

    Attributes:
        mask: 128 and above is blurred.
        confidence: 0..1, an estimate of the share of the mask's area that is beyond doubt; 1 for a safely empty one.
    """

    mask: Mask
    confidence: float


def motion_maps(pair: PairLevels, settings: MaskSettings) -> MotionMaps:
    """Gather the evidence of one pair at full size and reduce it.

    Raises:
        LocalblurError: if too few pixels are usable.
    """
    height, width = pair.usable.shape
    size = work_size(height, width)
    evidence = gather_evidence(pair.blurred, pair.sharp, pair.usable)
    ratio = evidence.log_likelihood_ratio(scaled(settings.contrast_radius_px, width, 2), settings.motion_contrast)
    ratio[~pair.usable] = 0
    radius = scaled(settings.window_radius_px, size[0])
    score = cv2.blur(reduced(ratio, size), (2 * radius + 1, 2 * radius + 1))
    visibility = evidence.visibility(scaled(settings.plain_radius_px, width), settings.motion_contrast)
    usable = reduced(pair.usable, size) > 0.99
    plain = (reduced(visibility, size) < settings.plain_visibility) & usable
    return MotionMaps(score, plain, usable, reduced(pair.blurred, size), pair.usable)


def seen_motion(maps: MotionMaps, settings: MaskSettings) -> BoolArray:
    """Where motion is seen, and the plain regions inside it, (h, w)."""
    seen = hysteresis(maps.score, settings.low, settings.high) & maps.usable
    return _completed(_tidy(seen, settings), maps, settings, None)


def extent(maps: MotionMaps, settings: MaskSettings, comparison: Comparison | None = None) -> MaskResult:
    """The extent of the blur from one pair, completed and checked by a comparison with the background if there is one.

    Args:
        maps: what the pair says.
        settings: thresholds and shapes.
        comparison: where the scene's background is seen; None without one.
    """
    width = maps.usable.shape[1]
    seen = hysteresis(maps.score, settings.low, settings.high) & maps.usable
    outlined = _tidy(seen, settings)
    binary = _completed(outlined, maps, settings, comparison)
    grounds = seen | (binary & ~outlined)
    binary = fill_regions(_tidy(binary, settings), ~binary, _CUT_HOLE)
    if comparison is not None:
        # what only closing and hole filling added goes where the background is seen
        binary &= ~comparison.agrees | (cv2.dilate(grounds.astype(np.uint8), disc(scaled(1.0, width))) > 0)
    binary = _refined(binary, maps.picture, settings) & maps.usable
    small = soften(binary, maps.score, scaled(settings.window_radius_px, width))
    return MaskResult(_enlarged(small, maps), _confidence(binary, maps, settings, comparison))


def _completed(
    outlined: BoolArray, maps: MotionMaps, settings: MaskSettings, comparison: Comparison | None, leniency: float = 1.0
) -> BoolArray:
    """With the regions that lie inside what moves; `leniency` divides the share of their rim that must be blurred."""
    binary = fill_regions(outlined, maps.plain, _rule(settings.plain, leniency))
    if comparison is None:
        return binary
    weak, rule = maps.score > -settings.background.unmoved, _rule(settings.background.regions, leniency)
    # first whole objects, plain parts that the background model has swallowed included, then the rest
    binary = fill_regions(binary, (comparison.differs | maps.plain) & weak, rule, comparison.differs)
    return fill_regions(binary, comparison.differs & weak, rule)


def _confidence(binary: BoolArray, maps: MotionMaps, settings: MaskSettings, comparison: Comparison | None) -> float:
    """Share of the mask's area that other thresholds would not change.

    They are half and twice the evidence that starts a region, and half and twice the share of a region's rim that must
    be blurred.
    """
    masks = []
    for factor in (0.5, 2.0):
        seen = hysteresis(maps.score, settings.low, settings.high * factor) & maps.usable
        masks.append(_completed(_tidy(seen, settings), maps, settings, comparison, 1 / factor))
    lax, strict = masks[0] | binary, masks[1] & binary
    unnoticed = _UNNOTICED_AREA * binary.size
    return float((np.count_nonzero(strict) + unnoticed) / (np.count_nonzero(lax) + unnoticed))


def _rule(settings: RegionSettings, leniency: float = 1.0) -> RimRule:
    return RimRule(settings.coverage / leniency, settings.imbalance, settings.border, settings.largest_area)


def _tidy(binary: BoolArray, settings: MaskSettings) -> BoolArray:
    return clean(
        binary,
        open_px=settings.open_px,
        close_px=settings.close_px,
        smallest_area=settings.smallest_area,
        holes_filled=settings.fill_holes,
    )


def _refined(binary: BoolArray, picture: FloatArray, settings: MaskSettings) -> BoolArray:
    """Draw the edge to edges of the picture with a guided filter.

    K. He, J. Sun, X. Tang, "Guided Image Filtering", ECCV 2010.
    """
    if settings.refine_px == 0 or not binary.any():
        return binary
    radius = scaled(settings.refine_px, binary.shape[1])
    share = cv2.ximgproc.guidedFilter(
        np.clip(picture, 0, 255).astype(np.uint8), binary.astype(np.float32), radius, settings.refine_levels**2
    )
    return np.asarray(share > 0.5, np.bool_)


def _enlarged(mask: Mask, maps: MotionMaps) -> Mask:
    """At full size, 0 where there is no data."""
    height, width = maps.full_usable.shape
    if mask.shape != (height, width):
        mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    mask[~maps.full_usable] = 0
    return mask

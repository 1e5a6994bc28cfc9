"""Completing masks: regions that show nothing by themselves, but lie inside what moves.

A plain object differs from its blurred self along its outline only, and there only where the outline is not parallel to
the motion. What tells its inside from a plain wall behind it is where the blur lies: around the outside of the one, in
a hole of the other; and at both ends of what moved, on one side of what a mover merely passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.masks.mask_shapes import BoolArray, disc, scaled

SMALLEST_REGION_PX = 5.0
"""Regions smaller than the square of this length (in a 640-px-wide image) are left to closing."""
RIM_REACH_PX = 2.0
"""How far from a region's rim, in a 640-px-wide image, the mask may begin."""

LEAST_SUPPORT = 0.4
"""Share of a region that must differ from the background; less than all, for an object may have spoilt its middle."""


@dataclass(frozen=True)
class RimRule:
    """When a region counts as the inside of a mover.

    Attributes:
        coverage: share of the outer rim (without the image's border) at which the mask must begin if it lies all
            around or at opposite ends.
        imbalance: how much more of the rim if it lies on one side; in between in proportion to the length of the mean
            direction from the region's middle to that part of the rim.
        border: largest share of the rim that may lie on the image's border.
        largest_area: larger regions, as a share of the image, are background.
    """

    coverage: float
    imbalance: float
    border: float
    largest_area: float


@dataclass(frozen=True)
class Region:
    """One connected region and how the mask lies about it.

    Attributes:
        area_px: pixels inside its outer rim.
        coverage: share of that rim, without the image's border, at which the mask begins.
        imbalance: 0 if that part lies all around or at opposite ends, 1 if it lies in one direction.
        border: share of the rim on the image's border.
    """

    area_px: float
    coverage: float
    imbalance: float
    border: float

    def is_inside(self, rule: RimRule, image_px: int) -> bool:
        """Whether the rule holds."""
        return (
            self.coverage > rule.coverage + rule.imbalance * self.imbalance
            and self.border < rule.border
            and self.area_px <= rule.largest_area * image_px
        )


def fill_regions(binary: BoolArray, silent: BoolArray, rule: RimRule, support: BoolArray | None = None) -> BoolArray:
    """Add the silent regions that lie inside what moves.

    Args:
        binary: (H, W), what is known to be blurred.
        silent: (H, W), where the pair cannot tell, for example because the picture is too plain there.
        rule: which regions are added.
        support: (H, W), where something other than the background is; a region needs `LEAST_SUPPORT` of its area there.
    """
    reach = scaled(1.0, binary.shape[1])
    # eroded first, so that regions do not leak into each other through weak spots of an outline
    core = cv2.erode((silent & ~binary).astype(np.uint8), disc(reach))
    chosen = np.zeros_like(core)
    for region, contour in _regions(core, binary, reach):
        if region.is_inside(rule, binary.size) and (support is None or _share(contour, support) >= LEAST_SUPPORT):
            cv2.drawContours(chosen, [contour], -1, 1, cv2.FILLED)
    grown = cv2.dilate(chosen, disc(reach + 1)) > 0
    return np.asarray(binary | grown, np.bool_)


def _share(contour: npt.NDArray[np.int32], support: BoolArray) -> float:
    """Share of the area inside a contour that has support."""
    x, y, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.drawContours(inside, [contour], -1, 1, cv2.FILLED, offset=(-x, -y))
    return float(support[y : y + height, x : x + width][inside > 0].mean())


def _regions(
    core: npt.NDArray[np.uint8], binary: BoolArray, reach: int
) -> Iterator[tuple[Region, npt.NDArray[np.int32]]]:
    """Every region of `core` that is not too small, with its outer contour."""
    height, width = binary.shape
    smallest = scaled(SMALLEST_REGION_PX, width) ** 2
    near = cv2.dilate(binary.astype(np.uint8), disc(reach + scaled(RIM_REACH_PX, width))) > 0
    contours, hierarchy = cv2.findContours(core, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for number, contour in enumerate(contours):
        is_hole = hierarchy[0][number][3] != -1
        if is_hole or cv2.contourArea(contour) < smallest:
            continue
        x, y = contour[:, 0, 0], contour[:, 0, 1]
        edge = (x <= reach + 1) | (y <= reach + 1) | (x >= width - 2 - reach) | (y >= height - 2 - reach)
        touched = near[y, x]
        free = max(int(np.count_nonzero(~edge)), 1)
        yield (
            Region(
                area_px=cv2.contourArea(contour),
                coverage=int(np.count_nonzero(touched & ~edge)) / free,
                imbalance=_imbalance(contour, touched | edge),
                border=float(edge.mean()),
            ),
            contour,
        )


def _imbalance(contour: npt.NDArray[np.int32], counted: BoolArray) -> float:
    if not counted.any():
        return 1.0
    moments = cv2.moments(contour)
    middle = np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1e-6)
    rays = contour[counted, 0] - middle
    directions = rays / np.maximum(np.hypot(rays[:, 0], rays[:, 1]), 1e-6)[:, None]
    return float(np.hypot(*directions.mean(axis=0)))

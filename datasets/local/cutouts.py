"""Objects cut from photographs: with a mask, with their own alpha, or found by GrabCut; and sprites made of them.

A cut-out carries the colours of its object beyond its outline: what a camera mixed with the old background there would
show as a rim around the object on a new one.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray
from localblur.datasets.light.camera_response import CAMERA_RESPONSES

ByteArray = npt.NDArray[np.uint8]

SMALLEST_PX = 16
"""Shorter sides of a cut-out are too small to show anything."""
_MARGIN = 3
_EDGE_PX = 0.7
_SOLID = 250


class NoObjectError(LocalblurError):
    """A photograph in which GrabCut finds no object worth moving."""


class GrabCutSettings(Settings):
    """When the foreground GrabCut finds is an object worth moving.

    Attributes:
        longest_px: photographs are brought to this long side for finding; the outline is refined at full size.
        rounds: iterations.
        frame: share of each side that is taken for background.
        area: range of the object's share of the photograph.
        whole: least share of the foreground that is in one piece.
        solid: least share of its convex hull that it fills.
        border: largest share of its outline that lies along the frame: there it is cut off.
        contrast: least mean colour step across its outline, in levels of 255.
    """

    longest_px: int = Field(default=280, ge=64, le=2000)
    rounds: int = Field(default=4, ge=1, le=20)
    frame: float = Field(default=0.08, ge=0.01, le=0.4)
    area: tuple[float, float] = (0.02, 0.4)
    whole: float = Field(default=0.8, ge=0, le=1)
    solid: float = Field(default=0.6, ge=0, le=1)
    border: float = Field(default=0.06, ge=0, le=1)
    contrast: float = Field(default=30.0, ge=0, le=255)


@dataclass(frozen=True)
class Cutout:
    """An object without its background.

    Attributes:
        image: sRGB-coded colours, uint8, shape (h, w, 3), also beyond the outline.
        alpha: uint8, shape (h, w), 0 at the border.
    """

    image: ByteArray
    alpha: ByteArray

    def rgba(self) -> ByteArray:
        """Both in one, uint8, shape (h, w, 4), not premultiplied."""
        return np.dstack([self.image, self.alpha])


def cut_out(image: ByteArray, alpha: ByteArray, *, refined: bool = True) -> Cutout:
    """Cut an object out of a photograph.

    Args:
        image: sRGB-coded, uint8, shape (H, W, 3).
        alpha: uint8, shape (H, W), 255 is the object; masks of two values get a soft edge.
        refined: give the object's own colours to its edge. False for pictures that come with good alpha.

    Raises:
        LocalblurError: if the sizes differ, the alpha holds no object, or one of less than 16 px.
    """
    if alpha.shape != image.shape[:2]:
        raise LocalblurError(
            f"the mask is {alpha.shape[1]}x{alpha.shape[0]} but the photograph is {image.shape[1]}x{image.shape[0]};"
            " give masks of the same size"
        )
    if len(np.unique(alpha)) <= 2:
        alpha = _softened(alpha > alpha.min()) if alpha.max() > 0 else alpha
    rows, columns = (np.flatnonzero((alpha > 8).any(axis=axis)) for axis in (1, 0))
    if len(rows) < SMALLEST_PX or len(columns) < SMALLEST_PX:
        raise LocalblurError(f"the mask holds no object of {SMALLEST_PX} px or more")
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    padding = (_MARGIN, _MARGIN, _MARGIN, _MARGIN)
    part = cv2.copyMakeBorder(image[box], *padding, cv2.BORDER_REPLICATE)
    cover = cv2.copyMakeBorder(alpha[box], *padding, cv2.BORDER_CONSTANT, value=0)
    colours = _own_colours(part, cover) if refined else part
    return Cutout(np.ascontiguousarray(colours), np.ascontiguousarray(cover))


def find_object(image: ByteArray, settings: GrabCutSettings) -> ByteArray:
    """The foreground of a photograph by GrabCut, as alpha: uint8, shape (H, W).

    The frame of the picture is taken for background (Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004).

    Raises:
        NoObjectError: if what it finds is no object worth moving; the reason in words.
    """
    height, width = image.shape[:2]
    scale = min(1.0, settings.longest_px / max(height, width))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    found = _grab(small, settings)
    object_mask = _main_part(found, settings)
    _check_outline(small, object_mask, settings)
    if scale < 1:
        grown = cv2.resize(object_mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        object_mask = np.asarray(cv2.GaussianBlur(grown, (0, 0), 1.0 / scale) > 0.5)
    return _softened(object_mask)


def make_cutout_sprite(
    cutout: Cutout, size_px: float, *, turn_deg: float = 0.0, mirrored: bool = False, gain: float = 1.0
) -> FloatArray:
    """A cut-out as a premultiplied linear RGBA sprite, float32, shape (h, w, 4), transparent at its border.

    Args:
        cutout: the object.
        size_px: its long side; larger than the cut-out itself is brought down to that.
        turn_deg, mirrored: how it is turned first.
        gain: factor of its light.
    """
    image, cover = (cv2.flip(plane, 1) if mirrored else plane for plane in (cutout.image, cutout.alpha))
    scale = min(1.0, size_px / max(cover.shape))
    alpha = cover * np.float32(1 / 255)
    weight = alpha * np.float32(gain)
    light = cv2.merge([*(plane * weight for plane in cv2.split(CAMERA_RESPONSES["srgb"].decode(image))), alpha])
    if scale < 1:
        light = cv2.resize(light, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if turn_deg:
        light = _turned(light, turn_deg)
    light[..., 3] = np.minimum(light[..., 3], 1)
    sprite: FloatArray = cv2.copyMakeBorder(light, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    return sprite


def _grab(small: ByteArray, settings: GrabCutSettings) -> npt.NDArray[np.bool_]:
    labels = np.zeros(small.shape[:2], np.uint8)
    dx, dy, right, bottom = _inner(small, settings)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)  # its clustering draws from OpenCV's own generator
    try:
        cv2.grabCut(
            np.ascontiguousarray(small[..., ::-1]),
            labels,
            (dx, dy, right - dx, bottom - dy),
            *models,
            settings.rounds,
            cv2.GC_INIT_WITH_RECT,
        )
    except cv2.error as error:
        raise NoObjectError("GrabCut finds no foreground: the photograph is too small or too even") from error
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def _inner(small: ByteArray, settings: GrabCutSettings) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of what is not frame."""
    height, width = small.shape[:2]
    dx, dy = max(2, round(settings.frame * width)), max(2, round(settings.frame * height))
    return dx, dy, width - dx, height - dy


def _main_part(found: npt.NDArray[np.bool_], settings: GrabCutSettings) -> npt.NDArray[np.bool_]:
    """The largest piece with its holes filled and thin hairs removed, if it is most of what was found."""
    share = float(found.mean())
    if not settings.area[0] <= share <= settings.area[1]:
        raise NoObjectError(
            f"the foreground fills {share:.0%} of the photograph, not {settings.area[0]:.0%} to {settings.area[1]:.0%}"
        )
    opened = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < settings.whole * areas.sum():
        raise NoObjectError("the foreground is in several pieces")
    piece = np.asarray(labels == 1 + int(areas.argmax()), np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = float(cv2.contourArea(cv2.convexHull(outline)))
    if hull <= 0 or cv2.contourArea(outline) < settings.solid * hull:
        raise NoObjectError("the foreground is too ragged for an object")
    return np.asarray(cv2.drawContours(np.zeros_like(piece), [outline], -1, 1, cv2.FILLED) > 0)


def _check_outline(small: ByteArray, mask: npt.NDArray[np.bool_], settings: GrabCutSettings) -> None:
    rim = mask & ~(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0)
    x0, y0, x1, y1 = _inner(small, settings)
    within = rim.copy()
    within[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = False
    along_frame = float(within.sum() / max(rim.sum(), 1))
    if along_frame > settings.border:
        raise NoObjectError(f"{along_frame:.0%} of the foreground's outline lies along the frame, cut off")
    smooth = cv2.blur(small.astype(np.float32), (3, 3))
    binary, disc = mask.astype(np.uint8), np.ones((5, 5), np.uint8)
    inside, outside = (cv2.erode(binary, disc, borderValue=0), 1 - cv2.dilate(binary, disc))
    own, other = (_normalised(smooth, weight.astype(np.float32), 5.0) for weight in (inside, outside))
    step = float(np.abs(own - other).max(axis=-1)[rim].mean())
    if step < settings.contrast:
        raise NoObjectError(f"colours change by {step:.0f} levels across the foreground's outline, too few to trust it")


def _own_colours(image: ByteArray, alpha: ByteArray) -> ByteArray:
    """The colours of the solid inside, carried over the edge and beyond."""
    solid = cv2.erode((alpha >= _SOLID).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    if not solid.any():
        return image
    light = image.astype(np.float32)
    spread = light.copy()
    for reach in (12.0, 4.0, 1.5):  # the nearest colours overwrite those from further away
        weight = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), reach)
        near = weight > 1e-3
        spread[near] = _normalised(light, solid.astype(np.float32), reach)[near]
    spread[solid > 0] = light[solid > 0]
    return np.clip(np.rint(spread), 0, 255).astype(np.uint8)


def _normalised(values: FloatArray, weight: FloatArray, reach: float) -> FloatArray:
    """Mean of `values` (H, W, 3) nearby, counting only where `weight` is."""
    total = cv2.GaussianBlur(values * weight[..., None], (0, 0), reach)
    mean: FloatArray = total / np.maximum(cv2.GaussianBlur(weight, (0, 0), reach), 1e-6)[..., None]
    return mean


def _softened(mask: npt.NDArray[np.bool_]) -> ByteArray:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.uint8) * np.uint8(255), (0, 0), _EDGE_PX), np.uint8)


def _turned(light: FloatArray, turn_deg: float) -> FloatArray:
    height, width = light.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn_deg, 1.0)
    cosine, sine = abs(math.cos(math.radians(turn_deg))), abs(math.sin(math.radians(turn_deg)))
    wide, high = math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine)
    matrix[:, 2] += ((wide - width) / 2, (high - height) / 2)
    turned = cv2.warpAffine(light, matrix, (wide, high), flags=cv2.INTER_CUBIC)
    return np.asarray(np.maximum(turned, 0), np.float32)  # cubic interpolation overshoots

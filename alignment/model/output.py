"""The pictures of a pair at the size they are stored in.

What `align_pair` found on the full grid is evaluated on a smaller one: the blurred picture is still resampled once, and
the sharp one with the same low pass, in linear light.
"""

import re
from dataclasses import dataclass

import numpy as np

from localblur.alignment.light.rendering import Rendering
from localblur.alignment.model.pair import AlignedPair
from localblur.alignment.model.pipeline import MIN_SIDE_PX, CapturedPair
from localblur.alignment.registration.displacement import (
    BoolArray,
    PolynomialField,
    evaluate_at,
    evaluate_on_lines,
    valid_area,
)
from localblur.alignment.registration.reduction import Size, output_lines, reduced, support_px
from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray

_SIZE = re.compile(r"[0-9]{1,6}x[0-9]{1,6}|0?\.[0-9]+|1(\.0*)?")


@dataclass(frozen=True)
class OutputPair:
    """Both pictures in linear sRGB, float32 (h, w, 3) in [0, 1], and where the blurred one has data, (h, w)."""

    blurred: FloatArray
    sharp: FloatArray
    valid: BoolArray


def checked_size(wanted: object) -> str:
    """A size as it is written: WIDTHxHEIGHT in pixels, or a scale up to 1; for the settings.

    Raises:
        ValueError: if it is neither.
    """
    text = str(wanted)
    if _SIZE.fullmatch(text) is None:
        raise ValueError("must be WIDTHxHEIGHT in pixels, as 1076x718, or a scale up to 1, as 0.5")
    return text


def output_size(wanted: str | None, width: int, height: int) -> Size:
    """Width and height of what is stored of a pair of `width` x `height`.

    Args:
        wanted: as `checked_size` takes it; None keeps the size.
        width, height: as captured.

    Raises:
        LocalblurError: if it would enlarge or distort the pictures, or leave less than `MIN_SIDE_PX`.
    """
    if wanted is None:
        return width, height
    if "x" in wanted:
        across, down = (int(side) for side in wanted.split("x"))
    else:
        across, down = round(float(wanted) * width), round(float(wanted) * height)
    if across > width or down > height:
        raise LocalblurError(f"size {wanted} would enlarge pairs of {width}x{height}; choose a smaller one")
    if min(across, down) < MIN_SIDE_PX:
        raise LocalblurError(
            f"size {wanted} leaves {across}x{down} of {width}x{height}; both sides need at least {MIN_SIDE_PX} px"
        )
    if abs(down - across * height / width) >= 1 and abs(across - down * width / height) >= 1:
        raise LocalblurError(
            f"size {wanted} would distort pairs of {width}x{height}; {across}x{round(across * height / width)} keeps"
            " their shape"
        )
    return across, down


def output_pair(captured: CapturedPair, aligned: AlignedPair, rendering: Rendering, size: Size) -> OutputPair:
    """Render a pair at `size` (width, height): that of the capture, or a smaller one of the same shape.

    Values that rendering clips are clipped before they are reduced, or highlights would get coloured rims.
    """
    height, width = aligned.sharp.shape[:2]
    if size == (width, height):
        return OutputPair(rendering.apply(aligned.blurred), rendering.apply(aligned.sharp), aligned.valid)
    lines = output_lines((width, height), size)
    grid = PolynomialField.identity(width, height).positions_on(*lines)
    positions = aligned.field.positions_on(*lines)
    sharp = rendering.apply(reduced(rendering.limit(aligned.sharp.copy()), grid, size))
    blurred = rendering.apply(_reduced_blurred(captured, aligned, rendering, positions))
    margin_px = support_px((width, height), size)
    valid = valid_area(positions, width, height, margin_px) & valid_area(grid, width, height, margin_px)
    return OutputPair(blurred, sharp, valid)


def _reduced_blurred(
    captured: CapturedPair, aligned: AlignedPair, rendering: Rendering, positions: FloatArray
) -> FloatArray:
    """The blurred picture in the colours and brightness of the sharp one, on the output grid.

    Colours come before the reduction, because what is clipped is known only then. They are those of the pixel's own
    place; the vignetting there, which is smooth, is exchanged for that of its place in the sharp picture afterwards.
    """
    height, width = aligned.sharp.shape[:2]
    color, offset = aligned.color, aligned.color.offset.astype(np.float32)
    colored = color.apply(captured.blurred.light)
    colored -= offset
    colored *= np.float32(aligned.gain)
    colored += offset
    size = positions.shape[1], positions.shape[0]
    light = reduced(rendering.limit(colored), positions, size)
    ratio = evaluate_on_lines(color.vignetting, *output_lines((width, height), size), width, height)
    ratio /= evaluate_at(color.vignetting, positions, width, height)
    light -= offset
    light *= ratio.astype(np.float32)[..., None]
    light += offset
    return light

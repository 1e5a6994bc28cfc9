"""The background of a scene: what most of its frames agree on, movers left out, and where that is known at all.

A median over the frames is spoilt where an object lingers: half of the frames are enough. Here every sample that the
pair itself shows to be moving is left out, and of the rest the largest group of equal samples counts; where no group is
large, the background is unknown and nothing is concluded from it.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.alignment.masks.input import (
    BoolArray,
    FloatArray,
    PairLevels,
    SceneFrames,
    reduced,
    reduced_pair,
    work_size,
)
from localblur.alignment.masks.noise_model import image_noise
from localblur.alignment.masks.pair_evidence import robust_fit
from localblur.alignment.masks.settings import BackgroundSettings
from localblur.common.errors import LocalblurError
from localblur.datasets.masks.mask_shapes import disc, scaled

FINDING_WIDTH_PX = 550
"""Movers are looked for in pictures of about this width when the background is made."""
SWAY_PX = 0.4
"""Samples of an edge may differ by as much as a sway of the rig by this length makes them."""
_NOISE_FACTOR = 4.0
_ROUNDING = 1.5
_LARGEST_GAIN = 2.0
_SMOOTH_PX = 0.7
_BAND_ROWS = 32
_FIT_STEP = 7

Bytes = npt.NDArray[np.uint8]
MoverFinder = Callable[[PairLevels], BoolArray]
"""Where a (small) pair moves, (H, W)."""


@dataclass(frozen=True)
class SceneBackground:
    """Background at reduced size.

    Attributes:
        picture: levels, float32 (h, w, 3).
        known: (h, w), where enough frames agreed.
    """

    picture: FloatArray
    known: BoolArray


def learn_background(
    frames: SceneFrames, settings: BackgroundSettings, find_movers: MoverFinder
) -> SceneBackground | None:
    """The background of a scene from at most `settings.frames` sharp pictures; None if the scene is too short.

    Memory: `settings.frames` pictures of at most 1100 px width in bytes, 55 MB for 24 of 2152x1436.

    Args:
        frames: the scene.
        settings: how many frames, and when they agree.
        find_movers: applied to pairs reduced to about 550 px width.
    """
    pictures: list[Bytes] = []
    still: list[Bytes] = []
    variance: list[float] = []
    for index in spread(frames.count, settings.frames):
        try:
            pair = frames.read(index)
        except LocalblurError:  # told where its own mask is made
            continue
        size = work_size(*pair.usable.shape)
        if pictures and pictures[0].shape[:0:-1] != size:
            continue
        picture = cv2.GaussianBlur(reduced(pair.sharp, size), (0, 0), _SMOOTH_PX)
        if pictures:
            picture = _matched(picture, pictures[0])
        variance.append(float(np.mean([image_noise(p, np.ones(p.shape, np.bool_), 1.0) for p in cv2.split(picture)])))
        pictures.append(_planes(picture))
        still.append(_still(pair, size, find_movers))
    if len(pictures) < settings.fewest:
        return None
    # texture looks like noise within a picture, movers look like noise between two: the lower of both is nearer to it
    deviation = min(float(np.sqrt(np.median(variance))), _change_between(pictures))
    tolerance = _NOISE_FACTOR * deviation + _ROUNDING
    return _agreed(pictures, still, tolerance, settings.agreement)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of 0..count-1, evenly spread over them."""
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, most))}) if count else []


def _planes(picture: FloatArray) -> Bytes:
    """Rounded, channels first, (3, H, W): comparing planes is several times faster."""
    return np.ascontiguousarray(np.moveaxis(np.clip(np.rint(picture), 0, 255).astype(np.uint8), -1, 0))


def _still(pair: PairLevels, size: tuple[int, int], find_movers: MoverFinder) -> Bytes:
    """1 where the pair has data and nothing moves, at `size`."""
    small = reduced_pair(pair, work_size(size[1], size[0], FINDING_WIDTH_PX))
    try:
        moving = find_movers(small)
    except LocalblurError:  # too little of it is usable: none of it is used
        moving = np.ones_like(small.usable)
    grown = cv2.dilate(moving.astype(np.uint8), disc(scaled(3.0, small.usable.shape[1])))
    return np.asarray(cv2.resize(((grown == 0) & small.usable).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST))


def _matched(picture: FloatArray, reference: Bytes) -> FloatArray:
    """Brought to the brightness of the reference by a robust gain and offset per channel: lamps flicker."""
    matched = np.empty_like(picture)
    for channel in range(3):
        values = picture[::_FIT_STEP, ::_FIT_STEP, channel].ravel().astype(np.float64)
        target = reference[channel, ::_FIT_STEP, ::_FIT_STEP].ravel().astype(np.float64)
        gain, offset = robust_fit(np.column_stack([values, np.ones_like(values)]), target)
        if not 1 / _LARGEST_GAIN < gain < _LARGEST_GAIN:
            gain, offset = 1.0, 0.0  # the two have too little in common
        matched[..., channel] = picture[..., channel] * np.float32(gain) + np.float32(offset)
    return matched


def _agreed(pictures: list[Bytes], still: list[Bytes], tolerance: float, agreement: float) -> SceneBackground:
    height, width = still[0].shape
    picture = np.zeros((height, width, 3), np.float32)
    known = np.zeros((height, width), np.bool_)
    edges = _edges(pictures[0])
    # in bands, so that all samples of a band stay in the processor's cache
    for top in range(0, height, _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        limit = np.clip(tolerance + SWAY_PX * edges[rows], 0, 255).astype(np.uint8)
        samples, weights = [p[:, rows] for p in pictures], [s[rows] for s in still]
        picture[rows], known[rows] = _largest_group(samples, weights, limit, agreement)
    return SceneBackground(picture, known)


def _change_between(pictures: list[Bytes]) -> float:
    """Standard deviation of what changes from one picture to the next, by medians: most of a scene stands still."""
    changes = [
        1.4826 * float(np.median(cv2.absdiff(a, b)[:, ::_FIT_STEP, ::_FIT_STEP]))
        for a, b in itertools.pairwise(pictures)
    ]
    return max(float(np.median(changes) / np.sqrt(2)), 0.5)


def _edges(picture: Bytes) -> FloatArray:
    """Change in levels per pixel, of the channel that changes most, grown by a pixel."""
    steepest = np.zeros(picture.shape[1:], np.float32)
    for plane in picture:
        dx, dy = (cv2.Sobel(plane, cv2.CV_32F, x, 1 - x, ksize=3, scale=1 / 8) for x in (1, 0))
        np.maximum(steepest, np.hypot(dx, dy), out=steepest)
    return np.asarray(cv2.dilate(steepest, np.ones((3, 3), np.uint8)), np.float32)


def _largest_group(
    samples: list[Bytes], weights: list[Bytes], limit: Bytes, agreement: float
) -> tuple[FloatArray, BoolArray]:
    """Mean of the largest group of equal samples of every pixel, and whether it is large enough to be trusted."""
    votes = [weight.copy() for weight in weights]
    for i in range(len(samples)):
        for j in range(i):
            equal = _equal(samples[i], samples[j], limit)
            equal &= weights[i] & weights[j]
            votes[i] += equal
            votes[j] += equal
    most = np.argmax(np.stack(votes), axis=0)
    centre = np.take_along_axis(np.stack(samples), most[None, None], axis=0)[0]
    total, members = np.zeros(centre.shape, np.float32), np.zeros(most.shape, np.float32)
    for sample, weight in zip(samples, weights, strict=True):
        member = (_equal(sample, centre, limit) & weight).astype(np.float32)
        total += sample * member
        members += member
    present = np.sum(weights, axis=0, dtype=np.int32)
    known = (members >= 2) & (members >= agreement * present)
    mean = (total / np.maximum(members, 1)).astype(np.float32)
    return np.asarray(np.moveaxis(mean, 0, -1)), np.asarray(known, np.bool_)


def _equal(a: Bytes, b: Bytes, limit: Bytes) -> Bytes:
    """1 where no channel differs by more than the limit."""
    difference = np.maximum(a, b) - np.minimum(a, b)
    largest = np.maximum(np.maximum(difference[0], difference[1]), difference[2])
    return np.asarray(largest <= limit, np.uint8)

"""Method `mog2`: background subtraction over the blurred pictures of a scene, in the spirit of the reference.

Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023, make their masks with "a blur detection approach based
on background subtraction" (LBFMG); neither code nor parameters were published. This is our reading of it: for every
picture a mixture of Gaussians per pixel (Z. Zivkovic, "Improved adaptive Gaussian mixture model for background
subtraction", ICPR 2004) learns the other pictures of the scene; the picture itself is tested without being learned;
what the model takes for a shadow counts as foreground, because faint blur looks like one; morphology does the rest.
Two things are ours: pictures are matched in brightness first, because lamps flicker; and what stands where it did not
stand before, but is as sharp in the blurred picture as in the sharp one, is left out, because it does not move. What
lingers at one place in most pictures becomes background, and a pair on its own has none.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from localblur.alignment.masks.background_model import spread
from localblur.alignment.masks.extent import Mask, MaskResult
from localblur.alignment.masks.input import BoolArray, FloatArray, PairLevels, SceneFrames, reduced, work_size
from localblur.alignment.masks.settings import MaskSettings, SubtractionSettings
from localblur.common.errors import LocalblurError
from localblur.datasets.masks.mask_shapes import clean, scaled, soften

FOREGROUND, SHADOW = 255, 127
_SHADOW_ODDS, _SURE_ODDS = 0.5, 3.0
_FEWEST_FRAMES = 2
_FIT_STEP = 4
_DARK_LEVELS = 8
_LARGEST_GAIN = 2.0
_LEAST_NOISE_LEVELS, _NOISE_FACTOR, _SWAY_PX = 2.0, 1.5, 0.5


@dataclass(frozen=True)
class LearnedFrames:
    """Blurred pictures of a scene, levels as uint8 (h, w, 3), at reduced size, in the brightness of the first."""

    pictures: list[Mask]

    def like(self, picture: Mask) -> Mask:
        """A picture of the scene in that brightness, if there is a picture of its size."""
        first = self.pictures[0] if self.pictures else picture
        return _matched(picture, first) if first.shape == picture.shape else picture


def prepare_subtraction(frames: SceneFrames, settings: MaskSettings) -> LearnedFrames:
    """Read the pictures to learn from: at most `frames` and one, so that any of them may be left out."""
    learned = LearnedFrames([])
    for index in spread(frames.count, settings.subtraction.frames + 1):
        try:
            learned.pictures.append(learned.like(_levels(frames.read(index).blurred)))
        except LocalblurError:  # told where its own mask is made
            continue
    return learned


def subtraction_mask(pair: PairLevels, learned: LearnedFrames, settings: MaskSettings) -> MaskResult:
    """The mask of one pair of the scene; the picture itself, if it was read before, is not learned from.

    Raises:
        LocalblurError: if the scene has fewer than two other usable pictures of the size.
    """
    picture = learned.like(_levels(pair.blurred))
    others = [other for other in learned.pictures if other.shape == picture.shape]
    others = [other for other in others if not np.array_equal(other, picture)]
    if len(others) < _FEWEST_FRAMES:
        raise LocalblurError(
            f"method mog2 needs {_FEWEST_FRAMES} other pairs of the scene to learn a background from, there are"
            f" {len(others)}; use --method pair"
        )
    found = _foreground(picture, others, settings.subtraction)
    height, width = pair.usable.shape
    size = picture.shape[1], picture.shape[0]
    usable = reduced(pair.usable, size) > 0.99
    seen = (found >= (SHADOW if settings.subtraction.shadows else FOREGROUND)) & usable
    binary = clean(
        seen,
        open_px=settings.open_px,
        close_px=settings.close_px,
        smallest_area=settings.smallest_area,
        holes_filled=settings.fill_holes,
    )
    if settings.subtraction.moving_share > 0:
        sharp = _matched(_levels(pair.sharp), picture)
        binary = _moving_regions(binary, picture, sharp, settings.subtraction.moving_share)
    odds = np.select([found >= FOREGROUND, found >= SHADOW], [_SURE_ODDS, _SHADOW_ODDS], -_SURE_ODDS)
    radius = scaled(settings.window_radius_px, size[0])
    mask = soften(binary & usable, cv2.blur(odds.astype(np.float32), (2 * radius + 1,) * 2), radius)
    mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    mask[~pair.usable] = 0
    # shadows are what the model is unsure of
    sure = float((found[binary] == FOREGROUND).mean()) if binary.any() else 1.0
    return MaskResult(mask, sure)


def _levels(image: FloatArray) -> Mask:
    """A picture in levels, at reduced size."""
    size = work_size(*image.shape[:2])
    return np.asarray(np.clip(np.rint(reduced(image, size)), 0, 255), np.uint8)


def _matched(picture: Mask, reference: Mask) -> Mask:
    """Brought to the brightness of the reference by the median ratio of every channel."""
    matched = np.empty_like(picture)
    for channel in range(3):
        values = picture[::_FIT_STEP, ::_FIT_STEP, channel].astype(np.float32)
        counted = values > _DARK_LEVELS
        ratios = reference[::_FIT_STEP, ::_FIT_STEP, channel][counted] / values[counted]
        gain = float(np.clip(np.median(ratios), 1 / _LARGEST_GAIN, _LARGEST_GAIN)) if ratios.size else 1.0
        matched[..., channel] = cv2.convertScaleAbs(picture[..., channel], alpha=gain)
    return matched


def _moving_regions(binary: BoolArray, picture: Mask, sharp: Mask, least_share: float) -> BoolArray:
    """The regions in which the blurred picture differs from the sharp one in a share of at least `least_share`.

    A difference is one that neither noise nor a sway of `_SWAY_PX` explains; both pictures are smoothed before, for
    their lenses differ.
    """
    blurred, reference = (cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0) for image in (picture, sharp))
    difference = cv2.absdiff(blurred, reference)
    slope = cv2.magnitude(*(cv2.Sobel(reference, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0)))
    noise = max(_LEAST_NOISE_LEVELS, 1.4826 * float(np.median(difference[::_FIT_STEP, ::_FIT_STEP])))
    explained = _NOISE_FACTOR * noise + _SWAY_PX * cv2.dilate(slope, np.ones((3, 3), np.uint8))
    differs = cv2.medianBlur((difference > explained).any(axis=2).astype(np.uint8), 5) > 0
    count, labels = cv2.connectedComponents(binary.astype(np.uint8))
    areas, changed = (np.bincount(labels[chosen], minlength=count) for chosen in (binary, binary & differs))
    moving = changed >= least_share * np.maximum(areas, 1)
    moving[0] = False
    return np.asarray(moving[labels], np.bool_)


def _foreground(picture: Mask, others: list[Mask], settings: SubtractionSettings) -> Mask:
    """What OpenCV's mixture model says of a picture: 0 background, 127 shadow, 255 foreground."""
    model = cv2.createBackgroundSubtractorMOG2(
        history=settings.history, varThreshold=settings.variance_threshold, detectShadows=True
    )
    for other in others:
        model.apply(other)
    return np.asarray(model.apply(picture, learningRate=0), np.uint8)

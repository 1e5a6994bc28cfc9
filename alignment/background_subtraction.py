"""Method `mog2`: background subtraction over the blurred pictures of a scene, in the spirit of the reference.

Li et al., "Real-World Deep Local Motion Deblurring", AAAI 2023, make their masks with "a blur detection approach based
on background subtraction" (LBFMG); neither code nor parameters were published. This is our reading of it: for every
picture a mixture of Gaussians per pixel (Z. Zivkovic, "Improved adaptive Gaussian mixture model for background
subtraction", ICPR 2004) learns the other pictures of the scene; the picture itself is tested without being learned;
what the model takes for a shadow counts as foreground, because faint blur looks like one; morphology does the rest.
What lingers at one place in most pictures becomes background, and a pair on its own has none.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from localblur.alignment.background_model import spread
from localblur.alignment.mask_extent import Mask, MaskResult
from localblur.alignment.mask_input import PairLevels, SceneFrames, reduced, work_size
from localblur.alignment.mask_settings import MaskSettings, SubtractionSettings
from localblur.common.errors import LocalblurError
from localblur.datasets.mask_shapes import clean, scaled, soften

FOREGROUND, SHADOW = 255, 127
_SHADOW_ODDS, _SURE_ODDS = 0.5, 3.0
_FEWEST_FRAMES = 2


@dataclass(frozen=True)
class LearnedFrames:
    """Blurred pictures of a scene by their numbers, levels as uint8 (h, w, 3), at reduced size."""

    pictures: dict[int, Mask]


def prepare_subtraction(frames: SceneFrames, settings: MaskSettings) -> LearnedFrames:
    """Read the pictures to learn from: at most `frames` and one, so that any of them may be left out."""
    pictures: dict[int, Mask] = {}
    for index in spread(frames.count, settings.subtraction.frames + 1):
        try:
            pictures[index] = _picture(frames.read(index))
        except LocalblurError:  # told where its own mask is made
            continue
    return LearnedFrames(pictures)


def subtraction_mask(pair: PairLevels, learned: LearnedFrames, settings: MaskSettings) -> MaskResult:
    """The mask of one pair of the scene; the picture itself, if it was read before, is not learned from.

    Raises:
        LocalblurError: if the scene has fewer than two other usable pictures of the size.
    """
    picture = _picture(pair)
    others = [other for other in learned.pictures.values() if other.shape == picture.shape]
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
    odds = np.select([found >= FOREGROUND, found >= SHADOW], [_SURE_ODDS, _SHADOW_ODDS], -_SURE_ODDS)
    radius = scaled(settings.window_radius_px, size[0])
    mask = soften(binary & usable, cv2.blur(odds.astype(np.float32), (2 * radius + 1,) * 2), radius)
    mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    mask[~pair.usable] = 0
    # shadows are what the model is unsure of
    sure = float((found[binary] == FOREGROUND).mean()) if binary.any() else 1.0
    return MaskResult(mask, sure)


def _picture(pair: PairLevels) -> Mask:
    size = work_size(*pair.usable.shape)
    return np.asarray(np.clip(np.rint(reduced(pair.blurred, size)), 0, 255), np.uint8)


def _foreground(picture: Mask, others: list[Mask], settings: SubtractionSettings) -> Mask:
    """What OpenCV's mixture model says of a picture: 0 background, 127 shadow, 255 foreground."""
    model = cv2.createBackgroundSubtractorMOG2(
        history=settings.history, varThreshold=settings.variance_threshold, detectShadows=True
    )
    for other in others:
        model.apply(other)
    return np.asarray(model.apply(picture, learningRate=0), np.uint8)

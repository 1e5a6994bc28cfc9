"""Method `sequence`: what a pair shows, completed and checked by the background of its scene."""

import cv2
import numpy as np

from localblur.alignment.masks.background_model import SceneBackground, learn_background
from localblur.alignment.masks.extent import Comparison, MaskResult, extent, motion_maps, seen_motion
from localblur.alignment.masks.input import BoolArray, FloatArray, PairLevels, SceneFrames, reduced
from localblur.alignment.masks.pair_evidence import gather_evidence
from localblur.alignment.masks.settings import BackgroundSettings, MaskSettings
from localblur.common.errors import LocalblurError
from localblur.datasets.masks.mask_shapes import disc, hysteresis, scaled


def prepare_background(frames: SceneFrames, settings: MaskSettings) -> SceneBackground | None:
    """The background of a scene; None if it is too short to have one."""

    def find_movers(pair: PairLevels) -> BoolArray:
        return seen_motion(motion_maps(pair, settings), settings)

    return learn_background(frames, settings.background, find_movers)


def sequence_mask(pair: PairLevels, background: SceneBackground | None, settings: MaskSettings) -> MaskResult:
    """The mask of one pair of a scene whose background was learned; without one, as method `pair`.

    Raises:
        LocalblurError: if too few pixels are usable.
    """
    maps = motion_maps(pair, settings)
    if background is None or background.known.shape != maps.usable.shape:
        return extent(maps, settings)
    return extent(maps, settings, compare(pair, background, settings.background))


def compare(pair: PairLevels, background: SceneBackground, settings: BackgroundSettings) -> Comparison | None:
    """Where either picture of a pair differs from the background, and where both agree with it."""
    height, width = background.known.shape
    usable = (reduced(pair.usable, (width, height)) > 0.99) & background.known
    differs, agrees = np.zeros_like(usable), usable.copy()
    try:
        for picture in (pair.blurred, pair.sharp):
            distance = _distance(reduced(picture, (width, height)), background.picture, usable)
            differs |= hysteresis(distance, settings.differs_low, settings.differs_high)
            agrees &= distance < settings.differs_low
    except LocalblurError:  # the background is hardly known anywhere
        return None
    closed = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, disc(scaled(3.0, width))) > 0
    return Comparison(closed & usable, agrees & ~closed)


def _distance(picture: FloatArray, background: FloatArray, usable: BoolArray) -> FloatArray:
    """Mean squared difference in units of the noise, channels summed, (h, w); 0 where the background is unknown."""
    distance = gather_evidence(picture, background, usable).chi_square()
    distance[~usable] = 0
    return np.asarray(cv2.blur(np.minimum(distance, 200), (3, 3)), np.float32)

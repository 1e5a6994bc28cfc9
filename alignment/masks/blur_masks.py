"""Blur masks: which pixels of a blurred image belong to the extent of a moving object's blur.

Three methods, one interface: `MaskMethod.prepare` looks at a scene once, `MaskMethod.make` then at each of its pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.alignment.masks.background_subtraction import prepare_subtraction, subtraction_mask
from localblur.alignment.masks.extent import MaskResult, extent, motion_maps
from localblur.alignment.masks.input import BoolArray, PairLevels, SceneFrames, pair_levels
from localblur.alignment.masks.sequence import prepare_background, sequence_mask
from localblur.alignment.masks.settings import MaskSettings

__all__ = ["METHODS", "MaskMethod", "MaskResult", "MaskSettings", "pair_mask", "pair_result"]


@dataclass(frozen=True)
class MaskMethod:
    """How masks are made.

    Attributes:
        prepare: what is learned from a whole scene, read one pair at a time; None where nothing is.
        make: the mask of one pair, given what `prepare` returned.
    """

    prepare: Callable[[SceneFrames, MaskSettings], Any]
    make: Callable[[PairLevels, Any, MaskSettings], MaskResult]


def pair_result(
    blurred: npt.NDArray[Any],
    sharp: npt.NDArray[Any],
    settings: MaskSettings | None = None,
    valid: BoolArray | None = None,
) -> MaskResult:
    """Soft mask of the blur's extent from one aligned pair, and how far it can be trusted.

    Args:
        blurred, sharp: (H, W, 3), sRGB-coded: uint8, uint16, or float in [0, 1]; aligned to about half a pixel.
        settings: defaults when None; their method is not looked at.
        valid: (H, W) bool; the mask is 0 outside it.

    Raises:
        LocalblurError: if shapes or types disagree, values are NaN, or too few pixels are usable.
    """
    return _from_pair(pair_levels(blurred, sharp, valid), None, settings or MaskSettings())


def pair_mask(
    blurred: npt.NDArray[Any],
    sharp: npt.NDArray[Any],
    settings: MaskSettings | None = None,
    valid: BoolArray | None = None,
) -> npt.NDArray[np.uint8]:
    """The mask of `pair_result`, uint8 (H, W): exactly the blurred pixels have 128 and above."""
    return pair_result(blurred, sharp, settings, valid).mask


def _from_pair(pair: PairLevels, _scene: None, settings: MaskSettings) -> MaskResult:
    return extent(motion_maps(pair, settings), settings)


def _nothing(_frames: SceneFrames, _settings: MaskSettings) -> None:
    return None


METHODS: dict[str, MaskMethod] = {
    "mog2": MaskMethod(prepare_subtraction, subtraction_mask),
    "pair": MaskMethod(_nothing, _from_pair),
    "sequence": MaskMethod(prepare_background, sequence_mask),
}
"""Mask methods by their name in `MaskSettings.method`. A new method is one module, one line here, one test."""

"""The picture a preview shows: both frames side by side, what is saturated in red, and the numbers to set a rig by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.measuring.raw_pictures import RawFrame, cells, thinned
from localblur.datasets.recording import ROLES, CameraRecord, Role
from localblur.datasets.recordings.journal import SATURATED_SHARE
from localblur.datasets.recordings.sharpness import focus_measure

FRAME_WIDTH_PX = 612
"""About the width of each camera's picture."""
FOCUS_SIDE_PX = 512
STRIP_PX = 28
_GAMMA = 2.2
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
_DARK_SHARE = 0.01

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Glimpse:
    """What is kept of a frame for the preview.

    Attributes:
        small: every n-th Bayer cell. middle: the middle at full resolution, to measure focus on.
    """

    small: RawFrame
    middle: RawFrame

    @classmethod
    def of(cls, raw: RawFrame) -> "Glimpse":
        """Copy what is needed; takes half a millisecond for 5 megapixels."""
        height, width = raw.shape[:2]
        # even, so that the middle has the pattern of the whole
        top, left = (max(0, (side - FOCUS_SIDE_PX) // 4 * 2) for side in (height, width))
        middle = raw[top : top + FOCUS_SIDE_PX, left : left + FOCUS_SIDE_PX].copy()
        return cls(thinned(raw, max(1, round(width / (2 * FRAME_WIDTH_PX)))), middle)


@dataclass(frozen=True)
class View:
    """A frame as it is shown.

    Attributes:
        picture: uint8 RGB (H, W, 3).
        light: mean share of full scale. saturated: share of cells with a saturated site.
        focus: focus measure of the middle.
    """

    picture: Picture
    light: float
    saturated: float
    focus: float

    @classmethod
    def of(cls, glimpse: Glimpse, camera: CameraRecord) -> "View":
        """Brightness by a plain gamma curve: no white balance and no stretching hide what the camera gets."""
        light = (cells(glimpse.small, camera.bayer) - np.float32(camera.black_level)) / np.float32(
            camera.white_level - camera.black_level
        )
        clipped = _clipped(glimpse.small, camera)
        coded = np.rint(255 * np.clip(light, 0, 1) ** np.float32(1 / _GAMMA)).astype(np.uint8)
        coded[clipped] = (255, 0, 0)
        focus = focus_measure(glimpse.middle, camera.black_level)
        return cls(coded, float(light.mean()), float(clipped.mean()), focus)


def compose(views: Mapping[Role, View], cameras: Mapping[Role, CameraRecord], best_focus: float) -> Picture:
    """Both views side by side over a strip with their numbers.

    Args:
        views: of B and S. cameras: their records.
        best_focus: largest focus measure of S so far.

    Returns:
        uint8 RGB (H + 28, W_B + W_S, 3).
    """
    height = max(view.picture.shape[0] for view in views.values())
    texts = {role: _numbers(views[role], cameras[role]) for role in ROLES}
    texts["S"] += f"  focus {_focus_text(views['S'].focus, best_focus)}  B/S {_level_text(views)}"
    room = min((views[role].picture.shape[1] - 8) / _text_size(texts[role], 1.0)[0] for role in ROLES)
    parts = []
    for role in ROLES:
        picture = views[role].picture
        part = np.zeros((height + STRIP_PX, picture.shape[1], 3), np.uint8)
        part[: picture.shape[0]] = picture
        part[:, -1] = 0  # a line between the two
        _write(texts[role], part[height:], min(_FONT_SCALE, room))
        parts.append(part)
    return np.concatenate(parts, 1)


def _numbers(view: View, camera: CameraRecord) -> str:
    return f"{camera.role}  {camera.exposure_ms:g} ms  mean {100 * view.light:.0f} %  sat {100 * view.saturated:.1f} %"


def _clipped(small: RawFrame, camera: CameraRecord) -> npt.NDArray[np.bool_]:
    """Cells, of RGB frames 2 x 2 pixels, with anything saturated."""
    high = small >= SATURATED_SHARE * camera.white_level
    high = np.asarray(high if high.ndim == 2 else high.any(2))
    rows, columns = high.shape[0] // 2, high.shape[1] // 2
    return np.asarray(high[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).any((1, 3)))


def _focus_text(focus: float, best: float) -> str:
    return f"{focus:.1f} ({100 * focus / best:.0f} %)" if best > 0 else "-"


def _level_text(views: Mapping[Role, View]) -> str:
    lights = [views[role].light for role in ROLES]
    return f"{math.log2(lights[0] / lights[1]):+.2f} stops" if min(lights) >= _DARK_SHARE else "-"


def _text_size(text: str, scale: float) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    return width, height


def _write(text: str, strip: Picture, scale: float) -> None:
    origin = (4, (STRIP_PX + _text_size(text, scale)[1]) // 2)
    cv2.putText(strip, text, origin, _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)

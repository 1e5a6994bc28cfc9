"""Strips that show blurred, restored and sharp side by side with their numbers, and the place that matters enlarged."""

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch

from localblur.datasets.images import from_unit, to_array
from localblur.training.evaluation.scoring import EvaluationPair, Score

Picture = npt.NDArray[np.uint8]

PANEL_PX = 480
"""Width of one picture in a strip."""
DETAIL_PX = 160
"""Side of the enlarged square, in pixels of the original."""
_CAPTION_PX = 26
_QUALITY = 90
_LONGEST_LABEL = 12
_GAP_PX = 6
_FRAME = (255, 200, 0)


def make_strip(
    pair: EvaluationPair, restored: torch.Tensor, before: Score, after: Score, label: str = "restored"
) -> Picture:
    """Blurred, restored and sharp, captioned with their numbers; below, the most blurred square enlarged.

    Returns:
        uint8 RGB, shape (H, W, 3).
    """
    pictures = [from_unit(to_array(image), 8) for image in (pair.blurred, restored, pair.sharp)]
    captions = [f"blurred  {numbers(before)}", f"{_shortened(label)}  {numbers(after)}", "sharp"]
    y, x, size = detail_square(pair)
    columns = []
    for picture, caption in zip(pictures, captions, strict=True):
        overview = _fit(picture)
        scale = overview.shape[1] / picture.shape[1]
        corners = [(round(x * scale), round(y * scale)), (round((x + size) * scale), round((y + size) * scale))]
        cv2.rectangle(overview, corners[0], corners[1], _FRAME, 1)
        detail = cv2.resize(picture[y : y + size, x : x + size], (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
        columns.append(np.concatenate([_caption(caption), overview, detail], axis=0))
    gap = np.full((columns[0].shape[0], _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([columns[0], gap, columns[1], gap, columns[2]], axis=1)


def numbers(score: Score) -> str:
    """The numbers of a score that exist, in few words."""
    parts = [f"PSNR {score.value('psnr'):.2f}", f"SSIM {score.value('ssim'):.3f}"]
    if math.isfinite(score.value("weighted_psnr")):
        parts.append(f"weighted {score.value('weighted_psnr'):.2f}")
    return "  ".join(parts)


def as_jpeg(picture: Picture) -> bytes:
    """A strip small enough to be part of a page."""
    _, content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return content.tobytes()


def detail_square(pair: EvaluationPair) -> tuple[int, int, int]:
    """(y, x, size) of the square with most blurred pixels; without a mask, with the largest difference to sharp."""
    difference = (pair.blurred - pair.sharp).abs().mean(dim=1, keepdim=True)
    weight = difference if pair.mask is None or not bool(pair.mask.any()) else pair.mask
    size = min(DETAIL_PX, *weight.shape[-2:])
    sums = torch.nn.functional.avg_pool2d(weight, size, stride=max(1, size // 8))
    row, column = divmod(int(sums.argmax()), sums.shape[-1])
    return row * max(1, size // 8), column * max(1, size // 8), size


def _shortened(label: str) -> str:
    """OpenCV's letters are ASCII, and a caption has little room."""
    plain = label.encode("ascii", "replace").decode("ascii")
    return plain if len(plain) <= _LONGEST_LABEL else f"{plain[: _LONGEST_LABEL - 2]}.."


def _fit(picture: npt.NDArray[np.uint8]) -> Picture:
    height = max(1, round(picture.shape[0] * PANEL_PX / picture.shape[1]))
    shrinking = picture.shape[1] > PANEL_PX
    fitted = cv2.resize(picture, (PANEL_PX, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_NEAREST)
    return np.ascontiguousarray(fitted, np.uint8)


def _caption(text: str) -> Picture:
    bar = np.full((_CAPTION_PX, PANEL_PX, 3), 255, np.uint8)
    cv2.putText(bar, text, (4, _CAPTION_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return bar

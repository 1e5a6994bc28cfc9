"""Finding objects in pictures: YOLO networks from ONNX files, and OpenCV's people detector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import to_unit

Picture = npt.NDArray[np.uint8]
Layout = Literal["auto", "v5", "v8", "end-to-end"]
LAYOUTS: tuple[Layout, ...] = ("auto", "v5", "v8", "end-to-end")
PEOPLE = "people"
"""The name of OpenCV's detector."""

CONFIDENCE = 0.25
OVERLAP = 0.45
"""Of boxes of one class that overlap more (IoU) only the most confident is kept."""
_SCORE_SLACK = 0.01
"""Rounding, of 8 bit networks too, may take a score so far out of [0, 1]."""
_END_TO_END_COLUMNS = 6
_GREY = 114
_PEOPLE_STRIDE_PX, _PEOPLE_SCALE, _PEOPLE_PX = 8, 1.05, (64, 128)


@dataclass(frozen=True, kw_only=True)
class Detections:
    """What was found in a picture.

    Attributes:
        boxes: (N, 4) float32, x0, y0, x1, y1 in px of the picture.
        scores: (N,) float32, falling.
        classes: (N,) int64.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


class Detector(Protocol):
    """Something that finds objects in (H, W, 3) uint8 RGB pictures."""

    def detect(self, picture: Picture) -> Detections:
        """All objects, the most confident first."""
        ...


def open_detector(name: str, *, layout: Layout = "auto", size_px: int = 640) -> Detector:
    """`people`, or an ONNX file with YOLO's output.

    Raises:
        LocalblurError: if the file is missing or OpenCV cannot read it.
    """
    return PeopleDetector() if name == PEOPLE else YoloDetector(Path(name), layout, size_px)


class PeopleDetector:
    """OpenCV's built-in detector of standing people, at least 64 x 128 px large.

    Reference: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
    """

    def __init__(self) -> None:
        self._detector = cv2.HOGDescriptor()
        self._detector.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def detect(self, picture: Picture) -> Detections:
        """See `Detector`.

        Raises:
            LocalblurError: if the picture is smaller than a person must be.
        """
        height, width = picture.shape[:2]
        if width < _PEOPLE_PX[0] or height < _PEOPLE_PX[1]:
            raise LocalblurError(
                f"the people detector needs pictures of at least {_PEOPLE_PX[0]}x{_PEOPLE_PX[1]} px,"
                f" got {width}x{height}"
            )
        # found anew in every size, and in no order: grouping is done by `_kept`, which does not depend on it
        found, scores = self._detector.detectMultiScale(
            picture,
            winStride=(_PEOPLE_STRIDE_PX, _PEOPLE_STRIDE_PX),
            padding=(_PEOPLE_STRIDE_PX, _PEOPLE_STRIDE_PX),
            scale=_PEOPLE_SCALE,
            groupThreshold=0,
        )
        boxes = np.asarray(found, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        confidence = np.asarray(scores, np.float32).reshape(-1)
        return _kept(boxes, confidence, np.zeros(len(boxes), np.int64), threshold=CONFIDENCE)


class YoloDetector:
    """A network with YOLO's output, run by OpenCV.

    Args:
        path: ONNX file; it takes (1, 3, size, size) RGB in [0, 1].
        layout: of the output. `v8`: (1, 4 + classes, N), centre, size, class scores. `v5`: (1, N, 5 + classes), with
            an objectness before the class scores. `end-to-end`: (1, N, 6), corners, score, class. `auto` takes `v8`
            where there are fewer rows than columns, else `v5`, and refuses six columns, which `end-to-end` has too.
        size_px: side of the square the network takes.

    Raises:
        LocalblurError: if the file is missing or OpenCV cannot read it.
    """

    def __init__(self, path: Path, layout: Layout = "auto", size_px: int = 640) -> None:
        if not path.is_file():
            raise LocalblurError(f"no detector at {path}; give an ONNX file, or {PEOPLE} for OpenCV's own")
        self._path, self._layout, self._size_px = path, layout, size_px
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise LocalblurError(f"OpenCV cannot read the detector {path}: it is damaged or no ONNX file") from error

    def detect(self, picture: Picture) -> Detections:
        """See `Detector`.

        Raises:
            LocalblurError: if the network does not take the size, or its output has another layout.
        """
        size = self._size_px
        scale = size / max(picture.shape[:2])
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        square = np.full((size, size, 3), _GREY, np.uint8)
        top, left = (size - height) // 2, (size - width) // 2
        square[top : top + height, left : left + width] = cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        output = self._run(to_unit(np.moveaxis(square, 2, 0)[None]))
        boxes, scores, classes = read_output(output, self._layout, str(self._path))
        boxes = (boxes - np.array([left, top, left, top], np.float32)) / np.float32(scale)
        limits = np.array([picture.shape[1], picture.shape[0]] * 2, np.float32)
        return _kept(np.clip(boxes, 0, limits), scores, classes, threshold=CONFIDENCE)

    def _run(self, blob: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self._network.setInput(np.ascontiguousarray(blob))
        try:
            return np.asarray(self._network.forward(), np.float32)
        except cv2.error as error:
            raise LocalblurError(
                f"the detector {self._path} does not run on {self._size_px}x{self._size_px} px; give the size it was"
                " exported for with --detector-size"
            ) from error


def read_output(
    output: npt.NDArray[np.float32], layout: Layout, origin: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Corners (N, 4), scores (N,) and classes (N,) from YOLO's output; see `YoloDetector` for the layouts.

    Raises:
        LocalblurError: if the output has another shape or is not finite, if `auto` cannot tell its layout, or if a
            score lies outside [0, 1], as in a wrong layout.
    """
    if output.ndim != 3 or output.shape[0] != 1 or not np.isfinite(output).all():
        raise LocalblurError(
            f"{origin} returned {output.shape}, not YOLO's finite (1, 4 + classes, N) or (1, N, 5 + classes)"
        )
    if layout == "auto":
        if output.shape[2] == _END_TO_END_COLUMNS:
            raise LocalblurError(
                f"{origin} returned {output.shape}; say which that is: --detector-layout end-to-end (corners, score,"
                " class), or v5 (with one class)"
            )
        layout = "v8" if output.shape[1] < output.shape[2] else "v5"
    rows = output[0].T if layout == "v8" else output[0]
    least = {"v8": 5, "v5": 6, "end-to-end": _END_TO_END_COLUMNS}[layout]
    if rows.shape[1] < least or (layout == "end-to-end" and rows.shape[1] != least):
        raise LocalblurError(
            f"{origin} returned {output.shape}, which layout {layout} cannot be; choose another --detector-layout"
        )
    boxes, scores, classes = _columns(rows, layout)
    if len(scores) and not (scores.min() >= -_SCORE_SLACK and scores.max() <= 1 + _SCORE_SLACK):
        raise LocalblurError(
            f"{origin} returned scores of {scores.min():.3g} to {scores.max():.3g} in layout {layout}, they must lie in"
            " [0, 1]; choose another --detector-layout"
        )
    return boxes, scores, classes


def _columns(
    rows: npt.NDArray[np.float32], layout: Layout
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    if layout == "end-to-end":
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
    chances = rows[:, 4:] if layout == "v8" else rows[:, 5:] * rows[:, 4:5]
    half = rows[:, 2:4] / 2
    corners = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    return corners, chances.max(axis=1), chances.argmax(axis=1).astype(np.int64)


def _kept(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], threshold: float
) -> Detections:
    """Those above the threshold and not overlapped by a more confident one of their class."""
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
    order = order[scores[order] >= threshold]
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    if len(boxes):
        sized = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        found = cv2.dnn.NMSBoxesBatched(sized.tolist(), scores.tolist(), classes.tolist(), threshold, OVERLAP)
        chosen = sorted(int(index) for index in found)
        boxes, scores, classes = boxes[chosen], scores[chosen], classes[chosen]
    return Detections(boxes=boxes, scores=scores, classes=classes)

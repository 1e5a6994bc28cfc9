"""Detectors and their agreement: refusals, layouts, boxes in the picture's px, matching, rates."""

from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut
from tiny_yolo import SIZE_PX, write_tiny_yolo

from localblur.common.errors import LocalblurError
from localblur.training.evaluation.detection import Detections, PeopleDetector, YoloDetector, open_detector, read_output
from localblur.training.evaluation.detection_agreement import Agreement, agree, box_iou, rates

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_yolo(tmp_path_factory.mktemp("yolo") / "tiny.onnx")


def picture(height: int = SIZE_PX, width: int = SIZE_PX) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def found(*boxes: tuple[float, float, float, float], classes: list[int] | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        classes=np.array(classes or [0] * count, np.int64),
    )


@pytest.mark.parametrize("content", [None, b"", b"not onnx at all"])
def test_missing_and_foreign_files_are_refused(tmp_path, content, capfd):
    path = tmp_path / "x.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalblurError, match="x.onnx"):
        open_detector(str(path))


def test_a_size_the_network_does_not_take_is_refused(tiny, capfd):
    with pytest.raises(LocalblurError, match="--detector-size"):
        YoloDetector(tiny, size_px=96).detect(picture())


@pytest.mark.parametrize("shape", [(1, 10), (2, 6, 16), (1, 4, 16), (1, 16, 5)])
def test_outputs_that_are_none_of_a_yolo_are_refused(shape):
    with pytest.raises(LocalblurError, match="returned"):
        read_output(np.zeros(shape, np.float32), "auto", "x.onnx")
    with pytest.raises(LocalblurError, match="returned"):
        read_output(np.zeros((1, 300, 7), np.float32), "end-to-end", "x.onnx")


def test_a_network_that_returns_nan_is_refused():
    with pytest.raises(LocalblurError, match="finite"):
        read_output(np.full((1, 6, 16), np.nan, np.float32), "auto", "x.onnx")


def test_nothing_in_the_picture_nothing_found(tiny):
    nothing = YoloDetector(tiny, size_px=SIZE_PX).detect(picture())
    assert nothing.boxes.shape == (0, 4)
    assert nothing.scores.shape == nothing.classes.shape == (0,)


@pytest.mark.parametrize("layout", ["v8", "v5"])
def test_both_layouts_find_the_same(tmp_path, layout):
    detector = YoloDetector(write_tiny_yolo(tmp_path / "t.onnx", layout), size_px=SIZE_PX)
    image = picture()
    image[16:32, 32:48] = RED
    image[48:64, 0:16] = (0, 0, 200)
    seen = detector.detect(image)
    np.testing.assert_allclose(seen.boxes, [[32, 16, 48, 32], [0, 48, 16, 64]], atol=1e-4)
    np.testing.assert_allclose(seen.scores, [1, 200 / 255], atol=1e-5)
    assert seen.classes.tolist() == [0, 1]


def test_boxes_are_in_px_of_the_picture_whatever_its_size(tiny):
    image = picture(128, 256)  # four times as wide as the network's 64 px, with bars above and below
    image[64:128, 64:128] = BLUE
    seen = YoloDetector(tiny, size_px=SIZE_PX).detect(image)
    np.testing.assert_allclose(seen.boxes, [[64, 64, 128, 128]], atol=1e-3)
    assert seen.classes.tolist() == [1]


def test_end_to_end_outputs_hold_corners():
    row = np.array([[[10, 20, 30, 50, 0.8, 3]]], np.float32)
    boxes, scores, classes = read_output(row, "end-to-end", "x")
    assert (boxes.tolist(), classes.tolist()) == ([[10, 20, 30, 50]], [3])
    assert scores[0] == np.float32(0.8)


def test_six_columns_are_not_guessed_at():
    rows = np.zeros((1, 300, 6), np.float32)
    with pytest.raises(LocalblurError, match=r"--detector-layout end-to-end.*or v5"):
        read_output(rows, "auto", "x.onnx")
    assert read_output(rows, "v5", "x.onnx")[0].shape == read_output(rows, "end-to-end", "x.onnx")[0].shape == (300, 4)


@pytest.mark.parametrize(("layout", "row"), [("v5", (100, 200, 300, 400, 0.9, 3)), ("end-to-end", (9, 9, 4, 4, -1, 0))])
def test_scores_that_are_no_chances_are_refused(layout, row):
    with pytest.raises(LocalblurError, match=r"scores .*--detector-layout"):
        read_output(np.array([[row]], np.float32), layout, "x.onnx")


def test_the_people_detector_says_the_same_twice_and_refuses_small_pictures():
    detector, image = PeopleDetector(), astronaut()[200:, 200:]
    first, second = detector.detect(image), detector.detect(image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert len(first.boxes) >= 1
    assert (first.boxes[:, 2:] - first.boxes[:, :2] >= (60, 120)).all()
    with pytest.raises(LocalblurError, match="at least 64x128"):
        detector.detect(picture(100, 100))


def test_overlap_of_boxes():
    boxes = np.array([[0, 0, 2, 2], [10, 10, 11, 11]], np.float32)
    np.testing.assert_allclose(box_iou(boxes, np.array([[1, 0, 3, 2]], np.float32)), [[1 / 3], [0]])


def test_each_box_is_matched_once_and_only_by_its_class():
    reference = found((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), classes=[0, 0, 1])
    here = found((0, 1, 10, 11), (0, 0, 10, 10), (40, 0, 50, 10), classes=[0, 0, 0])
    assert agree(here, reference) == Agreement(both=1, only_here=2, only_sharp=2)
    assert agree(reference, reference) == Agreement(both=3, only_here=0, only_sharp=0)
    assert agree(found(), reference) == Agreement(both=0, only_here=0, only_sharp=3)
    assert agree(reference, found()) == Agreement(both=0, only_here=3, only_sharp=0)


def test_the_best_overlap_is_taken_not_the_first():
    reference = found((0, 0, 10, 14), (0, 0, 10, 10))
    assert agree(found((0, 0, 10, 10), (0, 0, 10, 14)), reference).both == 2


def test_rates_are_of_the_summed_counts():
    counts = [Agreement(both=3, only_here=1, only_sharp=0), Agreement(both=0, only_here=0, only_sharp=3)]
    summed = rates(counts, [("d", "a"), ("d", "b")], seed=0)
    assert (summed.precision, summed.recall) == (0.75, 0.5)
    assert summed.f1 == pytest.approx(2 * 0.75 * 0.5 / 1.25)
    assert summed.f1_interval == (0.0, pytest.approx(6 / 7))
    assert rates(counts, [("d", "a")] * 2, seed=0).f1_interval is None


def test_rates_of_nothing_are_unknown():
    empty = rates([Agreement(both=0, only_here=0, only_sharp=0)] * 2, [("d", "a"), ("d", "b")], seed=0)
    assert (empty.precision, empty.recall, empty.f1, empty.f1_interval) == (None, None, None, None)

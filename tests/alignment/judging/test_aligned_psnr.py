"""Aligned PSNR against what the published scripts compute, and against known shifts and gains."""

from typing import Any

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from localblur.alignment.judging.aligned_psnr import aligned_psnr
from localblur.common.errors import LocalblurError


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    rows = np.clip(np.arange(image.shape[0]) - down, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - right, 0, image.shape[1] - 1)
    return image[rows][:, columns]


def smeared(image: np.ndarray, length: int) -> np.ndarray:
    return np.asarray(cv2.blur(image.astype(np.float64), (length, 1), borderType=cv2.BORDER_REPLICATE))


@pytest.fixture(scope="module")
def pictures() -> dict[str, Any]:
    """A sharp picture, and restored ones: blurred in an ellipse, shifted by (1, 2) px, darker and shifted."""
    sharp = astronaut()[40:280, 90:410]
    y, x = np.mgrid[0:240, 0:320]
    inside = (((y - 0.55 * 240) / (0.3 * 240)) ** 2 + ((x - 0.4 * 320) / (0.22 * 320)) ** 2 < 1)[..., None]
    restored = {
        "sharp": sharp,
        "local blur": np.rint(np.where(inside, smeared(sharp, 9), sharp)),
        "shift": moved(sharp, 1, 2),
        "gain and shift": np.rint(np.clip(moved(smeared(sharp, 5), 1, -1) * 0.95 + 3, 0, 255)),
    }
    return {name: (image / 255).astype(np.float32) for name, image in restored.items()}


@pytest.mark.parametrize(
    ("name", "plain", "masked", "frame", "tolerance"),
    [
        ("local blur", 32.9240, 32.9209, 32.9209, 0.1),
        ("shift", 20.5304, 40.6849, 40.7302, 0.5),  # what is left is ECC's sub-pixel error, which varies with OpenCV
        ("gain and shift", 23.0650, 28.1002, 28.1319, 0.1),
    ],
)
def test_the_published_scripts_compute_the_same(
    name: str, plain: float, masked: float, frame: float, tolerance: float, pictures: Any
) -> None:
    """Values of the RealBlur and ReLoBlur evaluation scripts on these pictures, OpenCV 5.0."""
    found = aligned_psnr(pictures[name], pictures["sharp"])
    assert found.converged
    assert found.plain_db == pytest.approx(plain, abs=1e-3)
    assert found.masked_db == pytest.approx(masked, abs=tolerance)
    assert found.frame_db == pytest.approx(frame, abs=tolerance)


@pytest.mark.parametrize(("model", "tolerance_px"), [("homography", 0.05), ("translation", 0.1)])
def test_the_shift_is_said(model: Any, tolerance_px: float, pictures: Any) -> None:
    found = aligned_psnr(pictures["shift"], pictures["sharp"], model)
    assert found.shift_px == pytest.approx(np.hypot(1, 2), abs=tolerance_px)
    assert found.gain == pytest.approx(1, abs=0.02)  # taken before the shift is undone
    assert found.masked_db > found.plain_db + 10
    assert found.frame_db > found.masked_db


@pytest.mark.parametrize("model", ["homography", "translation"])
def test_an_identical_picture_stays_where_it_is(model: Any, pictures: Any) -> None:
    found = aligned_psnr(pictures["sharp"], pictures["sharp"], model)
    assert found.plain_db == float("inf")
    assert found.masked_db > 50
    assert found.shift_px < 0.01


def test_a_gain_is_undone_and_said(pictures: Any) -> None:
    found = aligned_psnr(0.8 * pictures["sharp"], pictures["sharp"])
    assert found.gain == pytest.approx(1.25, rel=1e-4)
    assert found.masked_db > 45
    assert found.plain_db < 25


@pytest.mark.parametrize("model", ["homography", "translation"])
def test_pictures_without_content_do_not_stop_an_evaluation(model: Any) -> None:
    flat = np.full((120, 160, 3), 0.5, np.float32)
    found = aligned_psnr(0.5 * flat, flat, model)
    assert (found.converged, found.shift_px) == (False, 0.0)
    assert found.masked_db > 100
    assert np.isfinite(aligned_psnr(0 * flat, flat, model).masked_db)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(LocalblurError, match="of one size"):
        aligned_psnr(np.zeros((10, 20, 3), np.float32), np.zeros((10, 21, 3), np.float32))
    with pytest.raises(LocalblurError, match="RGB"):
        aligned_psnr(np.zeros((10, 20), np.float32), np.zeros((10, 20), np.float32))

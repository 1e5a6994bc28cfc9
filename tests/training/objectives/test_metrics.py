"""Metrics against the published code, scikit-image and kornia."""

import hashlib
import json
import math
from pathlib import Path

import kornia
import numpy as np
import pytest
import skimage.data
import skimage.metrics
import torch

from localblur.datasets.pair import PairInfo
from localblur.training.evaluation.measures import take_measures
from localblur.training.evaluation.scoring import EvaluationPair
from localblur.training.objectives import metrics

GOLDEN = Path(__file__).parents[1] / "golden"
DECIBEL, SIMILARITY = 1e-3, 1e-4


def box_blur(image, size):
    padded = np.pad(image.astype(np.float64), ((0, 0), (size // 2, size // 2), (0, 0)), "edge")
    return sum(padded[:, i : i + image.shape[1]] for i in range(size)) / size


def moved(image, dy, dx):
    rows = np.clip(np.arange(image.shape[0]) - dy, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - dx, 0, image.shape[1] - 1)
    return image[rows][:, columns]


def to_8_bit(image):
    return np.rint(image).astype(np.uint8)


def batch(image):
    return torch.from_numpy((image / 255).astype(np.float32).transpose(2, 0, 1).copy())[None]


class Case:
    """The inputs of the published code when golden/metrics.npz was made."""

    def __init__(self):
        self.sharp = skimage.data.astronaut()[40:280, 90:410]
        height, width = self.sharp.shape[:2]
        y, x = np.ogrid[:height, :width]
        self.mask = ((y - 0.55 * height) / (0.3 * height)) ** 2 + ((x - 0.4 * width) / (0.22 * width)) ** 2 < 1
        inside = self.mask[..., None]
        self.images = {
            "localblur": to_8_bit(box_blur(self.sharp, 9) * inside + self.sharp * ~inside),
            "shift1_2": moved(self.sharp, 1, 2),
            "gain_shift": to_8_bit(np.clip(moved(box_blur(self.sharp, 5), 1, -1) * 0.95 + 3, 0, 255)),
        }
        self.reference = batch(self.sharp)
        self.weight = torch.from_numpy(self.mask.astype(np.float32))[None, None]

    def prediction(self, name):
        if name != "clamp":
            return batch(self.images[name])
        wave = 0.3 * np.sin(0.7 * np.arange(self.reference.numel())).reshape(self.reference.shape)
        return torch.from_numpy((self.reference.numpy().astype(np.float64) + wave).astype(np.float32))


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "metrics.npz")


def test_the_inputs_are_those_of_the_golden_values(case):
    hashes = json.loads((GOLDEN / "metrics.meta.json").read_text())["sha256_uint8_HWC"]
    for name, image in {**case.images, "gt": case.sharp}.items():
        assert hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() == hashes[name]


@pytest.mark.parametrize("name", ["localblur", "shift1_2", "gain_shift", "clamp"])
def test_metrics_equal_the_published_code(case, golden, name):
    image = metrics.round_to_8_bit(case.prediction(name))
    sharp, weight = case.reference, case.weight
    values = {
        "psnr": (metrics.psnr(image, sharp, data_range=1.0), DECIBEL),
        "ssim": (metrics.ssim(image, sharp, data_range=1.0), SIMILARITY),
        "weighted_psnr": (metrics.weighted_psnr(image, sharp, weight, data_range=1.0), DECIBEL),
        "weighted_ssim": (metrics.weighted_ssim(image, sharp, weight, data_range=1.0), SIMILARITY),
    }
    for metric, (value, tolerance) in values.items():
        assert float(value) == pytest.approx(float(golden[f"{name}_{metric}"]), abs=tolerance)


@pytest.mark.parametrize(("name", "tolerance"), [("localblur", 0.1), ("shift1_2", 0.5), ("gain_shift", 0.1)])
def test_an_evaluation_takes_the_numbers_of_the_published_code(case, golden, name, tolerance):
    """With both ways to align; what ECC leaves of a shift varies with OpenCV."""
    image = case.prediction(name)
    pair = EvaluationPair(info=PairInfo(name=name), blurred=image, sharp=case.reference, mask=case.weight)
    found = take_measures(image, pair, aligned=True)
    limits = {"psnr": DECIBEL, "ssim": SIMILARITY, "weighted_psnr": DECIBEL, "weighted_ssim": SIMILARITY}
    for metric, limit in {**limits, "aligned_psnr": tolerance, "realblur_psnr": tolerance}.items():
        assert found[metric] == pytest.approx(float(golden[f"{name}_{metric}"]), abs=limit)
    excess_db = -10 * math.log10(golden[f"{name}_ecc_valid_fraction"])
    assert found["aligned_psnr"] - found["realblur_psnr"] == pytest.approx(excess_db, abs=0.01)


def test_psnr_and_ssim_equal_scikit_image(case):
    for name, image in case.images.items():
        own_psnr = metrics.psnr(batch(image), case.reference, data_range=1.0)
        own_ssim = metrics.ssim(batch(image), case.reference, data_range=1.0)
        assert float(own_psnr) == pytest.approx(
            skimage.metrics.peak_signal_noise_ratio(case.sharp, image), abs=DECIBEL
        ), name
        expected = skimage.metrics.structural_similarity(
            case.sharp, image, gaussian_weights=True, use_sample_covariance=False, channel_axis=2
        )
        assert float(own_ssim) == pytest.approx(expected, abs=SIMILARITY), name


def test_ssim_equals_kornia_for_every_image_of_a_batch_and_any_range():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(3, 3, 24, 31, generator=generator), torch.rand(3, 3, 24, 31, generator=generator)
    expected = kornia.metrics.ssim(a, b, 11, 1.0, padding="valid").mean(dim=(1, 2, 3))
    torch.testing.assert_close(metrics.ssim(a, b, data_range=1.0).float(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        metrics.ssim(255 * a, 255 * b, data_range=255.0), metrics.ssim(a, b, data_range=1.0), rtol=0, atol=1e-5
    )


def test_a_batch_gives_what_its_images_give_alone():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(3, 3, 16, 16, generator=generator), torch.rand(3, 3, 16, 16, generator=generator)
    weight = (torch.rand(3, 1, 16, 16, generator=generator) > 0.5).float()
    for metric in (metrics.weighted_psnr, metrics.weighted_ssim):
        alone = [metric(a[i : i + 1], b[i : i + 1], weight[i : i + 1], data_range=1.0) for i in range(3)]
        torch.testing.assert_close(metric(a, b, weight, data_range=1.0), torch.cat(alone))


def test_weighted_psnr_sees_only_the_weighted_pixels():
    sharp = torch.full((1, 3, 16, 16), 0.5)
    image, weight = sharp.clone(), torch.zeros(1, 1, 16, 16)
    weight[..., :8] = 1
    image[..., :8] += 0.1
    image[..., 8:] += 0.4
    assert float(metrics.weighted_psnr(image, sharp, weight, data_range=1.0)) == pytest.approx(20.0, abs=1e-4)
    assert float(metrics.psnr(image, sharp, data_range=1.0)) == pytest.approx(
        10 * math.log10(1 / (0.5 * 0.01 + 0.5 * 0.16)), abs=1e-4
    )


def test_an_empty_mask_is_not_a_number_and_is_left_out_of_the_mean():
    a, b = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    weight = torch.zeros(2, 1, 16, 16)
    weight[1] = 1
    for weighted, plain in ((metrics.weighted_psnr, metrics.psnr), (metrics.weighted_ssim, metrics.ssim)):
        values = weighted(a, b, weight, data_range=1.0)
        assert math.isnan(values[0])
        mean = metrics.nan_mean(values)
        assert (mean.value, mean.count) == (pytest.approx(float(plain(a, b, data_range=1.0)[1])), 1)
    nothing = metrics.nan_mean(torch.tensor([float("nan")]))
    assert math.isnan(nothing.value)
    assert nothing.count == 0


def test_overlap_of_gate_and_mask():
    gate, mask = torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 8, 8)
    gate[0, :, :4], mask[0, :, 2:6] = 0.5, 1  # half open counts as open
    gate[1], mask[1] = 0.49, 1
    gate[2] = 1
    found = metrics.gate_iou(gate, mask)
    assert found[:3].tolist() == [pytest.approx(1 / 3), 0, 0]
    assert math.isnan(found[3])
    assert float(metrics.gate_iou(gate, mask, threshold=0.4)[1]) == 1
    with pytest.raises(ValueError, match="gate and mask"):
        metrics.gate_iou(gate, mask[..., 1:])


def test_change_is_seen_only_where_it_is_asked_for():
    before, weight = torch.full((2, 3, 8, 8), 0.5), torch.zeros(2, 1, 8, 8)
    after = before.clone()
    after[0, :, :4] -= 0.25
    after[0, :, 4:6] += 0.5
    weight[0, :, 4:] = 1
    change = metrics.mean_change(after, before, weight)
    assert float(change[0]) == pytest.approx(0.25)
    assert math.isnan(change[1])


def test_equal_images_are_infinitely_good_and_stay_in_the_mean():
    image = torch.rand(1, 3, 16, 16)
    assert math.isinf(metrics.psnr(image, image, data_range=1.0))
    assert float(metrics.ssim(image, image, data_range=1.0)) == pytest.approx(1.0, abs=1e-6)
    assert metrics.nan_mean(torch.tensor([math.inf, 1.0])) == metrics.Mean(math.inf, 2)


def test_rounding_clamps_and_rounds_half_to_even():
    values = torch.tensor([-0.1, 1.2, 0.5 / 255, 1.5 / 255, 7.4 / 255])
    torch.testing.assert_close(metrics.round_to_8_bit(values) * 255, torch.tensor([0.0, 255, 0, 2, 7]))


def test_shapes_that_do_not_fit_are_refused():
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="one shape"):
        metrics.psnr(image, image[..., 1:], data_range=1.0)
    with pytest.raises(ValueError, match="weight must be"):
        metrics.weighted_psnr(image, image, image, data_range=1.0)
    with pytest.raises(ValueError, match="at least 11"):
        metrics.ssim(image[..., :10], image[..., :10], data_range=1.0)

"""Batches finished on a device hold what the loader would have made by itself."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from localblur.datasets.loading.augmentation import Augmentation
from localblur.datasets.loading.patch_batches import CODED_ATOL, finish_batch
from localblur.datasets.patches import PatchDataset
from localblur.datasets.store import StoreHeader

EVERYTHING = Augmentation(channel_order=True, exposure_stops=1.0)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def smooth(pair):
    """The pair with content that has dark and bright parts of every channel, not alike in any direction."""
    height, width, _ = pair.blurred.shape
    top = np.iinfo(pair.blurred.dtype).max
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = np.stack([x, y**2, (x + y) / 2], axis=2)
    pair.blurred[...], pair.sharp[...] = planes * top, (1 - planes) * top
    return pair


@pytest.fixture
def files(tmp_path, make_pair, make_file):
    """An 8-bit file that is sRGB-coded and a 16-bit one that is linear, each with one pair that has no mask."""

    def make(name, header, dtype):
        pairs = [smooth(make_pair(name=f"{n}", size=(40, 40), dtype=dtype, masked=n > 0)) for n in range(3)]
        return make_file(tmp_path / name, {"train": pairs}, header)

    return {
        "srgb": make("a.h5", StoreHeader(encoding="srgb", bit_depth=8), np.uint8),
        "linear": make("b.h5", StoreHeader(encoding="linear", bit_depth=16), np.uint16),
    }


def both(paths, augment, count=48):
    """The same samples finished by the loader, and stacked to be finished on a device."""
    plain, deferred = (PatchDataset(paths, patch_px=24, augment=augment, deferred=d) for d in (False, True))
    return tuple(default_collate([data[index] for index in range(count)]) for data in (plain, deferred))


@pytest.mark.parametrize("device", DEVICES)
def test_turning_and_channel_order_give_equal_bits(files, device):
    expected, deferred = both([files["srgb"]], Augmentation(channel_order=True))
    assert deferred["blurred"].dtype == torch.uint8
    found = finish_batch(deferred, device)
    assert found.keys() == expected.keys()
    assert len(set(deferred["way"].tolist())) == 8
    for name, values in expected.items():
        assert torch.equal(found[name].cpu(), values), name
    assert 0 < found["has_mask"].sum() < len(found["has_mask"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("names", [["srgb"], ["linear"], ["srgb", "linear"]])
def test_exposure_and_linear_light_agree_with_the_loader(files, device, names):
    expected, deferred = both([files[name] for name in names], EVERYTHING)
    found = finish_batch(deferred, device)
    for name in ("blurred", "sharp"):
        torch.testing.assert_close(found[name].cpu(), expected[name], atol=CODED_ATOL, rtol=0)
        assert (found[name].min(), found[name].max()) >= (0, 0)
        assert found[name].max() <= 1
    assert torch.equal(found["mask"].cpu(), expected["mask"])


def test_a_batch_that_needs_no_light_beside_one_that_does(files):
    """Samples of both files in one batch without exposure: only those of the linear file are coded."""
    expected, deferred = both([files["srgb"], files["linear"]], False)
    found = finish_batch(deferred, "cpu")["blurred"]
    coded = ~deferred["linear"]
    assert 0 < coded.sum() < len(coded)
    assert torch.equal(found[coded], expected["blurred"][coded])
    torch.testing.assert_close(found, expected["blurred"], atol=CODED_ATOL, rtol=0)


def test_noise_has_the_strength_asked_for_and_depends_on_seed_and_index_alone(files):
    noisy = EVERYTHING.model_copy(update={"noise": 0.1, "exposure_stops": 0.0})
    clean = noisy.model_copy(update={"noise": 0.0})
    (_, deferred), (expected, _) = both([files["srgb"]], noisy), both([files["srgb"]], clean)
    found, again = (finish_batch(deferred, "cpu") for _ in range(2))
    assert torch.equal(found["blurred"], again["blurred"])
    assert torch.equal(found["sharp"], expected["sharp"])
    inside = (expected["blurred"] > 0.4) & (expected["blurred"] < 0.6)
    measured = 0
    for row, sigma in enumerate(deferred["noise"].tolist()):
        added = (found["blurred"][row] - expected["blurred"][row])[inside[row]]
        if added.numel() > 200:
            assert float(added.std()) == pytest.approx(sigma, rel=0.25)
            measured += 1
    assert measured > 8


def test_loader_processes_defer_too(files):
    dataset = PatchDataset(list(files.values()), patch_px=24, augment=EVERYTHING, deferred=True)
    here = default_collate([dataset[index] for index in range(6)])
    loader = DataLoader(dataset, batch_size=6, num_workers=1, sampler=range(6), multiprocessing_context="spawn")
    there = next(iter(loader))
    assert all(torch.equal(there[name], here[name]) for name in here)

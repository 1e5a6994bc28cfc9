"""What a setting saves and loses is known without running it, and equals what happens when it is run."""

import time

import numpy as np
import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.training.inference import skip_tuning
from localblur.training.inference.engine import TorchEngine
from localblur.training.inference.restore import restore_pixels
from localblur.training.inference.selective import restore_blurred
from localblur.training.inference.skip_tuning import (
    CONFIRM_THRESHOLDS,
    Example,
    Outcome,
    Trial,
    best_trial,
    confirmations,
    frontier,
    outside_gain,
    settings_grid,
    strictest_trial,
    sweep,
    weighted_psnr,
)
from localblur.training.inference.skipping import SkipSettings
from localblur.training.networks.base import RestorationNetwork, Restored


class Brightens(RestorationNetwork):
    """Adds 0.2 to green where red is high, by a gate that is red's level."""

    size_multiple, gated = 4, True

    def forward(self, image):
        self.check_size(image)
        gate = image[:, :1]
        change = torch.zeros_like(image)
        change[:, 1:2] = 0.2 * (gate > 0.3)
        return Restored([image + change], [gate])


class Gateless(Brightens):
    gated = False

    def forward(self, image):
        return Restored(super().forward(image).images, [])


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(0)
    blurred = rng.integers(0, 100, (640, 760, 3), dtype=np.uint8)
    blurred[..., 0] = 10
    blurred[80:200, 100:220, 0] = 220
    blurred[440:540, 500:650, 0] = 120  # seen less clearly
    mask = blurred[..., 0] > 50
    sharp = blurred.copy()
    sharp[mask, 1] += 50
    return Example(blurred=blurred, sharp=sharp, mask=mask)


def test_without_a_gate_or_a_blurred_pixel_nothing_can_be_measured(example):
    with pytest.raises(LocalblurError, match="no gate"):
        sweep(TorchEngine(Gateless()), [example], [SkipSettings()])
    sharp = Example(blurred=example.blurred, sharp=example.sharp, mask=np.zeros_like(example.mask))
    for examples in ([], [sharp]):
        with pytest.raises(LocalblurError, match="no picture has a blurred pixel"):
            sweep(TorchEngine(Brightens()), examples, [SkipSettings()])


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_what_is_foretold_happens(example, threshold, monkeypatch):
    monkeypatch.setattr(skip_tuning, "find_share", lambda _engine: 0.5)
    engine = TorchEngine(Brightens())
    settings = SkipSettings(reduction=2, threshold=threshold, seed_threshold=threshold, grow_cells=1)
    (trial,) = sweep(engine, [example], [settings])
    dense = restore_pixels(engine, example.blurred).pixels
    found = restore_blurred(engine, example.blurred, settings)
    loss = weighted_psnr(dense, example.sharp, example.mask) - weighted_psnr(found.pixels, example.sharp, example.mask)
    assert trial.mean.loss_db == pytest.approx(loss, abs=1e-3)
    assert trial.mean.kept == pytest.approx((~found.restored)[~example.mask].mean(), abs=1e-6)
    coarse = 320 * 380 / (640 * 760)  # half of the size
    assert trial.mean.work == pytest.approx(found.share + coarse / 2, rel=0.05)
    if threshold == 0.2:
        assert trial.mean.found == 1
        assert trial.mean.loss_db == pytest.approx(0, abs=0.01)
    else:
        assert 0.4 < trial.mean.found < 0.6
        assert trial.mean.loss_db > 10


class Doubts(Brightens):
    """Its finest gate believes little of what was found less clearly."""

    def forward(self, image):
        images, (gate,) = super().forward(image)
        return Restored(images, [gate, torch.where(gate > 0.6, 0.95, 0.4)])


def test_confirming_is_foretold_too(example):
    engine = TorchEngine(Doubts())
    noisy = np.clip(example.sharp.astype(int) + np.random.default_rng(1).integers(-3, 4, example.sharp.shape), 0, 255)
    example = Example(blurred=example.blurred, sharp=noisy.astype(np.uint8), mask=example.mask)
    chosen = SkipSettings(reduction=2, threshold=0.2, seed_threshold=0.21, cell_px=8, grow_cells=3)
    trials = sweep(engine, [example], confirmations(chosen), outside=True)
    assert [trial.settings.confirm_threshold for trial in trials][:3] == [0, 0.3, 0.5]
    assert trials[1].mean == trials[0].mean
    for trial in (trials[0], trials[2]):
        found = restore_blurred(engine, example.blurred, trial.settings).pixels
        dense = restore_pixels(engine, example.blurred).pixels
        before, after = (weighted_psnr(one, example.sharp, example.mask) for one in (dense, found))
        assert trial.mean.loss_db == pytest.approx(before - after, abs=1e-3)
        assert trial.mean.outside_db == pytest.approx(outside_gain(found, example), abs=1e-4)
    assert trials[2].mean.loss_db > trials[0].mean.loss_db + 1
    assert trials[2].mean.kept > trials[0].mean.kept
    assert trials[2].mean.work == trials[0].mean.work
    assert strictest_trial(trials, trials[0].mean.loss_db) is trials[1]
    assert strictest_trial(trials, 99).settings.confirm_threshold == CONFIRM_THRESHOLDS[-1]
    assert strictest_trial(trials, -99) is trials[0]


def test_what_changes_outside_is_measured_and_nothing_is_infinitely_good(example):
    harmed = example.blurred.copy()
    harmed[~example.mask] += 3
    assert outside_gain(example.blurred, example) == 0
    assert outside_gain(harmed, example) == pytest.approx(10 * np.log10(1 / 12 / 9))
    everywhere = Example(blurred=example.blurred, sharp=example.sharp, mask=np.ones_like(example.mask))
    assert outside_gain(harmed, everywhere) == 0


class Sleeper(TorchEngine):
    """Finds in a quarter of the time in which it restores."""

    def find(self, window):
        time.sleep(0.05)
        return window[:, :1]

    def run(self, window):
        time.sleep(0.2)
        return torch.cat([window, window[:, : int(self._module.gated)]], 1)


def test_the_share_of_finding_is_taken_from_the_clock():
    assert 0.2 < skip_tuning.find_share(Sleeper(Brightens())) < 0.35
    assert skip_tuning.find_share(Sleeper(Gateless())) == 1


def test_a_picture_too_small_for_a_coarse_pass_saves_nothing(example):
    part = slice(60, 180), slice(80, 200)
    small = Example(blurred=example.blurred[part], sharp=example.sharp[part], mask=example.mask[part])
    (trial,) = sweep(TorchEngine(Brightens()), [small], [SkipSettings()])
    assert trial.mean.work == 1


def trial(work, loss):
    mean = Outcome(work=work, loss_db=loss, found=1, kept=1)
    return Trial(settings=SkipSettings(), mean=mean, worst_loss_db=loss)


def test_the_least_work_within_the_allowed_loss_is_best():
    trials = [trial(0.1, 0.3), trial(0.2, 0.05), trial(0.3, 0.01), trial(0.4, 0.02)]
    assert best_trial(trials, 0.05) is trials[1]
    assert best_trial(trials, 0.04) is trials[2]
    assert best_trial(trials, 0.001) is trials[2]
    assert frontier(trials) == trials[:3]


def test_seeds_are_always_above_the_threshold():
    grid = settings_grid(thresholds=(0.2, 0.6), seeds=(0.3, 0.7), reductions=(4,), rims=((16, 1),))
    assert [(one.threshold, one.seed_threshold) for one in grid] == [(0.2, 0.3), (0.2, 0.7), (0.6, 0.7)]

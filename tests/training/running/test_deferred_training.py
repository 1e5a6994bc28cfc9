"""A run whose patches are finished on the device, and whose loader processes are chosen under way, is the same run."""

import numpy as np
import pytest
from striped_data import assert_equal_bits, tiny_settings

from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsWriter, StoreHeader
from localblur.training.checkpoint import load_state
from localblur.training.running import measured_batches
from localblur.training.running.data import open_data
from localblur.training.running.loop import STATE_NAME, train
from localblur.training.runtime import Runtime


@pytest.fixture
def path(tmp_path, rng):
    header = StoreHeader(encoding="srgb", bit_depth=8)
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        for number in range(3):
            blurred, sharp = rng.integers(0, 256, (2, 60, 70, 3), dtype=np.uint8)
            mask = rng.integers(0, 256, (60, 70), dtype=np.uint8)
            info = PairInfo(name=f"{number}")
            writer.add(Pair(scene="s", info=info, blurred=blurred, sharp=sharp, mask=mask), "train")
    return writer.path


def test_where_patches_are_finished_and_who_loads_them_changes_no_bit(tmp_path, path, monkeypatch):
    monkeypatch.setattr(measured_batches, "WARM_UP", 0)
    monkeypatch.setattr(measured_batches, "MEASURED", 2)
    chosen, runtime = tiny_settings(steps=4), Runtime("cpu")
    for name, deferred, workers in (("plain", False, 0), ("deferred", True, 0), ("measured", True, None)):
        train(chosen, open_data([path], chosen, deferred=deferred), tmp_path / name, runtime=runtime, workers=workers)
    plain = load_state(tmp_path / "plain" / STATE_NAME)
    for name in ("deferred", "measured"):
        assert_equal_bits(plain, load_state(tmp_path / name / STATE_NAME))

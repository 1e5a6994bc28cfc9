"""One update by itself."""

import pytest
import torch
from striped_data import Stripes, tiny_settings
from torch.utils.data import default_collate

from localblur.training.running.updater import Updater
from localblur.training.runtime import Runtime


@pytest.mark.parametrize("accumulate", [1, 2])
def test_long_gradients_are_shortened_to_the_limit_and_told_as_they_were(accumulate):
    batch = default_collate([Stripes()[number] for number in range(2)])
    lengths, told = [], []
    with Runtime("cpu").isolated_random():
        for limit in (None, 1e-3):
            chosen = tiny_settings(optimizer={"clip_norm": limit}, accumulate=accumulate)
            updater = Updater(chosen, Runtime("cpu"), fresh=True)
            told.append(float(updater.update(batch, 0).values["gradient_norm"]))
            gradients = [value.grad.flatten() for value in updater.module.parameters() if value.grad is not None]
            lengths.append(float(torch.cat(gradients).norm()))
    assert told[0] == told[1] == pytest.approx(lengths[0], rel=1e-4)
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)

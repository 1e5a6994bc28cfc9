"""Averaged weights."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from localblur.training.running.optimization import averaging


def test_the_average_follows_quickly_at_first_and_slowly_later():
    weight = nn.Linear(1, 1, bias=False)
    expected, values = None, [5.0, -3.0, 2.0, 8.0, 1.0]
    averaged = AveragedModel(weight, multi_avg_fn=averaging(0.25))
    for seen, value in enumerate(values):
        with torch.no_grad():
            weight.weight.fill_(value)
        averaged.update_parameters(weight)
        keep = min(0.25, (1 + seen) / (10 + seen))
        expected = value if expected is None else keep * expected + (1 - keep) * value
        assert float(averaged.module.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(weight.weight.detach()) == values[-1]

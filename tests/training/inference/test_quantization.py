"""Residual blocks in bytes are close to those in float32, and refused where they cannot be."""

import math

import pytest
import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.training.inference.engine import TorchEngine, prepare
from localblur.training.inference.quantization import (
    ByteResidualStack,
    Range,
    StackRanges,
    calibration_pictures,
    can_quantize,
    quantize,
)
from localblur.training.networks.mimo_layers import ResidualStack
from localblur.training.networks.table import NETWORKS


def decibel(image, reference):
    return -10 * math.log10(float(((image.clamp(0, 1) - reference.clamp(0, 1)) ** 2).mean()))


def test_a_network_without_residual_stacks_is_refused():
    module = NETWORKS["tiny"]()
    assert not can_quantize(module)
    with pytest.raises(LocalblurError, match="no residual stacks"):
        quantize(module, [])


def test_a_range_becomes_bytes_with_room_to_spare():
    found = Range()
    found.widen(torch.tensor([-1.0, 3.0]))
    scale, zero = found.scale_and_zero()
    assert (0 - zero) * scale == pytest.approx(-1.1, abs=scale)
    assert (255 - zero) * scale == pytest.approx(3.3, abs=scale)
    assert Range().scale_and_zero()[0] > 0


def test_a_stack_in_bytes_follows_the_stack_in_float32():
    torch.manual_seed(0)
    stack = ResidualStack(16, 3).eval()
    image = torch.randn(1, 16, 24, 32)
    ranges = StackRanges(trunk=[Range() for _ in range(4)], hidden=[Range() for _ in range(3)])
    expected = image
    with torch.inference_mode():
        for index, block in enumerate(stack.layers):
            ranges.trunk[index].widen(expected)
            ranges.hidden[index].widen(block.main[0](expected))
            expected = block(expected)
        ranges.trunk[3].widen(expected)
        found = ByteResidualStack(stack, ranges)(image)
    error = float((found - expected).square().mean() / (expected - image).square().mean())
    assert 0 < error < 0.03  # of what the blocks add: -15 dB
    assert found.dtype == image.dtype


def test_a_quantized_network_is_above_50_db_and_the_original_is_untouched(rng):
    torch.manual_seed(0)
    module = prepare(NETWORKS["lbag"]({"width": 16, "num_res": 4, "identity_start": False}), torch.device("cpu"))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    pictures = calibration_pictures()
    fast = quantize(module, pictures[:3])
    assert not any(isinstance(part, ResidualStack) for part in fast.modules())
    image = nn.functional.interpolate(pictures[-1], scale_factor=1.5, mode="bilinear")
    expected = TorchEngine(module).run(image)
    found = TorchEngine(fast, "int8").run(image)
    assert decibel(expected[:, :3], image) < 45  # it does something
    assert decibel(found[:, :3], expected[:, :3]) > 50
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

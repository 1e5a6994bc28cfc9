"""Residual blocks in 8-bit integers, for processors: twice the arithmetic of bfloat16, half its memory traffic.

A weight is stored as a signed byte with one scale per output channel, a feature map as an unsigned byte with one scale
and zero point, from the range it had on calibration pictures (and a tenth more). Only stacks of residual blocks are
replaced: 96 % of LBAG's arithmetic. Heads, gate and the sum with the image stay as they are, so that the error is a
small part of the change the network makes, and none where the gate is closed.

Reference:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_image, to_tensor, to_unit
from localblur.datasets.scenes.photographs import bundled_photographs
from localblur.training.inference.engine import duplicate, evaluating
from localblur.training.networks.base import RestorationNetwork
from localblur.training.networks.mimo_layers import Conv, ResidualBlock, ResidualStack

HEADROOM = 1.1
"""How much further than on the calibration pictures a value may go before it is cut off."""

CALIBRATION_PX = 128
_FULL = 255
_LARGEST_WEIGHT = 127


@dataclass(kw_only=True)
class Range:
    """The smallest and largest value seen."""

    low: float = 0.0
    high: float = 0.0

    def widen(self, values: torch.Tensor) -> None:
        """Take in a tensor."""
        low, high = torch.aminmax(values)
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def scale_and_zero(self) -> tuple[float, int]:
        """The step between two neighbouring bytes, and the byte that means 0."""
        step = max((self.high - self.low) * HEADROOM, 1e-6) / _FULL
        return step, min(_FULL, max(0, round(-self.low * HEADROOM / step)))


@dataclass(kw_only=True)
class StackRanges:
    """Ranges in a stack: before and after each block, and between the two convolutions of each block."""

    trunk: list[Range] = field(default_factory=list)
    hidden: list[Range] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _ByteConv:
    """A 3 x 3 convolution's weights, as oneDNN wants them for inputs of one scale."""

    packed: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor
    bias: torch.Tensor | None
    input_scale: float
    input_zero: int


class ByteResidualStack(nn.Module):
    """A stack of residual blocks that computes in bytes from its input to its output."""

    def __init__(self, stack: ResidualStack, ranges: StackRanges) -> None:
        super().__init__()
        self._trunk = [found.scale_and_zero() for found in ranges.trunk]
        self._hidden = [found.scale_and_zero() for found in ranges.hidden]
        self._blocks: list[tuple[_ByteConv, _ByteConv]] = []
        for index, block in enumerate(stack.layers):
            first, second = (cast(nn.Conv2d, cast(Conv, conv).main[0]) for conv in cast(ResidualBlock, block).main)
            self._blocks.append((_byte_conv(first, self._trunk[index]), _byte_conv(second, self._hidden[index])))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scale, zero = self._trunk[0]
        trunk = (features.float() * (1 / scale)).add_(zero + 0.5).clamp_(0, _FULL).to(torch.uint8)
        trunk = trunk.contiguous(memory_format=torch.channels_last)
        for index, (first, second) in enumerate(self._blocks):
            hidden = _convolve(first, trunk, self._hidden[index])
            trunk = _convolve_and_add(second, hidden, trunk, self._trunk[index], self._trunk[index + 1])
        scale, zero = self._trunk[-1]
        return trunk.to(features.dtype).sub_(zero).mul_(scale)


def can_quantize(module: RestorationNetwork) -> bool:
    """Whether the network has stacks of residual blocks."""
    return any(isinstance(part, ResidualStack) for part in module.modules())


def quantize(module: RestorationNetwork, pictures: Sequence[torch.Tensor]) -> RestorationNetwork:
    """A copy of a network whose residual blocks compute in bytes.

    Args:
        module: on the processor.
        pictures: (1, 3, H, W), sRGB-coded in [0, 1], H and W multiples of the network's; their values give the ranges.

    Raises:
        LocalblurError: if the network is on a GPU or has no residual stacks, or this processor or this version of torch
            has no arithmetic for bytes.
    """
    place = next(module.parameters()).device
    if place.type != "cpu":
        raise LocalblurError(f"--precision int8 is for processors, the network is on {place}; use bf16 or fp16")
    if not can_quantize(module):
        raise LocalblurError(f"{type(module).__name__} has no residual stacks to compute in int8; use bf16 or fp32")
    ranges = _measure(module, pictures)
    result = duplicate(module)
    with torch.inference_mode():
        for name, found in ranges.items():
            stack = cast(ResidualStack, module.get_submodule(name))
            try:
                result.set_submodule(name, ByteResidualStack(stack, found))
            except (RuntimeError, NotImplementedError, AttributeError) as error:
                raise LocalblurError(
                    f"this torch ({torch.__version__}) has no int8 convolutions for this processor; use bf16 or fp32"
                ) from error
    return result


def calibration_pictures() -> list[torch.Tensor]:
    """Photographs that come with the program, small: any model gives the same bytes on any machine."""
    import cv2

    paths = bundled_photographs("train", frame_filling=True)
    side = (CALIBRATION_PX, CALIBRATION_PX)
    small = [cv2.resize(read_image(path), side, interpolation=cv2.INTER_AREA) for path in paths]
    images = (to_tensor(to_unit(picture))[None] for picture in small)
    return [image.contiguous(memory_format=torch.channels_last) for image in images]


def _measure(module: RestorationNetwork, pictures: Sequence[torch.Tensor]) -> dict[str, StackRanges]:
    ranges: dict[str, StackRanges] = {}
    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, ResidualStack):
            count = len(part.layers)
            found = StackRanges(trunk=[Range() for _ in range(count + 1)], hidden=[Range() for _ in range(count)])
            ranges[name] = found
            for index, block in enumerate(part.layers):
                hooks.append(block.register_forward_hook(_trunk_hook(found, index)))
                first = cast(ResidualBlock, block).main[0]
                hooks.append(first.register_forward_hook(_hidden_hook(found, index)))
    try:
        with evaluating(module), torch.inference_mode():
            for picture in pictures:
                module(picture)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


def _trunk_hook(found: StackRanges, index: int) -> Any:
    def look(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        found.trunk[index].widen(inputs[0])
        found.trunk[index + 1].widen(output)

    return look


def _hidden_hook(found: StackRanges, index: int) -> Any:
    def look(_module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        found.hidden[index].widen(output)

    return look


def _byte_conv(conv: nn.Conv2d, source: tuple[float, int]) -> _ByteConv:
    weight = conv.weight.detach().float()
    scales = (weight.abs().amax((1, 2, 3)) / _LARGEST_WEIGHT).clamp_min(1e-12)
    whole = (weight / scales[:, None, None, None]).round().clamp(-_LARGEST_WEIGHT, _LARGEST_WEIGHT).to(torch.int8)
    packed = torch.ops.onednn.qconv_prepack(whole, scales, *source, [1, 1], [1, 1], [1, 1], 1, None)
    return _ByteConv(
        packed=packed,
        scales=scales,
        zeros=torch.zeros(len(scales), dtype=torch.int64),
        bias=None if conv.bias is None else conv.bias.detach().float(),
        input_scale=source[0],
        input_zero=source[1],
    )


def _convolve(conv: _ByteConv, source: torch.Tensor, target: tuple[float, int]) -> torch.Tensor:
    """Convolution and ReLU, bytes to bytes."""
    result: torch.Tensor = torch.ops.onednn.qconv2d_pointwise(
        *(source, conv.input_scale, conv.input_zero, conv.packed, conv.scales, conv.zeros, conv.bias),
        *([1, 1], [1, 1], [1, 1], 1, *target, torch.uint8, "relu", [], ""),
    )
    return result


def _convolve_and_add(
    conv: _ByteConv, source: torch.Tensor, other: torch.Tensor, before: tuple[float, int], after: tuple[float, int]
) -> torch.Tensor:
    """Convolution and sum with the trunk, bytes to bytes; takes the place of `other`."""
    result: torch.Tensor = torch.ops.onednn.qconv2d_pointwise.binary(
        *(source, conv.input_scale, conv.input_zero, conv.packed, conv.scales, conv.zeros, other, conv.bias),
        *([1, 1], [1, 1], [1, 1], 1, *after, torch.uint8, *before, "sum", 1.0, "none", [], ""),
    )
    return result

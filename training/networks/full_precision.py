"""Keeping a few layers in float32 when everything around them runs in a shorter number format."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.amp.autocast_mode import is_autocast_available


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """A context without autocast; the caller passes float32 values in.

    For layers that predict a picture itself instead of what to add to it: bfloat16 has 8 bits of precision, and near
    full scale its steps are 1/256, as coarse as the 8-bit picture.
    """
    if not is_autocast_available(device.type) or not torch.is_autocast_enabled(device.type):
        return nullcontext()  # nothing to undo, and nothing for an exporter to stumble over
    return torch.autocast(device.type, enabled=False)

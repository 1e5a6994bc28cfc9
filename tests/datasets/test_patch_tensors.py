"""The fast way from stored pixels to tensors gives the same bits as the plain one."""

import numpy as np
import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import to_coded, to_tensor
from localblur.datasets.pair import binary_mask
from localblur.datasets.patch_choice import turn
from localblur.datasets.patch_tensors import mask_tensor, picture_tensor


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_equal_the_plain_way_bit_for_bit(rng, dtype, encoding):
    patch = rng.integers(0, np.iinfo(dtype).max + 1, (37, 37, 3)).astype(dtype)
    patch[0, :3] = np.iinfo(dtype).max
    patch[1, :3] = 0
    for way in range(8):
        found = picture_tensor(patch, encoding, way)
        assert found.is_contiguous()
        assert torch.equal(found, to_tensor(turn(to_coded(patch, encoding), way)))


def test_masks_equal_the_plain_way(rng):
    mask = rng.integers(0, 256, (21, 21), dtype=np.uint8)
    mask[0, :2] = 127, 128
    for way in range(8):
        assert torch.equal(mask_tensor(mask, way), to_tensor(turn(binary_mask(mask).astype(np.float32), way)))


def test_views_that_are_not_contiguous_are_taken(rng):
    patch = rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)[:, ::2]
    assert torch.equal(picture_tensor(patch, "srgb", 3), to_tensor(turn(to_coded(patch, "srgb"), 3)))


def test_what_cannot_be_coded_is_named():
    with pytest.raises(LocalblurError, match="encoding must be srgb or linear"):
        picture_tensor(np.zeros((2, 2, 3), np.uint8), "log")

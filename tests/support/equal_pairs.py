"""Comparing pairs bit for bit."""

import numpy as np


def assert_equal_pairs(left, right):
    """Names and pixels of two pairs are the same."""
    assert (left.scene, left.info.name) == (right.scene, right.info.name)
    assert left.blurred.dtype == right.blurred.dtype
    np.testing.assert_array_equal(left.blurred, right.blurred)
    np.testing.assert_array_equal(left.sharp, right.sharp)
    assert (left.mask is None) == (right.mask is None)
    if left.mask is not None:
        np.testing.assert_array_equal(left.mask, right.mask)

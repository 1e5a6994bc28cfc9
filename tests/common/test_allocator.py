"""Freed memory is used again, and handed back when asked."""

import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, psutil, resource
from localblur.common.allocator import hand_back_freed_memory, keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(25_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def held_mib():
    return psutil.Process().memory_info().rss / 2**20
plain = faults()
assert keep_freed_memory()
np.ones(25_000_000).sum()
kept, holding = faults(), held_mib()
hand_back_freed_memory()
print(plain, kept, holding, held_mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_large_arrays_are_paid_for_once_and_can_be_handed_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    plain, kept, holding, left = map(float, done.stdout.split())
    assert kept < 0.2 * plain
    assert left < holding - 150  # of 190 MiB

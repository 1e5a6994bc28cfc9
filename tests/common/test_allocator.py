"""Freed memory is used again, and known to be free."""

import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, psutil, resource
from localblur.common.allocator import freed_bytes, keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(25_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def held_mib():
    return (psutil.Process().memory_info().rss - freed_bytes()) / 2**20
plain, before = faults(), held_mib()
assert keep_freed_memory()
np.ones(25_000_000).sum()
kept, after = faults(), held_mib()
print(plain, kept, before, after)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_large_arrays_are_paid_for_once_and_do_not_count_as_held():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    plain, kept, before, after = map(float, done.stdout.split())
    assert kept < 0.2 * plain
    assert abs(after - before) < 20  # of the 190 MiB of each array

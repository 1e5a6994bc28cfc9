"""How the C library treats freed memory. Large arrays that come and go are otherwise paid for again and again.

glibc hands blocks of more than 32 MiB back to the system at once, and for the next array takes fresh pages, which the
system has to fill with zeros. A network on a processor does that after every layer.
"""

import ctypes
import functools
import platform
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process use freed memory again instead of handing it back; returns whether that is possible (glibc)."""
    library = _glibc()
    if library is None:
        return False
    # no blocks of their own from the system, and none handed back at the end of the heap
    return bool(library.mallopt(_M_MMAP_MAX, 0) and library.mallopt(_M_TRIM_THRESHOLD, _LARGEST))


def freed_bytes() -> int:
    """Memory that this process seems to hold but has freed: it will be used again. 0 where that is not known."""
    library = _glibc()
    return int(library.mallinfo2().fordblks) if library is not None and hasattr(library, "mallinfo2") else 0


class _Statistics(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    if hasattr(library, "mallinfo2"):  # from glibc 2.33 on
        library.mallinfo2.restype = _Statistics
    return library

"""How pictures are compressed in a pairs file, and telling which way a file needs before it is read.

gzip (level 1) is readable everywhere, lzf by h5py only, `none` is fastest and largest. bitshuffle-lz4 reads several
times faster than gzip at the same size (Masui et al., "A compression scheme for radio data in high performance
computing", 2015); its filter is no part of HDF5 and comes with the `fast` extra.
"""

import importlib
from types import MappingProxyType
from typing import Any, Literal

import h5py

from localblur.common.errors import LocalblurError

Compression = Literal["gzip", "lzf", "none", "bitshuffle-lz4"]
COMPRESSIONS: tuple[Compression, ...] = ("gzip", "lzf", "none", "bitshuffle-lz4")

BITSHUFFLE = 32008
"""Number under which the HDF Group has registered bitshuffle."""
LZ4_OPTIONS = (0, 2)
"""Block size of the filter's own choice, then LZ4."""

CHUNK_PX: MappingProxyType[Compression, int] = MappingProxyType(
    {"gzip": 64, "lzf": 64, "none": 128, "bitshuffle-lz4": 96}
)
"""Side of a chunk in pixels. A random 256 px window touches 1.6 times its area in 64 px chunks and 2.2 times in 128 px
ones: what is slow to decode gains by smaller chunks, while fast ways lose more to what HDF5 does for each of them."""

_FILTERS: MappingProxyType[int, str] = MappingProxyType(
    {h5py.h5z.FILTER_DEFLATE: "gzip", h5py.h5z.FILTER_LZF: "lzf", BITSHUFFLE: "bitshuffle-lz4"}
)
_BUILT_IN = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF)


def check_compression(compression: str) -> Compression:
    """`compression`, or a `LocalblurError` if pictures cannot be compressed in this way here."""
    known: dict[str, Compression] = {name: name for name in COMPRESSIONS}
    if compression not in known:
        raise LocalblurError(f"compression must be one of {', '.join(COMPRESSIONS)}, got {compression!r}")
    if compression == "bitshuffle-lz4" and not _available(BITSHUFFLE):
        raise LocalblurError(
            "compression bitshuffle-lz4 needs hdf5plugin: pip install 'localblur[fast]', or choose another one"
        )
    return known[compression]


def filter_options(compression: Compression) -> tuple[str | int | None, int | tuple[int, ...] | None]:
    """`compression` and `compression_opts` for h5py's `create_dataset`."""
    if compression == "gzip":
        return "gzip", 1
    if compression == "bitshuffle-lz4":
        check_compression(compression)
        return BITSHUFFLE, LZ4_OPTIONS
    return (None if compression == "none" else "lzf"), None


def compression_of(dataset: Any) -> Compression:
    """How an open HDF5 dataset is compressed; gzip if it is in a way of others."""
    found = [_FILTERS[number] for number in filter_numbers(dataset) if number in _FILTERS]
    known: dict[str, Compression] = {name: name for name in COMPRESSIONS}
    return known[found[0]] if found else ("gzip" if filter_numbers(dataset) else "none")


def check_readable(dataset: Any) -> None:
    """Raise a `LocalblurError` that says what to install if the filter of an open HDF5 dataset is missing."""
    for number in filter_numbers(dataset):
        if number not in _BUILT_IN and not _available(number):
            name = _FILTERS.get(number, f"HDF5 filter {number}")
            raise LocalblurError(
                f"{dataset.file.filename} is compressed with {name}, which needs hdf5plugin: pip install"
                " 'localblur[fast]', or run `pairs-file repack` where it is installed"
            )


def filter_numbers(dataset: Any) -> list[int]:
    """HDF5's numbers of the filters that the chunks of an open dataset went through."""
    plist = dataset.id.get_create_plist()
    return [int(plist.get_filter(index)[0]) for index in range(plist.get_nfilters())]


def _available(number: int) -> bool:
    if h5py.h5z.filter_avail(number):
        return True
    try:
        importlib.import_module("hdf5plugin")  # importing it registers its filters
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(number))

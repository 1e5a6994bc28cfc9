"""Ways of compressing pictures: what they store, and what is said where a filter is missing."""

import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.storage.check import find_damage
from localblur.datasets.storage.compression import COMPRESSIONS, check_readable, compression_of
from localblur.datasets.store import MasksWriter, PairsFile, PairsWriter

WITHOUT_PLUGIN = "import sys; sys.modules['hdf5plugin'] = None\n"


def run_without_plugin(program, *arguments):
    script = WITHOUT_PLUGIN + textwrap.dedent(program)
    return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)


def test_an_unknown_compression_is_named(tmp_path, header):
    with pytest.raises(LocalblurError, match="compression must be one of gzip, .*got 'zip'"):
        PairsWriter(tmp_path / "a.h5", header, compression="zip")


def test_without_the_plugin_reading_and_writing_say_in_one_line_what_to_install(tmp_path, make_pair, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [make_pair()]}, compression="bitshuffle-lz4")
    command = """
        from localblur.datasets.pairs_file import main
        main(["inspect", sys.argv[1]])
        """
    shown = run_without_plugin(command, path)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert len(shown.stderr.splitlines()) == 1
    assert "a.h5 is compressed with bitshuffle-lz4" in shown.stderr
    assert "pip install 'localblur[fast]'" in shown.stderr
    command = """
        from pathlib import Path
        from localblur.datasets.store import PairsWriter, StoreHeader
        PairsWriter(Path(sys.argv[1]), StoreHeader(encoding="srgb", bit_depth=8), compression="bitshuffle-lz4")
        """
    shown = run_without_plugin(command, tmp_path / "b.h5")
    assert "bitshuffle-lz4 needs hdf5plugin: pip install 'localblur[fast]'" in shown.stderr


def test_files_of_the_other_compressions_need_no_plugin(tmp_path, make_pair, make_file):
    for compression in ("gzip", "lzf", "none"):
        path = make_file(tmp_path / f"{compression}.h5", {"train": [make_pair()]}, compression=compression)
        shown = run_without_plugin(
            "from localblur.datasets.pairs_file import main; main(['verify', sys.argv[1]])", path
        )
        assert (shown.returncode, "1 pairs, intact" in shown.stdout) == (0, True), shown.stderr


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_compression_gives_back_the_same_pairs(tmp_path, make_pair, make_file, header, compression, dtype):
    pair = make_pair(dtype=dtype, size=(150, 131), masked=False)
    header = header.model_copy(update={"bit_depth": 8 * np.dtype(dtype).itemsize})
    path = make_file(tmp_path / "a.h5", {"train": [pair]}, header, compression=compression)
    mask = np.zeros((150, 131), np.uint8)
    mask[20:40] = 200
    with MasksWriter(path, {}) as masks:
        masks.add("s1", "00", mask)
    assert find_damage(path) == []
    with PairsFile(path) as pairs:
        found = pairs.read("s1", 0)
        np.testing.assert_array_equal(found.blurred, pair.blurred)
        np.testing.assert_array_equal(found.sharp, pair.sharp)
        np.testing.assert_array_equal(found.mask, mask)
    with h5py.File(path) as file:
        assert {compression_of(file["scenes/s1"][name]) for name in ("blurred", "mask", "thumbnails")} == {compression}


def test_a_filter_that_nobody_here_knows_is_named_by_its_number(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kinds = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        kinds.set_chunk((4,))
        kinds.set_filter(32599, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((8,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, kinds)
        with pytest.raises(LocalblurError, match="HDF5 filter 32599"):
            check_readable(file["x"])

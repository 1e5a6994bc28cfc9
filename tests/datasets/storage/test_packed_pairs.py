"""What workers pack is, byte for byte, what HDF5 writes into the file itself."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.storage.layout import create_scene, put_pair
from localblur.datasets.storage.packed_pairs import pack_pair, put_packed
from localblur.datasets.storage.parts import read_part, write_part
from localblur.datasets.storage.schema import StoreHeader, encode_row
from localblur.datasets.store import PairsWriter


def stored(dataset, row):
    """Every chunk of a row as it lies in the file, with its filter mask, by its corner."""
    infos = [dataset.id.get_chunk_info(index) for index in range(dataset.id.get_num_chunks())]
    return {
        info.chunk_offset[1:]: dataset.id.read_direct_chunk(info.chunk_offset)
        for info in infos
        if info.chunk_offset[0] == row
    }


def scene_of(file, pair, header, compression):
    file.require_group("scenes")
    return create_scene(file, pair.scene, "train", pair.blurred.shape, header.dtype, compression)


def test_a_folder_without_a_run_is_named(tmp_path, make_pair):
    with pytest.raises(LocalblurError, match=r"cannot read .*header\.json"):
        write_part(tmp_path, make_pair(), "train")
    (tmp_path / "header.json").write_text('{"compression": "gzip"}')
    with pytest.raises(LocalblurError, match=r"header\.json is damaged"):
        write_part(tmp_path, make_pair(), "train")
    assert [path.name for path in tmp_path.iterdir()] == ["header.json"]


def test_a_pair_that_does_not_fit_the_file_leaves_no_part(tmp_path, make_pair, header):
    with PairsWriter(tmp_path / "a.h5", header) as writer:
        with pytest.raises(LocalblurError, match="uint16 but the file stores 8-bit"):
            write_part(writer.parts, make_pair(dtype=np.uint16), "train")
        assert list(writer.parts.glob("*.npz")) == []
        writer.add(make_pair(), "train")


def test_chunks_of_another_picture_are_refused_and_nothing_is_stored(tmp_path, make_pair, header):
    small, large = make_pair(size=(70, 90)), make_pair(size=(200, 90))
    packed = pack_pair(header, large, "train", "gzip")
    short = replace(packed.images["sharp"], content=packed.images["sharp"].content[:-1])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = scene_of(file, small, header, "gzip")
        with pytest.raises(LocalblurError, match="makes no sense: chunks of"):
            put_packed(group, 0, packed, "gzip")
        with pytest.raises(LocalblurError, match="makes no sense: chunks of"):
            put_packed(group, 0, replace(packed, images=packed.images | {"sharp": short}), "gzip")
        assert len(group["blurred"]) == len(group["pairs"]) == 0


@pytest.mark.parametrize("compression", ["gzip", "lzf", "none", "bitshuffle-lz4"])
@pytest.mark.parametrize("depth", [8, 16])
def test_packed_chunks_are_those_that_hdf5_writes(tmp_path, make_pair, compression, depth):
    if compression == "bitshuffle-lz4":
        pytest.importorskip("hdf5plugin")
    header = StoreHeader(encoding="srgb", bit_depth=depth)
    pair = make_pair(size=(130, 150), dtype=header.dtype)
    with PairsWriter(tmp_path / "run.h5", header, compression=compression) as writer:
        packed = read_part(write_part(writer.parts, pair, "train"))
        writer.add(pair, "train")
    with h5py.File(tmp_path / "a.h5", "w") as direct, h5py.File(tmp_path / "b.h5", "w") as through_parts:
        one = scene_of(direct, pair, header, compression)
        other = scene_of(through_parts, pair, header, compression)
        for row in range(2):
            put_pair(one, row, pair, encode_row(pair), header.encoding, compression)
            put_packed(other, row, packed, compression)
        assert set(one) == set(other) == {"blurred", "sharp", "mask", "blur_cells", "thumbnails", "pairs"}
        for name in one:
            np.testing.assert_array_equal(one[name][:], other[name][:])
        direct.flush()
        for name in set(one) - {"pairs"}:
            assert stored(one[name], 1) == stored(other[name], 1)


def test_threads_pack_at_the_same_time(make_pair, header):
    """As the threads of a cluster's worker do."""
    pairs = [make_pair(name=str(number), size=(200, 300)) for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        packed = list(threads.map(lambda pair: pack_pair(header, pair, "train", "gzip"), pairs))
    for pair, found in zip(pairs, packed, strict=True):
        expected = pack_pair(header, pair, "train", "gzip")
        assert found.row.tobytes() == expected.row.tobytes()
        for name, image in expected.images.items():
            np.testing.assert_array_equal(found.images[name].content, image.content)

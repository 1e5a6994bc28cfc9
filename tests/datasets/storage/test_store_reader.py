import json
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import h5py
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.reader import natural_key
from localblur.datasets.store import PairsFile, blur_cells


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    return make_file(tmp_path / "a.h5", {"train": [make_pair(name=f"{n:02}", size=(150, 170)) for n in range(3)]})


def complaint_about(path):
    with pytest.raises(LocalblurError) as caught:
        PairsFile.open(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


# --- files that are not what they should be ---


def test_missing_files_folders_and_foreign_files_are_named(tmp_path):
    assert "does not exist" in complaint_about(tmp_path / "none.h5")
    assert "is a folder" in complaint_about(tmp_path)
    (tmp_path / "text.h5").write_text("not HDF5 at all" * 100)
    assert "not an HDF5 file" in complaint_about(tmp_path / "text.h5")
    (tmp_path / "empty.h5").write_bytes(b"")
    assert "not an HDF5 file" in complaint_about(tmp_path / "empty.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert "not a localblur pairs file; make one with" in complaint_about(tmp_path / "other.h5")


def test_a_path_may_be_text(path):
    with PairsFile.open(str(path)) as pairs:
        assert pairs.path == path
        assert pairs.read(pairs.scenes[0].name, 0).sharp.size


def test_a_newer_schema_says_to_update(path):
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 2
    assert "has schema version 2, this localblur reads up to 1; update localblur" in complaint_about(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_named(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = complaint_about(path)
    assert "truncated" in message or "not an HDF5 file" in message


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("encoding", "rec709"),
        ("bit_depth", 12),
        ("bit_depth", "eight"),
        ("settings", "{"),
        ("settings", "[1]"),
        ("schema_version", "one"),
        ("schema_version", 0),
        ("encoding", None),
        ("settings", None),
        ("mask_settings", "{"),
    ],
)
def test_broken_attributes_are_named(path, attribute, value):
    with h5py.File(path, "r+") as file:
        if value is None:
            del file.attrs[attribute]
        else:
            file.attrs[attribute] = value
    complaint_about(path)


@pytest.mark.parametrize("name", ["blurred", "sharp", "pairs", "thumbnails", "mask", "blur_cells"])
def test_a_missing_dataset_is_damage(path, name):
    with h5py.File(path, "r+") as file:
        del file["scenes/s1"][name]
    assert "damaged or incomplete" in complaint_about(path)


@pytest.mark.parametrize("name", ["blurred", "sharp", "mask", "blur_cells", "thumbnails", "pairs"])
def test_a_dataset_of_another_shape_or_type_is_damage(path, name):
    with h5py.File(path, "r+") as file:
        del file["scenes/s1"][name]
        file["scenes/s1"][name] = np.zeros((3, 150, 10), np.float32)
    assert "damaged or incomplete" in complaint_about(path)


def test_an_unknown_split_is_damage(path):
    with h5py.File(path, "r+") as file:
        file["scenes/s1"].attrs["split"] = "holdout"
    assert "unknown split 'holdout'" in complaint_about(path)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
def test_a_file_that_points_outside_itself_is_refused(tmp_path, path, kind):
    with h5py.File(path, "r+") as file:
        group = file["scenes/s1"]
        data = group["sharp"][:]
        del group["sharp"]
        if kind == "external link":
            group["sharp"] = h5py.ExternalLink("/etc/hostname", "/x")
        elif kind == "soft link":
            group["sharp"] = h5py.SoftLink("/scenes/s1/blurred")
        elif kind == "external storage":
            (tmp_path / "outside.bin").write_bytes(data.tobytes())
            group.create_dataset("sharp", data.shape, "u1", external=[(tmp_path / "outside.bin", 0, data.nbytes)])
        else:
            layout = h5py.VirtualLayout(data.shape, "u1")
            layout[:] = h5py.VirtualSource(path, "/scenes/s1/blurred", data.shape)
            group.create_virtual_dataset("sharp", layout)
    assert "damaged or incomplete" in complaint_about(path)


def test_a_damaged_chunk_is_an_error_when_read_not_before(path):
    with h5py.File(path) as file:
        offset = file["scenes/s1/sharp"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 2000] = bytes(2000)
    path.write_bytes(content)
    with PairsFile.open(path) as pairs, pytest.raises(LocalblurError, match=r"a\.h5 is damaged"):
        [pairs.read("s1", n) for n in range(3)]


def test_a_file_somebody_writes_is_named_as_such(path):
    script = f"import h5py; file = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert "being written by another process" in complaint_about(path)
        process.communicate(b"\n")
    PairsFile.open(path)


def test_unknown_scenes_pairs_and_windows_are_named(path):
    with PairsFile.open(path) as pairs:
        with pytest.raises(LocalblurError, match="no scene 'nowhere'; it has s1"):
            pairs.read("nowhere", 0)
        for index in (-1, 3):
            with pytest.raises(LocalblurError, match="scene s1 has 3 pairs"):
                pairs.read("s1", index)
        for window in ((-1, 0, 5, 5), (0, -1, 5, 5), (146, 0, 5, 5), (0, 166, 5, 5), (0, 0, 0, 5), (0, 0, 5, -1)):
            with pytest.raises(LocalblurError, match="leaves the 170x150 pictures of scene s1"):
                pairs.read_crop("s1", 0, *window)


def test_random_damage_never_ends_in_a_traceback(path, tmp_path):
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    readable = 0
    for number in range(60):
        mutated = bytearray(content)
        for _ in range(rng.integers(1, 30)):
            mutated[rng.integers(len(content) if number % 2 else 4000)] = rng.integers(256)
        victim = tmp_path / "mutated.h5"
        victim.write_bytes(mutated)
        try:
            with PairsFile.open(victim) as pairs:
                for entry in pairs.scenes:
                    pairs.info(entry.name)
                    for index in range(entry.count):
                        pairs.read(entry.name, index)
                        pairs.blur_cells(entry.name, index)
            readable += 1
        except LocalblurError as error:
            assert "\n" not in str(error)
    assert readable < 60


# --- what good files give ---


def test_rows_that_are_not_complete_do_not_exist(path):
    with h5py.File(path, "r+") as file:
        row = file["scenes/s1/pairs"][1]
        row["complete"] = 0
        file["scenes/s1/pairs"][1] = row
    with PairsFile.open(path) as pairs:
        assert pairs.names("s1") == ["00", "02"]
        assert [info.name for info in pairs.info("s1")] == ["00", "02"]
        assert pairs.read("s1", 1).info.name == "02"


def test_unknown_additions_do_not_disturb(path):
    with h5py.File(path, "r+") as file:
        file.attrs["extra"] = 1
        file["scenes/s1/notes"] = "hello"
        file["later"] = np.zeros(3)
    assert PairsFile.open(path).scene("s1").count == 3


def test_pairs_are_in_natural_order_whatever_the_order_of_writing(tmp_path, make_pair, make_file):
    names = ["10", "9", "a2", "a10", "009", "1"]
    path = make_file(tmp_path / "a.h5", {"train": [make_pair(name=name) for name in names]})
    with PairsFile.open(path) as pairs:
        assert pairs.names("s1") == sorted(names, key=natural_key) == ["a2", "a10", "1", "009", "9", "10"]
        for index, name in enumerate(pairs.names("s1")):
            np.testing.assert_array_equal(pairs.read("s1", index).blurred, make_pair(name=name).blurred)


def test_windows_equal_the_same_part_of_the_whole(path):
    with PairsFile.open(path) as pairs:
        whole = pairs.read("s1", 1)
        for y, x, height, width in ((0, 0, 150, 170), (100, 120, 50, 50), (127, 127, 2, 2), (149, 169, 1, 1)):
            window = (slice(y, y + height), slice(x, x + width))
            blurred, sharp, mask = pairs.read_crop("s1", 1, y, x, height, width)
            np.testing.assert_array_equal(blurred, whole.blurred[window])
            np.testing.assert_array_equal(sharp, whole.sharp[window])
            np.testing.assert_array_equal(mask, whole.mask[window])
            np.testing.assert_array_equal(pairs.read_mask("s1", 1, y, x, height, width), whole.mask[window])


def test_what_is_known_without_pixels(tmp_path, make_pair, make_file):
    members = [
        make_pair(name="0", verdict=Verdict.REJECT, valid_box=(1, 2, 60, 80)),
        make_pair(name="1", masked=False),
    ]
    path = make_file(tmp_path / "a.h5", {"test": members})
    with PairsFile.open(path) as pairs:
        assert [pairs.is_rejected("s1", n) for n in range(2)] == [True, False]
        assert [pairs.has_mask("s1", n) for n in range(2)] == [True, False]
        assert [pairs.valid_box("s1", n) for n in range(2)] == [(1, 2, 60, 80), (0, 0, 70, 90)]
        np.testing.assert_array_equal(pairs.blur_cells("s1", 0), blur_cells(members[0].mask))
        assert pairs.blur_cells("s1", 1) is None
        assert pairs.read_mask("s1", 1, 0, 0, 5, 5) is None
        assert pairs.read("s1", 1).mask is None
        assert pairs.read_crop("s1", 1, 0, 0, 5, 5)[2] is None
        assert pairs.thumbnail("s1", 0).shape == (70, 90, 3)
        assert pairs.calibration() == {}
        assert pairs.mask_settings is None


def read_sum(pairs):
    return int(pairs.read("s1", 0).blurred.sum())


def test_an_open_file_can_be_pickled_and_closed_and_read_again(path):
    pairs = PairsFile.open(path)
    expected = read_sum(pairs)
    copy = pickle.loads(pickle.dumps(pairs))  # noqa: S301
    assert read_sum(copy) == expected
    pairs.close()
    pairs.close()
    assert read_sum(pairs) == expected


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_an_open_file_works_in_every_kind_of_worker(path, method):
    if sys.platform == "win32" and method != "spawn":
        pytest.skip("only spawn there")
    pairs = PairsFile.open(path)
    expected = read_sum(pairs)
    script = textwrap.dedent(f"""
        import multiprocessing, pickle, sys
        from pathlib import Path
        from localblur.datasets.store import PairsFile
        pairs = PairsFile.open(Path({str(path)!r}))
        total = int(pairs.read("s1", 0).blurred.sum())
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            with context.Pool(2) as pool:
                sums = [r[0].sum() for r in pool.starmap(pairs.read_crop, [("s1", 0, 0, 0, 150, 170)] * 4)]
            print(sorted({{int(s) for s in sums}} | {{total}}))
    """)
    program = path.with_name("program.py")
    program.write_text(script)
    out = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [expected]


def test_a_worker_pool_of_this_process_reads_too(path):
    pairs = PairsFile.open(path)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        infos = pool.submit(pairs.info, "s1").result()
    assert [info.name for info in infos] == ["00", "01", "02"]

"""Importing pairs that other people made."""

import os
import re
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange import import_run
from localblur.datasets.exchange.importers import find_folder_pairs
from localblur.datasets.images import write_image
from localblur.datasets.import_dataset import main
from localblur.datasets.pairs_file import main as pairs_file
from localblur.datasets.store import PairsFile, PairsWriter


def run(*arguments):
    return CliRunner().invoke(main, ["folder", *(str(argument) for argument in arguments), "--workers", "0"])


def picture(value, size=(24, 32), dtype=np.uint8):
    return np.full((*size, 3), value, dtype)


@pytest.fixture
def flat(tmp_path):
    """Two good pairs as flat files, one with a mask."""
    folder = tmp_path / "flat"
    for name in ("a", "b"):
        write_image(folder / f"{name}_blur.png", picture(10))
        write_image(folder / f"{name}_sharp.png", picture(20))
    mask = np.zeros((24, 32), np.uint8)
    mask[:5] = 200
    write_image(folder / "a_mask.png", mask)
    return folder


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        result = run(folder, "-o", tmp_path / "x.h5")
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_layout_is_a_usage_error(tmp_path):
    assert CliRunner().invoke(main, ["nonsense", str(tmp_path), "-o", "x.h5"]).exit_code == 2


def test_what_cannot_be_used_is_listed_and_the_rest_imported(tmp_path, flat):
    write_image(flat / "lonely_blur.png", picture(1))
    write_image(flat / "bare_mask.png", picture(1)[..., 0])
    (flat / "torn_blur.png").write_bytes((flat / "a_blur.png").read_bytes()[:50])
    write_image(flat / "torn_sharp.png", picture(1))
    write_image(flat / "odd_blur.png", picture(1))
    write_image(flat / "odd_sharp.png", picture(1, (24, 30)))
    write_image(flat / "deep_blur.png", picture(1, dtype=np.uint16))
    write_image(flat / "deep_sharp.png", picture(1, dtype=np.uint16))
    write_image(flat / "b_mask.png", picture(1, (9, 9))[..., 0])
    result = run(flat, "-o", tmp_path / "x.h5")
    assert result.exit_code == 3
    assert "left out 6:" in result.stderr
    for name, reason in [
        ("lonely_blur.png", "no sharp partner"),
        ("bare_mask.png", "no blurred and sharp partner"),
        ("flat/torn", "cannot decode"),
        ("flat/odd", "32x24 but sharp is 30x24"),
        ("flat/deep", "16 bit"),
        ("flat/b", "without its mask"),
    ]:
        assert any(name in line and reason in line for line in result.stderr.splitlines()), name
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.names("flat") == ["a", "b"]


def test_when_nothing_can_be_used_no_file_is_left(tmp_path):
    write_image(tmp_path / "in" / "a_blur.png", picture(1))
    (tmp_path / "in" / "b_blur.png").write_bytes(b"")
    (tmp_path / "in" / "b_sharp.png").write_bytes(b"")
    result = run(tmp_path / "in", "-o", tmp_path / "x.h5")
    assert result.exit_code == 1
    assert "a_blur.png" in result.stderr
    assert list(tmp_path.glob("x.h5*")) == []


def test_16_bit_files_must_say_how_they_code_light(tmp_path):
    for kind in ("blur", "sharp"):
        write_image(tmp_path / "in" / f"a_{kind}.tif", picture(5000, dtype=np.uint16))
    result = run(tmp_path / "in", "-o", tmp_path / "x.h5")
    assert result.exit_code == 1
    assert "--encoding" in result.stderr
    assert run(tmp_path / "in", "-o", tmp_path / "x.h5", "--encoding", "linear").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert (pairs.header.encoding, pairs.header.bit_depth) == ("linear", 16)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_leave_the_folder_are_refused(tmp_path, flat):
    write_image(tmp_path / "secret_blur.png", picture(99))
    (flat / "c_blur.png").symlink_to(tmp_path / "secret_blur.png")
    write_image(flat / "c_sharp.png", picture(1))
    (flat / "more").symlink_to(tmp_path)
    (flat / "d_blur.png").symlink_to(flat / "a_blur.png")  # stays inside: allowed
    write_image(flat / "d_sharp.png", picture(1))
    found = find_folder_pairs(flat)
    assert [pair.name for pair in found.pairs] == ["a", "b", "d"]
    assert any("c_blur.png: a link that leaves the folder" in reason for reason in found.left_out)
    assert any("more: a link to a folder" in reason for reason in found.left_out)


def test_two_pictures_for_one_role_are_told(flat):
    write_image(flat / "a_blurred.png", picture(1))
    found = find_folder_pairs(flat)
    assert [pair.name for pair in found.pairs] == ["a", "b"]
    assert len(found.left_out) == 1


def test_flat_files_become_one_scene_with_masks(tmp_path, flat):
    result = run(flat, "-o", tmp_path / "x.h5", "--licence", "CC0", "--source", "me")
    assert (result.exit_code, result.stderr.count("left out")) == (0, 0)
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert (pairs.header.licence, pairs.header.source, pairs.header.encoding) == ("CC0", "me", "srgb")
        pair = pairs.read("flat", 0)
        assert (int(pair.blurred[0, 0, 0]), int(pair.sharp[0, 0, 0])) == (10, 20)
        assert pair.mask.sum() == 5 * 32 * 200
        assert not pairs.has_mask("flat", 1)


def test_masks_of_zeros_and_ones_are_stretched(tmp_path, flat):
    mask = np.zeros((24, 32), np.uint8)
    mask[:2] = 1
    write_image(flat / "b_mask.png", mask)
    run(flat, "-o", tmp_path / "x.h5")
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert np.unique(pairs.read("flat", 1).mask).tolist() == [0, 255]


@pytest.mark.parametrize("names", [("blur", "sharp"), ("input", "target"), ("Blurred", "GT")])
def test_two_folders_with_equal_names(tmp_path, names):
    for number in range(3):
        for folder in names:
            write_image(tmp_path / "in" / "set" / folder / f"{number}.png", picture(number))
    write_image(tmp_path / "in" / "set" / "blur_gamma" / "0.png", picture(0))
    found = find_folder_pairs(tmp_path / "in")
    assert [pair.label for pair in found.pairs] == ["set/0", "set/1", "set/2"]
    assert found.left_out == []


def test_a_plain_pair_folder_keeps_its_scenes_in_natural_order(tmp_path):
    for scene in ("s10", "s9"):
        for kind in ("blur", "sharp"):
            write_image(tmp_path / "in" / "scenes" / scene / f"00_{kind}.png", picture(3))
            write_image(tmp_path / "in" / "calibration" / "static" / f"00_{kind}.png", picture(3))
    assert [pair.label for pair in find_folder_pairs(tmp_path / "in").pairs] == ["s9/00", "s10/00"]


def test_other_sizes_get_a_scene_of_their_own_in_the_same_split(tmp_path, flat):
    for kind in ("blur", "sharp"):
        write_image(flat / f"c_{kind}.png", picture(1, (40, 50)))
    (tmp_path / "split.txt").write_text("flat val\n")
    assert run(flat, "-o", tmp_path / "x.h5", "--split", tmp_path / "split.txt").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [(scene.name, scene.split, scene.count) for scene in pairs.scenes] == [
            ("flat", "val", 2),
            ("flat_50x40", "val", 1),
        ]


def test_names_that_become_equal_are_not_lost_silently(tmp_path):
    long = "n" * 70
    for tail in ("1", "2"):
        for kind in ("blur", "sharp"):
            write_image(tmp_path / "in" / f"{long}{tail}_{kind}.png", picture(1))
    result = run(tmp_path / "in", "-o", tmp_path / "x.h5")
    assert result.exit_code == 3
    assert "taken by another pair" in result.stderr


def test_a_picture_is_never_replaced(tmp_path, flat):
    picture = next(flat.rglob("*.png"))
    before = picture.read_bytes()
    result = run(flat, "-o", picture, "--overwrite")
    assert result.exit_code == 1
    assert "no pairs file" in result.stderr
    run(flat, "-o", tmp_path / "a.h5")
    copied = CliRunner().invoke(pairs_file, ["subset", str(tmp_path / "a.h5"), "-o", str(picture), "--overwrite"])
    assert copied.exit_code == 1
    assert "no pairs file" in copied.stderr
    assert picture.read_bytes() == before


def test_an_existing_file_is_kept(tmp_path, flat):
    (tmp_path / "x.h5").write_bytes(b"precious")
    assert run(flat, "-o", tmp_path / "x.h5").exit_code == 1
    assert (tmp_path / "x.h5").read_bytes() == b"precious"


def test_a_root_that_is_a_file_is_refused(flat):
    with pytest.raises(LocalblurError, match="not a folder"):
        find_folder_pairs(flat / "a_blur.png")


def test_the_real_pair_is_imported(shared, tmp_path):
    assert run(shared / "data/gopro_pair", "-o", tmp_path / "x.h5").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.read("gopro_pair", 0).blurred.shape == (720, 1280, 3)


def test_an_interrupted_import_is_not_continued_with_another_folder_of_the_same_name(tmp_path, flat, monkeypatch):
    """Nor with the same folder after a picture changed."""
    folders = [tmp_path / day / "pairs" for day in ("dayA", "dayB")]
    for folder in folders:
        shutil.copytree(flat, folder)
    with monkeypatch.context() as patch:
        patch.setattr(PairsWriter, "_finish", PairsWriter._abandon)  # as a kill before the end
        run(folders[0], "-o", tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()
    result = run(folders[1], "-o", tmp_path / "x.h5")
    assert result.exit_code == 1
    assert re.search(r"another inputs .*dayA.*dayB.*--overwrite", result.stderr)
    status = (folders[0] / "a_blur.png").stat()
    os.utime(folders[0] / "a_blur.png", ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert "another inputs" in run(folders[0], "-o", tmp_path / "x.h5").stderr
    os.utime(folders[0] / "a_blur.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(folders[0], "-o", tmp_path / "x.h5").exit_code == 0


def test_workers_import_the_same_as_one_process(tmp_path, flat):
    """Sizes, masks and order included, and what is left out is told in the same order."""
    for number in range(6):
        for kind in ("blur", "sharp"):
            size = (24, 32) if number % 2 else (40, 50)
            write_image(flat / f"n{number}_{kind}.png", picture(number + 1, size))
    for name in ("bad1", "bad2"):
        (flat / f"{name}_blur.png").write_bytes(b"")
        write_image(flat / f"{name}_sharp.png", picture(1))
    told, held = [], []
    for workers in ("0", "2"):
        path = tmp_path / f"{workers}.h5"
        result = CliRunner().invoke(main, ["folder", str(flat), "-o", str(path), "--workers", workers])
        assert result.exit_code == 3, result.output
        told.append(result.stderr.splitlines()[-3:])
        with PairsFile(path) as pairs:
            held.append(
                [
                    (entry.name, entry.split, [pairs.read(entry.name, n).blurred.sum() for n in range(entry.count)])
                    for entry in pairs.scenes
                ]
            )
    assert told[0] == told[1]
    assert held[0] == held[1]
    assert [(name, len(sums)) for name, _, sums in held[0]] == [("flat", 5), ("flat_50x40", 3)]


def test_what_was_imported_before_an_interrupt_is_not_read_again(tmp_path, flat, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(PairsWriter, "_finish", PairsWriter._abandon)
        run(flat, "-o", tmp_path / "x.h5")

    def never(task):
        raise AssertionError(f"{task.files.label} is read again")

    monkeypatch.setattr(import_run, "read_pair", never)
    assert run(flat, "-o", tmp_path / "x.h5").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.names("flat") == ["a", "b"]

"""Comparing two sets of masks."""

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.alignment.mask_dataset import main
from localblur.alignment.masks.compare import MaskSet, compare_masks
from localblur.common.errors import LocalblurError
from localblur.datasets.images import write_image
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsWriter, StoreHeader

SIZE = (32, 48)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def box_mask(left: int, right: int, value: int = 255) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[8:24, left:right] = value
    return mask


@pytest.fixture
def first(tmp_path):
    """Three masks of one scene in this project's own layout."""
    for name, mask in (("00", box_mask(0, 20)), ("01", box_mask(10, 30)), ("02", box_mask(0, 0))):
        write_image(tmp_path / "first" / "s01" / f"{name}.png", mask)
    return tmp_path / "first"


def pairs_file(path, masks, valid_box=None):
    picture = np.zeros((*SIZE, 3), np.uint8)
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for name, mask in masks.items():
            info = PairInfo(name=name, valid_box=valid_box)
            writer.add(Pair(scene="s01", info=info, blurred=picture, sharp=picture, mask=mask), "train")
    return path


@pytest.mark.parametrize("content", ["missing", "empty", "text", "maskless"])
def test_what_holds_no_masks_is_one_line(tmp_path, first, content):
    other = tmp_path / "other"
    if content == "empty":
        other.mkdir()
    elif content == "text":
        other.write_text("no pairs file")
    elif content == "maskless":
        pairs_file(other, {"00": None})
    result = run(first, "--diff", other)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.stderr


def test_options_that_make_masks_do_not_go_with_a_comparison(tmp_path, first):
    assert run(first, "--diff", first, "-o", tmp_path / "out").exit_code == 2
    assert run(first, "--diff", first, "--method", "pair").exit_code == 2
    assert run(first, "-o", tmp_path / "out", "--limit", "0.5").exit_code == 2
    assert run(first, "--diff", first, "--limit", "2").exit_code == 2


def test_sets_without_a_common_pair_are_told_apart(tmp_path, first):
    write_image(tmp_path / "other" / "s02" / "00.png", box_mask(0, 20))
    with pytest.raises(LocalblurError, match=r"s01/00.*s02/00"):
        compare_masks(MaskSet(first), MaskSet(tmp_path / "other"))


def test_agreement_is_intersection_over_union_and_empty_masks_agree(tmp_path, first):
    for name, mask in (("00", box_mask(5, 25)), ("01", box_mask(30, 40)), ("02", box_mask(0, 0))):
        write_image(tmp_path / "other" / "s01" / f"{name}.png", mask)
    compared = compare_masks(MaskSet(first), MaskSet(tmp_path / "other"))
    assert {pair.name: pair.iou for pair in compared.pairs} == {"00": pytest.approx(15 / 25), "01": 0, "02": 1}
    assert compared.worst(1)[0].name == "01"
    assert compared.pairs[0].share == pytest.approx(16 * 20 / (32 * 48))


def test_the_layout_of_published_masks_is_understood(tmp_path, first):
    for name in ("00", "01", "02", "03"):
        write_image(tmp_path / "other" / "masks" / "train" / "s01" / name / f"{name}.png", box_mask(0, 20))
    write_image(tmp_path / "other" / "dataset" / "train" / "s01" / "00" / "00_blur.png", box_mask(0, 20))
    compared = compare_masks(MaskSet(first), MaskSet(tmp_path / "other"))
    assert [pair.name for pair in compared.pairs] == ["00", "01", "02"]
    assert compared.only_second == 1


def test_two_masks_of_one_pair_are_refused(tmp_path):
    for split in ("train", "test"):
        write_image(tmp_path / "m" / split / "s01" / "00.png", box_mask(0, 20))
    with pytest.raises(LocalblurError, match="two masks of s01/00"):
        MaskSet(tmp_path / "m")


@pytest.mark.parametrize(("binary", "iou"), [("half", 0.0), ("nonzero", 1.0)])
def test_masks_of_zeros_and_ones_need_their_named_reading(tmp_path, first, binary, iou):
    write_image(tmp_path / "other" / "s01" / "00.png", box_mask(0, 20, value=1))
    compared = compare_masks(MaskSet(first), MaskSet(tmp_path / "other", binary))
    assert [pair.iou for pair in compared.pairs] == [iou]


def test_masks_of_another_size_are_told_and_miss_the_limit(tmp_path, first):
    for name in ("00", "01"):
        write_image(tmp_path / "other" / "s01" / f"{name}.png", box_mask(0, 20)[: 30 if name == "01" else 32])
    result = run(first, "--diff", tmp_path / "other", "--limit", "0.9")
    assert result.exit_code == 3
    assert "s01/01: the masks are 48x32 and 48x30" in result.stderr
    assert "s01/00: IoU 1.000" in result.stdout


def test_only_the_valid_box_of_a_pairs_file_counts(tmp_path, first):
    path = pairs_file(tmp_path / "x.h5", {"00": box_mask(10, 20)}, valid_box=(0, 10, 32, 48))
    result = run(path, "--diff", first, "--limit", "0.99")
    assert result.exit_code == 0, result.output
    assert "s01/00: IoU 1.000" in result.stdout


@pytest.mark.parametrize(("limit", "code"), [(None, 0), ("0.5", 0), ("0.7", 3)])
def test_the_limit_decides_the_exit_code(tmp_path, first, limit, code):
    for name, mask in (("00", box_mask(5, 25)), ("01", box_mask(10, 30)), ("02", box_mask(0, 0))):
        write_image(tmp_path / "other" / "s01" / f"{name}.png", mask)
    result = run(first, "--diff", tmp_path / "other", *(["--limit", limit] if limit else []))
    assert result.exit_code == code, result.output
    lines = result.stdout.splitlines()
    assert lines[1].split()[:4] == ["s01", "3", "0.867", "0.600"]
    assert lines[lines.index("least agreement:") + 1].startswith("  s01/00: IoU 0.600")

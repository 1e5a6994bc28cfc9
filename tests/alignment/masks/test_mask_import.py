"""Taking over masks that somebody else made."""

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.alignment.mask_dataset import main
from localblur.alignment.masks.set import MaskSet, read_mask_file
from localblur.common.errors import LocalblurError
from localblur.datasets.images import write_image
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader

SIZE = (40, 60)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_pairs(path, rng, masks):
    """Pairs `s/00`, `s/01`, ... with these masks or None."""
    with PairsWriter(path, StoreHeader(encoding="srgb", bit_depth=8)) as writer:
        for index, mask in enumerate(masks):
            pictures = [rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(2)]
            info = PairInfo(name=f"{index:02d}", quality={"gain": 1.5, "mask_confidence": 0.25})
            writer.add(Pair(scene="s", info=info, blurred=pictures[0], sharp=pictures[1], mask=mask), "train")
    return path


def stored(path):
    with PairsFile(path) as pairs:
        return [pairs.read("s", index) for index in range(pairs.scene("s").count)]


@pytest.fixture
def path(tmp_path, rng):
    return write_pairs(tmp_path / "x.h5", rng, [None, None, None])


@pytest.fixture
def mask(rng):
    return rng.integers(0, 256, SIZE, dtype=np.uint8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "pair"], "make no masks"),
        (["-o", "out"], "make no masks"),
        (["--set", "high=3"], "make no masks"),
        (["--diff", "other"], "give one of them"),
        (["--limit", "0.5"], "--limit needs --diff"),
    ],
)
def test_options_that_make_masks_do_not_go_with_it(path, tmp_path, options, message):
    before = path.read_bytes()
    result = run(path, "--from", tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert path.read_bytes() == before


def test_sets_without_a_fitting_mask_are_one_line_and_change_nothing(path, tmp_path, mask):
    before = path.read_bytes()
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "foreign" / "t" / "00.png", mask)
    write_image(tmp_path / "small" / "s" / "00.png", mask[:20])
    for folder, message in (
        ("nowhere", "nowhere"),
        ("empty", "holds no masks"),
        ("foreign", "the file wants s/00, the other set has t/00"),
        ("small", "the mask is 60x20, the pair 60x40; masks are not resampled"),
    ):
        result = run(path, "--from", tmp_path / folder)
        assert (result.exit_code, result.stderr.count("error: ")) == (1, 1), result.output
        assert message in result.stderr
    assert path.read_bytes() == before
    assert not path.with_name("x.h5.masks").exists()


def test_masks_of_the_published_layout_arrive_bit_for_bit_with_where_they_are_from(path, tmp_path, mask):
    tree = tmp_path / "ReLoBlur"
    for name, content in (("00", mask), ("01", 255 - mask)):
        write_image(tree / "masks" / "train" / "s" / name / f"{name}.png", content)
    write_image(tree / "masks" / "train" / "s" / "77" / "77.png", mask)
    write_image(tree / "dataset" / "train" / "s" / "00" / "00_blur.png", mask)
    result = run(path, "--from", tree)
    assert result.exit_code == 3
    assert "2 masks taken over, 1 of that set fit no pair" in result.stdout
    assert "no mask for 1 pairs: s/02" in result.stderr
    pairs = stored(path)
    np.testing.assert_array_equal(pairs[0].mask, mask)
    np.testing.assert_array_equal(pairs[1].mask, 255 - mask)
    assert pairs[2].mask is None
    assert [pair.info.quality for pair in pairs[:2]] == [{"gain": 1.5}] * 2  # a confidence in another mask is none
    with PairsFile(path) as found:
        assert found.mask_settings == {"method": "imported", "from": str(tree), "binary": "half"}
    assert run(path, "--diff", tree, "--limit", "1").exit_code == 0


def test_masks_of_0_and_1_are_refused_until_told_what_they_are(path, tmp_path, mask):
    binary = mask > 100
    write_image(tmp_path / "m" / "s" / "00.png", binary.astype(np.uint8))
    write_image(tmp_path / "m" / "s" / "01.png", np.zeros(SIZE, np.uint8))
    result = run(path, "--from", tmp_path / "m")
    assert result.exit_code == 3
    assert "s/00: the mask is stored as 0 and 1; pass --binary nonzero" in result.stderr
    assert run(path, "--from", tmp_path / "m", "--binary", "nonzero", "--overwrite").exit_code == 3
    np.testing.assert_array_equal(stored(path)[0].mask, np.where(binary, 255, 0))
    assert not stored(path)[1].mask.any()


def test_existing_masks_stay_unless_told_otherwise(tmp_path, rng, mask):
    path = write_pairs(tmp_path / "y.h5", rng, [mask, None])
    for name in ("00", "01"):
        write_image(tmp_path / "m" / "s" / f"{name}.png", 255 - mask)
    assert "1 masks taken over, 1 kept" in run(path, "--from", tmp_path / "m").stdout
    np.testing.assert_array_equal(stored(path)[0].mask, mask)
    again = run(path, "--from", tmp_path / "m")
    assert (again.exit_code, "--overwrite" in again.stderr) == (1, True)
    assert run(path, "--from", tmp_path / "m", "--overwrite").exit_code == 0
    np.testing.assert_array_equal(stored(path)[0].mask, 255 - mask)


def test_corrupt_masks_are_listed_and_the_rest_is_taken(path, tmp_path, mask):
    folder = tmp_path / "m" / "s"
    write_image(folder / "00.png", mask)
    (folder / "01.png").write_bytes(b"\x89PNG torn")
    np.save(folder / "02.npy", {"img_blur": mask, "blur_mask": mask}, allow_pickle=True)
    result = run(path, "--from", tmp_path / "m")
    assert result.exit_code == 3
    assert "left out 2:" in result.stderr
    assert "s/01" in result.stderr
    assert "02.npy holds Python objects" in result.stderr
    assert "['blur_mask']" in result.stderr
    np.testing.assert_array_equal(stored(path)[0].mask, mask)


def test_another_pairs_file_gives_its_masks_and_their_confidence(path, tmp_path, rng, mask):
    other = write_pairs(tmp_path / "other.h5", rng, [mask, None, mask])
    assert run(path, "--from", other).exit_code == 3
    pairs = stored(path)
    np.testing.assert_array_equal(pairs[2].mask, mask)
    assert pairs[2].info.quality == {"gain": 1.5, "mask_confidence": 0.25}
    assert pairs[1].mask is None


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[True, False]]), [[255, 0]]),
        (np.array([[0.0, 0.499, 0.5, 1.0]], np.float32), [[0, 127, 128, 255]]),
        (np.array([[0, 32767, 32768, 65535]], np.uint16), [[0, 127, 128, 255]]),
        (np.array([[[3], [200]]], np.uint8), [[3, 200]]),
    ],
)
def test_plain_arrays_of_every_type_keep_their_half(tmp_path, array, expected):
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s" / "0.npy", array)
    assert MaskSet(tmp_path).read(("s", "0")).tolist() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 4), np.uint8), r"\(H, W\)"),
        (np.zeros((2, 3), np.int64), "int64"),
        (np.array([[0.0, 255.0]]), "outside"),
        (np.array([[0.0, np.nan]]), "outside"),
        (b"", "damaged"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (99999999, 9999999), }", "damaged"),
    ],
)
def test_arrays_that_are_no_masks_are_refused_in_words(tmp_path, content, message):
    path = tmp_path / "0.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(LocalblurError, match=message):
        read_mask_file(path)

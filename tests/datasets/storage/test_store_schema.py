import numpy as np
import pytest
from skimage.transform import resize

from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_encode
from localblur.datasets.storage.schema import (
    NAME_BYTES,
    blur_cells,
    cell_areas,
    check_name,
    decode_quality,
    encode_quality,
    encode_row,
    thumbnail,
)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", " a", "a.", "x" * (NAME_BYTES + 1), "é" * 33, "C:x", "\ud800"],
)
def test_names_that_cannot_be_groups_and_files_are_refused(name):
    with pytest.raises(LocalblurError, match="scene name"):
        check_name("scene", name)


@pytest.mark.parametrize("name", ["s01", "GOPR0372_07_00", "a b", "é" * 32, "場面"])
def test_ordinary_names_are_kept(name):
    assert check_name("scene", name) == name


def test_texts_that_do_not_fit_are_refused_not_cut(make_pair):
    with pytest.raises(LocalblurError, match=r"s1/00: reasons take 1025 bytes, the limit is 1024"):
        encode_row(make_pair(reasons="r" * 1025))
    with pytest.raises(LocalblurError, match="quality measures take"):
        encode_row(make_pair(quality={f"measure_{n}": 0.1 for n in range(200)}))
    with pytest.raises(LocalblurError, match="decided_by"):
        encode_row(make_pair(decided_by="ü" * 33))


def test_quality_measures_come_back_undefined_ones_as_nan():
    quality = {"psnr": 31.25, "Ähnlichkeit": 1e-300, "none": float("nan"), "all": float("inf")}
    back = decode_quality(encode_quality(quality))
    assert list(back) == list(quality)
    assert back["psnr"] == 31.25
    assert back["Ähnlichkeit"] == 1e-300
    assert np.isnan([back["none"], back["all"]]).all()
    assert decode_quality("") == {}


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (1, 1), (70, 90)])
def test_blur_cells_are_the_share_rounded_up(rng, size):
    mask = rng.integers(0, 256, size, dtype=np.uint8)
    cells = blur_cells(mask)
    assert cells.dtype == np.uint8
    assert cells.shape == (-(-size[0] // 16), -(-size[1] // 16))
    for row in range(cells.shape[0]):
        for column in range(cells.shape[1]):
            cell = mask[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            assert cells[row, column] == int(np.ceil(255 * (cell >= 128).sum() / cell.size))


def test_one_blurred_pixel_is_never_lost_and_a_full_cell_is_255():
    mask = np.zeros((32, 40), np.uint8)
    mask[31, 39] = 128
    mask[0, 0] = 127
    np.testing.assert_array_equal(blur_cells(mask), [[0, 0, 0], [0, 0, 2]])
    assert (blur_cells(np.full((32, 40), 255, np.uint8)) == 255).all()
    np.testing.assert_array_equal(cell_areas(32, 40), [[256, 256, 128], [256, 256, 128]])


def test_thumbnails_are_srgb_coded_whatever_the_file_and_never_enlarged():
    gray = np.full((300, 600, 3), 0.2, np.float32)
    linear = np.rint(gray * 65535).astype(np.uint16)
    small = thumbnail(linear, "linear")
    assert small.shape == (128, 256, 3)
    assert (small == round(255 * float(srgb_encode(0.2)))).all()
    assert (thumbnail(linear, "srgb") == 51).all()
    assert thumbnail(linear[:40, :50], "linear").shape == (40, 50, 3)
    assert thumbnail(np.zeros((1, 3000, 3), np.uint8), "srgb").shape == (1, 256, 3)


def test_thumbnails_average_and_do_not_pick(rng):
    picture = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    expected = resize(picture, (256, 256), anti_aliasing=False, order=1, preserve_range=True)  # exact 2x2 means
    assert np.abs(thumbnail(picture, "srgb") - expected).max() <= 0.51

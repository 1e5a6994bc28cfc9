import numpy as np
import pytest
import tifffile
import torch

from localblur.common.errors import LocalblurError
from localblur.datasets.images import (
    as_rgb,
    check_encoding,
    from_unit,
    read_channels,
    read_image,
    read_plane,
    srgb_decode,
    srgb_encode,
    to_array,
    to_coded,
    to_linear,
    to_tensor,
    to_unit,
    write_image,
)

LOSSLESS = [".png", ".tif", ".tiff", ".PNG"]


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_cut_file_is_named(tmp_path, picture, suffix, share):
    path = tmp_path / f"cut{suffix}"
    write_image(path, picture)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(LocalblurError, match=f"cut{suffix}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_file_of_noise_is_named(tmp_path, rng, suffix):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(rng.integers(0, 256, 5000, dtype=np.uint8).tobytes())
    with pytest.raises(LocalblurError, match=f"noise{suffix}"):
        read_image(path)


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    with pytest.raises(LocalblurError, match=r"no image .*none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(LocalblurError, match="no image"):
        read_plane(tmp_path)


def test_damage_is_silent_but_for_the_error(tmp_path, picture, capfd):
    path = tmp_path / "cut.png"
    write_image(path, picture)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(LocalblurError):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_other_depths_and_stacks_of_pictures_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 5), np.float32))
    with pytest.raises(LocalblurError, match="8 or 16 bit.*float32"):
        read_image(tmp_path / "float.tif")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 40, 60), np.uint16), photometric="minisblack")
    with pytest.raises(LocalblurError, match=r"stack\.tif holds a stack"):
        read_image(tmp_path / "stack.tif")


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_files_come_back_bit_for_bit(tmp_path, rng, suffix, dtype):
    colour = rng.integers(0, np.iinfo(dtype).max + 1, (31, 17, 3)).astype(dtype)
    write_image(tmp_path / "sub" / f"a{suffix}", colour)
    back = read_image(tmp_path / "sub" / f"a{suffix}")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, colour)
    gray = colour[..., 1]
    write_image(tmp_path / f"g{suffix}", gray)
    np.testing.assert_array_equal(read_plane(tmp_path / f"g{suffix}"), gray)
    np.testing.assert_array_equal(read_image(tmp_path / f"g{suffix}"), np.repeat(gray[..., None], 3, axis=2))


def test_colours_are_red_green_blue_for_other_readers(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    write_image(tmp_path / "a.tif", red)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), red)
    write_image(tmp_path / "a.jpg", red)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - red).max() < 8


def test_a_tiff_with_separate_planes_is_the_same_picture(tmp_path, picture):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(picture, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), picture)


def test_alpha_is_dropped_and_only_read_channels_shows_it(tmp_path, rng):
    rgba = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), rgba[..., :3])
    np.testing.assert_array_equal(read_channels(tmp_path / "a.tif"), rgba)
    np.testing.assert_array_equal(as_rgb(rgba[..., :2]), np.repeat(rgba[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((4, 4), np.int32),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(tmp_path, image):
    with pytest.raises(LocalblurError, match="need uint8 or uint16"):
        write_image(tmp_path / "a.png", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a"])
def test_an_unknown_suffix_names_the_known_ones(tmp_path, picture, name):
    with pytest.raises(LocalblurError, match=r"\.png"):
        write_image(tmp_path / name, picture)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp"])
def test_sixteen_bits_are_never_cut_to_eight_silently(tmp_path, picture, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, picture)
    before = path.read_bytes()
    with pytest.raises(LocalblurError, match="16-bit images need"):
        write_image(path, picture.astype(np.uint16))
    assert path.read_bytes() == before


def test_srgb_round_trip_and_known_values():
    coded = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(srgb_encode(srgb_decode(coded)), coded, atol=2e-6)
    np.testing.assert_allclose(srgb_decode([0.0, 0.04045, 0.5, 1.0]), [0, 0.0031308, 0.21404114, 1], atol=1e-6)
    assert (np.diff(srgb_encode(np.linspace(0, 0.01, 1000))) > 0).all()
    np.testing.assert_allclose(srgb_encode([-1.0, 2.0]), [0, 1], atol=1e-6)


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_integers_survive_every_round_trip(depth, dtype):
    values = np.arange(2**depth).astype(dtype)
    np.testing.assert_array_equal(from_unit(to_unit(values), depth), values)
    np.testing.assert_array_equal(from_unit(srgb_encode(to_linear(values, "srgb")), depth), values)
    np.testing.assert_array_equal(to_coded(values, "srgb"), to_unit(values))
    np.testing.assert_allclose(to_coded(values, "linear"), srgb_encode(to_unit(values)))
    np.testing.assert_array_equal(to_linear(values, "linear"), to_unit(values))
    assert to_unit(values).dtype == np.float32
    assert to_unit(values)[-1] == 1


def test_conversions_refuse_what_they_cannot_do():
    with pytest.raises(LocalblurError, match="NaN"):
        from_unit([0.0, np.nan], 8)
    with pytest.raises(LocalblurError, match="8 or 16, got 12"):
        from_unit([0.0], 12)
    with pytest.raises(LocalblurError, match="float64"):
        to_unit(np.zeros(3))
    with pytest.raises(LocalblurError, match="'rec709'"):
        check_encoding("rec709")
    np.testing.assert_array_equal(from_unit([-1.0, 2.0], 8), [0, 255])


def test_tensors_are_channels_first_and_come_back(rng):
    image = rng.random((5, 7, 3), dtype=np.float32)
    tensor = to_tensor(image)
    assert tensor.shape == (3, 5, 7)
    assert tensor.is_contiguous()
    assert tensor[2, 4, 1] == image[4, 1, 2]
    np.testing.assert_array_equal(to_array(tensor), image)
    np.testing.assert_array_equal(to_array(tensor[None].to(torch.float64).requires_grad_()), image)
    assert to_tensor(image[..., 0]).shape == (1, 5, 7)
    assert to_tensor(image[::-1, ::-1]).is_contiguous()
    with pytest.raises(LocalblurError, match="batch of 2"):
        to_array(torch.zeros(2, 3, 4, 4))


def write_tiff(path, image, photometric, **tags):
    """A TIFF whose values are called `photometric`, whatever tifffile thinks of it."""
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig" if image.ndim == 3 else None, **tags)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(photometric)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_which_white_is_zero_is_turned_round(tmp_path, rng, dtype):
    gray = rng.integers(0, np.iinfo(dtype).max + 1, (9, 11)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(dtype).max - gray, photometric="miniswhite")
    np.testing.assert_array_equal(read_plane(tmp_path / "a.tif"), gray)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.repeat(gray[..., None], 3, axis=2))


def test_alpha_stays_as_it_is_where_white_is_zero(tmp_path, rng):
    pixels = rng.integers(0, 256, (9, 11, 2), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_channels(tmp_path / "a.tif"), np.dstack([255 - pixels[..., 0], pixels[..., 1]]))


@pytest.mark.parametrize("unit", [1, 256, 257])
def test_a_palette_tiff_shows_its_colours(tmp_path, rng, unit):
    colours = rng.integers(1, 256, (3, 256))
    numbers = rng.integers(0, 256, (9, 11), dtype=np.uint8)
    colormap = (colours * unit).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="palette", colormap=colormap)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.moveaxis(colours[:, numbers], 0, 2))


@pytest.mark.parametrize(
    ("photometric", "channels", "words"),
    [
        (3, 1, "a palette"),
        (5, 4, "CMYK"),
        (6, 3, "YCbCr"),
        (8, 3, "CIELAB"),
        (32803, 1, "raw"),
        (34892, 3, "raw"),
        (77, 1, "77"),
    ],
)
def test_tiffs_of_other_colours_are_refused(tmp_path, rng, photometric, channels, words):
    values = rng.integers(0, 256, (9, 11, channels), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", values[..., 0] if channels == 1 else values, photometric)
    for read in (read_image, read_channels, read_plane):
        with pytest.raises(LocalblurError, match=rf"a\.tif holds .*{words}.*convert it to RGB or gray"):
            read(path)


def test_a_tiff_that_does_not_say_what_it_holds_is_taken_as_it_stands(tmp_path, rng):
    gray = rng.integers(0, 256, (9, 11), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, gray, photometric="minisblack", metadata=None)
    unknown_tag = path.read_bytes().replace(
        (262).to_bytes(2, "little") + b"\3\0", (261).to_bytes(2, "little") + b"\3\0"
    )
    path.write_bytes(unknown_tag)
    with tifffile.TiffFile(path) as file:
        assert "PhotometricInterpretation" not in file.pages[0].tags
    np.testing.assert_array_equal(read_plane(path), gray)

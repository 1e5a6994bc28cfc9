"""Depth, alpha, orientation, EXIF and colour profiles come back as they were."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from localblur.common.errors import LocalblurError
from localblur.datasets.images import read_channels, read_image
from localblur.training.inference.picture_files import read_picture, upright, write_picture
from localblur.training.inference.picture_segments import profile_segments, with_density

EXIF = (
    b"II*\0\x08\0\0\0\x02\0"
    + struct.pack("<HHIHH", 274, 3, 1, 6, 0)
    + struct.pack("<HHI4s", 315, 2, 4, b"Ann\0")
    + b"\0" * 4
)
"""Orientation 6 (turned right) and the artist's name."""


def profile(space: bytes = b"RGB ") -> bytes:
    """A colour profile's header; readers look at its size, its colour space and its signature."""
    head = struct.pack(">I4sI4s4s4s12s4s", 600, b"none", 0x04300000, b"mntr", space, b"XYZ ", b"\0" * 12, b"acsp")
    # libpng takes no profile that is too short when compressed
    return head.ljust(132, b"\0") + np.random.default_rng(0).bytes(468)


def save(path: Path, image: np.ndarray, *metadata: tuple[int, bytes]) -> None:
    ordered = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]
    kinds = np.array([kind for kind, _ in metadata], np.int32)
    blocks = [np.frombuffer(block, np.uint8) for _, block in metadata]
    done, encoded = cv2.imencodeWithMetadata(path.suffix, np.ascontiguousarray(ordered), kinds, blocks)
    assert done
    path.write_bytes(encoded.tobytes())


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0nothing"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_what_is_no_picture_is_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LocalblurError, match=r"cannot decode image .*a\.\w+"):
        read_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_exif_and_profile_are_kept_and_pixels_are_not_turned(tmp_path, rng, suffix):
    image = rng.integers(0, 255, (24, 40, 3), dtype=np.uint8)
    metadata = ((cv2.IMAGE_METADATA_EXIF, EXIF), (cv2.IMAGE_METADATA_ICCP, profile()))
    save(tmp_path / f"a{suffix}", image, *metadata)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.pixels.shape == (24, 40, 3)
    write_picture(tmp_path / f"b{suffix}", picture)
    again = read_picture(tmp_path / f"b{suffix}")
    assert again.metadata == picture.metadata
    assert dict(again.metadata)[cv2.IMAGE_METADATA_ICCP] == profile()
    assert dict(again.metadata)[cv2.IMAGE_METADATA_EXIF].rstrip(b"\0") == EXIF.rstrip(b"\0")
    if suffix != ".jpg":
        np.testing.assert_array_equal(again.pixels, picture.pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_depth_and_channels_are_kept_without_loss(tmp_path, rng, dtype, channels):
    image = rng.integers(0, np.iinfo(dtype).max, (9, 14, channels)).astype(dtype)
    path = tmp_path / "a.png"
    save(path, image[..., 0] if channels == 1 else image)
    picture = read_picture(path)
    assert picture.gray == (channels == 1)
    assert (picture.alpha is not None) == (channels == 4)
    write_picture(tmp_path / "b.png", picture)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    )


def test_a_tiff_keeps_its_tags_its_alpha_and_its_depth(tmp_path, rng):
    image = rng.integers(0, 65535, (12, 20, 4)).astype(np.uint16)
    tags = [(274, 3, 1, 8, True), (315, 2, 4, "Ann", True), (33432, 2, 3, "me", True)]
    tifffile.imwrite(
        tmp_path / "a.tif",
        image,
        photometric="rgb",
        extrasamples=["unassalpha"],
        compression="zlib",
        iccprofile=profile(),
        resolution=(300, 300),
        resolutionunit=2,
        extratags=tags,
        metadata=None,
    )
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray(), image)
        assert [page.tags[code].value for code in (274, 315, 33432)] == [8, "Ann", "me"]
        assert page.tags[34675].value == profile()
        assert page.tags[282].value == (300, 1)
        assert page.compression != 1


def test_a_profile_for_other_colours_is_dropped_and_told(tmp_path, rng):
    save(
        tmp_path / "a.jpg", rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (cv2.IMAGE_METADATA_ICCP, profile(b"CMYK"))
    )
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.metadata == ()
    assert "colour profile" in picture.remarks[0]


def test_formats_that_cannot_hold_a_picture_are_refused(tmp_path, rng):
    save(tmp_path / "deep.png", rng.integers(0, 65535, (8, 8, 3)).astype(np.uint16))
    save(tmp_path / "alpha.png", rng.integers(0, 255, (8, 8, 4)).astype(np.uint8))
    with pytest.raises(LocalblurError, match="16-bit pictures are named"):
        write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "deep.png"))
    with pytest.raises(LocalblurError, match="holds no alpha"):
        write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "alpha.png"))
    with pytest.raises(LocalblurError, match="use one of"):
        write_picture(tmp_path / "b.gif", read_picture(tmp_path / "alpha.png"))
    assert {path.name for path in tmp_path.iterdir()} == {"deep.png", "alpha.png"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_tiff_compressed_by_lzw_is_read_to_the_bit(tmp_path, rng, dtype, channels):
    image = np.squeeze(rng.integers(0, np.iinfo(dtype).max, (21, 33, channels)).astype(dtype))
    ordered = image if channels == 1 else image[..., [2, 1, 0, 3][:channels]]
    assert cv2.imwrite(str(tmp_path / "a.tif"), ordered, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    np.testing.assert_array_equal(read_channels(tmp_path / "a.tif"), image)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.gray == (channels == 1)
    write_picture(tmp_path / "b.tif", picture)
    np.testing.assert_array_equal(read_channels(tmp_path / "b.tif"), image)


def test_a_tiff_compressed_as_jpeg_is_read(tmp_path, rng):
    image = cv2.GaussianBlur(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), (0, 0), 3)
    stream = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    # the shape and 8 bits, JPEG, YCbCr, one strip of three samples, colours halved both ways
    short = {256: 64, 257: 48, 258: 8, 259: 7, 262: 6, 273: 200, 277: 3, 278: 48, 279: len(stream), 530: 0x20002}
    entries = b"".join(
        struct.pack("<HHII", code, 3, 2, value) if code == 530 else struct.pack("<HHII", code, 4, 1, value)
        for code, value in short.items()
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(short)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(head.ljust(200, b"\0") + stream)
    assert np.abs(read_picture(tmp_path / "a.tif").pixels.astype(int) - image).mean() < 3


def test_a_damaged_compressed_tiff_is_one_line(tmp_path, rng):
    cv2.imwrite(str(tmp_path / "a.tif"), rng.integers(0, 255, (64, 64, 3)), [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    whole = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages[0].dataoffsets[0]
    (tmp_path / "a.tif").write_bytes(whole[:place] + bytes(200) + whole[place + 200 :])
    with pytest.raises(LocalblurError, match=r"a\.tif"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
def test_one_bit_is_black_and_white(tmp_path, rng, white):
    bits = rng.random((20, 24)) > 0.5
    tifffile.imwrite(tmp_path / "a.tif", bits, photometric=white)
    expected = np.where(bits == (white == "minisblack"), 255, 0)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels[..., 0], expected)


def test_further_pictures_of_a_tiff_are_told_and_thumbnails_are_not(tmp_path, rng):
    image = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
    for name, kind in (("pages.tif", 0), ("thumbnail.tif", 1)):
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(image, photometric="rgb")
            file.write(image[::2, ::2], photometric="rgb", subfiletype=kind)
    (remark,) = read_picture(tmp_path / "pages.tif").remarks
    assert "holds 2 pictures, only the first" in remark
    assert read_picture(tmp_path / "thumbnail.tif").remarks == ()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_resolution_gamma_and_texts_of_a_png_are_kept(tmp_path, rng):
    image = rng.integers(0, 255, (16, 20, 3), dtype=np.uint8)
    save(tmp_path / "a.png", image, (cv2.IMAGE_METADATA_EXIF, EXIF))
    whole = (tmp_path / "a.png").read_bytes()
    own = [chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))]
    own.append(chunk(b"tEXt", b"Comment\0by hand"))
    (tmp_path / "a.png").write_bytes(whole[:33] + b"".join(own) + whole[33:])
    write_picture(tmp_path / "b.png", read_picture(tmp_path / "a.png"))
    written = (tmp_path / "b.png").read_bytes()
    for part in own:
        assert written.count(part) == 1
    again = read_picture(tmp_path / "b.png")
    np.testing.assert_array_equal(again.pixels, image)
    assert dict(again.metadata)[cv2.IMAGE_METADATA_EXIF].rstrip(b"\0") == EXIF.rstrip(b"\0")


def test_a_transparent_gray_value_is_told(tmp_path, rng):
    save(tmp_path / "a.png", rng.integers(0, 255, (16, 20), dtype=np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk(b"tRNS", struct.pack(">H", 7)) + whole[33:])
    (remark,) = read_picture(tmp_path / "a.png").remarks
    assert "transparent is not kept" in remark


def test_the_resolution_and_a_large_profile_of_a_jpeg_are_kept(tmp_path, rng):
    image = cv2.GaussianBlur(rng.integers(0, 255, (32, 40, 3), dtype=np.uint8), (0, 0), 2)
    large = profile() + rng.bytes(200_000)
    save(tmp_path / "a.jpg", image)
    whole = (tmp_path / "a.jpg").read_bytes()
    head = with_density(whole[:20], struct.pack(">BHH", 1, 300, 300))
    (tmp_path / "a.jpg").write_bytes(head + profile_segments(large) + whole[20:])
    picture = read_picture(tmp_path / "a.jpg")
    assert dict(picture.metadata)[cv2.IMAGE_METADATA_ICCP] == large
    write_picture(tmp_path / "b.jpg", picture)
    again = read_picture(tmp_path / "b.jpg")
    assert again.metadata == picture.metadata
    assert struct.unpack(">BHH", again.density) == (1, 300, 300)
    assert np.abs(again.pixels.astype(int) - picture.pixels).max() < 12


def test_colours_under_full_transparency_are_told_of_webp(tmp_path, rng):
    image = rng.integers(1, 255, (16, 20, 4), dtype=np.uint8)
    save(tmp_path / "opaque.webp", image)
    assert read_picture(tmp_path / "opaque.webp").remarks == ()
    image[:4, :4, 3] = 0
    save(tmp_path / "clear.webp", image)
    (remark,) = read_picture(tmp_path / "clear.webp").remarks
    assert "fully transparent" in remark


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_as_opencv_does(tmp_path, rng, orientation, order):
    exif = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    save(tmp_path / "a.jpg", rng.integers(0, 255, (24, 40, 3), dtype=np.uint8), (cv2.IMAGE_METADATA_EXIF, exif))
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.orientation == orientation
    np.testing.assert_array_equal(upright(picture.pixels, picture.orientation), read_image(tmp_path / "a.jpg"))
    assert upright(picture.pixels[..., 0], picture.orientation).shape == read_image(tmp_path / "a.jpg").shape[:2]


@pytest.mark.parametrize("block", [b"", b"II*\0", EXIF[:12], EXIF.replace(b"\6", b"\x09"), b"nonsense" * 4])
def test_an_orientation_that_cannot_be_read_is_upright(tmp_path, rng, block):
    save(tmp_path / "a.png", rng.integers(0, 255, (24, 40, 3), dtype=np.uint8))
    assert read_picture(tmp_path / "a.png").orientation == 1
    save(tmp_path / "b.webp", rng.integers(0, 255, (24, 40, 3), dtype=np.uint8), (cv2.IMAGE_METADATA_EXIF, block))
    assert read_picture(tmp_path / "b.webp").orientation == 1


def test_the_orientation_of_a_tiff_is_read(tmp_path, rng):
    image = rng.integers(0, 255, (12, 20, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extratags=[(274, 3, 1, 8, True)])
    assert read_picture(tmp_path / "a.tif").orientation == 8

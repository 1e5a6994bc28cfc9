"""Pictures as users have them, with what belongs to them: depth, alpha, EXIF with the orientation, XMP, colour profile.

OpenCV reads and writes PNG, JPEG, WebP and BMP and hands the metadata through as it stands in the file; tifffile does
TIFF, of which the EXIF folder stays behind. Pixels are not turned: the orientation stays what the file says, so that
other programs show the picture upright as before. `upright` turns what is written without that mark.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.datasets.images import IMAGE_SUFFIXES, PNG_SUFFIXES, TIFF_SUFFIXES, IntArray, as_rgb, read_channels

JPEG_SUFFIXES = {".jpg", ".jpeg"}
JPEG_QUALITY = 95
_LOSSLESS_WEBP = 101
_TIFF_TEXTS = (271, 272, 315, 33432)
"""Make, model, artist, copyright."""
_ORIENTATION, _TIFF_XMP = 274, 700
PNG_CARRIED = (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"tIME")
"""Colours, resolution and texts; profile, EXIF and XMP go through OpenCV."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = len(_PNG_SIGNATURE) + 25
"""Bytes of a PNG up to the end of its first chunk, IHDR."""
_JPEG_START, _JFIF_END = 2, 20
"""Bytes of a JPEG up to the end of its first mark, and of its JFIF segment."""
_DENSITY = slice(13, 18)
_ROWS = 256
_SEGMENT = 65519
"""Bytes of a profile that a segment of a JPEG holds."""


@dataclass(frozen=True, kw_only=True)
class TiffTags:
    """What a TIFF says about its picture, for `tifffile.imwrite`; and how many further pictures it holds."""

    icc: bytes | None
    resolution: tuple[Any, Any] | None
    resolution_unit: int | None
    alpha: str
    compressed: bool
    others: tuple[tuple[int, int, int, Any, bool], ...]
    others_left: int = 0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture file's content.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16 RGB.
        gray: the file has one channel; `pixels` repeats it.
        alpha: (H, W) of the same type, None without.
        metadata: pairs of OpenCV's kind of metadata and its bytes.
        tiff: tags, None for other formats.
        chunks: of a PNG, those that are carried over as they stand.
        density: of a JPEG, unit and values of its resolution as JFIF states them, empty where it does not.
        orientation: how the file says that the pixels are to be turned, 1 to 8 as in EXIF; 1 is upright.
        remarks: what cannot be kept.
    """

    pixels: IntArray
    gray: bool = False
    alpha: IntArray | None = None
    metadata: tuple[tuple[int, bytes], ...] = ()
    tiff: TiffTags | None = None
    chunks: bytes = b""
    density: bytes = b""
    orientation: int = 1
    remarks: tuple[str, ...] = ()

    def with_pixels(self, pixels: IntArray) -> "Picture":
        """The same picture with other values of the same shape and type."""
        if pixels.shape != self.pixels.shape or pixels.dtype != self.pixels.dtype:
            raise ValueError(f"pixels must stay {self.pixels.dtype} {self.pixels.shape}, got {pixels.shape}")
        return replace(self, pixels=pixels)

    def channels(self, *, reversed_colours: bool = False) -> IntArray:
        """As it is stored: (H, W) or (H, W, C), RGB or, as OpenCV has it, BGR, alpha last."""
        colours = _mean(self.pixels)[..., None] if self.gray else self.pixels
        if reversed_colours:
            colours = colours[..., ::-1]
        if self.alpha is None:
            return np.ascontiguousarray(colours[..., 0] if self.gray else colours)
        whole = np.empty((*self.alpha.shape, colours.shape[2] + 1), self.pixels.dtype)
        whole[..., :-1], whole[..., -1] = colours, self.alpha
        return whole


def read_picture(path: Path) -> Picture:
    """Read a picture with its metadata; pixels are not turned.

    Raises:
        LocalblurError: if the file is missing, empty, corrupt, or of another depth.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        image = read_channels(path)
        tags = _read_tags(path)
        picture = _picture(image, (), tags, path)
        if tags.others_left:
            left = f"{path}: holds {tags.others_left + 1} pictures, only the first is restored and kept"
            picture = replace(picture, remarks=(*picture.remarks, left))
        return picture
    if not path.is_file():
        raise LocalblurError(f"no image {path}")
    raw = np.fromfile(path, np.uint8)
    chunks = png_chunks(raw) if path.suffix.lower() in PNG_SUFFIXES else {}
    density = jpeg_density(raw) if path.suffix.lower() in JPEG_SUFFIXES else b""
    try:
        decoded, kinds, blocks = (
            cv2.imdecodeWithMetadata(raw, flags=cv2.IMREAD_UNCHANGED) if raw.size else (None, (), ())
        )
    except cv2.error as error:
        raise LocalblurError(f"cannot decode image {path}: {' '.join(str(error).split())}") from error
    del raw
    if decoded is None:
        raise LocalblurError(f"cannot decode image {path}: the file is empty, truncated or not an image")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise LocalblurError(f"image {path} must be 8 or 16 bit gray or RGB, got {decoded.dtype} {decoded.shape}")
    if decoded.ndim == 3 and decoded.shape[2] > 2:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    metadata = tuple((int(kind), bytes(block.tobytes())) for kind, block in zip(kinds, blocks, strict=True))
    picture = _picture(np.asarray(decoded), metadata, None, path)
    remarks = list(picture.remarks)
    if decoded.ndim == 2 and b"tRNS" in chunks:
        remarks.append(f"{path}: the gray value that it calls transparent is not kept")
    if path.suffix.lower() == ".webp" and picture.alpha is not None and not picture.alpha.all():
        remarks.append(f"{path}: WebP keeps no colours where a picture is fully transparent")
    carried = b"".join(chunks[name] for name in PNG_CARRIED if name in chunks)
    return replace(picture, chunks=carried, density=density, remarks=tuple(remarks))


def png_chunks(raw: npt.NDArray[np.uint8]) -> dict[bytes, bytes]:
    """The chunks of a PNG before its pixels, by name, those of one name together; none of what is damaged."""
    found: dict[bytes, bytes] = {}
    place = len(_PNG_SIGNATURE)
    while place + 12 <= len(raw):
        length, name = struct.unpack(">I4s", raw[place : place + 8].tobytes())
        if name in (b"IDAT", b"IEND") or place + 12 + length > len(raw):
            break
        found[name] = found.get(name, b"") + raw[place : place + 12 + length].tobytes()
        place += 12 + length
    return found


def jpeg_density(raw: npt.NDArray[np.uint8]) -> bytes:
    """Unit, horizontal and vertical resolution as a JPEG's JFIF segment states them; empty where it has none."""
    head = raw[:_JFIF_END].tobytes()
    return head[_DENSITY] if head[:4] == b"\xff\xd8\xff\xe0" and head[6:11] == b"JFIF\0" else b""


def with_density(head: bytes, density: bytes) -> bytes:
    """The beginning of a JPEG that states another resolution."""
    if not density or jpeg_density(np.frombuffer(head, np.uint8)) == b"":
        return head
    return head[: _DENSITY.start] + density + head[_DENSITY.stop :]


def profile_segments(profile: bytes) -> bytes:
    """An ICC profile as segments of a JPEG, however large (ICC.1:2022, B.4)."""
    parts = [profile[start : start + _SEGMENT] for start in range(0, len(profile), _SEGMENT)]
    heads = (
        struct.pack(">2sH12sBB", b"\xff\xe2", 16 + len(part), b"ICC_PROFILE\0", number, len(parts))
        for number, part in enumerate(parts, start=1)
    )
    return b"".join(head + part for head, part in zip(heads, parts, strict=True))


def upright(image: IntArray, orientation: int) -> IntArray:
    """Turn and mirror (H, W) or (H, W, C) as an orientation from 1 to 8 asks for (EXIF: CIPA DC-008, tag 274)."""
    turned = image.swapaxes(0, 1) if orientation >= 5 else image
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(turned[::down, ::right])


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture atomically in the format of its suffix, with its metadata.

    JPEG is written with quality 95 and full colour resolution, WebP and PNG without loss.

    Raises:
        LocalblurError: if the format cannot hold the picture.
    """
    check_format(path, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        if path.suffix.lower() in TIFF_SUFFIXES:
            _write_tiff(temporary, picture)
        else:
            with temporary.open("wb") as file:
                for part in _encoded(path, picture):
                    file.write(part)


def check_format(path: Path, picture: Picture) -> None:
    """Refuse a name whose format cannot hold a picture; see `write_picture`."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise LocalblurError(f"cannot write {path}: use one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    if picture.pixels.dtype == np.uint16 and suffix not in PNG_SUFFIXES | TIFF_SUFFIXES:
        raise LocalblurError(f"cannot write {path}: {suffix} holds 8 bits, 16-bit pictures are named .png or .tif")
    if picture.alpha is not None and suffix in JPEG_SUFFIXES | {".bmp"}:
        raise LocalblurError(
            f"cannot write {path}: {suffix} holds no alpha channel, pictures with one are named .png, .webp or .tif"
        )


def _picture(image: IntArray, metadata: Sequence[tuple[int, bytes]], tiff: TiffTags | None, path: Path) -> Picture:
    channels = 1 if image.ndim == 2 else image.shape[2]
    alpha = np.ascontiguousarray(image[..., -1]) if channels in (2, 4) else None
    kept, remarks = [], []
    for kind, block in metadata:
        if kind == cv2.IMAGE_METADATA_ICCP and not _fits(block, gray=channels < 3):
            remarks.append(f"{path}: its colour profile is not for the RGB values it decodes to, and is dropped")
        else:
            kept.append((kind, block))
    return Picture(
        pixels=as_rgb(image),
        gray=channels < 3,
        alpha=alpha,
        metadata=tuple(kept),
        tiff=tiff,
        orientation=_orientation(metadata, tiff),
        remarks=tuple(remarks),
    )


def _mean(pixels: IntArray) -> IntArray:
    """The mean of the channels, (H, W) of the same type, a few rows at a time."""
    result = np.empty(pixels.shape[:2], pixels.dtype)
    for start in range(0, len(pixels), _ROWS):
        rows = pixels[start : start + _ROWS]
        result[start : start + _ROWS] = np.rint(rows.mean(2, dtype=np.float32)).astype(pixels.dtype)
    return result


def _orientation(metadata: Sequence[tuple[int, bytes]], tiff: TiffTags | None) -> int:
    stated = [value for code, _, _, value, _ in tiff.others if code == _ORIENTATION] if tiff else []
    stated += [_exif_orientation(block) for kind, block in metadata if kind == cv2.IMAGE_METADATA_EXIF]
    return next((int(value) for value in stated if value in range(1, 9)), 1)


def _exif_orientation(block: bytes) -> int | None:
    """What the first folder of EXIF data (a small TIFF) says, None where it says nothing or is damaged."""
    block = block.removeprefix(b"Exif\0\0")
    order = ">" if block[:2] == b"MM" else "<"
    try:
        (folder,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, folder)
        for entry in range(folder + 2, folder + 2 + 12 * count, 12):
            code, _, _, value = struct.unpack_from(f"{order}HHIH", block, entry)
            if code == _ORIENTATION:
                return int(value)
    except struct.error:
        return None
    return None


def _fits(profile: bytes, *, gray: bool) -> bool:
    """Whether an ICC profile is for RGB (or gray) values: bytes 16 to 19 name the colour space (ICC.1:2022, 7.2.6)."""
    return profile[16:20] in ((b"GRAY", b"RGB ") if gray else (b"RGB ",))


def _encoded(path: Path, picture: Picture) -> Iterator[bytes | memoryview]:
    """A file's content in parts."""
    suffix, metadata = path.suffix.lower(), picture.metadata
    jpeg = suffix in JPEG_SUFFIXES
    settings: list[int] = []
    if jpeg:
        settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    elif suffix == ".webp":
        settings = [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP]
    # OpenCV writes no profile that takes more than one segment
    large = [block for kind, block in metadata if jpeg and kind == cv2.IMAGE_METADATA_ICCP and len(block) > _SEGMENT]
    kept = [] if suffix == ".bmp" else [(kind, block) for kind, block in metadata if block not in large]
    image = picture.channels(reversed_colours=True)
    if image.ndim == 3 and image.shape[2] == 2:  # OpenCV writes no gray with alpha
        image = image[..., [0, 0, 0, 1]]
    try:
        if kept:
            blocks = [np.frombuffer(block, np.uint8) for _, block in kept]
            done, encoded = cv2.imencodeWithMetadata(suffix, image, [kind for kind, _ in kept], blocks, settings)
        else:
            done, encoded = cv2.imencode(suffix, image, settings)
    except cv2.error as error:
        raise LocalblurError(f"cannot write {path}: {' '.join(str(error).split())}") from error
    if not done:
        raise LocalblurError(f"cannot write {path}: the encoder refused {image.dtype} {image.shape}")
    del image
    content: memoryview = np.ascontiguousarray(encoded, np.uint8).reshape(-1).data
    if suffix in PNG_SUFFIXES:
        yield from (content[:_PNG_HEAD], picture.chunks, content[_PNG_HEAD:])
    elif jpeg:
        end = _JFIF_END if jpeg_density(encoded.reshape(-1)) else _JPEG_START
        head = with_density(bytes(content[:end]), picture.density)
        yield head
        for block in large:
            yield profile_segments(block)
        yield content[end:]
    else:
        yield content


def _read_tags(path: Path) -> TiffTags:
    with tifffile.TiffFile(path) as file:
        page: Any = file.series[0].pages[0].aspage()
        tags = page.tags
        others = []
        for code in (*_TIFF_TEXTS, _ORIENTATION, _TIFF_XMP):
            if code in tags:
                value = tags[code].value
                count = 1 if code == _ORIENTATION else len(value) + (0 if isinstance(value, bytes) else 1)
                others.append((code, int(tags[code].dtype), count, value, True))
        return TiffTags(
            icc=bytes(tags[34675].value) if 34675 in tags else None,
            resolution=(tags[282].value, tags[283].value) if 282 in tags and 283 in tags else None,
            resolution_unit=int(tags[296].value) if 296 in tags else None,
            alpha="assocalpha" if 1 in tuple(page.extrasamples) else "unassalpha",
            compressed=int(page.compression) != 1,
            others=tuple(others),
            others_left=sum(not _is_thumbnail(other) for other in file.pages) - 1,
        )


def _is_thumbnail(page: Any) -> bool:
    """Whether a page is the picture made smaller (TIFF 6.0, NewSubfileType), or a mask for it."""
    tag = page.aspage().tags.get(254)
    return tag is not None and int(tag.value) & 5 != 0


def _write_tiff(path: Path, picture: Picture) -> None:
    tags, image = picture.tiff, picture.channels()
    profiles = [block for kind, block in picture.metadata if kind == cv2.IMAGE_METADATA_ICCP]
    tifffile.imwrite(
        path,
        image,
        photometric="minisblack" if picture.gray else "rgb",
        planarconfig="contig" if image.ndim == 3 else None,
        extrasamples=None if picture.alpha is None else [tags.alpha if tags else "unassalpha"],
        compression="zlib" if tags and tags.compressed else None,
        iccprofile=tags.icc if tags else next(iter(profiles), None),
        resolution=tags.resolution if tags else None,
        resolutionunit=tags.resolution_unit if tags else None,
        extratags=tags.others if tags else (),
        metadata=None,
    )

"""Pictures as users have them, with what belongs to them: depth, alpha, EXIF with the orientation, XMP, colour profile.

OpenCV reads and writes PNG, JPEG, WebP and BMP and hands the metadata through as it stands in the file; tifffile does
TIFF, of which the EXIF folder stays behind. Pixels are not turned: the orientation stays what the file says, so that
other programs show the picture upright as before. `upright` turns what is written without that mark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.datasets.images import IMAGE_SUFFIXES, PNG_SUFFIXES, TIFF_SUFFIXES, IntArray, as_rgb, read_channels
from localblur.training.inference.picture_segments import (
    LARGEST_SEGMENT,
    PNG_CARRIED,
    PNG_HEAD,
    exif_orientation,
    jpeg_density,
    jpeg_head_size,
    png_chunks,
    profile_fits,
    profile_segments,
    with_density,
)
from localblur.training.inference.tiff_pictures import TiffTags, read_tags, write_tiff

JPEG_SUFFIXES = {".jpg", ".jpeg"}
JPEG_QUALITY = 95
_LOSSLESS_WEBP = 101
_ROWS = 256


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

    @property
    def profiles(self) -> list[bytes]:
        """ICC profiles among the metadata; files hold one at most."""
        return [block for kind, block in self.metadata if kind == cv2.IMAGE_METADATA_ICCP]

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
        tags = read_tags(path)
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
            write_tiff(temporary, picture.channels(), picture.tiff, next(iter(picture.profiles), None))
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
        if kind == cv2.IMAGE_METADATA_ICCP and not profile_fits(block, gray=channels < 3):
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
    stated = [tiff.orientation] if tiff else []
    stated += [exif_orientation(block) for kind, block in metadata if kind == cv2.IMAGE_METADATA_EXIF]
    return next((value for value in stated if value is not None and 1 <= value <= 8), 1)


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
    large = [profile for profile in picture.profiles if jpeg and len(profile) > LARGEST_SEGMENT]
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
        yield from (content[:PNG_HEAD], picture.chunks, content[PNG_HEAD:])
    elif jpeg:
        end = jpeg_head_size(encoded.reshape(-1))
        head = with_density(bytes(content[:end]), picture.density)
        yield head
        for block in large:
            yield profile_segments(block)
        yield content[end:]
    else:
        yield content

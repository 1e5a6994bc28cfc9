"""Pictures as users have them, with what belongs to them: depth, alpha, EXIF with the orientation, XMP, colour profile.

OpenCV reads and writes PNG, JPEG, WebP and BMP and hands the metadata through as it stands in the file; tifffile does
TIFF, of which the EXIF folder stays behind. Pixels are not turned: the orientation stays what the file says, so that
other programs show the picture upright as before. `upright` turns what is written without that mark.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
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


@dataclass(frozen=True, kw_only=True)
class TiffTags:
    """What a TIFF says about its picture, for `tifffile.imwrite`."""

    icc: bytes | None
    resolution: tuple[Any, Any] | None
    resolution_unit: int | None
    alpha: str
    compressed: bool
    others: tuple[tuple[int, int, int, Any, bool], ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture file's content.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16 RGB.
        gray: the file has one channel; `pixels` repeats it.
        alpha: (H, W) of the same type, None without.
        metadata: pairs of OpenCV's kind of metadata and its bytes.
        tiff: tags, None for other formats.
        orientation: how the file says that the pixels are to be turned, 1 to 8 as in EXIF; 1 is upright.
        remarks: what cannot be kept.
    """

    pixels: IntArray
    gray: bool = False
    alpha: IntArray | None = None
    metadata: tuple[tuple[int, bytes], ...] = ()
    tiff: TiffTags | None = None
    orientation: int = 1
    remarks: tuple[str, ...] = ()

    def with_pixels(self, pixels: IntArray) -> "Picture":
        """The same picture with other values of the same shape and type."""
        if pixels.shape != self.pixels.shape or pixels.dtype != self.pixels.dtype:
            raise ValueError(f"pixels must stay {self.pixels.dtype} {self.pixels.shape}, got {pixels.shape}")
        return replace(self, pixels=pixels)

    def channels(self) -> IntArray:
        """As it is stored: (H, W) or (H, W, C), alpha last."""
        gray = self.pixels if not self.gray else np.rint(self.pixels.mean(2)).astype(self.pixels.dtype)
        if self.alpha is None:
            return gray
        return np.dstack([gray, self.alpha])


def read_picture(path: Path) -> Picture:
    """Read a picture with its metadata; pixels are not turned.

    Raises:
        LocalblurError: if the file is missing, empty, corrupt, or of another depth.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _picture(read_channels(path), (), _read_tags(path), path)
    if not path.is_file():
        raise LocalblurError(f"no image {path}")
    raw = np.fromfile(path, np.uint8)
    try:
        decoded, kinds, blocks = (
            cv2.imdecodeWithMetadata(raw, flags=cv2.IMREAD_UNCHANGED) if raw.size else (None, (), ())
        )
    except cv2.error as error:
        raise LocalblurError(f"cannot decode image {path}: {' '.join(str(error).split())}") from error
    if decoded is None:
        raise LocalblurError(f"cannot decode image {path}: the file is empty, truncated or not an image")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise LocalblurError(f"image {path} must be 8 or 16 bit gray or RGB, got {decoded.dtype} {decoded.shape}")
    if decoded.ndim == 3:
        decoded = decoded[..., [2, 1, 0, 3][: decoded.shape[2]]]
    metadata = tuple((int(kind), bytes(block.tobytes())) for kind, block in zip(kinds, blocks, strict=True))
    return _picture(decoded, metadata, None, path)


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
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise LocalblurError(f"cannot write {path}: use one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    image = np.ascontiguousarray(picture.channels())
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        if suffix in TIFF_SUFFIXES:
            _write_tiff(temporary, image, picture)
        else:
            temporary.write_bytes(_encode(path, suffix, image, picture.metadata))


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


def _encode(path: Path, suffix: str, image: IntArray, metadata: Sequence[tuple[int, bytes]]) -> bytes:
    if image.dtype == np.uint16 and suffix not in PNG_SUFFIXES:
        raise LocalblurError(f"cannot write {path}: {suffix} holds 8 bits, 16-bit pictures need .png or .tif")
    if image.ndim == 3 and image.shape[2] in (2, 4) and suffix in JPEG_SUFFIXES | {".bmp"}:
        raise LocalblurError(f"cannot write {path}: {suffix} holds no alpha channel, use .png, .webp or .tif")
    if image.ndim == 3 and image.shape[2] == 2:  # OpenCV writes no gray with alpha
        image = image[..., [0, 0, 0, 1]]
    ordered = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]
    settings: list[int] = []
    if suffix in JPEG_SUFFIXES:
        settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    elif suffix == ".webp":
        settings = [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP]
    kinds = [kind for kind, _ in metadata]
    blocks = [np.frombuffer(block, np.uint8) for _, block in metadata]
    try:
        if metadata and suffix != ".bmp":
            done, encoded = cv2.imencodeWithMetadata(suffix, np.ascontiguousarray(ordered), kinds, blocks, settings)
        else:
            done, encoded = cv2.imencode(suffix, np.ascontiguousarray(ordered), settings)
    except cv2.error as error:
        raise LocalblurError(f"cannot write {path}: {' '.join(str(error).split())}") from error
    if not done:
        raise LocalblurError(f"cannot write {path}: the encoder refused {image.dtype} {image.shape}")
    return bytes(encoded.tobytes())


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
        )


def _write_tiff(path: Path, image: IntArray, picture: Picture) -> None:
    tags = picture.tiff
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

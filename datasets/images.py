"""Reading, writing and converting images: the one place where value ranges and axis orders change.

NumPy images are HWC; float images are float32 in [0, 1], linear light unless a name says `coded` (sRGB). Torch tensors
are BCHW, sRGB-coded, [0, 1].
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path

if TYPE_CHECKING:
    import torch

# damage is put in words here; OpenCV would print lines of its own beside them
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[Any]
"""uint8 or uint16."""

PNG_SUFFIXES = {".png"}
TIFF_SUFFIXES = {".tif", ".tiff"}
IMAGE_SUFFIXES = PNG_SUFFIXES | TIFF_SUFFIXES | {".jpg", ".jpeg", ".bmp", ".webp"}

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRIC_TAG = 262
_TIFF_JPEG = (6, 7, 33007)
"""Compressions of which tifffile turns YCbCr into RGB."""
_OTHER_COLOURS = {
    _PALETTE: "numbers of a palette that cannot be read",
    4: "a transparency mask",
    5: "CMYK colours",
    _YCBCR: "YCbCr colours",
    8: "CIELAB colours",
    9: "ICC Lab colours",
    10: "ITU Lab colours",
    32803: "raw values of a colour filter array",
    34892: "raw values of a camera",
}
"""TIFF's photometric interpretations (TIFF 6.0, DNG 1.6) that are neither gray nor RGB."""


def read_image(path: Path) -> IntArray:
    """Read an RGB image, shape (H, W, 3), uint8 or uint16; gray is repeated, an alpha channel is dropped.

    TIFFs in which white is 0 are turned round, those with a palette become 8-bit RGB.

    Raises:
        LocalblurError: if the file is missing, empty, corrupt, of another depth, or holds neither gray nor RGB.
    """
    return as_rgb(_decode(path))


def read_channels(path: Path) -> IntArray:
    """Read an image with the channels it has: (H, W) gray or (H, W, C), C = 2 gray + alpha, 3 RGB, 4 RGB + alpha.

    Raises:
        LocalblurError: as `read_image`.
    """
    return _decode(path)


def as_rgb(image: IntArray) -> IntArray:
    """What `read_channels` gives, as (H, W, 3): gray is repeated, an alpha channel is dropped."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] < 3:
        image = np.repeat(image[..., :1], 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def read_plane(path: Path) -> IntArray:
    """Read a single-channel image (a mask or a raw Bayer frame), shape (H, W); of a colour file the first channel."""
    image = _decode(path)
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])


def write_image(path: Path, image: npt.NDArray[Any]) -> None:
    """Write a uint8 or uint16 image of shape (H, W) or (H, W, 3) atomically as PNG, TIFF or JPEG (by suffix).

    TIFF is uncompressed: any reader, and the camera emulator, takes it bit for bit.

    Raises:
        LocalblurError: if dtype, shape or suffix are not supported.
    """
    if (
        image.dtype not in (np.uint8, np.uint16)
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] != 3)
    ):
        raise LocalblurError(
            f"cannot write {path}: need uint8 or uint16 of shape (H, W[, 3]), got {image.dtype} {image.shape}"
        )
    suffix = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        if suffix in TIFF_SUFFIXES:
            tifffile.imwrite(temporary, image, photometric="rgb" if image.ndim == 3 else "minisblack")
        elif suffix in IMAGE_SUFFIXES:
            if image.dtype == np.uint16 and suffix not in PNG_SUFFIXES:
                raise LocalblurError(f"cannot write {path}: {suffix} holds 8 bits, 16-bit images need .png or .tif")
            ordered = image if image.ndim == 2 else image[..., ::-1]
            done, encoded = cv2.imencode(suffix, np.ascontiguousarray(ordered))
            if not done:
                raise LocalblurError(f"cannot write {path}: the encoder refused {image.dtype} {image.shape}")
            with temporary.open("wb") as file:
                file.write(np.ascontiguousarray(encoded).data)
        else:
            raise LocalblurError(f"cannot write {path}: use one of {', '.join(sorted(IMAGE_SUFFIXES))}")


def srgb_encode(linear: npt.ArrayLike) -> FloatArray:
    """Linear light to sRGB-coded values (IEC 61966-2-1); input is clipped to [0, 1], any shape."""
    x = np.clip(np.asarray(linear, np.float32), 0, 1)
    coded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(np.maximum(x, 1e-9), 1 / 2.4) - 0.055)
    return coded.astype(np.float32)


def srgb_decode(coded: npt.ArrayLike) -> FloatArray:
    """sRGB-coded values to linear light (IEC 61966-2-1); input is clipped to [0, 1], any shape."""
    v = np.clip(np.asarray(coded, np.float32), 0, 1)
    linear = np.where(v <= 0.04045, v / 12.92, np.power((v + 0.055) / 1.055, 2.4))
    return linear.astype(np.float32)


def to_unit(image: npt.NDArray[Any]) -> FloatArray:
    """Integers to float32 in [0, 1] by the container's maximum (255 or 65535)."""
    if image.dtype == np.uint8:
        return image.astype(np.float32) * np.float32(1 / 255)
    if image.dtype == np.uint16:
        return image.astype(np.float32) * np.float32(1 / 65535)
    raise LocalblurError(f"to_unit needs uint8 or uint16, got {image.dtype}")


def from_unit(unit: npt.ArrayLike, bit_depth: int) -> IntArray:
    """Float [0, 1] to uint8 (`bit_depth` 8) or uint16 (16): clipped, rounded to nearest; NaN is an error."""
    values = np.asarray(unit, np.float32)
    if not np.isfinite(values).all():
        raise LocalblurError("image holds NaN or infinite values; refusing to write them")
    if bit_depth == 8:
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    if bit_depth == 16:
        return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
    raise LocalblurError(f"bit depth must be 8 or 16, got {bit_depth}")


def to_linear(image: npt.NDArray[Any], encoding: str) -> FloatArray:
    """Stored integers to linear light in [0, 1]; `encoding` is `srgb` or `linear`."""
    unit = to_unit(image)
    return srgb_decode(unit) if check_encoding(encoding) == "srgb" else unit


def to_coded(image: npt.NDArray[Any], encoding: str) -> FloatArray:
    """Stored integers to sRGB-coded values in [0, 1]; `encoding` is `srgb` or `linear`."""
    unit = to_unit(image)
    return unit if check_encoding(encoding) == "srgb" else srgb_encode(unit)


def check_encoding(encoding: str) -> str:
    """Return `encoding` if it is known, else raise a `LocalblurError`."""
    if encoding not in ("srgb", "linear"):
        raise LocalblurError(f"encoding must be srgb or linear, got {encoding!r}")
    return encoding


def to_tensor(image: npt.NDArray[Any]) -> "torch.Tensor":
    """float32 (H, W, C) or (H, W) to a contiguous torch tensor (C, H, W); values are not changed."""
    import torch

    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))


def to_array(tensor: "torch.Tensor") -> FloatArray:
    """Torch tensor (C, H, W) or (1, C, H, W) to float32 (H, W, C) on the CPU; values are not changed."""
    if tensor.ndim == 4:
        if tensor.shape[0] != 1:
            raise LocalblurError(f"to_array takes one image, got a batch of {tensor.shape[0]}")
        tensor = tensor[0]
    planes: npt.NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2))


def _decode(path: Path) -> IntArray:
    if not path.is_file():
        raise LocalblurError(f"no image {path}")
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            image = _read_tiff(path)
        else:
            raw = np.fromfile(path, np.uint8)
            decoded = cv2.imdecode(raw, _flags(path)) if raw.size else None
            if decoded is None:
                raise LocalblurError(f"cannot decode image {path}: the file is empty, truncated or not an image")
            image = decoded if decoded.ndim == 2 else _to_rgb(decoded)
    except LocalblurError:
        raise
    except Exception as error:  # tifffile raises many kinds on damaged files
        raise LocalblurError(f"cannot decode image {path}: {' '.join(str(error).split())}") from error
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or channels > 4 or 0 in image.shape:
        raise LocalblurError(f"image {path} must be 8 or 16 bit gray or RGB, got {image.dtype} {image.shape}")
    return image


def _read_tiff(path: Path) -> npt.NDArray[Any]:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        _refuse_other_colours(series.keyframe, path)
        if series.keyframe.compression not in tifffile.TIFF.DECOMPRESSORS and series.axes in ("YX", "YXS", "SYX"):
            return _read_tiff_with_opencv(path, series.keyframe)
        axes, image = series.axes, np.asarray(series.asarray())
        if axes == "SYX":  # colour planes one after the other
            image = np.moveaxis(image, 0, 2)
        elif axes not in ("YX", "YXS"):
            raise LocalblurError(
                f"TIFF {path} holds a stack of pictures (axes {axes}, {image.shape}); split it into files"
            )
        if image.dtype == np.bool_ and series.keyframe.photometric != _PALETTE:
            return np.asarray(_gray_or_rgb(image.astype(np.uint8), series.keyframe) * np.uint8(255))
        return _gray_or_rgb(image, series.keyframe)


def _read_tiff_with_opencv(path: Path, page: Any) -> npt.NDArray[Any]:
    """A TIFF in a compression that tifffile needs another package for (LZW, JPEG); libtiff knows them."""
    decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    told = f"TIFF {path} is compressed as {page.compression.name}"
    if decoded is None:
        raise LocalblurError(f"{told}, which cannot be read, or damaged; save it uncompressed or with deflate")
    channels = decoded.shape[2] if decoded.ndim == 3 else 1
    # of gray with alpha OpenCV drops one, and it turns round or colours what is neither gray nor RGB by itself
    plain = int(page.photometric) in (_BLACK_IS_ZERO, _RGB, _YCBCR) and page.bitspersample in (8, 16)
    if not plain or channels != int(page.samplesperpixel):
        raise LocalblurError(f"{told} and of another kind than gray or RGB; save it uncompressed or with deflate")
    return decoded if decoded.ndim == 2 else _to_rgb(decoded)


def _refuse_other_colours(page: Any, path: Path) -> None:
    kind = int(page.photometric)
    palette = kind == _PALETTE and page.samplesperpixel == 1 and page.colormap is not None
    converted = kind == _YCBCR and int(page.compression) in _TIFF_JPEG and page.planarconfig == 1
    if kind in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or palette or (converted and not page.extrasamples):
        return
    held = _OTHER_COLOURS.get(kind, f"colours of kind {kind}")
    raise LocalblurError(f"TIFF {path} holds {held}; convert it to RGB or gray")


def _gray_or_rgb(image: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    """Values of a TIFF page, (H, W) or (H, W, C), as gray or RGB of which more is brighter."""
    if page.photometric == _WHITE_IS_ZERO and _PHOTOMETRIC_TAG in page.tags:
        return _turned_round(image, int(page.bitspersample))
    return _palette_colours(image, page.colormap) if page.photometric == _PALETTE else image


def _turned_round(image: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Gray in which white is 0 to gray in which black is; a second channel is alpha and stays."""
    if image.dtype.kind != "u":  # refused for its depth
        return image
    turned = image.copy()
    gray = turned if turned.ndim == 2 else turned[..., 0]
    np.subtract((1 << bits) - 1, gray, out=gray)
    return turned


def _palette_colours(numbers: npt.NDArray[Any], colormap: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Colours (H, W, 3) behind the numbers (H, W) of a colour map (3, N); some programs fill it with 8-bit values."""
    colours = colormap if colormap.max() < 256 else colormap >> 8
    return np.ascontiguousarray(colours.T.astype(np.uint8)[numbers.astype(np.intp)])


def _flags(path: Path) -> int:
    """JPEGs are turned upright as their EXIF data says; other kinds may hold alpha, which only "unchanged" keeps."""
    upright = path.suffix.lower() in {".jpg", ".jpeg"}
    return cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if upright else cv2.IMREAD_UNCHANGED


def _to_rgb(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if image.shape[2] == 3:
        return image[..., ::-1]
    return image[..., [2, 1, 0, 3]] if image.shape[2] == 4 else image

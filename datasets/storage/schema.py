"""The pairs file, schema version 1: names, types and limits of everything in it, and the values derived from pixels.

    /                     attrs: format, schema_version, encoding, bit_depth, created, creator, source, licence,
                          settings (JSON), mask_settings (JSON, absent until masks of scenes were made or taken over),
                          edits_folded (JSON, absent until `fold-edits` ran: which journal, how many of its lines)
    /scenes/<scene>       attrs: split; one image size per scene
      blurred, sharp      (N, H, W, 3) u1 or u2, chunks (1, c, c, 3), c as in `compression.CHUNK_PX`
      mask                (N, H, W) u1, chunks (1, c, c); absent until made
      blur_cells          (N, ceil(H/16), ceil(W/16)) u1; absent until masks are made
      thumbnails          (N, h, w, 3) u1, the blurred picture, sRGB-coded, long side 256 (never enlarged)
      pairs               (N,) compound, see `PAIR_ROW`; `masked` is 0 none, 1 by a method, 2 mended by a person
    /calibration          nested groups: arrays are datasets, everything else is a JSON attribute

Quality measures differ between pipelines and grow with time, so a column each would change the schema with every new
measure: they are one column of JSON text, numbers only, `null` for an undefined value, at most `QUALITY_BYTES` long.
The CRC-32 columns let `pairs-file verify` find silent damage whatever the compression.
"""

import json
import math
import unicodedata
import zlib
from typing import Any, Literal

import cv2
import h5py
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import srgb_encode, to_unit
from localblur.datasets.pair import MASK_THRESHOLD, Pair, PairInfo, Verdict
from localblur.datasets.storage.compression import COMPRESSIONS as COMPRESSIONS
from localblur.datasets.storage.compression import Compression as Compression

FORMAT = "localblur-pairs"
SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test")

CELL_PX = 16
THUMBNAIL_PX = 256

NAME_BYTES = 64
QUALITY_BYTES = 2048
REASONS_BYTES = 1024

PAIR_ROW = np.dtype(
    [
        ("name", h5py.string_dtype("utf-8", NAME_BYTES)),
        ("complete", "u1"),
        ("masked", "u1"),
        ("exposure_long_ms", "<f8"),
        ("exposure_short_ms", "<f8"),
        ("valid_box", "<i4", (4,)),
        ("quality", h5py.string_dtype("utf-8", QUALITY_BYTES)),
        ("verdict", h5py.string_dtype("utf-8", 16)),
        ("reasons", h5py.string_dtype("utf-8", REASONS_BYTES)),
        ("decided_by", h5py.string_dtype("utf-8", NAME_BYTES)),
        ("blurred_crc32", "<u4"),
        ("sharp_crc32", "<u4"),
        ("mask_crc32", "<u4"),
    ]
)
"""One row per pair. A row whose `complete` is not 1 does not exist for readers."""


class StoreHeader(Settings):
    """What a whole pairs file has in common.

    Attributes:
        encoding: how pixel values are coded, `srgb` or `linear`.
        bit_depth: 8 (uint8) or 16 (uint16), full scale 255 or 65535.
        creator: command and version that made the file.
        source: where the pairs come from (recordings, data set, video).
        licence: the licence of the pictures.
        settings: the resolved settings of the creator, plain JSON values.
    """

    encoding: Literal["srgb", "linear"]
    bit_depth: Literal[8, 16]
    creator: str = "localblur"
    source: str = ""
    licence: str = "not stated"
    settings: dict[str, Any] = {}

    def plain(self) -> dict[str, Any]:
        """The header as plain JSON values: what is stored, and what is compared before a run is continued."""
        content: dict[str, Any] = json.loads(self.model_dump_json())
        return content

    @property
    def dtype(self) -> np.dtype[Any]:
        """The pixel type."""
        return np.dtype(np.uint8 if self.bit_depth == 8 else np.uint16)


def check_name(kind: str, name: str) -> str:
    """Return `name` if it can be a group in the file and a file name at export, else raise a `LocalblurError`."""
    bad = [c for c in name if c in '/\\:*?"<>|' or unicodedata.category(c) in ("Cc", "Cs")]
    if not name or name.strip(" .") != name or bad:
        raise LocalblurError(
            f"{kind} name {name!r} cannot be stored: use letters, digits, '-', '_', '.' and spaces,"
            " with no dot or space at either end"
        )
    if len(name.encode()) > NAME_BYTES:
        raise LocalblurError(f"{kind} name {name!r} is {len(name.encode())} bytes long, the limit is {NAME_BYTES}")
    return name


def check_pair(header: StoreHeader, pair: Pair, split: str) -> None:
    """Raise a `LocalblurError` if `pair` cannot be stored in a file with `header`."""
    label = f"pair {pair.scene}/{pair.info.name}"
    check_name("scene", pair.scene)
    check_name("pair", pair.info.name)
    if split not in SPLITS:
        raise LocalblurError(f"{label}: split must be one of {', '.join(SPLITS)}, got {split!r}")
    if pair.blurred.dtype != header.dtype:
        raise LocalblurError(
            f"{label} is {pair.blurred.dtype} but the file stores {header.bit_depth}-bit {header.encoding} pictures;"
            " convert it or choose another --store"
        )
    height, width = pair.blurred.shape[:2]
    y0, x0, y1, x1 = pair.valid_box
    if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
        raise LocalblurError(f"{label}: valid box {pair.valid_box} does not lie in the {width}x{height} picture")


def encode_row(pair: Pair) -> npt.NDArray[Any]:
    """The row of `pair`, shape (), `complete` set; texts that do not fit are a `LocalblurError`."""
    info = pair.info
    label = f"pair {pair.scene}/{info.name}"
    row = np.zeros((), PAIR_ROW)
    row["name"] = info.name.encode()
    row["complete"] = 1
    row["masked"] = pair.mask is not None
    row["exposure_long_ms"], row["exposure_short_ms"] = info.exposure_long_ms, info.exposure_short_ms
    row["valid_box"] = pair.valid_box
    row["quality"] = _fit(label, "quality measures", encode_quality(info.quality), QUALITY_BYTES)
    row["verdict"] = Verdict(info.verdict).value.encode()
    row["reasons"] = _fit(label, "reasons", info.reasons, REASONS_BYTES)
    row["decided_by"] = _fit(label, "decided_by", info.decided_by, NAME_BYTES)
    row["blurred_crc32"], row["sharp_crc32"] = crc32(pair.blurred), crc32(pair.sharp)
    row["mask_crc32"] = 0 if pair.mask is None else crc32(pair.mask)
    return row


def decode_row(row: Any) -> PairInfo:
    """What a row of type `PAIR_ROW` says; a row that makes no sense raises ValueError, KeyError or TypeError."""
    y0, x0, y1, x1 = (int(v) for v in row["valid_box"])
    return PairInfo(
        name=text(row["name"]),
        exposure_long_ms=float(row["exposure_long_ms"]),
        exposure_short_ms=float(row["exposure_short_ms"]),
        valid_box=(y0, x0, y1, x1),
        quality=decode_quality(text(row["quality"])),
        verdict=Verdict(text(row["verdict"])),
        reasons=text(row["reasons"]),
        decided_by=text(row["decided_by"]),
    )


def encode_quality(quality: dict[str, float]) -> str:
    """Quality measures as JSON text; values that are not finite become null."""
    finite = {str(key): float(value) if math.isfinite(value) else None for key, value in quality.items()}
    return json.dumps(finite, separators=(",", ":"), ensure_ascii=False)


def decode_quality(content: str) -> dict[str, float]:
    """The inverse of `encode_quality`; null becomes NaN."""
    values = json.loads(content) if content else {}
    return {str(key): float("nan") if value is None else float(value) for key, value in values.items()}


def text(value: Any) -> str:
    """A stored fixed-length text as str."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def crc32(array: npt.NDArray[Any]) -> int:
    """CRC-32 of the values in C order, little endian."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return zlib.crc32(plain.reshape(-1).view(np.uint8).data)


def blur_cells(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Share of blurred pixels (mask >= 128) per 16-px cell, 0..255, rounded up: one blurred pixel is never 0.

    Args:
        mask: soft mask, uint8, shape (H, W).

    Returns:
        uint8, shape (ceil(H/16), ceil(W/16)); cells cut by the border count the pixels they have.
    """
    blurred, area = cell_counts(mask), cell_areas(*mask.shape)
    return (-(-blurred * 255 // area)).astype(np.uint8)


def cell_counts(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Number of blurred pixels per 16-px cell, shape (ceil(H/16), ceil(W/16))."""
    rows = np.add.reduceat((mask >= MASK_THRESHOLD).astype(np.int64), np.arange(0, mask.shape[0], CELL_PX), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, mask.shape[1], CELL_PX), axis=1))


def cell_areas(height: int, width: int) -> npt.NDArray[np.int64]:
    """Number of pixels per 16-px cell of an image, shape (ceil(H/16), ceil(W/16))."""
    sides = [np.minimum(CELL_PX, size - np.arange(0, size, CELL_PX)) for size in (height, width)]
    return np.asarray(np.outer(sides[0], sides[1]), np.int64)


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the thumbnail: long side 256, never enlarged."""
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def thumbnail(blurred: npt.NDArray[Any], encoding: str) -> npt.NDArray[np.uint8]:
    """A small sRGB-coded uint8 picture of `blurred`, (H, W, 3) uint8 or uint16 coded as `encoding` says."""
    height, width = thumbnail_size(*blurred.shape[:2])
    small = cv2.resize(to_unit(blurred), (width, height), interpolation=cv2.INTER_AREA)
    coded = srgb_encode(small) if encoding == "linear" else small
    return np.rint(np.clip(coded, 0, 1) * 255).astype(np.uint8)


def _fit(label: str, what: str, content: str, limit: int) -> bytes:
    encoded = content.encode()
    if len(encoded) > limit:
        raise LocalblurError(f"{label}: {what} take {len(encoded)} bytes, the limit is {limit}; shorten them")
    return encoded

"""The parts of PNG and JPEG files that OpenCV does not carry over, and what EXIF data and colour profiles say."""

import struct

import numpy as np
import numpy.typing as npt

PNG_CARRIED = (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"tIME")
"""Colours, resolution and texts; profile, EXIF and XMP go through OpenCV."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEAD = len(_PNG_SIGNATURE) + 25
"""Bytes of a PNG up to the end of its first chunk, IHDR."""
_JPEG_START, _JFIF_END = 2, 20
"""Bytes of a JPEG up to the end of its first mark, and of its JFIF segment."""
_DENSITY = slice(13, 18)
LARGEST_SEGMENT = 65519
"""Bytes of a profile that a segment of a JPEG holds."""
ORIENTATION = 274
"""The tag of TIFF and EXIF."""


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


def jpeg_head_size(raw: npt.NDArray[np.uint8]) -> int:
    """After how many bytes of a JPEG further segments may be put in."""
    return _JFIF_END if jpeg_density(raw) else _JPEG_START


def with_density(head: bytes, density: bytes) -> bytes:
    """The beginning of a JPEG that states another resolution."""
    if not density or jpeg_density(np.frombuffer(head, np.uint8)) == b"":
        return head
    return head[: _DENSITY.start] + density + head[_DENSITY.stop :]


def profile_segments(profile: bytes) -> bytes:
    """An ICC profile as segments of a JPEG, however large (ICC.1:2022, B.4)."""
    parts = [profile[start : start + LARGEST_SEGMENT] for start in range(0, len(profile), LARGEST_SEGMENT)]
    heads = (
        struct.pack(">2sH12sBB", b"\xff\xe2", 16 + len(part), b"ICC_PROFILE\0", number, len(parts))
        for number, part in enumerate(parts, start=1)
    )
    return b"".join(head + part for head, part in zip(heads, parts, strict=True))


def profile_fits(profile: bytes, *, gray: bool) -> bool:
    """Whether an ICC profile is for RGB (or gray) values: bytes 16 to 19 name the colour space (ICC.1:2022, 7.2.6)."""
    return profile[16:20] in ((b"GRAY", b"RGB ") if gray else (b"RGB ",))


def exif_orientation(block: bytes) -> int | None:
    """What the first folder of EXIF data (a small TIFF) says, None where it says nothing or is damaged."""
    block = block.removeprefix(b"Exif\0\0")
    order = ">" if block[:2] == b"MM" else "<"
    try:
        (folder,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, folder)
        for entry in range(folder + 2, folder + 2 + 12 * count, 12):
            code, _, _, value = struct.unpack_from(f"{order}HHIH", block, entry)
            if code == ORIENTATION:
                return int(value)
    except struct.error:
        return None
    return None

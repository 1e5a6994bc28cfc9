"""What TIFF files say about their picture, read and written with tifffile; the EXIF folder stays behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from localblur.datasets.images import IntArray
from localblur.training.inference.picture_segments import ORIENTATION

_TEXTS = (271, 272, 315, 33432)
"""Make, model, artist, copyright."""
_XMP = 700


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

    @property
    def orientation(self) -> int | None:
        """As stated, None where it is not."""
        return next((int(value) for code, _, _, value, _ in self.others if code == ORIENTATION), None)


def read_tags(path: Path) -> TiffTags:
    """The tags of a TIFF that can be read."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.series[0].pages[0].aspage()
        tags = page.tags
        others = []
        for code in (*_TEXTS, ORIENTATION, _XMP):
            if code in tags:
                value = tags[code].value
                count = 1 if code == ORIENTATION else len(value) + (0 if isinstance(value, bytes) else 1)
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


def write_tiff(path: Path, image: IntArray, tags: TiffTags | None, profile: bytes | None) -> None:
    """Write a TIFF that says what another one said.

    Args:
        image: (H, W) or (H, W, C), RGB, alpha last.
        tags: of the file it comes from; None if that was no TIFF.
        profile: ICC profile where there are no tags.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    tifffile.imwrite(
        path,
        image,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if image.ndim == 3 else None,
        extrasamples=None if channels in (1, 3) else [tags.alpha if tags else "unassalpha"],
        compression="zlib" if tags and tags.compressed else None,
        iccprofile=tags.icc if tags else profile,
        resolution=tags.resolution if tags else None,
        resolutionunit=tags.resolution_unit if tags else None,
        extratags=tags.others if tags else (),
        metadata=None,
    )


def _is_thumbnail(page: Any) -> bool:
    """Whether a page is the picture made smaller (TIFF 6.0, NewSubfileType), or a mask for it."""
    tag = page.aspage().tags.get(254)
    return tag is not None and int(tag.value) & 5 != 0

"""Which files a recording consists of, and what they are called."""

import re
from pathlib import Path

from localblur.common.errors import LocalblurError

MANIFEST_NAME = "recording.json"
JOURNAL_NAME = "journal.jsonl"
CHECKSUMS_NAME = "sha256sums.txt"
FEED_PREFIX = ".feed-"
"""Folders of this name inside a recording hold frames waiting to be fed to simulated cameras; recovery removes them."""
CALIBRATION_KINDS = ("static", "dark", "flat", "chart", "bracket")

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_GROUP = re.compile(rf"scenes/{_NAME}|calibration/({'|'.join(CALIBRATION_KINDS)})")
_FRAME = re.compile(r"(?P<index>\d{6,})(-(?P<take>[1-9]\d*))?_[BS]\.tif(?P<part>\.part)?")
_FILE = re.compile(
    rf"{re.escape(MANIFEST_NAME)}|camera_[BS]\.pfs|truth/{_NAME}/\d+\.npz"
    rf"|({_GROUP.pattern})/({re.escape(JOURNAL_NAME)}|\d{{6,}}(-\d+)?_[BS]\.tif)"
)


def check_group(group: str) -> None:
    """Refuse names that are not of the form `scenes/NAME` or `calibration/KIND`."""
    if not _GROUP.fullmatch(group):
        raise LocalblurError(
            f"{group!r} cannot be a group: use scenes/NAME (letters, digits, . _ -) or"
            f" calibration/{'|'.join(CALIBRATION_KINDS)}"
        )


def frame_name(index: int, role: str, take: int = 0) -> str:
    """Name of a frame file; `take` counts how often the pair was recorded again.

    Example:
        >>> frame_name(7, "B"), frame_name(7, "S", take=2)
        ('000007_B.tif', '000007-2_S.tif')
    """
    return f"{index:06d}-{take}_{role}.tif" if take else f"{index:06d}_{role}.tif"


def frame_number(name: str) -> tuple[int, int, bool] | None:
    """Index, take, and whether it is an unfinished `.part`, of a frame file; None for any other name."""
    match = _FRAME.fullmatch(name)
    return (int(match["index"]), int(match["take"] or 0), bool(match["part"])) if match else None


def recorded_files(folder: Path) -> list[str]:
    """Manifest, camera settings, journals, whole frames and truth of a recording: relative POSIX paths, sorted."""
    found = [*folder.glob("*"), *folder.glob("*/*/*")]
    names = (path.relative_to(folder).as_posix() for path in found if path.is_file())
    return sorted(name for name in names if _FILE.fullmatch(name))

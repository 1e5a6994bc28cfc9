"""One writer per folder: a lock that the operating system drops when its process ends, however it ends."""

import sys
from pathlib import Path
from typing import IO

from localblur.common.errors import LocalblurError

LOCK_NAME = ".lock"


class FolderLock:
    """Holds `<folder>/.lock`; the folder must exist. A second holder, in this or another process, is refused.

    Raises:
        LocalblurError: if another process holds the lock.
    """

    def __init__(self, folder: Path, purpose: str) -> None:
        self._file: IO[bytes] | None = (folder / LOCK_NAME).open("ab")
        try:
            _lock(self._file)
        except OSError as error:
            self.release()
            raise LocalblurError(
                f"{folder} is being {purpose} by another process; wait until it is done or choose another folder"
            ) from error

    def release(self) -> None:
        """Let the next one in; releasing twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

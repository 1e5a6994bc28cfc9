"""Putting bytes on the disk so that they survive a kill and a power loss."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

from localblur.common.files import sync_folder

__all__ = ["FrameStore", "sync_folder"]


class FrameStore:
    """Puts bytes on the disk so that a file is there whole or not at all; used by several threads at once."""

    def write(self, path: Path, content: Iterable[memoryview]) -> None:
        """Write buffers of bytes to `<path>.part`, sync it, rename it onto `path`; on failure `.part` is removed."""
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb", buffering=0) as file:
                for buffer in content:
                    self.put(file, buffer)
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def put(self, file: io.FileIO, content: memoryview) -> None:
        """Write all of one buffer of bytes to an unbuffered file."""
        written = 0
        while written < len(content):
            written += file.write(content[written:])

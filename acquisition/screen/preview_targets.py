"""Where preview pictures go: a file that is replaced by each, or a window in a process of its own."""

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from localblur.acquisition.screen.preview_picture import Picture
from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.common.parallel import prepare_worker

SUFFIXES = (".jpg", ".jpeg", ".png")
WINDOW_TITLE = "localblur preview"
_JPEG_QUALITY = 85
_START_S, _END_S = 20.0, 5.0
_POLL_MS = 50


class PreviewTarget(Protocol):
    """Where pictures go."""

    def show(self, picture: Picture) -> None:
        """Show an RGB picture instead of the last one.

        Raises:
            OSError: if nobody can see it any more.
        """

    def close(self) -> None:
        """Show nothing more."""


class FileTarget:
    """A picture file that always is a whole picture; any viewer that follows changes will do.

    Raises:
        LocalblurError: if the suffix is not one of `SUFFIXES` or the folder does not exist.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise LocalblurError(f"a preview is written as {', '.join(SUFFIXES)}, not as {path.name!r}")
        if not path.parent.is_dir():
            raise LocalblurError(f"folder {path.parent} of the preview {path.name} does not exist; make it first")
        self._path = path

    def show(self, picture: Picture) -> None:
        options = [] if self._path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _, encoded = cv2.imencode(self._path.suffix, picture[..., ::-1], options)
        # not synced: that would make the disk wait for a picture that is replaced in a second
        with atomic_path(self._path, durable=False) as temporary:
            temporary.write_bytes(encoded.tobytes())

    def close(self) -> None:
        pass


class WindowTarget:
    """A window. It lives in a process of its own, because a GUI that fails takes its process with it.

    Raises:
        LocalblurError: if no window can be opened here.
    """

    def __init__(self) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise _no_window("there is no display")
        context = multiprocessing.get_context("spawn")
        self._pictures, theirs = context.Pipe()
        self._process = context.Process(target=_show_window, args=(theirs,), name="preview window", daemon=True)
        self._process.start()
        theirs.close()
        try:
            ready = self._pictures.poll(_START_S) and self._pictures.recv()
        except EOFError:
            ready = False
        if not ready:
            self.close()
            raise _no_window("this OpenCV has no window support or cannot reach the display")

    def show(self, picture: Picture) -> None:
        try:
            self._pictures.send(picture)
        except OSError as error:
            raise OSError("its window was closed") from error

    def close(self) -> None:
        self._pictures.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.terminate()


def _no_window(reason: str) -> LocalblurError:
    return LocalblurError(f"no preview window can be opened: {reason}; pass --preview FILE.jpg to have a file instead")


def _show_window(pictures: "Connection[bool, Picture]") -> None:
    """The window's process: shows what comes until the other side closes or the user does."""
    prepare_worker()
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # what GUI libraries have to say would tear the status line
    try:
        cv2.namedWindow(WINDOW_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        return
    pictures.send(True)
    sized = False
    try:
        while True:
            if pictures.poll():
                picture = pictures.recv()
                if not sized:
                    cv2.resizeWindow(WINDOW_TITLE, picture.shape[1], picture.shape[0])
                    sized = True
                cv2.imshow(WINDOW_TITLE, np.ascontiguousarray(picture[..., ::-1]))
            cv2.waitKey(_POLL_MS)
            if cv2.getWindowProperty(WINDOW_TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return
    except (EOFError, OSError):
        return

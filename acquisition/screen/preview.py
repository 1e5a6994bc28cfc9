"""Showing the newest pair while recording, in a window or a file, without ever holding the recording up."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from localblur.acquisition.measuring.raw_pictures import RawFrame
from localblur.acquisition.screen.preview_picture import Glimpse, Picture, View, compose
from localblur.acquisition.screen.preview_targets import FileTarget, PreviewTarget, WindowTarget
from localblur.datasets.recording import ROLES, CameraRecord, Role

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
_CLOSE_S = 5.0


class Preview:
    """Shows at most one pair per second; pairs that come in between are not looked at.

    Args:
        target: a .jpg or .png file that is replaced by each new picture; None opens a window.
        cameras: records of the cameras.
        interval_s: least time between two pictures, in seconds.

    Raises:
        LocalblurError: if no window can be opened here, or the file cannot be written.
    """

    def __init__(
        self, target: Path | None, cameras: Mapping[Role, CameraRecord], *, interval_s: float = INTERVAL_S
    ) -> None:
        self._cameras, self._interval_s = cameras, interval_s
        self._target: PreviewTarget = WindowTarget() if target is None else FileTarget(target)
        self._best_focus = 0.0
        self._next = float("-inf")
        self._pair: dict[Role, Glimpse] | None = None
        self._change = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="preview", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Preview":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer(self, blurred: RawFrame, sharp: RawFrame) -> None:
        """Show this pair if it is time for one; what is needed of the frames is copied before this returns."""
        if self._ended or time.monotonic() < self._next:
            return
        with self._change:
            if self._pair is not None:  # the last one is not shown yet
                return
            self._next = time.monotonic() + self._interval_s
            self._pair = {"B": Glimpse.of(blurred), "S": Glimpse.of(sharp)}
            self._change.notify()

    def close(self) -> None:
        """Show the last pair that was taken, and end; closing twice is harmless."""
        with self._change:
            self._ended = True
            self._change.notify()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            while (pair := self._take()) is not None:
                self._target.show(self._picture(pair))
        except OSError as error:
            logger.warning("the preview has ended, the recording goes on: %s", error)
        except Exception:  # a preview is not worth a recording
            logger.exception("the preview has ended, the recording goes on")
        finally:
            self._ended = True
            self._target.close()

    def _take(self) -> dict[Role, Glimpse] | None:
        with self._change:
            self._change.wait_for(lambda: self._pair is not None or self._ended)
            pair, self._pair = self._pair, None
            return pair

    def _picture(self, pair: dict[Role, Glimpse]) -> Picture:
        views = {role: View.of(pair[role], self._cameras[role]) for role in ROLES}
        self._best_focus = max(self._best_focus, views["S"].focus)
        return compose(views, self._cameras, self._best_focus)

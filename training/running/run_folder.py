"""The folder of a training run: what lies in it, who may write to it, and what may be removed from it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, refuse_existing, write_json
from localblur.common.locking import LOCK_NAME, FolderLock
from localblur.training.checkpoint import CARD_NAME, SKIPPING_NAME, WEIGHTS_NAME
from localblur.training.running.loop import DUMP_NAME, STATE_NAME
from localblur.training.running.run_log import LOG_NAME

RUN_NAME = "run.json"
SCHEMA_VERSION = 1
_RUN_FORMAT = "localblur-run"
_MODELS = ("best", "last")
_OWN_FILES = (
    *(RUN_NAME, STATE_NAME, DUMP_NAME, LOG_NAME),
    *(f"{folder}/{name}" for folder in _MODELS for name in (WEIGHTS_NAME, CARD_NAME, SKIPPING_NAME)),
)
_BOARD_FILES = "tensorboard/events.out.tfevents.*"


class RunFolder:
    """A run's folder while a process works with it; within the context no other process may write to it.

    Args:
        path: the folder; made by `prepare` if needed.
        resume: continue the run in it.
        overwrite: replace the run in it.
        writing: False on all but one process of a run: then nothing is checked, locked or written.

    Raises:
        LocalblurError: on entering, if the folder holds a run that is not to be resumed or replaced, a run without its
            checkpoint, or something else, or if another process trains in it.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False, writing: bool = True) -> None:
        self.path, self.checkpoint = path, path / STATE_NAME
        self._resume, self._overwrite, self._writing = resume, overwrite, writing
        self._lock: FolderLock | None = None

    def __enter__(self) -> "RunFolder":
        if self._writing:
            self._refuse()
            if self.path.is_dir():  # else it is made, and locked, when nothing else is wrong with the call
                self._lock = FolderLock(self.path, "trained in")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release()

    def stored_settings(self) -> dict[str, Any] | None:
        """Settings of the run that was begun here, as plain values; None if there is none."""
        path = self.path / RUN_NAME
        if not path.exists():
            return None
        about = read_json(path)
        if not isinstance(about, dict) or about.get("format") != _RUN_FORMAT:
            raise LocalblurError(f"{path} is not of a run of this program; choose another --output")
        version = about.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise LocalblurError(
                f"{path} has schema version {version}, this program reads up to {SCHEMA_VERSION}; update it"
            )
        if not isinstance(about.get("settings"), dict):
            raise LocalblurError(f"{path} holds no settings: it is damaged; start again with --overwrite")
        return dict(about["settings"])

    def prepare(self, settings: dict[str, Any], data: tuple[Path, ...], fingerprint: str, *, fresh: bool) -> None:
        """Make the folder; when a run begins in it, remove an earlier one and write `run.json`."""
        if not self._writing:
            return
        if self._lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path, "trained in")
            if self._strangers():
                raise LocalblurError(f"{self.path} was filled by another process meanwhile; choose another --output")
        for leftover in self._leftovers():  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
        if not fresh:
            return
        # first the checkpoint, then the new settings: what a kill leaves here is never taken for the other run's
        self.checkpoint.unlink(missing_ok=True)
        about = {"settings": settings, "data": [str(path) for path in data], "data_fingerprint": fingerprint}
        write_json(self.path / RUN_NAME, {"format": _RUN_FORMAT, "schema_version": SCHEMA_VERSION, **about})
        self._remove_products()

    def _refuse(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise LocalblurError(f"{self.path} is a file; choose another --output")
        if self._overwrite:
            return
        begun, kept = (self.path / RUN_NAME).exists(), self._resume and self.checkpoint.exists()
        if not begun and not kept and self._strangers():
            raise LocalblurError(
                f"{self.path} is not empty and not the folder of a run; choose another --output or pass --overwrite"
            )
        if not self._resume:
            refuse_existing(self.path / RUN_NAME, overwrite=False)
        models = [self.path / name for name in _MODELS if (self.path / name / WEIGHTS_NAME).exists()]
        if models and not kept:
            raise LocalblurError(
                f"{models[0]} holds a model but there is no {self.checkpoint} to continue from; choose another --output"
                " or start again with --overwrite"
            )

    def _strangers(self) -> bool:
        """Whether anything lies in the folder but what a kill at the very beginning of a run leaves."""
        own = {self.path / LOCK_NAME, *self._leftovers()}
        return self.path.is_dir() and any(entry not in own for entry in self.path.iterdir())

    def _leftovers(self) -> Iterator[Path]:
        """Half-written files under the names that `atomic_path` gives them."""
        for name in _OWN_FILES:
            file = self.path / name
            yield from file.parent.glob(f".{file.stem}.*.part{file.suffix}")

    def _remove_products(self) -> None:
        """Remove what a run writes, `run.json` excepted, and nothing else that may lie beside it."""
        files = [self.path / name for name in _OWN_FILES if name != RUN_NAME]
        for file in (*files, *self.path.glob(_BOARD_FILES)):
            file.unlink(missing_ok=True)
        for name in (*_MODELS, "tensorboard"):
            with suppress(OSError):  # missing, or not empty: then the rest is not a run's
                (self.path / name).rmdir()

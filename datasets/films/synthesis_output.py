"""Where synthesised pairs go: a pairs file, or the tree of GOPRO_Large; both continue an interrupted run."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from localblur.common.errors import LocalblurError
from localblur.datasets.exchange.gopro_tree import begin_tree, finish_tree, finished_pairs, remove_tree
from localblur.datasets.films.synthesis_plan import Plan
from localblur.datasets.films.video_work import OutputKind, VideoTask
from localblur.datasets.storage.compression import Compression
from localblur.datasets.storage.parts import list_parts, part_path
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader

STATE = "work"


class Output(Protocol):
    """A place for pairs; a context manager that begins or continues a run and ends it well.

    Attributes:
        kind: what workers write. folder: where to. state: folder of what only an unfinished run needs.
    """

    kind: OutputKind
    folder: Path

    @property
    def state(self) -> Path: ...

    def __enter__(self) -> "Output": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def finished(self, plan: Plan) -> set[tuple[str, str]]:
        """(scene, name) of the pairs that are made."""
        ...

    def take(self, task: VideoTask) -> None:
        """Take up what a worker has made of a video."""
        ...


class PairsOutput:
    """A pairs file: workers leave parts, which are folded in video by video."""

    kind: OutputKind = "pairs"

    def __init__(
        self,
        path: Path,
        header: StoreHeader,
        identity: Mapping[str, Any],
        *,
        compression: Compression = "gzip",
        overwrite: bool,
    ) -> None:
        self._writer = PairsWriter(path, header, overwrite=overwrite, compression=compression, identity=identity)
        self.folder = self._writer.parts

    @property
    def state(self) -> Path:
        return self.folder / STATE

    def __enter__(self) -> "PairsOutput":
        self._writer.__enter__()
        self.state.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)
        # a worker that dies costs its video, and the others' windows are parts that nobody has taken up yet
        if isinstance(error, LocalblurError) and not self._writer.finished and not list_parts(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)

    def finished(self, plan: Plan) -> set[tuple[str, str]]:
        return set(self._writer.finished)

    def take(self, task: VideoTask) -> None:
        for window in task.missing:
            part = part_path(self.folder, window.scene, window.name)
            if (window.scene, window.name) not in self._writer.finished and part.exists():
                self._writer.fold(part)


class TreeOutput:
    """The tree of GOPRO_Large: workers write pictures, nothing is left to take up."""

    kind: OutputKind = "gopro"

    def __init__(self, folder: Path, run: dict[str, Any], *, overwrite: bool) -> None:
        self.folder, self._run, self._overwrite = folder, run, overwrite

    @property
    def state(self) -> Path:
        return self.folder / f".{STATE}"

    def __enter__(self) -> "TreeOutput":
        if not begin_tree(self.folder, self._run, overwrite=self._overwrite):
            shutil.rmtree(self.state, ignore_errors=True)  # surveys and dropped windows of another run
        self.state.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        nothing = not any(self.folder.glob("*/*/sharp/*.png"))
        if error is None:
            finish_tree(self.folder)
        if error is None or (isinstance(error, LocalblurError) and nothing):
            shutil.rmtree(self.state, ignore_errors=True)
        if isinstance(error, LocalblurError) and nothing:
            remove_tree(self.folder)

    def finished(self, plan: Plan) -> set[tuple[str, str]]:
        wanted = [
            (plan.splits[window.scene], window.scene, window.name) for video in plan.videos for window in video.windows
        ]
        return finished_pairs(self.folder, wanted)

    def take(self, task: VideoTask) -> None:
        return


def count_stored(output: Path) -> tuple[int, int]:
    """(pairs, scenes) of a finished pairs file or tree."""
    if output.is_dir():
        sharp = list(output.glob("*/*/sharp/*.png"))
        return len(sharp), len({path.parent for path in sharp})
    with PairsFile(output, edits=False) as pairs:
        return sum(entry.count for entry in pairs.scenes), len(pairs.scenes)

"""One video for one worker: its windows become parts of a pairs file or pictures of a tree, dropped ones are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2

from localblur.common.errors import LocalblurError
from localblur.common.files import read_json, write_json
from localblur.datasets.exchange.gopro_tree import write_tree_pair
from localblur.datasets.films.contact_sheet import ROWS_OF_EACH_KIND, strip_of
from localblur.datasets.films.frame_windows import Window, spread
from localblur.datasets.films.synthesis_plan import PlannedVideo
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.films.window_blending import Blended, blend_video
from localblur.datasets.films.work_tally import Tally
from localblur.datasets.images import write_image
from localblur.datasets.pair import Pair
from localblur.datasets.storage.parts import write_part

OutputKind = Literal["pairs", "gopro"]


@dataclass(frozen=True, kw_only=True)
class VideoTask:
    """One video with windows to be made.

    Attributes:
        video: the source, what is known of it, all its windows.
        missing: those to be made.
        splits: split of every scene.
        settings: see there.
        kind: what is written: parts into `folder`, or pictures of the tree `folder`.
        folder: of parts, or the tree.
        state: folder of what is only needed while the run is unfinished.
        number: of the video in its run, for names in `state`.
        preview: make strips for a contact sheet.
    """

    video: PlannedVideo
    missing: tuple[Window, ...]
    splits: dict[str, str]
    settings: SynthesisSettings
    kind: OutputKind
    folder: Path
    state: Path
    number: int
    preview: bool = False

    @property
    def tally(self) -> Path:
        """Counts frames."""
        return self.state / f"{self.number}.tally"

    @property
    def record(self) -> Path:
        """Written when the video is finished, see `Outcome`."""
        return self.state / f"{self.number}.json"

    @property
    def frames(self) -> int:
        """Number of frames to be read."""
        return max(window.stop for window in self.missing)

    def strip(self, window: str) -> Path:
        """Strip of a window for the contact sheet."""
        return self.state / f"{self.number}-{window}.png"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a video: windows dropped, as (scene, name, why), and why it could not be finished, or None."""

    dropped: tuple[tuple[str, str, str], ...]
    problem: str | None = None


def process_video(task: VideoTask) -> Outcome:
    """Make the missing windows of a video; runs in workers. What is finished stays whatever happens later.

    Raises:
        OSError: if nothing can be written.
    """
    dropped = earlier_dropped(task.record)
    shown = {window.name for window in spread(task.video.windows, ROWS_OF_EACH_KIND)}
    problem = None
    with Tally(task.tally) as tally, _one_thread():
        finished = blend_video(task.video, task.missing, task.settings, both_versions=task.kind == "gopro")
        while True:
            try:
                blended = next(finished)
            except StopIteration:
                break
            except LocalblurError as error:
                problem = str(error)
                break
            if blended is None:
                tally.step()
                if tally.stopped:
                    problem = f"{task.video.source} was not finished"
                    break
                continue
            pair = blended.pair
            if task.preview and (pair.info.name in shown or (blended.dropped and len(dropped) < ROWS_OF_EACH_KIND)):
                write_image(task.strip(pair.info.name), strip_of(pair))
            if blended.dropped:
                dropped.append((pair.scene, pair.info.name, blended.dropped))
            else:
                _store(task, blended)
    outcome = Outcome(dropped=tuple(dropped), problem=problem)
    if problem is None:
        write_json(task.record, {"windows": [window.name for window in task.missing], "dropped": dropped})
    return outcome


def earlier_dropped(record: Path) -> list[tuple[str, str, str]]:
    """Windows that an earlier run dropped when it finished this video, as (scene, name, why)."""
    if not record.is_file():
        return []
    return [(str(scene), str(name), str(why)) for scene, name, why in read_json(record)["dropped"]]


def _store(task: VideoTask, blended: Blended) -> None:
    pair = blended.pair
    if not task.settings.mask:
        pair = Pair(scene=pair.scene, info=pair.info, blurred=pair.blurred, sharp=pair.sharp)
    split = task.splits[pair.scene]
    if task.kind == "pairs":
        write_part(task.folder, pair, split)
    elif blended.codes is not None:
        write_tree_pair(task.folder, pair, blended.codes, split)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Optical flow differs a little with the number of threads; pictures must not."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)

"""Frames of videos and of folders of pictures, and where one shot ends and the next begins."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, VideoReformatter

from localblur.common.errors import LocalblurError
from localblur.datasets.images import IMAGE_SUFFIXES, read_image
from localblur.datasets.store_reader import natural_key

Frame = npt.NDArray[np.uint8]

HD_HEIGHT_PX = 720
"""Videos that do not say so are BT.709 from this height on and BT.601 below, as players assume."""
SMPTE_170M = 6
"""AVCOL_SPC_SMPTE170M: NTSC's name for the matrix of BT.601."""
THUMBNAIL_PX = (64, 36)
CUT_LEVELS = 12.0
CUT_RATIO = 2.5
CUT_NEIGHBOURS = 4


@dataclass(frozen=True)
class Shot:
    """Frames `start` <= i < `stop` without a cut between them, all of one size."""

    start: int
    stop: int
    height: int
    width: int

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.stop - self.start


@dataclass(frozen=True)
class Survey:
    """What one pass over a video found.

    Attributes:
        shots: in order; together they cover every readable frame.
        problem: why reading stopped early, or None.
    """

    shots: list[Shot]
    problem: str | None

    @property
    def frame_count(self) -> int:
        """Number of readable frames."""
        return self.shots[-1].stop if self.shots else 0


def read_frames(source: Path) -> Iterator[Frame]:
    """Yield the frames of a video, or of a folder of pictures in natural order of their names.

    Frames are (H, W, 3) uint8 RGB as a player would show them: rotation flags are applied, 16-bit pictures reduced.

    Raises:
        LocalblurError: if `source` cannot be read; also in the middle, when the rest of a video is damaged.
    """
    return _each_frame(source, _to_rgb, lambda image: image)


def frame_rate(source: Path) -> float:
    """Frames per second as the container states it, NaN if it does not (or for a folder of pictures)."""
    if source.is_dir():
        return float("nan")
    with _open(source) as container:
        rate = _video_stream(container, source).average_rate
        return float(rate) if rate else float("nan")


def survey(source: Path) -> Survey:
    """Read a video once and find its shots; damage in the middle ends the survey and is told in `problem`.

    Raises:
        LocalblurError: if not a single frame can be read.
    """
    sizes: list[tuple[int, int]] = []
    changes: list[float] = []
    previous: npt.NDArray[np.float32] | None = None
    problem = None
    try:
        for thumbnail, size in _each_frame(source, _thumbnail, lambda image: (_shrink(image), image.shape[:2])):
            changes.append(float(np.abs(thumbnail - previous).mean()) if previous is not None else 0.0)
            sizes.append((size[0], size[1]))
            previous = thumbnail
    except LocalblurError as error:
        if not sizes:
            raise
        problem = str(error)
    if not sizes:
        raise LocalblurError(f"{source} holds no frames")
    return Survey(_shots(np.array(changes), sizes), problem)


def find_cuts(changes: npt.NDArray[np.float64]) -> list[int]:
    """Indices of the frames that begin a new shot.

    A hard cut changes the picture much more than its neighbours in time do; steady camera motion does not.

    Args:
        changes: (N,) mean absolute difference in levels of every frame's thumbnail to the one before.
    """
    cuts = []
    for index in range(1, len(changes)):
        around = np.r_[changes[max(1, index - CUT_NEIGHBOURS) : index], changes[index + 1 : index + 1 + CUT_NEIGHBOURS]]
        usual = float(np.median(around)) if around.size else 0.0
        if changes[index] > max(CUT_LEVELS, CUT_RATIO * usual):
            cuts.append(index)
    return cuts


def _shots(changes: npt.NDArray[np.float64], sizes: list[tuple[int, int]]) -> list[Shot]:
    resized = [index for index in range(1, len(sizes)) if sizes[index] != sizes[index - 1]]
    edges = [0, *sorted({*find_cuts(changes), *resized}), len(sizes)]
    return [Shot(start, stop, *sizes[start]) for start, stop in zip(edges[:-1], edges[1:], strict=True)]


def _each_frame(source: Path, from_video: Callable[..., Any], from_image: Callable[[Frame], Any]) -> Iterator[Any]:
    if source.is_dir():
        for path in _pictures(source):
            yield from_image(_eight_bit(read_image(path)))
        return
    if not source.is_file():
        raise LocalblurError(f"{source} does not exist; give a video file or a folder of frames")
    reformatter = VideoReformatter()  # one for all frames: each holds megabytes of tables
    with _open(source) as container:
        stream = _video_stream(container, source)
        stream.thread_type = "AUTO"
        frames, count = container.decode(stream), 0
        while True:
            try:
                frame = next(frames, None)
                if frame is None:
                    return
                if frame.is_corrupt:
                    raise ValueError("a frame is corrupt")
                converted = from_video(frame, reformatter)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise LocalblurError(
                    f"{source} is truncated or damaged after frame {count}: {' '.join(str(error).split())}"
                ) from error
            yield converted
            count += 1


def _open(source: Path) -> Any:
    try:
        return av.open(str(source))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise LocalblurError(
            f"cannot open {source} as a video: it is damaged, incomplete or of an unknown format"
        ) from error


def _video_stream(container: Any, source: Path) -> Any:
    for stream in container.streams.video:
        if not stream.disposition & stream.disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise LocalblurError(f"{source} has no video stream (or none that can be decoded)")


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    if not found:
        raise LocalblurError(f"{folder} holds no pictures; give a video file or a folder of frames")
    return sorted(found, key=lambda path: natural_key(path.name))


def _to_rgb(frame: Any, reformatter: Any) -> Frame:
    return _upright(reformatter.reformat(frame, format="rgb24", src_colorspace=_colorspace(frame)).to_ndarray(), frame)


def _thumbnail(frame: Any, reformatter: Any) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    width, height = THUMBNAIL_PX
    # "AREA" averages; without it, fine texture would flicker in the thumbnail and look like cuts
    small = reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
    size = (frame.width, frame.height) if frame.rotation % 180 else (frame.height, frame.width)
    return small.astype(np.float32), size


def _shrink(image: Frame) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.resize(image, THUMBNAIL_PX, interpolation=cv2.INTER_AREA), np.float32)


def _colorspace(frame: Any) -> Any:
    stated = int(frame.colorspace)
    if stated in (SMPTE_170M, int(Colorspace.ITU601)):
        return Colorspace.ITU601
    if stated in {int(space) for space in Colorspace}:
        return Colorspace(stated)
    return Colorspace.ITU709 if frame.height >= HD_HEIGHT_PX else Colorspace.ITU601


def _upright(image: Frame, frame: Any) -> Frame:
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def _eight_bit(image: npt.NDArray[Any]) -> Frame:
    return image if image.dtype == np.uint8 else np.asarray((image.astype(np.uint32) + 128) // 257, np.uint8)

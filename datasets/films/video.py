"""Frames of videos and of folders of pictures, with their times."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, VideoReformatter

from localblur.common.errors import LocalblurError
from localblur.datasets.films.damaged_video import DECODING_ERRORS, decode_frames
from localblur.datasets.images import IMAGE_SUFFIXES, read_image
from localblur.datasets.storage.reader import natural_key

Frame = npt.NDArray[np.uint8]
Converted = TypeVar("Converted")

HD_HEIGHT_PX = 720
"""Videos that do not say so are BT.709 from this height on and BT.601 below, as players assume."""
SMPTE_170M = 6
"""AVCOL_SPC_SMPTE170M: NTSC's name for the matrix of BT.601."""
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""AVCOL_TRC_SMPTE2084 and AVCOL_TRC_ARIB_STD_B67: curves that no camera response of 8 bits describes."""
THUMBNAIL_PX = (64, 36)


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A frame at a glance.

    Attributes:
        thumbnail: float32 (36, 64, 3), levels.
        size: (H, W) of the frame as shown.
        time: seconds in a video, the number in a picture's name, NaN if unknown.
        tick: the finest step of `time`.
    """

    thumbnail: npt.NDArray[np.float32]
    size: tuple[int, int]
    time: float
    tick: float


def read_frames(source: Path) -> Iterator[Frame | None]:
    """Yield the frames of a video, or of a folder of pictures in natural order of their names.

    Frames are (H, W, 3) uint8 RGB as a player would show them: rotation flags are applied, 16-bit pictures reduced.
    A damaged frame, see `decode_frames`, and a picture that cannot be read are None.

    Raises:
        LocalblurError: if `source` cannot be read; also at the end, when more should follow.
    """
    if source.is_dir():
        return (None if image is None else _eight_bit(image) for _, image in _read_pictures(source))
    return _decoded(source, _to_rgb)


def frame_rate(source: Path) -> float:
    """Frames per second as the container states it, NaN if it does not (or for a folder of pictures)."""
    if source.is_dir():
        return float("nan")
    with open_video(source) as container:
        rate = _standard_stream(container, source).average_rate
        return float(rate) if rate else float("nan")


def picture_names(folder: Path, numbers: Sequence[int]) -> list[str]:
    """Names of the pictures with these numbers in the order of `read_frames`."""
    names = [path.name for path in _pictures(folder)]
    return [names[number] for number in numbers]


def glance_at_frames(source: Path) -> Iterator[Glance | None]:
    """Yield every frame at a glance, None for a damaged one; cheaper than the frames themselves.

    Raises:
        LocalblurError: as `read_frames`.
    """
    if source.is_dir():
        for path, picture in _read_pictures(source):
            if picture is None:
                yield None
                continue
            image = _eight_bit(picture)
            number = re.search(r"(\d+)\D*$", path.stem)
            yield Glance(
                thumbnail=np.asarray(cv2.resize(image, THUMBNAIL_PX, interpolation=cv2.INTER_AREA), np.float32),
                size=(image.shape[0], image.shape[1]),
                time=float(number[1]) if number else float("nan"),
                tick=0.0,
            )
    else:
        yield from _decoded(source, _glance)


def _decoded(source: Path, convert: Callable[[Any, Any], Converted]) -> Iterator[Converted | None]:
    if not source.is_file():
        raise LocalblurError(f"{source} does not exist; give a video file or a folder of frames")
    reformatter = VideoReformatter()  # one for all frames: each holds megabytes of tables
    with open_video(source) as container:
        stream = _standard_stream(container, source)
        stream.thread_type = "AUTO"
        for count, frame in enumerate(decode_frames(container, stream, source)):
            try:
                converted = None if frame is None else convert(frame, reformatter)
            except DECODING_ERRORS as error:
                why = " ".join(str(error).split())
                raise LocalblurError(f"frame {count} of {source} cannot be converted to RGB: {why}") from error
            yield converted


def open_video(source: Path) -> Any:
    """Open a video file; PyAV's container, a context manager.

    Raises:
        LocalblurError: if it is no video that can be read.
    """
    try:
        return av.open(str(source))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise LocalblurError(
            f"cannot open {source} as a video: it is damaged, incomplete or of an unknown format"
        ) from error


def video_stream(container: Any, source: Path) -> Any:
    """The first video stream that is not a cover picture.

    Raises:
        LocalblurError: if there is none that can be decoded.
    """
    for stream in container.streams.video:
        if not stream.disposition & stream.disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise LocalblurError(f"{source} has no video stream (or none that can be decoded)")


def _standard_stream(container: Any, source: Path) -> Any:
    stream = video_stream(container, source)
    transfer = HDR_TRANSFERS.get(int(stream.codec_context.color_trc))
    if transfer is not None:
        raise LocalblurError(f"{source} is HDR video ({transfer}); convert it to SDR (BT.709) first")
    return stream


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    if not found:
        raise LocalblurError(f"{folder} holds no pictures; give a video file or a folder of frames")
    return sorted(found, key=lambda path: natural_key(path.name))


def _read_pictures(folder: Path) -> Iterator[tuple[Path, npt.NDArray[Any] | None]]:
    for path in _pictures(folder):
        try:
            yield path, read_image(path)
        except LocalblurError:
            yield path, None


def _to_rgb(frame: Any, reformatter: Any) -> Frame:
    return _upright(reformatter.reformat(frame, format="rgb24", src_colorspace=_colorspace(frame)).to_ndarray(), frame)


def _glance(frame: Any, reformatter: Any) -> Glance:
    width, height = THUMBNAIL_PX
    # "AREA" averages; without it, fine texture would flicker in the thumbnail and look like cuts
    small = reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
    return Glance(
        thumbnail=small.astype(np.float32),
        size=(frame.width, frame.height) if frame.rotation % 180 else (frame.height, frame.width),
        time=float("nan") if frame.time is None else float(frame.time),
        tick=float(frame.time_base or 0),
    )


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

"""Restoring a video frame by frame; sound is copied as it is."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.datasets.films.damaged_video import DECODING_ERRORS, SeenFrames, describe_damage, read_packets
from localblur.datasets.films.video import open_video, video_stream

Frame = npt.NDArray[np.uint8]

QUALITY = 16
"""x264's constant rate factor: hardly to be told from the original."""

_HD_HEIGHT_PX = 720

_EXACT = 0x2 | 0x2000 | 0x40000
"""swscale: bilinear, all colour samples, exact rounding; otherwise brightness falls by a level on the way and back."""


def frame_count(source: Path) -> int:
    """How many frames a video has as its container states it, 0 where it does not.

    Raises:
        LocalblurError: if it is no video.
    """
    with _opened(source) as container:
        stream = video_stream(container, source)
        stated: int = stream.frames
        rate, length = stream.average_rate, container.duration
        return stated or (int(length / av.time_base * rate) if rate and length else 0)


class RestoredVideo(NamedTuple):
    """What came of a video: how many frames were written, and in words which of them are damaged; empty if none."""

    frames: int
    damage: str


def restore_video(
    source: Path, target: Path, restore: Callable[[Frame], Frame], tell: Callable[[], None]
) -> RestoredVideo:
    """Write a video in which every frame has gone through `restore`.

    Times of frames are kept, also where they are uneven; the result is 8-bit H.264 in MP4. Turned videos are turned
    upright. Sound is copied where MP4 can hold it. Damaged frames are restored as the decoder mends them, and told.

    Args:
        restore: (H, W, 3) uint8 RGB to the same.
        tell: called after each frame.

    Raises:
        LocalblurError: if the video cannot be read, ends too early, or cannot be encoded; then nothing is written.
        OSError: if the system does not write the result, for example on a full disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _opened(source) as container, atomic_path(target) as temporary:
        stream = video_stream(container, source)
        stream.thread_type = "AUTO"
        try:
            with av.open(str(temporary), "w") as output:
                return _Copy(container, stream, output).run(source, restore, tell)
        except av.FFmpegError as error:
            if isinstance(error, OSError) and error.filename is None:  # FFmpeg's own, of what it was writing
                raise OSError(error.errno, error.strerror, str(target)) from error
            if isinstance(error, (OSError, MemoryError)):
                raise
            raise LocalblurError(f"cannot write {target}: {' '.join(str(error).split())}") from error


class _Copy:
    def __init__(self, container: Any, stream: Any, output: Any) -> None:
        self._container, self._stream, self._output = container, stream, output
        self._encoder: Any = None
        self._sound = {sound.index: output.add_stream_from_template(sound) for sound in _sounds(container, output)}
        self._seen = SeenFrames()
        self._damaged: list[int] = []
        self._times: list[float] = []

    def run(self, source: Path, restore: Callable[[Frame], Frame], tell: Callable[[], None]) -> RestoredVideo:
        # streams of the output are fixed with its first packet: sound waits for the first frame
        waiting: list[Any] = []
        for packet, frames in self._decoded(source):
            if packet.stream.index in self._sound:
                waiting.append(packet)
            for frame in frames:
                self._write(frame, restore)
                tell()
            if self._encoder is not None:
                self._copy(waiting)
                waiting.clear()
        if self._encoder is None:
            raise LocalblurError(f"{source} holds no frames")
        self._seen.check_end(self._container, self._stream, source)
        self._output.mux(self._encoder.encode())
        return RestoredVideo(len(self._times), describe_damage(self._damaged, self._sound_times()))

    def _decoded(self, source: Path) -> Iterator[tuple[Any, list[Any]]]:
        """Yield every packet with the frames that came of it, none for sound."""
        wanted = [self._stream, *(self._container.streams[index] for index in self._sound)]
        for packet in read_packets(self._container, wanted, source):
            frames = [] if packet.stream.index in self._sound else self._frames(packet)
            yield packet, frames

    def _frames(self, packet: Any) -> list[Any]:
        try:
            frames: list[Any] = packet.decode()
        except DECODING_ERRORS:
            self._seen.fail()
            self._damaged.append(len(self._times))
            return []
        for frame in frames:
            if not self._seen.add(frame):
                self._damaged.append(len(self._times))
            self._times.append(float("nan") if frame.time is None else frame.time)
        return frames

    def _sound_times(self) -> npt.NDArray[np.float64]:
        """When the frames that are not damaged are shown, in seconds."""
        damaged = set(self._damaged)
        return np.array([time for index, time in enumerate(self._times) if index not in damaged])

    def _write(self, frame: Any, restore: Callable[[Frame], Frame]) -> None:
        space = _colorspace(frame)
        picture = frame.reformat(format="rgb24", src_colorspace=space, interpolation=_EXACT).to_ndarray()
        turns = round(frame.rotation / 90) % 4
        upright = np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
        restored = av.VideoFrame.from_ndarray(np.ascontiguousarray(restore(upright)), format="rgb24")
        if self._encoder is None:
            self._encoder = self._begin(restored.width, restored.height, space)
        converted = restored.reformat(format=self._encoder.pix_fmt, dst_colorspace=space, interpolation=_EXACT)
        converted.pts, converted.time_base = frame.pts, frame.time_base
        self._output.mux(self._encoder.encode(converted))

    def _begin(self, width: int, height: int, space: Any) -> Any:
        rate = self._stream.average_rate or Fraction(25)
        encoder = self._output.add_stream("libx264", rate=rate, options={"crf": str(QUALITY)})
        encoder.width, encoder.height = width, height
        # half the colours in each direction needs even sizes
        encoder.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        encoder.codec_context.time_base = self._stream.time_base
        encoder.codec_context.colorspace = 1 if space == Colorspace.ITU709 else 6
        return encoder

    def _copy(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.dts is not None:
                packet.stream = self._sound[packet.stream.index]
                self._output.mux(packet)


def _sounds(container: Any, output: Any) -> list[Any]:
    known = output.supported_codecs
    return [sound for sound in container.streams.audio if sound.codec_context.name in known]


def _opened(source: Path) -> Any:
    if not source.is_file():
        raise LocalblurError(f"no such video: {source}")
    return open_video(source)


def _colorspace(frame: Any) -> Any:
    """What the frame states, else BT.709 for high definition and BT.601 below, as players assume."""
    if int(frame.colorspace) == int(Colorspace.ITU709):
        return Colorspace.ITU709
    if int(frame.colorspace) in (5, 6):
        return Colorspace.ITU601
    return Colorspace.ITU709 if frame.height >= _HD_HEIGHT_PX else Colorspace.ITU601

"""Ways of averaging eleven frames of a video: ours, FFmpeg's `tmix` on RGB and YUV, OpenCV on whole frames."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from measure import Measured, PeakMemory

from localblur.datasets.films.blending import Exposure
from localblur.datasets.films.video import Frame, read_frames
from localblur.datasets.images import from_unit, srgb_encode
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.scenes.textures import TextureSource

FRAMES = 11
WINDOWS = 4
BIT_RATE = 60_000_000
RESPONSE = CAMERA_RESPONSES["gamma2.2"]


def write_video(path: Path, height: int, width: int) -> None:
    """A panned texture with noise, H.264 at about the bit rate of action cameras, `FRAMES * WINDOWS` frames."""
    wide = from_unit(srgb_encode(TextureSource("train").background([3, 1], height, width + 400)), 8)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=240, options={"preset": "veryfast"})
        stream.bit_rate = BIT_RATE
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(FRAMES * WINDOWS):
            seen = wide[:, 4 * index : 4 * index + width]
            noisy = np.clip(seen + rng.normal(0, 3, (height, width, 3)), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode(None))


def decode(path: Path) -> int:
    """Decoding alone."""
    return sum(1 for _ in _decoded(path))


def decode_to_rgb(path: Path) -> int:
    """Decoding and conversion to RGB."""
    return sum(1 for _ in _frames(path))


def ours(path: Path) -> int:
    """Averaged in linear light, from the file to the coded picture."""
    made, exposure = 0, Exposure(RESPONSE)
    for frame in _frames(path):
        exposure.add(frame)
        if exposure.count == FRAMES:
            made += exposure.blurred().shape[0] > 0
            exposure = Exposure(RESPONSE)
    return made


def whole_frames(path: Path) -> int:
    """As `ours`, with whole-frame `cv2.LUT` and `cv2.add`."""
    made, count, total = 0, 0, None
    for frame in _frames(path):
        linear = cv2.LUT(frame, RESPONSE.to_linear)
        total = linear if total is None else cv2.add(total, linear)
        count += 1
        if count == FRAMES:
            mean = cv2.multiply(total, 1 / FRAMES)
            made += cv2.convertScaleAbs(cv2.pow(mean, 1 / 2.2), alpha=255).shape[0] > 0
            count, total = 0, None
    return made


def _frames(path: Path) -> Iterator[Frame]:
    return (frame for frame in read_frames(path) if frame is not None)


def tmix_rgb(path: Path) -> int:
    """FFmpeg's `tmix` on planar RGB: averages codes."""
    return _tmix(path, "gbrp")


def tmix_yuv(path: Path) -> int:
    """FFmpeg's `tmix` on YUV as decoded: averages codes."""
    return _tmix(path, None)


def _tmix(path: Path, pixel_format: str | None) -> int:
    """`tmix` has no stride: it averages around every frame, and `select` keeps one of eleven."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=stream)]
        if pixel_format:
            nodes.append(graph.add("format", f"pix_fmts={pixel_format}"))
        nodes.append(graph.add("tmix", f"frames={FRAMES}"))
        nodes.append(graph.add("select", f"not(mod(n-{FRAMES - 1}\\,{FRAMES}))"))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        made = 0
        for frame in container.decode(stream):
            graph.push(frame)
            made += _pulled(graph)
        graph.push(None)
        return made + _pulled(graph)


def _pulled(graph: Any) -> int:
    count = 0
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return count
        count += frame.height > 0


def _decoded(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


WAYS: Mapping[str, Callable[[Path], int]] = {
    "decoding": decode,
    "decoding and RGB": decode_to_rgb,
    "ours": ours,
    "whole-frame cv2.LUT + cv2.add": whole_frames,
    "tmix on RGB": tmix_rgb,
    "tmix on YUV": tmix_yuv,
}


def cpu_in_turns(path: Path, rounds: int) -> dict[str, Measured]:
    """CPU seconds per frame (all threads) of every way, in alternation in one process, after one untimed call each."""
    measured = {name: Measured(name=name) for name in WAYS}
    for name, way in WAYS.items():
        with PeakMemory() as memory:
            measured[name].result = way(path)
        measured[name].peak_mib = memory.peak_mib
    for _ in range(rounds):
        for name, way in WAYS.items():
            begun = time.process_time()
            way(path)
            measured[name].seconds.append((time.process_time() - begun) / (FRAMES * WINDOWS))
    return measured


def difference(name: str, more: Measured, less: Measured) -> Measured:
    """CPU time that one way takes beyond another, round by round; the memory is that of the whole way."""
    seconds = [a - b for a, b in zip(more.seconds, less.seconds, strict=True)]
    return Measured(name=name, seconds=seconds, peak_mib=more.peak_mib)

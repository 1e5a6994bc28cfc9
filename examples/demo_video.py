"""Generated high-frame-rate video: textured objects wandering about a still background, 240 frames a second."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from localblur.common.parallel import default_workers, limit_threads
from localblur.datasets.images import from_unit, srgb_encode
from localblur.datasets.scenes.object_motion import render_frames
from localblur.datasets.scenes.scene_objects import video_objects
from localblur.datasets.scenes.textures import TextureSource

FRAME_RATE = 240
FRAMES_PER_CLIP = 39


def write_clips(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write `count` clips of `size` (width, height) with the training textures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip{number:03d}.mkv" for number in range(count)]
    with ProcessPoolExecutor(default_workers(), mp_context=get_context("spawn"), initializer=limit_threads) as pool:
        list(pool.map(partial(write_clip, size=size), range(count), paths, chunksize=4))
    return paths


def write_clip(number: int, path: Path, size: tuple[int, int]) -> None:
    """Render one clip and store it without loss."""
    width, height = size
    source = TextureSource("train")
    key: Sequence[int] = (77, number)
    background = source.background(key, height, width)
    rng = source.generator([*key, 9])
    objects = video_objects(
        source, key, background, count=int(rng.integers(1, 5)), speed_px_per_ms=(0.15, 0.75), size_px=(40, 170)
    )
    frames = render_frames(
        background,
        objects,
        count=FRAMES_PER_CLIP,
        interval_ms=1000 / FRAME_RATE,
        shutter_ms=1000 / FRAME_RATE,
        start_ms=float(rng.uniform(0, 2000)),
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(FRAME_RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for linear in frames:
            noisy = srgb_encode(linear) + rng.normal(0, 0.004, linear.shape).astype(np.float32)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(from_unit(noisy, 8), format="rgb24")))
        container.mux(stream.encode())

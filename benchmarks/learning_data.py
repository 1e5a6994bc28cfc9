"""What `learning.py` trains on and tests on: pairs of the simulated rig, pairs from photographs, pairs from video.

All are 384 x 288 px, with motion of 8 to 40 px, from the training textures; the test is the fixed one of sixty
scenes, from the others. Each is made as its command makes it by default; data that are there are used as they are.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from localblur.common.files import atomic_path
from localblur.common.parallel import open_executor, run_tasks, with_progress
from localblur.datasets.films.synthesis import synthesize
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.images import FloatArray, from_unit, srgb_encode, write_image
from localblur.datasets.local.blur import LocalBlurSettings
from localblur.datasets.local.pairs import LocalSynthesisSettings
from localblur.datasets.local.synthesis import synthesize_local
from localblur.datasets.scenes.object_motion import render_frames
from localblur.datasets.scenes.scene_objects import video_objects
from localblur.datasets.scenes.textures import TextureSource
from localblur.datasets.store import PairsFile
from localblur.training.simulate_scenes import HEIGHT_PX, TEST_SCENES, TRAIN_SHOTS, WIDTH_PX, write_scenes
from localblur.training.simulated_scenes import BLUR_PX, FULL_WELL_ELECTRONS, LENS_PX, READ_ELECTRONS

SPLIT = "train=0.92,val=0.08"
FRAME_RATE = 240
FRAMES_PER_VIDEO = 44
PAIRS_PER_VIDEO = 4
"""Windows of 7 to 13 frames, ten on average."""
SHUTTER_SHARE = 0.75
QUALITY = "12"
"""Constant rate factor of H.264: artefacts are hardly seen, as in the files of a good camera."""
SPEED_PX_PER_MS = (0.2, 1.0)
"""Ten frames last 42 ms: 8 to 40 px."""
SIZE_PX = (50, 150)
_KEY, _PHOTO_KEY = 41, 43


@dataclass(frozen=True, kw_only=True)
class Source:
    """How data are made: from the number of pairs, and for those that take some, photographs."""

    text: str
    make: Callable[[Path, int, Sequence[Path], int], None]


def data_file(folder: Path, name: str, pairs: int, photos: Sequence[Path], workers: int) -> Path:
    """The pairs file of `SOURCES[name]` in `folder`, made if it is not there; an interrupted call is continued."""
    path = folder / f"{name}.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        SOURCES[name].make(path, pairs, photos, workers)
    return path


def count_pairs(path: Path, split: str) -> int:
    """Pairs of a split."""
    with PairsFile.open(path) as file:
        return sum(scene.count for scene in file.scenes if scene.split == split)


def make_rig(path: Path, pairs: int, _photos: Sequence[Path], workers: int) -> None:
    """Pairs of the simulated rig; every twelfth scene is for validation."""
    write_scenes(path, "train", math.ceil(pairs / TRAIN_SHOTS), TRAIN_SHOTS, workers=workers)


def make_test(path: Path, _pairs: int, _photos: Sequence[Path], workers: int) -> None:
    """The fixed test."""
    write_scenes(path, "test", TEST_SCENES, 1, workers=workers)


def make_local(path: Path, pairs: int, photos: Sequence[Path], workers: int) -> None:
    """`synthesize-local` with photographs: those given, else backgrounds like those of the rig's scenes."""
    settings = LocalSynthesisSettings(
        width=WIDTH_PX, height=HEIGHT_PX, count=pairs, split=SPLIT, blur=LocalBlurSettings(blur_px=BLUR_PX)
    )
    scenes, sources = path.with_suffix(".photos"), list(photos)
    with open_executor(workers, None) as executor:
        if not sources:
            scenes.mkdir(exist_ok=True)
            sources = [scenes / f"{number:04d}.png" for number in range(math.ceil(pairs / TRAIN_SHOTS))]
            _make_all(write_photograph, sources, executor, "painting", "photograph")
        synthesize_local(sources, path, settings, executor=executor)
    shutil.rmtree(scenes, ignore_errors=True)


def make_gopro(path: Path, pairs: int, _photos: Sequence[Path], workers: int) -> None:
    """`synthesize-gopro` from generated videos, which are removed afterwards."""
    videos = path.with_suffix(".videos")
    videos.mkdir(exist_ok=True)
    files = [videos / f"{number:04d}.mp4" for number in range(math.ceil(pairs / PAIRS_PER_VIDEO))]
    with open_executor(workers, None) as executor:
        _make_all(write_video, files, executor, "filming", "video")
        synthesize(files, path, SynthesisSettings(split=SPLIT, max_pairs=pairs), executor=executor)
    shutil.rmtree(videos)


def _make_all(
    write: Callable[[Path], None], files: Sequence[Path], executor: Executor | None, doing: str, unit: str
) -> None:
    missing = [file for file in files if not file.exists()]
    for _, result in with_progress(run_tasks(write, missing, executor), len(missing), doing, unit):
        if isinstance(result, Exception):
            raise result


def write_photograph(path: Path) -> None:
    """A background whose number is its name, half as large again as a picture."""
    number = int(path.stem)
    picture = TextureSource("train").background([_PHOTO_KEY, number], HEIGHT_PX * 3 // 2, WIDTH_PX * 3 // 2)
    write_image(path, np.asarray(from_unit(srgb_encode(picture), 8), np.uint8))


def write_video(path: Path) -> None:
    """A video whose number is its name: one to four objects wander over a still background.

    Lens and noise are those of the simulated rig; the shutter is open for three quarters of the time.
    """
    number, source = int(path.stem), TextureSource("train")
    background = source.background([_KEY, number], HEIGHT_PX, WIDTH_PX)
    rng = source.generator([_KEY, number, 9])
    objects = video_objects(
        source,
        [_KEY, number],
        background,
        count=int(rng.integers(1, 5)),
        speed_px_per_ms=SPEED_PX_PER_MS,
        size_px=SIZE_PX,
    )
    interval_ms = 1000 / FRAME_RATE
    frames = render_frames(
        background,
        objects,
        count=FRAMES_PER_VIDEO,
        interval_ms=interval_ms,
        shutter_ms=SHUTTER_SHARE * interval_ms,
        start_ms=float(rng.uniform(0, 2000)),
    )
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": QUALITY, "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv444p"
        for light in frames:
            picture = from_unit(srgb_encode(_sensed(light, rng)), 8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _sensed(light: FloatArray, rng: np.random.Generator) -> FloatArray:
    soft = np.clip(cv2.GaussianBlur(light, (0, 0), LENS_PX), 0, 1)
    sigma = np.sqrt(soft / FULL_WELL_ELECTRONS + (READ_ELECTRONS / FULL_WELL_ELECTRONS) ** 2)
    noisy: FloatArray = soft + sigma * rng.standard_normal(soft.shape, dtype=np.float32)
    return noisy


SOURCES = {
    "rig": Source(text="pairs of the simulated rig (`simulate_scenes train`)", make=make_rig),
    "local": Source(
        text="`synthesize-local`: parts of photographs moved over them; without `--photos`, of pictures like the rig's",
        make=make_local,
    ),
    "gopro": Source(text="`synthesize-gopro`: frames of generated 240 fps videos averaged", make=make_gopro),
    "test": Source(text="the fixed test: 60 rig scenes, other textures (`simulate_scenes test`)", make=make_test),
}

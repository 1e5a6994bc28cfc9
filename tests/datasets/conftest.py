"""Small videos, pairs and pairs files for the tests of everything that reads them."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.store import PairsWriter, StoreHeader

WriteVideo = Callable[..., Path]

HEADER = StoreHeader(encoding="srgb", bit_depth=8, creator="test", settings={"seed": 3, "gain": 1.5})


@pytest.fixture
def write_video() -> WriteVideo:
    """Write RGB frames as a video; the default is lossless, so that what is read can be compared bit for bit."""

    def write(
        path: Path,
        frames: Sequence[np.ndarray],
        *,
        codec: str = "ffv1",
        pixel_format: str = "bgr0",
        rate: int = 25,
        matrix: Sequence[int] | None = None,
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = frames[0].shape[:2] if len(frames) else (48, 64)
            stream.pix_fmt = pixel_format
            if matrix is not None:
                stream.set_display_matrix(matrix)
            container.start_encoding()
            for image in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def moving_frames(rng: np.random.Generator) -> Callable[..., list[np.ndarray]]:
    """Frames of a square that moves to the right over a still, slightly noisy, smooth background."""

    def make(count: int, *, step_px: int = 2, size: tuple[int, int] = (96, 160), level: int = 90) -> list[np.ndarray]:
        ramp = np.linspace(level - 30, level + 30, size[1])[None, :, None]
        frames = []
        for index in range(count):
            frame = np.broadcast_to(ramp, (*size, 3)) + rng.normal(0, 0.7, (*size, 3))
            left = 20 + step_px * index
            frame[30:60, left : left + 30] = 220 if level < 150 else 20
            frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
        return frames

    return make


def build_pair(
    scene: str = "s1",
    name: str = "00",
    *,
    size: tuple[int, int] = (70, 90),
    dtype: Any = np.uint8,
    masked: bool = True,
    **info: Any,
) -> Pair:
    """A pair whose content depends on its scene and name only; its mask is a soft rectangle."""
    rng = np.random.default_rng(zlib.crc32(f"{scene}/{name}".encode()))
    top = np.iinfo(dtype).max + 1
    blurred, sharp = (rng.integers(0, top, (*size, 3)).astype(dtype) for _ in range(2))
    mask = None
    if masked:
        mask = np.zeros(size, np.uint8)
        mask[size[0] // 4 : size[0] // 2, size[1] // 3 : size[1] // 2] = rng.integers(128, 256, dtype=np.uint8)
        mask[0, 0] = 127
    values: dict[str, Any] = {"verdict": Verdict.ACCEPT, "quality": {"residual_px": 0.25}}
    values |= {"exposure_long_ms": 20.0, "exposure_short_ms": 1.25, "valid_box": (0, 0, *size)} | info
    return Pair(scene=scene, info=PairInfo(name=name, **values), blurred=blurred, sharp=sharp, mask=mask)


def write_pairs(path: Path, pairs: dict[str, list[Pair]], header: StoreHeader = HEADER, **options: Any) -> Path:
    """Write a pairs file from pairs by split."""
    with PairsWriter(path, header, **options) as writer:
        for split, members in pairs.items():
            for pair in members:
                writer.add(pair, split)
    return path


@pytest.fixture
def make_pair() -> Callable[..., Pair]:
    return build_pair


@pytest.fixture
def make_file() -> Callable[..., Path]:
    return write_pairs


@pytest.fixture
def header() -> StoreHeader:
    return HEADER


@pytest.fixture
def clip(tmp_path: Path, write_video: WriteVideo, moving_frames: Callable[..., list[np.ndarray]]) -> Path:
    """Two shots of 24 and 15 frames."""
    return write_video(tmp_path / "clip.mkv", [*moving_frames(24), *moving_frames(15, level=190)])

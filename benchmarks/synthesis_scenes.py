"""Video with a continuous-exposure truth: pans, rotations, objects that hide and reveal a textured background."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from localblur.datasets.films.blending import Exposure
from localblur.datasets.films.interpolation import Bridge, InterpolationSettings, bridge
from localblur.datasets.images import FloatArray, from_unit, srgb_encode
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.masks.motion_masks import MotionMaskSettings, motion_mask
from localblur.datasets.pair import binary_mask
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MovingObject, integrate, render_frames
from localblur.datasets.scenes.scene_objects import make_sprite, video_objects
from localblur.datasets.scenes.textures import TextureSource

Kind = Literal["pan", "rotation", "objects"]
KINDS: tuple[Kind, ...] = ("pan", "rotation", "objects")
HEIGHT, WIDTH, FRAMES = 256, 384, 7
MARGIN_PX = 150
SRGB = CAMERA_RESPONSES["srgb"]
Frames = list[npt.NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Filmed:
    """Frames, one before and one after the exposure included, and the exact coded picture of it in levels."""

    frames: Frames
    truth: FloatArray


def film(kind: Kind, speed_px: float, seed: int) -> Filmed:
    """A shutter that is open for an instant per frame (the worst case for ghosts); speed in pixels per frame."""
    source = TextureSource("test")
    if kind == "objects":
        return _film_objects(source, speed_px, seed)
    plane = source.background([21, seed], HEIGHT + 2 * MARGIN_PX, WIDTH + 2 * MARGIN_PX)
    frames = [_view(plane, kind, speed_px, index) for index in range(-1, FRAMES + 1)]
    steps = max(4, 2 * int(np.ceil(speed_px)))
    instants = (np.arange(FRAMES * steps) + 0.5) / steps - 0.5
    light = np.zeros((HEIGHT, WIDTH, 3), np.float64)
    for instant in instants:
        light += _view(plane, kind, speed_px, float(instant))
    return Filmed(frames=[_coded(frame) for frame in frames], truth=255 * srgb_encode(light / len(instants)))


def _film_objects(source: TextureSource, speed_px: float, seed: int) -> Filmed:
    background = source.background([22, seed], HEIGHT, WIDTH)
    rng = np.random.default_rng(seed)
    objects = []
    for number, size in enumerate((110, 70)):
        sprite = make_sprite(source, [23, seed, number], size, feature_px=1.0, background=background)
        place = np.array([WIDTH, HEIGHT]) * rng.uniform(0.35, 0.65, 2)
        path = ArcPath(
            x=float(place[0]),
            y=float(place[1]),
            heading=float(rng.uniform(0, 2 * np.pi)),
            speed=speed_px,
            acceleration=0.0,
            curvature=0.0,
            angle=float(rng.uniform(0, 2 * np.pi)),
            spin=0.0,
        )
        objects.append(MovingObject(sprite, path))
    start = -(FRAMES - 1) / 2
    frames = render_frames(background, objects, count=FRAMES + 2, interval_ms=1.0, start_ms=start - 1)
    exposure = integrate(objects, HEIGHT, WIDTH, start - 0.5, start + FRAMES - 0.5, spacing_px=0.5)
    return Filmed(frames=[_coded(frame) for frame in frames], truth=255 * srgb_encode(exposure.over(background)))


def expose(frames: Frames, settings: InterpolationSettings | None) -> tuple[npt.NDArray[np.uint8], float]:
    """The blurred picture of all frames but the first and last, and the share of fast pixels left unexplained."""
    exposure = Exposure(SRGB)
    bridges = [
        bridge(*two, SRGB, settings) if settings else Bridge() for two in zip(frames[:-1], frames[1:], strict=True)
    ]
    for index, frame in enumerate(frames[1:-1]):
        exposure.add(frame, (bridges[index].second, bridges[index + 1].first))
    fast = sum(one.fast_px for one in bridges)
    return exposure.blurred(), sum(one.unexplained_px for one in bridges) / max(1, fast)


def psnr_db(image: npt.NDArray[np.uint8], truth: FloatArray) -> float:
    """Peak signal-to-noise ratio of an 8-bit picture."""
    return float(10 * np.log10(255**2 / np.mean((image - truth) ** 2)))


def mask_ious(seeds: Sequence[int], frames: int = 11) -> list[float]:
    """Intersection over union of motion masks with the extent known from rendering; rims are not counted."""
    source, settings = TextureSource("test"), MotionMaskSettings()
    ious = []
    for seed in seeds:
        background = source.background([24, seed], HEIGHT, WIDTH)
        rng = source.generator([24, seed, 9])
        objects = video_objects(
            source,
            [24, seed],
            background,
            count=int(rng.integers(1, 4)),
            speed_px_per_ms=(0.15, 0.75),
            size_px=(40, 150),
        )
        interval_ms, start_ms = 1000 / 240, float(rng.uniform(0, 2000))
        shutter_ms = interval_ms / 2
        exposure, sharp = Exposure(SRGB, settings.presmooth_px), None
        rendered = render_frames(
            background, objects, count=frames, interval_ms=interval_ms, shutter_ms=shutter_ms, start_ms=start_ms
        )
        for index, light in enumerate(rendered):
            frame = from_unit(srgb_encode(light) + rng.normal(0, 0.004, light.shape).astype(np.float32), 8)
            exposure.add(np.asarray(frame, np.uint8))
            sharp = np.asarray(frame, np.uint8) if index == frames // 2 else sharp
        if sharp is None:
            raise ValueError("no frame was rendered")
        end_ms = start_ms + (frames - 1) * interval_ms + shutter_ms
        coverage = integrate(objects, HEIGHT, WIDTH, start_ms, end_ms).coverage(HEIGHT, WIDTH)
        truth, counted = coverage >= 0.5, (coverage >= 0.5) | (coverage < 0.01)
        mask = binary_mask(motion_mask(exposure.swing(), sharp, settings))
        either = (mask | truth) & counted
        if truth.any():
            ious.append(float((mask & truth & counted).sum() / either.sum()))
    return ious


def _view(plane: FloatArray, kind: Kind, speed_px: float, time: float) -> FloatArray:
    if kind == "pan":
        matrix = np.array([[1, 0, MARGIN_PX + 0.8 * speed_px * time], [0, 1, MARGIN_PX + 0.6 * speed_px * time]])
    else:  # about the middle; the speed is that at 0.35 of the diagonal
        angle = speed_px * time / (0.35 * np.hypot(WIDTH, HEIGHT))
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
        matrix = np.array(
            [
                [cosine, -sine, MARGIN_PX + x - cosine * x + sine * y],
                [sine, cosine, MARGIN_PX + y - sine * x - cosine * y],
            ]
        )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, matrix, (WIDTH, HEIGHT), flags=flags), np.float32)


def _coded(light: FloatArray) -> npt.NDArray[np.uint8]:
    return np.asarray(from_unit(srgb_encode(light), 8), np.uint8)

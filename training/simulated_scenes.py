"""Pairs of simulated scenes: what both cameras of a perfect rig would see, for training and for a fixed test.

The scenes of the simulated rig (`localblur.acquisition.rig.scenes`): objects move over a still background while the
long exposure lasts, the short one sits in its middle. Both pictures share one grid and one response to light, so that
nothing has to be aligned; sensor noise is added, the rest of a camera is not simulated. A pair is a function of
(textures, photographs, seed, index) alone.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.scenes import Canvas, Cast, scene_background
from localblur.acquisition.rig.settings import SceneSettings
from localblur.acquisition.rig.simulator import TOUCHED
from localblur.datasets.images import FloatArray, from_unit, srgb_encode
from localblur.datasets.pair import Pair, PairInfo
from localblur.datasets.scenes.object_motion import Exposure, integrate

LONG_MS, SHORT_MS = 20.0, 1.0
LENS_PX = 0.5
"""Standard deviation of the point spread function."""
FULL_WELL_ELECTRONS, READ_ELECTRONS = 10_000.0, 5.0
BLUR_PX = (8.0, 40.0)
_FACTOR, _MARGIN_PX = 2, 16
_NOISE_STREAM = 31


def scene_settings(textures: str, seed: int, photos: Path | None = None) -> SceneSettings:
    """The scene `seed` of the `train` or `test` textures, which share no picture and no random number.

    One to four objects travel 8 to 40 px and touch 5 to 30 % of the frame; some stand still in some shots. What turns
    has faster points: in the test those travel 13 to 63 px. `photos` is a folder of photographs that take the place of
    the bundled ones.
    """
    rng = np.random.default_rng([seed, _NOISE_STREAM, len(textures)])
    return SceneSettings(
        seed=seed,
        textures=textures if photos is None else str(photos.resolve()),  # `train` may be the name of a folder
        split="test" if textures == "test" else "train",
        objects=int(rng.integers(1, 5)),
        blur_px=BLUR_PX,
        coverage=float(rng.uniform(0.05, 0.3)),
        brightness=float(rng.uniform(0.5, 0.95)),
    )


def scene_name(textures: str, seed: int) -> str:
    """What a scene is called in a pairs file."""
    return f"{textures}{seed:04d}"


def scene_pairs(scene: SceneSettings, name: str, count: int, height: int, width: int) -> list[Pair]:
    """`count` pairs of a scene: the same background, its objects elsewhere in each.

    Args:
        scene: from `scene_settings`.
        name: of the scene in the pairs file.
        count: number of pairs.
        height, width: of the pictures; uint8, sRGB-coded, with masks of 0 and 255.
    """
    source, canvas = scene.source(), Canvas.around(height, width, _MARGIN_PX, _FACTOR)
    background = scene_background(source, scene, canvas)
    cast = Cast(source, scene, canvas, background, LONG_MS)
    pairs = []
    for index in range(count):
        objects = cast.objects(index)
        long, short = (
            integrate(objects, canvas.height, canvas.width, -duration / 2, duration / 2)
            for duration in (LONG_MS, SHORT_MS)
        )
        rng = source.generator([scene.seed, _NOISE_STREAM, index])
        travelled = max((member.travel_px(-LONG_MS / 2, LONG_MS / 2)[0] for member in objects), default=0.0)
        touched = _on_pixels(long.coverage(canvas.height, canvas.width)) >= TOUCHED
        pairs.append(
            Pair(
                scene=name,
                info=PairInfo(
                    name=f"{index:02d}",
                    exposure_long_ms=LONG_MS,
                    exposure_short_ms=SHORT_MS,
                    quality={"travel_px": travelled / _FACTOR},
                ),
                blurred=_recorded(long, background, rng),
                sharp=_recorded(short, background, rng),
                mask=(255 * touched).astype(np.uint8),
            )
        )
    return pairs


def _recorded(exposure: Exposure, background: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """An exposure through lens and sensor, sRGB-coded."""
    light = np.clip(_on_pixels(exposure.over(background)), 0, 1)
    sigma = np.sqrt(light / FULL_WELL_ELECTRONS + (READ_ELECTRONS / FULL_WELL_ELECTRONS) ** 2)
    noisy = light + sigma * rng.standard_normal(light.shape, dtype=np.float32)
    picture: npt.NDArray[np.uint8] = from_unit(srgb_encode(noisy), 8)
    return picture


def _on_pixels(image: FloatArray) -> FloatArray:
    """From the supersampled canvas to the frame's pixels, through the lens."""
    soft = cv2.GaussianBlur(image, (0, 0), LENS_PX * _FACTOR)
    reach = _MARGIN_PX * _FACTOR
    inner = soft[reach:-reach, reach:-reach]
    pixels: FloatArray = cv2.resize(inner, None, fx=1 / _FACTOR, fy=1 / _FACTOR, interpolation=cv2.INTER_AREA)
    return pixels

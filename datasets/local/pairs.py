"""One pair without video: a background, what moves over it or shakes it, and the camera that takes the picture."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray
from localblur.datasets.light.camera_response import CAMERA_RESPONSES
from localblur.datasets.light.realism import (
    RealismSettings,
    bend_tones,
    draw_camera,
    recover_highlights,
    saturated_mask,
    take_picture,
)
from localblur.datasets.local.blur import LocalBlurSettings, blur_objects, draw_size, place_objects
from localblur.datasets.local.cutout_files import read_cutout
from localblur.datasets.local.cutouts import GrabCutSettings, make_cutout_sprite
from localblur.datasets.local.scenes import ListedTextures, Scene, photograph_background, procedural_background
from localblur.datasets.pair import Pair, PairInfo, Verdict, binary_mask
from localblur.datasets.scenes.object_motion import MOVING_PX
from localblur.datasets.scenes.scene_objects import make_sprite
from localblur.datasets.scenes.trajectories import (
    Points,
    ShakeSettings,
    blur_uniformly,
    rasterise,
    shake_trajectory,
    travelled_px,
)
from localblur.datasets.storage.parts import write_part
from localblur.datasets.storage.splits import DEFAULT_SPLIT

# one stream of random numbers each, so that switching one thing on changes nothing else
PLAN, MOTION, CAMERA, SHAKE = 11, 13, 17, 19


class LocalSynthesisSettings(Settings):
    """How pairs are made without video.

    Attributes:
        mode: `local`, objects move over a still background; `global`, the whole picture shakes.
        width, height: of the pictures, px. count: number of pairs.
        pairs_per_scene: of procedural backgrounds; with photographs, each photograph is a scene.
        blur: what moves, and how (`local`). shake: how the camera shakes (`global`).
        cutout_share: share of objects that are cut-outs where there are some; the others are outlines with textures.
        grabcut: how objects are found in photographs without a mask; None: not at all.
        realism: what the camera adds to the blurred picture; None: nothing.
        split: shares of the splits or a file, see `assign_splits`.
        seed: seed of every random choice.
    """

    mode: Literal["local", "global"] = "local"
    width: int = Field(default=512, ge=64, le=8192)
    height: int = Field(default=512, ge=64, le=8192)
    count: int = Field(default=200, ge=1, le=1_000_000)
    pairs_per_scene: int = Field(default=8, ge=1)
    blur: LocalBlurSettings = LocalBlurSettings()
    shake: ShakeSettings = ShakeSettings()
    cutout_share: float = Field(default=0.7, ge=0, le=1)
    grabcut: GrabCutSettings | None = GrabCutSettings()
    realism: RealismSettings | None = None
    split: str = DEFAULT_SPLIT
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> "LocalSynthesisSettings":
        if self.mode == "global" and self.shake.length_px[1] > min(self.width, self.height):
            raise ValueError(
                f"shake.length_px reaches to {self.shake.length_px[1]:g} px in pictures of {self.width}x{self.height};"
                " take larger pictures or shorter trajectories"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class LocalTask:
    """One pair for a worker.

    Attributes:
        number: among all pairs. scene, split, name: where it belongs.
        cutouts: the cut-out of every object; None: an outline.
        fillers: photographs of the same split, whose textures fill outlines; empty: procedural ones.
    """

    number: int
    scene: Scene
    split: str
    name: str
    cutouts: tuple[Path | None, ...]
    fillers: tuple[Path, ...]
    settings: LocalSynthesisSettings
    parts: Path


def write_local_pair(task: LocalTask) -> Path:
    """Make a pair and leave it as a part; runs in workers."""
    return write_part(task.parts, make_local_pair(task), task.split)


def make_local_pair(task: LocalTask) -> Pair:
    """Make a pair; the same for the same task, whoever does it."""
    settings = task.settings
    seeds = [settings.seed, task.number]
    camera = None
    if settings.realism is not None:
        camera = draw_camera(settings.realism, np.random.default_rng([*seeds, CAMERA]))
    rng = np.random.default_rng([*seeds, MOTION])
    maker = _shaken if settings.mode == "global" else _moved
    blurred, sharp, mask, quality = maker(task, rng, 0.0 if camera is None else camera.boost)
    if camera is not None:
        blurred = take_picture(blurred, camera, np.random.default_rng([*seeds, CAMERA, 1]))
        sharp = bend_tones(sharp, camera)
        quality |= camera.recorded()
    response = CAMERA_RESPONSES["srgb"]
    quality["blurred_share"] = float(binary_mask(mask).mean())
    info = PairInfo(name=task.name, quality=quality, verdict=Verdict.ACCEPT)
    return Pair(
        scene=task.scene.name, info=info, blurred=response.encode(blurred), sharp=response.encode(sharp), mask=mask
    )


def pair_shake(settings: LocalSynthesisSettings, number: int) -> Points:
    """The trajectory of a pair of mode `global`: `rasterise` gives its kernel."""
    return shake_trajectory(np.random.default_rng([settings.seed, number, SHAKE]), settings.shake)


_Made = tuple[FloatArray, FloatArray, npt.NDArray[np.uint8], dict[str, float]]


def _moved(task: LocalTask, rng: np.random.Generator, boost: float) -> _Made:
    """Objects that move over a still background."""
    settings = task.settings
    background = recover_highlights(_background(task, rng, 0), boost)
    sprites = [_sprite(task, index, rng, background) for index in range(len(task.cutouts))]
    for sprite in sprites:
        sprite[..., :3] += np.float32(boost) * saturated_mask(sprite[..., :3])[..., None] * sprite[..., 3:]
    objects = place_objects(sprites, settings.height, settings.width, rng, settings.blur)
    made = blur_objects(background, objects, spacing_px=settings.blur.spacing_px)
    quality = {
        "number": float(task.number),
        "objects": float(len(objects)),
        "moving": float(sum(travel > 0 for travel in made.travel_px)),
        "travel_px": max(made.travel_px, default=0.0),
    }
    return made.blurred, made.sharp, made.mask, quality


def _shaken(task: LocalTask, rng: np.random.Generator, boost: float) -> _Made:
    """The whole picture blurred by one kernel: b = k * I, in linear light."""
    points = pair_shake(task.settings, task.number)
    kernel = rasterise(points)
    margin = kernel.shape[0] // 2
    still = recover_highlights(_background(task, rng, margin), boost)
    inner = (slice(margin, margin + task.settings.height), slice(margin, margin + task.settings.width))
    travel = travelled_px(points)
    mask = np.full(still[inner].shape[:2], 255 if travel > MOVING_PX else 0, np.uint8)
    return blur_uniformly(still, kernel)[inner], still[inner], mask, {"number": float(task.number), "travel_px": travel}


def _background(task: LocalTask, rng: np.random.Generator, margin: int) -> FloatArray:
    size = task.settings.width, task.settings.height
    if task.scene.photograph is not None:
        return photograph_background(task.scene.photograph, rng, *size, margin)
    # a kernel whose trajectory is so long reaches no further from its middle
    largest = math.ceil(task.settings.shake.length_px[1]) + 1 if task.settings.mode == "global" else 0
    return procedural_background(task.split, task.scene.number, task.settings.seed, rng, *size, margin, largest)


def _sprite(task: LocalTask, index: int, rng: np.random.Generator, background: FloatArray) -> FloatArray:
    settings = task.settings
    size = draw_size(rng, settings.blur, settings.height, settings.width)
    turn, mirrored, gain = float(rng.uniform(-20, 20)), bool(rng.integers(2)), float(rng.uniform(0.6, 1.1))
    cutout = task.cutouts[index]
    if cutout is not None:
        return make_cutout_sprite(read_cutout(cutout), size, turn_deg=turn, mirrored=mirrored, gain=gain)
    source = ListedTextures(task.split, task.fillers)
    return make_sprite(source, [settings.seed, task.number, index], size, feature_px=1.0, background=background)

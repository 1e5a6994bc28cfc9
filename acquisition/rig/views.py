"""From the canvas to what the two cameras of a simulated rig see: lens blur once per background, then sampling."""

from collections.abc import Set
from dataclasses import dataclass

import cv2
import numpy as np

from localblur.acquisition.rig.optics import Points
from localblur.acquisition.rig.scenes import Canvas, Cast, chart_background, scene_background, static_background
from localblur.acquisition.rig.settings import CameraModel, SceneSettings
from localblur.datasets.images import FloatArray
from localblur.datasets.scenes.object_motion import Box, Exposure, integrate
from localblur.datasets.scenes.textures import TextureSource

EXTENT_BLUR_PX = 0.5


@dataclass(frozen=True)
class Backdrop:
    """A background and what is derived from it once.

    Attributes:
        canvas: its geometry.
        radiance: float32, canvas size. softened: the same through a lens, by its `psf_px`.
        cast: the moving objects, None if nothing moves.
        patches: scene positions of the chart's patches, None without a chart.
    """

    canvas: Canvas
    radiance: FloatArray
    softened: dict[float, FloatArray]
    cast: Cast | None = None
    patches: Points | None = None


@dataclass(frozen=True)
class Seen:
    """Radiance through the lenses, float32 (H, W, 3), before colour response, vignetting and noise.

    Attributes:
        blurred: the long exposure on B's grid. blurred_on_sharp: the same on S's.
        sharp: the short exposure on S's grid.
        extent: largest share of an S pixel that anything moving covered during the long exposure, float32 (H, W).
    """

    blurred: FloatArray
    blurred_on_sharp: FloatArray
    sharp: FloatArray
    extent: FloatArray


def scene_backdrop(
    source: TextureSource, scene: SceneSettings, canvas: Canvas, psf_px: Set[float], exposure_ms: float
) -> Backdrop:
    """A scene's background and moving objects."""
    radiance = scene_background(source, scene, canvas)
    cast = Cast(source, scene, canvas, radiance, exposure_ms)
    return Backdrop(canvas, radiance, _softened(radiance, canvas, psf_px), cast=cast)


def static_backdrop(
    source: TextureSource, scene: SceneSettings, canvas: Canvas, psf_px: Set[float], index: int
) -> Backdrop:
    """A textured target for calibration."""
    radiance = static_background(source, scene, canvas, index)
    return Backdrop(canvas, radiance, _softened(radiance, canvas, psf_px))


def chart_backdrop(
    source: TextureSource, scene: SceneSettings, canvas: Canvas, psf_px: Set[float], index: int
) -> Backdrop:
    """A colour chart before a wall."""
    radiance, centres = chart_background(source, scene, canvas, index)
    return Backdrop(canvas, radiance, _softened(radiance, canvas, psf_px), patches=canvas.to_scene(centres))


def look(
    backdrop: Backdrop,
    index: int,
    long_ms: tuple[float, float],
    short_ms: tuple[float, float],
    arm_b: tuple[CameraModel, Points],
    arm_s: tuple[CameraModel, Points],
) -> Seen:
    """What both cameras see of shot `index`.

    Args:
        backdrop: what stands there.
        index: which shot.
        long_ms, short_ms: start and end of the exposures; 0 is the middle of the long one.
        arm_b, arm_s: each camera and the scene position of each of its pixels, (H, W, 2).
    """
    canvas = backdrop.canvas
    objects = backdrop.cast.objects(index) if backdrop.cast else []
    long, short = (integrate(objects, canvas.height, canvas.width, *times) for times in (long_ms, short_ms))
    (camera_b, look_b), (camera_s, look_s) = arm_b, arm_s
    through_b = _through_lens(backdrop, long, camera_b.psf_px)
    blurred = _sample(canvas, through_b, look_b)
    through_s = through_b if camera_s.psf_px == camera_b.psf_px else _through_lens(backdrop, long, camera_s.psf_px)
    blurred_on_sharp = _sample(canvas, through_s, look_s)
    sharp = _sample(canvas, _through_lens(backdrop, short, camera_s.psf_px), look_s) if objects else blurred_on_sharp
    extent = np.zeros(look_s.shape[:2], np.float32)
    if objects:
        cover = _blur(long.coverage(canvas.height, canvas.width), EXTENT_BLUR_PX * canvas.factor)
        extent = np.clip(_sample(canvas, cover, look_s, cv2.INTER_LINEAR), 0, 1)
    return Seen(blurred, blurred_on_sharp, sharp, extent)


def _softened(radiance: FloatArray, canvas: Canvas, psf_px: Set[float]) -> dict[float, FloatArray]:
    return {width: _blur(radiance, width * canvas.factor) for width in psf_px}


def _through_lens(backdrop: Backdrop, exposure: Exposure, psf_px: float) -> FloatArray:
    """An exposure through a lens; only the boxes that move are blurred anew."""
    ready = backdrop.softened[psf_px]
    if not exposure.patches:
        return ready
    image = ready.copy()
    sigma = psf_px * backdrop.canvas.factor
    reach = _reach(sigma)
    for patch in exposure.patches:
        inner = _grown(patch.box, reach, image.shape)
        outer = _grown(inner, reach, image.shape)
        soft = _blur(exposure.over_part(backdrop.radiance, outer), sigma)
        rows = slice(inner[0] - outer[0], inner[2] - outer[0])
        columns = slice(inner[1] - outer[1], inner[3] - outer[1])
        image[inner[0] : inner[2], inner[1] : inner[3]] = soft[rows, columns]
    return image


def _grown(box: Box, by: int, shape: tuple[int, ...]) -> Box:
    return max(0, box[0] - by), max(0, box[1] - by), min(shape[0], box[2] + by), min(shape[1], box[3] + by)


def _reach(sigma: float) -> int:
    return int(np.ceil(4 * sigma))


def _blur(image: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur of canvas px `sigma`; the kernel's length is fixed so that a part gives what the whole gives."""
    if sigma == 0:
        return image
    size = 2 * _reach(sigma) + 1
    blurred: FloatArray = cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


def _sample(canvas: Canvas, image: FloatArray, look_at: Points, interpolation: int = cv2.INTER_LANCZOS4) -> FloatArray:
    # OpenCV's bicubic (a = -0.75) leaves 57 dB between two views of one smooth scene, Lanczos 66 dB
    positions = canvas.from_scene(look_at).astype(np.float32)
    sampled: FloatArray = cv2.remap(image, positions, None, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return sampled

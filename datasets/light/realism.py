"""What a camera makes of blurred light, after RSBlur: saturation, mosaic, noise, white balance, demosaic, response.

Averaged frames and integrated objects are cleaner than any photograph: no noise, no clipped highlights smeared by
motion, no traces of demosaicing. Networks trained on them fail on real blur (Rim et al., "Realistic Blur Synthesis for
Learning Image Deblurring", ECCV 2022, whose order of stages and ranges are used here; the demosaicing is better, as not
all of a locally blurred picture is smooth). Everything is linear light in [0, 1] in and out; the caller codes it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray, srgb_decode, srgb_encode
from localblur.datasets.light.bayer import BAYER_ORIGINS, demosaic_edges, mosaic
from localblur.datasets.light.noise import CameraNoise, add_noise

Matrix = tuple[float, float, float, float, float, float, float, float, float]
Range = tuple[float, float]

SATURATED_FROM = 0.985
"""Linear light from which a channel of an 8-bit picture counts as clipped: codes 254 and 255."""


class RealismSettings(Settings):
    """Which stages there are, and the ranges their parameters are drawn from, once per picture.

    Attributes:
        saturation: make clipped highlights as bright as they may have been, before blurring or from `saturated`.
        saturation_boost: range of the light added to what is clipped; 1 is full scale.
        mosaic: Bayer mosaic and demosaicing. Without it noise is independent from pixel to pixel.
        patterns: Bayer patterns to draw from.
        noise: Poisson-Gaussian noise; `camera` says how much, times a factor drawn from `noise_spread`.
        white_balance: the sensor sees red and blue weaker by these factors, and amplifies them with their noise.
        red_gain, blue_gain: ranges of the factors.
        camera_matrix: camera RGB from linear sRGB, row by row, rows sum to 1; None: the camera sees sRGB.
        response: `srgb` leaves tones as they are, `contrast` bends them as the S-shaped response of a camera does.
        contrast: range of its strength: 0 is none, 1 a smoothstep over coded values.
    """

    saturation: bool = True
    saturation_boost: Range = (0.25, 1.75)
    mosaic: bool = True
    patterns: tuple[Literal["RGGB", "GRBG", "GBRG", "BGGR"], ...] = ("RGGB", "GRBG", "GBRG", "BGGR")
    noise: bool = True
    camera: CameraNoise = CameraNoise()
    noise_spread: Range = (0.5, 1.5)
    white_balance: bool = True
    red_gain: Range = (1.9, 2.4)
    blue_gain: Range = (1.5, 1.9)
    camera_matrix: Matrix | None = None
    response: Literal["srgb", "contrast"] = "srgb"
    contrast: Range = Field(default=(0.1, 0.5))

    @model_validator(mode="after")
    def _check(self) -> "RealismSettings":
        for name, (low, high), least, most in (
            ("saturation_boost", self.saturation_boost, 0.0, 10.0),
            ("noise_spread", self.noise_spread, 0.0, 100.0),
            ("red_gain", self.red_gain, 0.1, 10.0),
            ("blue_gain", self.blue_gain, 0.1, 10.0),
            ("contrast", self.contrast, 0.0, 1.0),
        ):
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must be a range within {least:g} to {most:g}, got {low:g} to {high:g}")
        if not self.patterns:
            raise ValueError("patterns must name at least one Bayer pattern")
        if self.camera_matrix is not None:
            rows = np.reshape(self.camera_matrix, (3, 3))
            if np.abs(rows.sum(axis=1) - 1).max() > 1e-3 or abs(np.linalg.det(rows)) < 1e-3:
                raise ValueError(
                    "camera_matrix must be invertible and its rows sum to 1, or white would not stay white"
                )
        return self


def noise_override(realism: RealismSettings | None, noise: CameraNoise) -> dict[str, Any]:
    """What the noise of a known camera changes in the settings, as plain values.

    Other stages stay as they are in `realism`; without any, noise is the only one, and exactly that of the camera.
    """
    changed: dict[str, Any] = {"camera": noise.model_dump(mode="json"), "noise": True}
    if realism is None:
        changed |= {"saturation": False, "mosaic": False, "white_balance": False, "noise_spread": [1.0, 1.0]}
    return changed


@dataclass(frozen=True, kw_only=True)
class DrawnCamera:
    """The camera of one picture: every parameter that was drawn; None or 0 where a stage is off.

    Attributes:
        boost: light added to what is clipped. bayer: pattern. noise: of the sensor. red_gain, blue_gain: white balance.
        contrast: strength of the response. camera_matrix: as in `RealismSettings`.
    """

    boost: float = 0.0
    bayer: str | None = None
    noise: CameraNoise | None = None
    red_gain: float = 1.0
    blue_gain: float = 1.0
    contrast: float = 0.0
    camera_matrix: Matrix | None = None

    def recorded(self) -> dict[str, float]:
        """The drawn numbers, to be stored with the pair (the pattern as its index in `BAYER_ORIGINS`)."""
        plain = asdict(self)
        numbers = {f"camera_{key}": float(plain[key]) for key in ("boost", "red_gain", "blue_gain", "contrast")}
        if self.bayer is not None:
            numbers["camera_bayer"] = float(list(BAYER_ORIGINS).index(self.bayer))
        if self.noise is not None:
            numbers |= {"full_well_e": self.noise.full_well_e, "read_noise_e": self.noise.read_noise_e}
        return numbers


def degrade(
    linear_rgb: FloatArray,
    settings: RealismSettings,
    rng: np.random.Generator,
    *,
    saturated: FloatArray | None = None,
) -> FloatArray:
    """Draw a camera and take the picture: `take_picture(linear_rgb, draw_camera(settings, rng), rng)`.

    Use the two functions themselves where the sharp picture must get the same response, or parameters are recorded.
    """
    return take_picture(linear_rgb, draw_camera(settings, rng), rng, saturated=saturated)


def draw_camera(settings: RealismSettings, rng: np.random.Generator) -> DrawnCamera:
    """Draw the parameters of one picture. The same numbers are drawn whichever stages are on."""
    boost, red_gain, blue_gain, contrast = (
        float(rng.uniform(*limits))
        for limits in (settings.saturation_boost, settings.red_gain, settings.blue_gain, settings.contrast)
    )
    shot, read = (float(factor) for factor in rng.uniform(*settings.noise_spread, 2))
    pattern = settings.patterns[int(rng.integers(len(settings.patterns)))]
    camera = settings.camera
    noise = CameraNoise.model_construct(
        full_well_e=camera.full_well_e / max(shot, 1e-3),
        read_noise_e=camera.read_noise_e * read / max(shot, 1e-3),
    )
    return DrawnCamera(
        boost=boost if settings.saturation else 0.0,
        bayer=pattern if settings.mosaic else None,
        noise=noise if settings.noise else None,
        red_gain=red_gain if settings.white_balance else 1.0,
        blue_gain=blue_gain if settings.white_balance else 1.0,
        contrast=contrast if settings.response == "contrast" else 0.0,
        camera_matrix=settings.camera_matrix,
    )


def take_picture(
    linear_rgb: FloatArray,
    camera: DrawnCamera,
    rng: np.random.Generator,
    *,
    saturated: FloatArray | None = None,
) -> FloatArray:
    """The blurred picture as the camera delivers it.

    Args:
        linear_rgb: blurred light, float32, shape (H, W, 3), 1 at full scale; values above 1 (highlights that
            `recover_highlights` made brighter before blurring) are clipped here, after noise.
        camera: what to do.
        rng: source of the noise.
        saturated: share of the exposure for which each pixel was clipped, float32, shape (H, W) or (H, W, 3): the mean
            of `saturated_mask` over the averaged frames. None if highlights were recovered before blurring, or not.

    Returns:
        Linear light as its coded picture shows it, float32, shape (H, W, 3), in [0, 1].
    """
    light = linear_rgb
    if saturated is not None and camera.boost > 0:
        share = saturated[..., None] if saturated.ndim == 2 else saturated
        light = light + np.float32(camera.boost) * share
    gains = np.array([camera.red_gain, 1.0, camera.blue_gain], np.float32)
    matrix = None if camera.camera_matrix is None else np.reshape(camera.camera_matrix, (3, 3))
    if matrix is not None:
        light = light @ matrix.T.astype(np.float32)
    light = light / gains
    if camera.bayer is not None:
        light = mosaic(light, camera.bayer)
        light = demosaic_edges(_exposed(light, camera, rng, gains), camera.bayer)
    else:
        light = _exposed(light, camera, rng, gains)
    if matrix is not None:
        light = light @ np.linalg.inv(matrix).T.astype(np.float32)
    return bend_tones(light, camera)


def bend_tones(linear_rgb: FloatArray, camera: DrawnCamera) -> FloatArray:
    """What the sharp picture shares with the blurred one: clipping to [0, 1] and the response; float32, (H, W, 3)."""
    clipped: FloatArray = np.clip(linear_rgb, 0, 1).astype(np.float32)
    if camera.contrast == 0:
        return clipped
    coded = srgb_encode(clipped)
    strength = np.float32(camera.contrast)
    return srgb_decode(coded + strength * (coded * coded * (3 - 2 * coded) - coded))


def saturated_mask(linear_rgb: FloatArray) -> FloatArray:
    """1 where any channel is clipped, else 0: float32, shape (H, W)."""
    mask: FloatArray = (linear_rgb.max(axis=-1) >= SATURATED_FROM).astype(np.float32)
    return mask


def recover_highlights(linear_rgb: FloatArray, boost: float) -> FloatArray:
    """Clipped pixels of a sharp picture made brighter by `boost`, so that their streaks stay bright when blurred.

    Blurring the result is the same as `take_picture` with the blurred `saturated_mask`.
    """
    if boost <= 0:
        return linear_rgb
    brighter: FloatArray = linear_rgb + np.float32(boost) * saturated_mask(linear_rgb)[..., None]
    return brighter


def _exposed(light: FloatArray, camera: DrawnCamera, rng: np.random.Generator, gains: FloatArray) -> FloatArray:
    """Light on the sensor, (H, W) mosaic or (H, W, 3), to noisy values with white balance undone."""
    noisy = light if camera.noise is None else add_noise(light, camera.noise, rng)
    if light.ndim == 3 or camera.bayer is None:
        balanced: FloatArray = noisy * gains
        return balanced
    row, column = BAYER_ORIGINS[camera.bayer]
    balanced = noisy.copy()
    balanced[row::2, column::2] *= gains[0]
    balanced[1 - row :: 2, 1 - column :: 2] *= gains[2]
    np.minimum(balanced, np.float32(1), out=balanced)  # one white for all colours, or clipped highlights turn magenta
    return balanced

"""What fixes a simulated beam-splitter rig and the scene in front of it.

A rig's settings are complete: the resolved model, stored with a recording, reproduces the rig bit for bit.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from localblur.common.settings import Settings, validate
from localblur.datasets.scenes.photographs import Split
from localblur.datasets.scenes.textures import BackgroundKind, TextureSource

Preset = Literal["nd", "gain"]
Matrix = tuple[float, float, float, float, float, float, float, float, float]
"""3x3, row by row."""
Triple = tuple[float, float, float]

BLACK_LEVEL_12_BIT = 64.0
_BUNDLED: dict[str, Split] = {"train": "train", "test": "test"}
FULL_WELL_ELECTRONS = 9600.0
READ_NOISE_ELECTRONS = 4.0
ND_AMPLIFICATION = 2.0


class CameraModel(Settings):
    """One arm of the rig: where its pixels look, and what its sensor makes of the light.

    Attributes:
        homography: undistorted sensor px -> scene px (the sensor grid of an ideal camera), row by row.
        k1, k2, p1, p2: radial and tangential distortion (Brown-Conrady), radius 1 at half the diagonal; distorted ->
            undistorted.
        psf_px: standard deviation of the point spread function in px, pixel aperture included.
        crosstalk: colour crosstalk, camera RGB from scene RGB; rows sum to 1.
        channel_gain: response of R, G and B.
        black_error_dn: how far each channel's black lies from the nominal level, DN.
        vignetting: (strength, x, y): 1 + strength * r^2 about a centre; radius 1 at half the diagonal.
        transmittance: splitter times neutral density filter.
        amplification: analogue gain; full scale holds `full_well_electrons / amplification`.
    """

    homography: Matrix
    k1: float = Field(ge=-0.3, le=0.3)
    k2: float = Field(default=0.0, ge=-0.1, le=0.1)
    p1: float = Field(default=0.0, ge=-0.02, le=0.02)
    p2: float = Field(default=0.0, ge=-0.02, le=0.02)
    psf_px: float = Field(default=0.5, ge=0, le=5)
    crosstalk: Matrix
    channel_gain: Triple
    black_error_dn: Triple = (0.0, 0.0, 0.0)
    vignetting: Triple
    transmittance: float = Field(gt=0, le=1)
    amplification: float = Field(default=1.0, ge=0.1, le=1000)
    full_well_electrons: float = Field(default=FULL_WELL_ELECTRONS, ge=100)
    read_noise_electrons: float = Field(default=READ_NOISE_ELECTRONS, ge=0)

    @property
    def full_scale_electrons(self) -> float:
        """Electrons between black and white level."""
        return self.full_well_electrons / self.amplification


class RigSettings(Settings):
    """A complete simulated rig; made by `resolve_rig`.

    Attributes:
        alignment: where the short exposure lies inside the long one.
        light_per_ms: what a radiance of 1 adds per ms, in full scales, at transmittance and amplification 1.
        drift_px, drift_deg: standard deviations of the shift and turn of S against B from shot to shot.
        static_drift_px, static_drift_deg: the same during calibration.
        exposure_jitter: standard deviation of B's relative exposure from shot to shot.
    """

    seed: int = Field(ge=0)
    width: int = Field(default=640, ge=64, le=8192)
    height: int = Field(default=480, ge=64, le=8192)
    preset: Preset = "nd"
    bit_depth: Literal[8, 12] = 12
    bayer: Literal["RGGB"] = "RGGB"
    exposure_long_ms: float = Field(default=20.0, gt=0)
    exposure_short_ms: float = Field(default=2.0, gt=0)
    alignment: Literal["start", "centre", "end"] = "centre"
    supersampling: int = Field(default=2, ge=1, le=4)
    light_per_ms: float = Field(gt=0)
    drift_px: float = Field(default=0.4, ge=0, le=20)
    drift_deg: float = Field(default=0.01, ge=0, le=2)
    static_drift_px: float = Field(default=0.05, ge=0, le=20)
    static_drift_deg: float = Field(default=0.002, ge=0, le=2)
    exposure_jitter: float = Field(default=0.03, ge=0, le=0.3)
    camera_B: CameraModel  # noqa: N815 - the two cameras are called B and S everywhere
    camera_S: CameraModel  # noqa: N815

    @model_validator(mode="after")
    def _consistent(self) -> "RigSettings":
        if self.exposure_short_ms >= self.exposure_long_ms:
            raise ValueError(
                f"exposure_short_ms={self.exposure_short_ms} must be below exposure_long_ms={self.exposure_long_ms}"
            )
        if self.width % 2 or self.height % 2:
            raise ValueError(f"a Bayer mosaic needs an even width and height, got {self.width}x{self.height}")
        return self

    @property
    def black_level(self) -> float:
        """Nominal black level, DN at `bit_depth`."""
        return BLACK_LEVEL_12_BIT if self.bit_depth == 12 else BLACK_LEVEL_12_BIT / 16

    @property
    def white_level(self) -> float:
        """Largest value, DN at `bit_depth`."""
        return float(2**self.bit_depth - 1)


class SceneSettings(Settings):
    """What stands and moves in front of the rig.

    Attributes:
        textures: `train`, `test`, or a folder of photographs (then `split` says which part of it).
        background: None draws one.
        objects: number of moving objects.
        blur_px: range of the distance an object travels during the long exposure, sensor px.
        coverage: share of the frame that motion touches, roughly.
        pause: probability that an object stands still during a shot; in every shot at least one moves.
        steady: objects move straight ahead at constant speed and do not turn.
        brightness: level of the background's 99.5th percentile, 1 is full scale of an average channel.
        highlights: number of glints four times brighter than full scale.
    """

    name: str = Field(default="scene", min_length=1)
    seed: int = Field(default=0, ge=0)
    textures: str = "train"
    split: Split | None = None
    background: BackgroundKind | None = None
    objects: int = Field(default=3, ge=0, le=50)
    blur_px: tuple[float, float] = (8.0, 36.0)
    coverage: float = Field(default=0.15, gt=0, le=0.7)
    pause: float = Field(default=0.15, ge=0, le=1)
    steady: bool = False
    brightness: float = Field(default=0.85, gt=0, le=4)
    highlights: int = Field(default=0, ge=0, le=50)

    @model_validator(mode="after")
    def _consistent(self) -> "SceneSettings":
        if not 0 <= self.blur_px[0] <= self.blur_px[1]:
            raise ValueError(f"blur_px must be a range from 0 up, got {self.blur_px}")
        if self.textures in _BUNDLED and self.split not in (None, self.textures):
            raise ValueError(f"textures={self.textures} contradicts split={self.split}; set only textures")
        return self

    def source(self) -> TextureSource:
        """The textures of this scene."""
        if self.textures in _BUNDLED:
            return TextureSource(_BUNDLED[self.textures])
        return TextureSource(self.split or "train", Path(self.textures))


def resolve_rig(
    *,
    seed: int = 0,
    width: int = 640,
    height: int = 480,
    preset: Preset = "nd",
    bit_depth: int = 12,
    exposure_long_ms: float = 20.0,
    exposure_short_ms: float = 2.0,
    alignment: str = "centre",
    supersampling: int = 2,
) -> RigSettings:
    """Draw a rig: a few px of shift, up to 0.35 degrees, up to about 6 px of corner distortion between the cameras.

    `nd` puts a neutral density filter before B that matches the light within 3 %: both cameras see the same exposure
    and have the same shot noise (ReLoBlur). `gain` has no filter: S gets exposure_short/exposure_long of B's light and
    is amplified to the same level, so it is noisier (RealBlur).

    Raises:
        LocalblurError: if a value is out of range; all problems in one line.
    """
    given = {
        "seed": seed,
        "width": width,
        "height": height,
        "preset": preset,
        "bit_depth": bit_depth,
        "exposure_long_ms": exposure_long_ms,
        "exposure_short_ms": exposure_short_ms,
        "alignment": alignment,
        "supersampling": supersampling,
    }
    # checked with a placeholder optic first: drawing one needs sound sizes and exposures
    checked = {**given, "light_per_ms": 1, "camera_B": _PLACEHOLDER, "camera_S": _PLACEHOLDER}
    return validate(RigSettings, {**given, **_draw_arms(validate(RigSettings, checked, "rig"))}, "rig")


_PLACEHOLDER = {
    "homography": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "k1": 0,
    "crosstalk": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "channel_gain": (1, 1, 1),
    "vignetting": (0, 0, 0),
    "transmittance": 1,
}
SENSOR_RESPONSE = (0.7, 1.0, 0.8)
"""A colour sensor sees less red and blue than green in daylight: what white balance is for. Alike in both cameras."""


def _draw_arms(rig: RigSettings) -> dict[str, object]:
    """Both cameras, and the light that brings a white scene to full scale in S."""
    rng = np.random.default_rng([rig.seed, 0x719])
    distortion = float(np.exp(rng.uniform(np.log(0.0009), np.log(0.012)))) * float(rng.choice([-1, 1]))
    common = float(rng.uniform(-0.02, 0.02))
    splitter = float(rng.uniform(0.46, 0.54))
    light_s, light_b = (1 - splitter) * rig.exposure_short_ms, splitter * rig.exposure_long_ms
    if rig.preset == "nd":
        transmittance_b = min(1.0, splitter * light_s / light_b * float(rng.uniform(0.97, 1.03)))
        amplification_b = amplification_s = ND_AMPLIFICATION
    else:
        transmittance_b, amplification_b, amplification_s = splitter, 1.0, light_b / light_s
    camera_b = _draw_camera(rng, rig, common - distortion / 2, transmittance_b, amplification_b)
    camera_s = _draw_camera(rng, rig, common + distortion / 2, 1 - splitter, amplification_s)
    return {"light_per_ms": 1 / (light_s * amplification_s), "camera_B": camera_b, "camera_S": camera_s}


def _draw_camera(
    rng: np.random.Generator, rig: RigSettings, k1: float, transmittance: float, amplification: float
) -> dict[str, object]:
    crosstalk = rng.uniform(0, 0.08, (3, 3))
    # the cameras differ in colour; in brightness only as far as filter and exposure do not match
    gain = rng.uniform(0.85, 1.15, 3)
    gain *= SENSOR_RESPONSE / gain.mean()
    np.fill_diagonal(crosstalk, 0)
    crosstalk += np.diag(1 - crosstalk.sum(axis=1))
    unit = 1.0 if rig.bit_depth == 12 else 1 / 16
    return {
        "homography": tuple(_draw_homography(rng, rig.width, rig.height).ravel().tolist()),
        "k1": k1,
        "k2": float(rng.uniform(-0.0003, 0.0003)),
        "p1": float(rng.uniform(-0.0005, 0.0005)),
        "p2": float(rng.uniform(-0.0005, 0.0005)),
        "crosstalk": tuple(crosstalk.ravel().tolist()),
        "channel_gain": tuple(gain.tolist()),
        "black_error_dn": tuple((rng.uniform(-1, 1, 3) * unit).tolist()),
        "vignetting": (
            float(rng.uniform(-0.28, -0.08)),
            float(rng.uniform(-0.03, 0.03)),
            float(rng.uniform(-0.03, 0.03)),
        ),
        "transmittance": transmittance,
        "amplification": amplification,
    }


def _draw_homography(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Half the difference between two cameras: shift, turn, scale and perspective about the middle of the frame."""
    angle = np.deg2rad(rng.uniform(-0.35, 0.35) / 2)
    scale = 1 + rng.uniform(-0.004, 0.004) / 2
    shift = rng.uniform(-6, 6, 2) / 2
    perspective = rng.uniform(-1.5e-5, 1.5e-5, 2) / 2 * (800 / width)
    matrix = np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), shift[0]],
            [scale * np.sin(angle), scale * np.cos(angle), shift[1]],
            [perspective[0], perspective[1], 1.0],
        ]
    )
    middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1.0]])
    return np.asarray(middle @ matrix @ np.linalg.inv(middle))

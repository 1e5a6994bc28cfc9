"""Poisson-Gaussian noise of a camera, in linear light: what photon transfer measures, or numbers from a data sheet.

Light arrives as electrons, of which a pixel holds at most `full_well_e`: with light 1 at full scale the variance is
light / full_well_e + (read_noise_e / full_well_e)^2 (Foi et al., "Practical Poissonian-Gaussian noise modeling and
fitting for single-image raw-data", TIP 2008).
"""

import re
from pathlib import Path

import numpy as np
import yaml
from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings, validate
from localblur.datasets.images import FloatArray

_ADVICE = {
    "full_well_e": re.compile(r"^(?:camera (\w+): )?full well at this gain: ([0-9.eE+]+) e\b", re.MULTILINE),
    "read_noise_e": re.compile(r"^(?:camera (\w+): )?read noise: ([0-9.eE+]+) \+-", re.MULTILINE),
}
HOW = (
    "give FULL_WELL,READ_NOISE in electrons (for example 9600,4) or a file that states both, such as what capture"
    " --advise prints after --calibrate bracket"
)


class CameraNoise(Settings):
    """How much noise a camera adds.

    Attributes:
        full_well_e: electrons between black and white level at the gain in use.
        read_noise_e: standard deviation in the dark, electrons.
    """

    full_well_e: float = Field(default=11247.0, ge=50, le=1e6)
    read_noise_e: float = Field(default=0.33, ge=0, le=1000)

    def variance(self, light: float) -> float:
        """Variance at a light in [0, 1] of full scale."""
        return light / self.full_well_e + (self.read_noise_e / self.full_well_e) ** 2


REALBLUR_NOISE = CameraNoise()
"""The defaults: beta1 = 8.8915e-5 and beta2 = 2.9430e-5 of RSBlur (Rim et al., ECCV 2022), as electrons."""


def add_noise(light: FloatArray, noise: CameraNoise, rng: np.random.Generator) -> FloatArray:
    """One exposure of linear light, 1 at full scale: photons counted, read noise added, clipped at full scale.

    Args:
        light: float32 of any shape; above 1 is saturated and loses its noise by clipping, as on a sensor.

    Returns:
        float32, at most 1; read noise may go below 0.
    """
    electrons = np.maximum(light, 0) * np.float32(noise.full_well_e)
    collected = rng.poisson(electrons).astype(np.float32)
    if noise.read_noise_e > 0:
        collected += np.float32(noise.read_noise_e) * rng.standard_normal(light.shape, dtype=np.float32)
    collected *= np.float32(1 / noise.full_well_e)
    noisy: FloatArray = np.minimum(collected, np.float32(1))
    return noisy


def parse_noise(text: str) -> CameraNoise:
    """A camera's noise from the command line: `FULL_WELL,READ_NOISE`, `FILE` or `FILE:CAMERA`.

    A file is JSON or YAML with `full_well_e` and `read_noise_e` (other keys, as of a photon-transfer result, are
    ignored), or what `capture --advise` printed; there, CAMERA (B or S) chooses the camera.

    Raises:
        LocalblurError: if it is none of these, or a number makes no sense.
    """
    numbers = text.split(",")
    if len(numbers) == 2:
        try:
            values = {"full_well_e": float(numbers[0]), "read_noise_e": float(numbers[1])}
        except ValueError:
            raise LocalblurError(f"camera noise {text!r}: {HOW}") from None
        return validate(CameraNoise, values, f"camera noise {text!r}")
    path, camera = Path(text), None
    if not path.is_file() and ":" in text:
        folder, _, camera = text.rpartition(":")
        path = Path(folder)
    if not path.is_file():
        raise LocalblurError(f"camera noise {text!r} is no file; {HOW}")
    return _read_noise(path, camera)


def _read_noise(path: Path, camera: str | None) -> CameraNoise:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalblurError(f"cannot read camera noise {path}: {' '.join(str(error).split())}") from error
    values = _advised(content, path, camera) or _stated(content)
    if set(values) != set(_ADVICE):
        missing = ", ".join(sorted(set(_ADVICE) - set(values)))
        raise LocalblurError(f"camera noise {path} does not state {missing}; {HOW}")
    return validate(CameraNoise, values, str(path))


def _stated(content: str) -> dict[str, object]:
    try:
        plain = yaml.safe_load(content)
    except yaml.YAMLError:
        return {}
    return {key: plain[key] for key in _ADVICE if key in plain} if isinstance(plain, dict) else {}


def _advised(content: str, path: Path, camera: str | None) -> dict[str, object]:
    """What `capture --advise` says in words."""
    values: dict[str, object] = {}
    for key, pattern in _ADVICE.items():
        found = {name: float(value) for name, value in pattern.findall(content)}
        if not found:
            return {}
        if camera is None and len(found) > 1:
            raise LocalblurError(f"{path} speaks of cameras {', '.join(found)}; write {path}:B for the blurring one")
        if camera is not None and camera not in found:
            raise LocalblurError(f"{path} says nothing of camera {camera}, only of {', '.join(found)}")
        values[key] = found[camera] if camera is not None else next(iter(found.values()))
    return values

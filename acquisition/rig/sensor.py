"""What a simulated sensor makes of light: Bayer mosaic, shot and read noise, black level, quantisation, saturation."""

import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.settings import CameraModel, RigSettings
from localblur.datasets.images import FloatArray

RawArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Bayer mosaic, right-aligned DN: uint8 at 8 bit, uint16 at 12 bit."""


def mosaic(image: FloatArray) -> FloatArray:
    """Keep of each pixel the colour its RGGB filter lets through: (H, W, 3) to (H, W); red is at (0, 0)."""
    plane = np.empty(image.shape[:2], np.float32)
    plane[0::2, 0::2] = image[0::2, 0::2, 0]
    plane[0::2, 1::2] = image[0::2, 1::2, 1]
    plane[1::2, 0::2] = image[1::2, 0::2, 1]
    plane[1::2, 1::2] = image[1::2, 1::2, 2]
    return plane


def read_out(light: FloatArray, camera: CameraModel, rig: RigSettings, rng: np.random.Generator) -> RawArray:
    """Light on the sensor to raw values.

    Args:
        light: linear RGB without offset, 1 is full scale above black, float32, shape (H, W, 3).
        camera: gives electrons per full scale, read noise and the channels' black.
        rig: gives bit depth, black and white level.
        rng: source of the noise.

    Returns:
        Bayer mosaic, shape (H, W), uint8 (8 bit) or uint16 (12 bit), clipped at white level.
    """
    electrons = np.maximum(mosaic(light), 0) * np.float32(camera.full_scale_electrons)
    collected = rng.poisson(electrons).astype(np.float32)
    collected += np.float32(camera.read_noise_electrons) * rng.standard_normal(electrons.shape, dtype=np.float32)
    scale = (rig.white_level - rig.black_level) / camera.full_scale_electrons
    black = np.broadcast_to(np.array(camera.black_error_dn, np.float32) + np.float32(rig.black_level), light.shape)
    values = np.rint(collected * np.float32(scale) + mosaic(black))
    clipped = np.clip(values, 0, rig.white_level)
    raw: RawArray = clipped.astype(np.uint8) if rig.bit_depth == 8 else clipped.astype(np.uint16)
    return raw

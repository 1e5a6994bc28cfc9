"""Ways of demosaicing, and what each leaves of colour on simulated Bayer pairs with the true geometry and colours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.acquisition.rig.settings import SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigShot, RigSimulator
from localblur.alignment.light.radiometry import demosaic
from localblur.datasets.images import srgb_encode

Array = npt.NDArray[Any]
Way = Callable[[Array], Array]
SIZE = (640, 480)
LEVELS = 255.0
_BORDER_PX = 12
_SCALE, _PEDESTAL = 40000.0, 3000.0
"""Light to 16 bit for OpenCV, with room for noise below black."""
_ROOT_OFFSET = np.float32(0.002)
_BALANCE = np.array([1.35, 1.0, 1.2], np.float32)


@dataclass(frozen=True)
class Left:
    """What a way leaves, root mean squares in sRGB-coded levels of 255 (white-balanced), where nothing moved.

    Attributes:
        sharp, blurred: error of red minus green and blue minus green in each camera, against its own noise-free light.
        pair: the same of the two pictures of a pair against one another.
        psnr_db: of camera S against its noise-free light, all channels.
    """

    sharp: float
    blurred: float
    pair: float
    psnr_db: float


def hamilton_adams(mosaic: Array) -> Array:
    """What the alignment uses."""
    return demosaic(mosaic, "RGGB")


def through_opencv(code: int) -> Way:
    """OpenCV's demosaicing of 16-bit values."""

    def way(mosaic: Array) -> Array:
        raw = np.clip(np.rint(mosaic * _SCALE + _PEDESTAL), 0, 65535).astype(np.uint16)
        return (cv2.cvtColor(raw, code).astype(np.float32) - _PEDESTAL) / _SCALE

    return way


def through_vng(mosaic: Array) -> Array:
    """OpenCV's variable number of gradients, which takes 8 bits only: of square roots, where they cost least."""
    raw = np.clip(np.rint(np.sqrt(np.maximum(mosaic + 0.01, 0)) * 250), 0, 255).astype(np.uint8)
    return (cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB_VNG).astype(np.float32) / 250) ** 2 - np.float32(0.01)


def malvar(mosaic: Array) -> Array:
    """Linear interpolation corrected by the Laplacian of the other colour.

    H. S. Malvar, L. He, R. Cutler, "High-Quality Linear Interpolation for Demosaicing of Bayer-Patterned Color Images",
    ICASSP 2004, figure 2.
    """
    cross = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]])
    row = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]])
    far = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
    green, along, across, diagonal = (
        cv2.filter2D(mosaic, cv2.CV_32F, np.array(kernel, np.float32) / 8, borderType=cv2.BORDER_REFLECT_101)
        for kernel in (cross, row, row.T, far)
    )
    odd_y, odd_x = (grid % 2 == 1 for grid in np.mgrid[0 : mosaic.shape[0], 0 : mosaic.shape[1]])
    red, blue = ~odd_y & ~odd_x, odd_y & odd_x
    in_red_rows, in_blue_rows = ~odd_y & odd_x, odd_y & ~odd_x
    planes = [
        np.select([red, blue, in_red_rows, in_blue_rows], [mosaic, diagonal, along, across]),
        np.where(red | blue, green, mosaic),
        np.select([blue, red, in_blue_rows, in_red_rows], [mosaic, diagonal, along, across]),
    ]
    return np.stack(planes, -1).astype(np.float32)


def on_roots(way: Way) -> Way:
    """A way applied to square roots of white-balanced values, where ours works."""

    def rooted(mosaic: Array) -> Array:
        means = [float(mosaic[row::2, column::2].mean()) for row, column in ((0, 0), (0, 1), (1, 1))]
        balance = np.array([means[1] / means[0], 1, means[1] / means[2]], np.float32)
        gains = np.ones_like(mosaic)
        gains[::2, ::2], gains[1::2, 1::2] = balance[0], balance[2]
        roots = np.sqrt(np.maximum(mosaic * gains + _ROOT_OFFSET, 0))
        return np.asarray((way(roots) ** 2 - _ROOT_OFFSET) / balance, np.float32)

    return rooted


WAYS: dict[str, Way] = {
    "Hamilton and Adams": hamilton_adams,
    "OpenCV edge-aware": through_opencv(cv2.COLOR_BayerRGGB2RGB_EA),
    "Malvar": malvar,
    "OpenCV edge-aware, on balanced roots": on_roots(through_opencv(cv2.COLOR_BayerRGGB2RGB_EA)),
    "Malvar, on balanced roots": on_roots(malvar),
    "OpenCV VNG": through_vng,
    "OpenCV bilinear": through_opencv(cv2.COLOR_BayerRGGB2RGB),
}


@dataclass(frozen=True)
class MosaicPair:
    """A simulated pair; both mosaics are light with 0 at the nominal black."""

    shot: RigShot
    mosaics: tuple[Array, Array]

    def left_by(self, way: Way) -> Left:
        """What one way of demosaicing leaves."""
        truth = self.shot.truth
        blurred, sharp = (way(mosaic) for mosaic in self.mosaics)
        still = truth.valid & ~truth.motion_mask & (truth.clean_sharp.max(-1) < 0.9)
        still[:_BORDER_PX], still[-_BORDER_PX:], still[:, :_BORDER_PX], still[:, -_BORDER_PX:] = (False,) * 4
        warped = cv2.remap(blurred, truth.displacement, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        matched = (warped - truth.offset_B) @ truth.color_matrix.T * truth.vignetting_ratio[..., None] + truth.offset_S
        inner = np.zeros(still.shape, bool)
        inner[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = True
        errors = levels(sharp) - levels(truth.clean_sharp)
        return Left(
            sharp=chroma_rms(errors[still]),
            blurred=chroma_rms((levels(blurred) - levels(self.shot.clean_blurred))[inner]),
            pair=chroma_rms((levels(matched) - levels(sharp))[still]),
            psnr_db=float(10 * np.log10(LEVELS**2 / (errors[still].astype(np.float64) ** 2).mean())),
        )


def levels(light: Array) -> Array:
    """White-balanced, sRGB-coded levels of 255."""
    return srgb_encode(light * _BALANCE) * LEVELS


def chroma_rms(errors: Array) -> float:
    """Root mean square of red minus green and blue minus green."""
    differences = errors[..., [0, 2]].astype(np.float64) - errors[..., 1:2]
    return float(np.sqrt((differences**2).mean()))


def mosaic_pair(seed: int) -> MosaicPair:
    """A pair of one rig and scene."""
    rig = resolve_rig(seed=seed, width=SIZE[0], height=SIZE[1])
    shot = RigSimulator(rig, SceneSettings(seed=100 + seed)).shot(0)
    span = rig.white_level - rig.black_level
    blurred, sharp = ((raw.astype(np.float32) - rig.black_level) / np.float32(span) for raw in (shot.raw_B, shot.raw_S))
    return MosaicPair(shot, (blurred, sharp))

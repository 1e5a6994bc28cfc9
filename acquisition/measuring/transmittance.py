"""How much less light the blurred camera gets: measured from static frames of both cameras, per colour.

T = s_B / s_S with s = (mean - black) / exposure. It holds the neutral density filter, the splitter's own ratio, and any
difference in gain. The optical density is -log10 T; levels match when T times the ratio of the exposures is 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.recordings.journal import SATURATED_SHARE, CameraRecord, Role

USABLE_RANGE = (0.05, 0.8)
"""A block counts where both cameras see it between these shares of the range from black to white."""
FEWEST_BLOCKS = 20
_BLOCKS_ALONG_SHORT_SIDE = 16
_CHANNEL_SHARES = np.array([0.25, 0.5, 0.25])
_KEPT_SHARE = 0.5
"""A block counts if at least this much of it is not saturated."""
_WHITE_NORM = 12
_ROUNDS = 12
_TUKEY = 4.685
"""Tukey's biweight with 95 % efficiency on normal residuals."""
_BLACK_ERROR = 1 / 8192
"""Share of full scale to which the black level is trusted: half a DN at 12 bit."""
# how far apart two cameras of one kind plausibly are: keeps what the blocks do not determine near zero
_TILT_SCALE, _CURVE_SCALE, _CROSSTALK_SCALE = 0.1, 0.3, 0.1

_Array = npt.NDArray[np.float64]


class Transmittance(Settings):
    """Light of camera B per ms relative to that of camera S, at the middle of the frame and for white light.

    Attributes:
        densities: optical density for R, G, B. density_errors: their standard errors.
        blocks: number of blocks of the frame it was measured from.
        exposure_long_ms, exposure_short_ms: of the frames.
        saturated: by camera, share of pixels at 98 % of the white level or above.
        clipped: by camera, share of pixels at 0 DN: a black level that is too low.
    """

    densities: tuple[float, float, float]
    density_errors: tuple[float, float, float]
    blocks: int
    exposure_long_ms: float
    exposure_short_ms: float
    saturated: dict[Role, float]
    clipped: dict[Role, float]

    @property
    def density(self) -> float:
        """Optical density of the mean over a mosaic's pixels, half of which are green."""
        return float(np.dot(_CHANNEL_SHARES, self.densities))

    @property
    def density_error(self) -> float:
        """Standard error of `density`; the colours' errors go together."""
        return float(np.dot(_CHANNEL_SHARES, self.density_errors))

    @property
    def transmittance(self) -> float:
        """T, above 0."""
        return 10**-self.density

    @property
    def spread(self) -> float:
        """By how much the colours' T differ: largest over smallest minus 1."""
        return 10 ** (max(self.densities) - min(self.densities)) - 1

    @property
    def level_stops(self) -> float:
        """Level error in stops (factors of two) at the frames' exposures; above 0 camera B is the brighter one."""
        return math.log2(self.exposure_long_ms / self.exposure_short_ms) - self.density / math.log10(2)


@dataclass(frozen=True)
class _View:
    """What one camera saw: share of the range from black to white (h, w, 3), where any frame was saturated (h, w)."""

    light: npt.NDArray[np.float32]
    saturated: npt.NDArray[np.bool_]
    saturated_share: float
    clipped_share: float


@dataclass(frozen=True)
class _Blocks:
    """Usable blocks: log ratio (N, 3), field terms (N, 5), log colour against white (N, 2); median light (3,)."""

    log_ratio: _Array
    field: _Array
    colour: _Array
    light: _Array


def measure_transmittance(
    blurred: Sequence[npt.NDArray[Any]],
    sharp: Sequence[npt.NDArray[Any]],
    camera_B: CameraRecord,  # noqa: N803 - the two cameras are called B and S everywhere
    camera_S: CameraRecord,  # noqa: N803
) -> Transmittance:
    """Compare what two cameras record of a scene in which nothing moves.

    The frames are averaged and laid over each other by one shift. Each block's log ratio is explained by T of each
    colour, a quadratic field (the difference of the lenses' vignetting) and the block's colour (the difference of the
    sensors' crosstalk); a robust regression gives T at the middle for white. White is taken to be the colour of the
    scene's brightest blocks (shades of gray, Finlayson and Trezzi, CIC 2004): an even white or gray surface gives the
    best result by far, a gray card somewhere in the scene the next best.

    Args:
        blurred, sharp: frames of camera B and of camera S, uint8 or uint16 DN, Bayer mosaic (H, W) or RGB (H, W, 3);
            any number of each.
        camera_B, camera_S: black level, white level, exposure and pattern belonging to them.

    Raises:
        LocalblurError: if the frames do not fit, or too little of them is neither dark nor saturated.
    """
    if camera_B.shape != camera_S.shape:
        raise LocalblurError(
            f"cameras B and S deliver frames of {camera_B.shape} and {camera_S.shape}; set the same size and kind of"
            " pixel format for both"
        )
    seen = {"B": _view(blurred, camera_B), "S": _view(sharp, camera_S)}
    blocks = _usable_blocks(*_overlapping(seen["B"], seen["S"]))
    log_ratio, errors = _robust_fit(blocks)
    exposure = math.log(camera_S.exposure_ms / camera_B.exposure_ms)
    return Transmittance(
        densities=_triple(-(log_ratio + exposure) / math.log(10)),
        density_errors=_triple(errors / math.log(10)),
        blocks=len(blocks.log_ratio),
        exposure_long_ms=camera_B.exposure_ms,
        exposure_short_ms=camera_S.exposure_ms,
        saturated={"B": seen["B"].saturated_share, "S": seen["S"].saturated_share},
        clipped={"B": seen["B"].clipped_share, "S": seen["S"].clipped_share},
    )


def _triple(values: _Array) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _view(frames: Sequence[npt.NDArray[Any]], camera: CameraRecord) -> _View:
    if not frames:
        raise LocalblurError(f"no frame of camera {camera.role}; capture at least one of a static scene")
    light = np.zeros(camera.shape, np.float32)
    saturated = np.zeros(camera.shape, bool)
    saturated_share = clipped_share = 0.0
    for frame in frames:
        if frame.shape != camera.shape or frame.dtype != camera.dtype:
            raise LocalblurError(
                f"a frame of camera {camera.role} is {frame.shape} {frame.dtype}, but the camera delivers"
                f" {camera.shape} {np.dtype(camera.dtype)}; use frames and camera settings of one capture"
            )
        light += frame
        high = frame >= SATURATED_SHARE * camera.white_level
        saturated |= high
        saturated_share += float(high.mean()) / len(frames)
        clipped_share += float((frame == 0).mean()) / len(frames)
    light /= len(frames)
    light -= np.float32(camera.black_level)
    light /= np.float32(camera.white_level - camera.black_level)
    if camera.bayer is None:
        return _View(light, np.logical_or.reduce(saturated, axis=2), saturated_share, clipped_share)
    sites = list(zip(_sites(light), camera.bayer, strict=True))
    colours = [np.mean([plane for plane, name in sites if name == colour], axis=0) for colour in "RGB"]
    return _View(np.stack(colours, axis=2), np.logical_or.reduce(_sites(saturated)), saturated_share, clipped_share)


def _sites(mosaic: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The four planes of a mosaic's 2x2 blocks, row by row, each (H/2, W/2)."""
    height, width = (side // 2 * 2 for side in mosaic.shape)
    return [mosaic[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)]


def _overlapping(blurred: _View, sharp: _View) -> tuple[_View, _View]:
    """Cut both views to what both cameras see, by one whole shift; even surfaces are left as they are."""
    height, width = sharp.light.shape[:2]
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    shift, peak = cv2.phaseCorrelate(_detail(sharp), _detail(blurred), window)
    x, y = (round(value) for value in shift)
    if peak < 0.1 or abs(x) > width // 8 or abs(y) > height // 8:
        return blurred, sharp
    return _cut(blurred, y, x), _cut(sharp, -y, -x)


def _detail(view: _View) -> npt.NDArray[np.float32]:
    green = np.log(np.maximum(view.light[..., 1], np.float32(0.01)))
    detail: npt.NDArray[np.float32] = green - cv2.GaussianBlur(green, (0, 0), 8)
    return detail


def _cut(view: _View, y: int, x: int) -> _View:
    height, width = view.light.shape[:2]
    part = slice(max(y, 0), height + min(y, 0)), slice(max(x, 0), width + min(x, 0))
    return _View(view.light[part], view.saturated[part], view.saturated_share, view.clipped_share)


def _usable_blocks(blurred: _View, sharp: _View) -> _Blocks:
    side = max(2, min(blurred.light.shape[:2]) // _BLOCKS_ALONG_SHORT_SIDE)
    # a saturated place is left out of both cameras, with a rim because they do not coincide to the pixel
    rims = [cv2.dilate(view.saturated.astype(np.float32), np.ones((7, 7)))[..., None] for view in (blurred, sharp)]
    kept = 1 - np.maximum(*rims)
    share = _block_means(kept, side)
    means = np.stack([_block_means(view.light * kept, side) for view in (blurred, sharp)]) / np.maximum(share, 1e-6)
    clipped = np.stack([_block_means(rim, side) > 1 - _KEPT_SHARE for rim in rims])
    low = ~clipped[..., 0] & (means < USABLE_RANGE[0]).any(axis=3)
    high = clipped[..., 0] | (means > USABLE_RANGE[1]).any(axis=3)
    usable = (share[..., 0] >= _KEPT_SHARE) & ~(low | high).any(axis=0)
    if usable.sum() < FEWEST_BLOCKS:
        raise _too_few(int(usable.sum()), low.mean(axis=(1, 2)), high.mean(axis=(1, 2)))
    height, width = usable.shape
    y, x = np.mgrid[0:height, 0:width]
    radius = math.hypot(height, width) / 2
    y, x = ((y - (height - 1) / 2) / radius)[usable], ((x - (width - 1) / 2) / radius)[usable]
    light_b, light_s = means[0][usable].astype(np.float64), means[1][usable].astype(np.float64)
    white = np.mean(light_s**_WHITE_NORM, axis=0) ** (1 / _WHITE_NORM)
    relative = np.log(light_s / white)
    return _Blocks(
        log_ratio=np.log(light_b / light_s),
        field=np.stack([x, y, x * x, x * y, y * y], axis=1),
        colour=relative[:, [0, 2]] - relative[:, [1]],
        light=np.median(light_s, axis=0),
    )


def _block_means(image: npt.NDArray[Any], side: int) -> npt.NDArray[np.float32]:
    height, width = image.shape[0] // side, image.shape[1] // side
    y, x = (image.shape[0] - height * side) // 2, (image.shape[1] - width * side) // 2
    part = image[y : y + height * side, x : x + width * side].reshape(height, side, width, side, image.shape[2])
    means: npt.NDArray[np.float32] = part.mean(axis=(1, 3), dtype=np.float32)
    return means


def _too_few(count: int, low: npt.NDArray[np.floating[Any]], high: npt.NDArray[np.floating[Any]]) -> LocalblurError:
    remedies = {
        "camera B too bright": (high[0], "shorten --exposure-long or put a denser filter before camera B"),
        "camera S too bright": (high[1], "shorten --exposure-short, close the aperture or dim the light"),
        "camera B too dark": (low[0], "lengthen --exposure-long or take a weaker filter before camera B"),
        "camera S too dark": (low[1], "lengthen --exposure-short, open the aperture or add light"),
    }
    remedy = max(remedies.values())[1]
    found = ", ".join(f"{name} in {share:.0%}" for name, (share, _) in remedies.items() if share > 0)
    return LocalblurError(
        f"only {count} of the {FEWEST_BLOCKS} blocks needed lie between {USABLE_RANGE[0]:.0%} and"
        f" {USABLE_RANGE[1]:.0%} of full scale in both cameras ({found} of the frame); {remedy}"
    )


def _robust_fit(blocks: _Blocks) -> tuple[_Array, _Array]:
    """Log ratio of each colour at the middle of the frame for white, and its standard error, both (3,)."""
    count = len(blocks.log_ratio)
    ones = np.eye(3)
    design = np.concatenate(
        [np.hstack([np.tile(ones[c], (count, 1)), blocks.field, np.kron(ones[c], blocks.colour)]) for c in range(3)]
    )
    values = blocks.log_ratio.T.ravel()
    precision = np.repeat([0, 1 / _TILT_SCALE**2, 1 / _CURVE_SCALE**2, 1 / _CROSSTALK_SCALE**2], [3, 2, 3, 6])
    weights, scale = np.ones_like(values), float(np.std(values)) + 1e-6
    for _ in range(_ROUNDS):
        normal = (design * weights[:, None]).T @ design + scale**2 * np.diag(precision)
        solution = np.linalg.solve(normal, design.T @ (weights * values))
        residuals = values - design @ solution
        scale = 1.4826 * float(np.median(np.abs(residuals))) + 1e-6
        weights = np.clip(1 - (residuals / (_TUKEY * scale)) ** 2, 0, None) ** 2
    # the three colours of a block go wrong together: they count as one observation
    variance = 3 * scale**2 * np.diag(np.linalg.inv(normal))[:3]
    # how well white is known (half the spread of colours in the scene), and black in both cameras
    unsure = 0.5 * blocks.colour.std(axis=0)
    variance += ((solution[8:].reshape(3, 2) * unsure) ** 2).sum(axis=1) + 2 * (_BLACK_ERROR / blocks.light) ** 2
    return solution[:3], np.sqrt(variance)

"""Gain, read noise and linearity of a camera from frames of an even field at several exposures: photon transfer.

Light arrives as single photons, so the variance of a pixel grows in proportion to its mean: var = K light + K^2 read^2
+ 1/12, with the gain K in DN per electron, light in DN above black, and 1/12 DN^2 from rounding (Janesick, "Photon
Transfer", SPIE 2007; EMVA Standard 1288). Only what differs between frames of one exposure is counted, so that texture,
vignetting and differences between pixels drop out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.recordings.journal import SATURATED_SHARE, CameraRecord

FEWEST_LEVELS = 3
HIGHEST_FITTED = 0.7
"""The line is fitted up to this share of full scale: nearer to saturation the variance falls (EMVA 1288)."""
LINEAR_RANGE = (0.02, 0.9)
"""Levels whose mean lies between these shares of full scale are judged for linearity."""
LEAST_SPAN = 4.0
"""The brightest usable level must be this many times the darkest, or slope and intercept cannot be told apart."""
QUANTISATION_DN2 = 1 / 12
RESOLVED_DN2 = 0.24
"""Smaller variances are those of rounding and not of the camera (EMVA 1288)."""
SATURATED_LIMIT = 0.001
CLIPPED_LIMIT = 0.01
"""Share of the pixels of a dark frame at 0 DN from which on its mean and noise are not those of the camera."""
_BLACK_ERROR = 1 / 8192
"""Share of full scale to which a black level that was not measured is trusted: half a DN at 12 bit."""
_BLOCK_PX = 32
_ROUNDS = 20
_HUBER = 2.5

_Array = npt.NDArray[np.float64]


class PhotonTransfer(Settings):
    """What a bracket says about a camera.

    Attributes:
        gain_dn_per_e: K, digital numbers per electron. gain_error: its standard error.
        read_noise_e: standard deviation in the dark, electrons, without rounding. read_noise_error: standard error.
        read_noise_resolved: False if rounding hides the read noise; then it is an upper limit.
        full_well_e: electrons between black and white level, the most that this gain can show.
        linearity_percent: largest deviation of a level from a straight line over the exposures, in percent of the
            level; None without exposures or with fewer than three levels in range.
        levels: levels used for gain and read noise.
    """

    gain_dn_per_e: float
    gain_error: float
    read_noise_e: float
    read_noise_error: float
    read_noise_resolved: bool
    full_well_e: float
    linearity_percent: float | None
    levels: int

    @property
    def dynamic_range_db(self) -> float:
        """Full well over read noise, in dB."""
        return 20 * math.log10(self.full_well_e / max(self.read_noise_e, 1e-3))

    def lines(self) -> list[str]:
        """The result in words, one line each, with units."""
        limit = "" if self.read_noise_resolved else " at most: rounding hides it"
        found = [
            f"gain: {self.gain_dn_per_e:.4g} +- {self.gain_error:.1g} DN/e",
            f"read noise: {self.read_noise_e:.2f} +- {self.read_noise_error:.2f} e{limit}",
            f"full well at this gain: {self.full_well_e:.0f} e, dynamic range {self.dynamic_range_db:.1f} dB",
        ]
        if self.linearity_percent is not None:
            found.append(f"linearity: levels follow their exposures within {self.linearity_percent:.2f} %")
        return found


@dataclass(frozen=True)
class _Level:
    """One exposure: light above black (DN) and variance (DN^2) of its blocks, (N,), and mean light of each Bayer site.

    Saturated blocks are left out; the mean of a saturated site is NaN.
    """

    light: _Array
    variance: _Array
    freedom: float
    site_light: _Array

    @property
    def resolved(self) -> bool:
        """True if the noise is large enough against rounding for its variance to be what it seems."""
        return len(self.variance) > 0 and float(np.median(self.variance)) >= RESOLVED_DN2


def estimate_photon_transfer(
    levels: Sequence[Sequence[npt.NDArray[Any]]],
    camera: CameraRecord,
    *,
    exposures_ms: Sequence[float] | None = None,
    dark: Sequence[npt.NDArray[Any]] = (),
) -> PhotonTransfer:
    """Estimate gain, read noise and linearity of one camera.

    Args:
        levels: for each exposure two or more frames of a field that does not change, Bayer mosaics (H, W), uint8 or
            uint16 DN, not averaged. Vignetting and texture do not matter, flicker of the light hardly.
        camera: black level, white level and pattern belonging to them.
        exposures_ms: the exposure of each level, for the linearity.
        dark: two or more frames without light; they give the black level of each Bayer site and the read noise.

    Raises:
        LocalblurError: if the frames do not fit, are RGB (interpolated colours have less noise than pixels), or there
            are fewer than three usable levels, or these span less than a factor of 4.
    """
    _check_frames(levels, camera, exposures_ms, dark)
    full = camera.white_level - camera.black_level
    black = _black_levels(dark, camera)
    measured = [_measure(frames, black, camera) for frames in levels]
    used = [level for level in (_up_to(level, HIGHEST_FITTED * full) for level in measured) if level.resolved]
    _check_levels([float(np.median(level.light)) for level in used], full)
    unlit = [_measure(dark, black, camera)] if len(dark) else []
    hidden = any(not level.resolved for level in unlit)
    (gain, offset), covariance = _fit_line([*used, *(() if hidden else unlit)])
    if gain <= 0 or gain < 3 * math.sqrt(covariance[0, 0]):
        raise LocalblurError(
            f"the noise does not grow with the light (slope {gain:.3g} DN/e); use raw, unaveraged frames with every"
            " noise reduction off, and two different ones at each exposure"
        )
    if hidden or not unlit:
        covariance[1, 1] += (gain * _BLACK_ERROR * full) ** 2
    hidden = hidden or offset < RESOLVED_DN2
    read_dn2 = (RESOLVED_DN2 if hidden else offset) - QUANTISATION_DN2
    read = math.sqrt(read_dn2) / gain
    slopes = np.array([-read / gain, 1 / (2 * gain * math.sqrt(read_dn2))])
    return PhotonTransfer(
        gain_dn_per_e=gain,
        gain_error=math.sqrt(covariance[0, 0]),
        read_noise_e=read,
        read_noise_error=math.sqrt(slopes @ covariance @ slopes),
        read_noise_resolved=not hidden,
        full_well_e=full / gain,
        linearity_percent=None if exposures_ms is None else _linearity_percent(measured, exposures_ms, full),
        levels=len(used),
    )


def _check_frames(
    levels: Sequence[Sequence[npt.NDArray[Any]]],
    camera: CameraRecord,
    exposures_ms: Sequence[float] | None,
    dark: Sequence[npt.NDArray[Any]],
) -> None:
    if camera.bayer is None:
        raise LocalblurError(
            f"camera {camera.role} delivers {camera.pixel_format}, colours interpolated from several pixels; photon"
            " transfer needs raw pixels, set a Bayer pixel format"
        )
    if exposures_ms is not None and (len(exposures_ms) != len(levels) or min(exposures_ms, default=1) <= 0):
        raise LocalblurError(
            f"{len(levels)} levels need as many exposures above 0 ms, got {[float(f'{ms:.4g}') for ms in exposures_ms]}"
        )
    for name, frames in [*((f"level {number}", frames) for number, frames in enumerate(levels)), ("dark", dark)]:
        if len(frames) < 2 and not (name == "dark" and len(frames) == 0):
            raise LocalblurError(f"{name} has {len(frames)} frames; two or more are needed, whose difference is noise")
        for frame in frames:
            if frame.shape != camera.shape or frame.dtype != camera.dtype:
                raise LocalblurError(
                    f"a frame of {name} is {frame.shape} {frame.dtype}, but camera {camera.role} delivers"
                    f" {camera.shape} {np.dtype(camera.dtype)}; use the frames of one bracket"
                )


def _check_levels(medians: Sequence[float], full: float) -> None:
    if len(medians) < FEWEST_LEVELS:
        raise LocalblurError(
            f"{len(medians)} levels lie below {HIGHEST_FITTED:.0%} of full scale and show noise, {FEWEST_LEVELS} are"
            " needed; capture raw, unaveraged frames at more exposures or with less light"
        )
    darkest, brightest = min(medians), max(medians)
    if brightest < LEAST_SPAN * max(darkest, 0.0) or brightest <= 0.02 * full:
        raise LocalblurError(
            f"the levels reach from {darkest / full:.1%} to {brightest / full:.1%} of full scale; the brightest must be"
            f" {LEAST_SPAN:.0f} times the darkest and above 2 %: check that the exposures differ, or add light"
        )


def _black_levels(dark: Sequence[npt.NDArray[Any]], camera: CameraRecord) -> _Array:
    """Black level of each of the four Bayer sites, DN: the nominal one, or the mean of the dark frames."""
    if not len(dark):
        return np.full(4, camera.black_level)
    clipped = float(np.mean([(frame == 0).mean() for frame in dark]))
    if clipped > CLIPPED_LIMIT:
        raise LocalblurError(
            f"{clipped:.1%} of the pixels of the dark frames of camera {camera.role} are at 0 DN (limit"
            f" {CLIPPED_LIMIT:.1%}); raise its black level and capture them again"
        )
    means: _Array = np.mean([[site.mean() for site in _sites(frame)] for frame in dark], axis=0)
    return means


def _sites(frame: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    height, width = (side // 2 * 2 for side in frame.shape)
    return [frame[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)]


def _measure(frames: Sequence[npt.NDArray[Any]], black: _Array, camera: CameraRecord) -> _Level:
    """Light and noise of the blocks of one level; the noise is what differs between its frames."""
    light, variance, site_light = [], [], []
    count = len(frames)
    for planes, dark in zip(zip(*(_sites(frame) for frame in frames), strict=True), black, strict=True):
        blocks = np.stack([_blocks(plane) for plane in planes])
        means = blocks.mean(axis=2)
        saturated = blocks >= SATURATED_SHARE * camera.white_level
        site_light.append(float(means.mean()) - dark if saturated.mean() < SATURATED_LIMIT else math.nan)
        whole = ~saturated.any(axis=(0, 2))
        noise = blocks - means[..., None]
        noise -= noise.mean(axis=0)
        light.append(means.mean(axis=0)[whole] - dark)
        freedom = float((count - 1) * (blocks.shape[2] - 1))
        variance.append((noise**2).sum(axis=(0, 2), dtype=np.float64)[whole] / freedom)
    return _Level(np.concatenate(light), np.concatenate(variance), freedom, np.array(site_light))


def _blocks(plane: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Cut a plane into blocks, each a row: (N, pixels)."""
    rows, columns = (max(1, side // _BLOCK_PX) for side in plane.shape)
    height, width = plane.shape[0] // rows, plane.shape[1] // columns
    part = plane[: rows * height, : columns * width].astype(np.float32)
    return part.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(rows * columns, height * width)


def _up_to(level: _Level, highest_dn: float) -> _Level:
    chosen = level.light <= highest_dn
    return replace(level, light=level.light[chosen], variance=level.variance[chosen])


def _fit_line(levels: Sequence[_Level]) -> tuple[tuple[float, float], _Array]:
    """Slope and intercept of variance over light, and their covariance.

    The variance of a variance V with f degrees of freedom is 2 V^2 / f (chi square). V is taken from the line, not
    from the sample: small samples would otherwise get large weights and pull the line down.
    """
    light = np.concatenate([level.light for level in levels])
    variance = np.concatenate([level.variance for level in levels])
    freedom = np.concatenate([np.full(len(level.light), level.freedom) for level in levels])
    design = np.stack([light, np.ones_like(light)], axis=1)
    expected = np.maximum(variance, QUANTISATION_DN2)
    trust = np.ones_like(light)
    for _ in range(_ROUNDS):
        weights = trust * freedom / (2 * expected**2)
        covariance = np.linalg.inv((design * weights[:, None]).T @ design)
        line = covariance @ (design.T @ (weights * variance))
        expected = np.maximum(design @ line, QUANTISATION_DN2)
        deviation = np.abs(variance - expected) / (expected * np.sqrt(2 / freedom))
        trust = np.minimum(1, _HUBER / np.maximum(deviation, 1e-9))
    scatter = float(np.sum(trust * deviation**2) / max(len(light) - 2, 1))
    return (float(line[0]), float(line[1])), covariance * max(1.0, scatter)


def _linearity_percent(levels: Sequence[_Level], exposures_ms: Sequence[float], full: float) -> float | None:
    """Largest relative deviation from light = a exposure + b, fitted to relative deviations, over all Bayer sites."""
    exposures = np.asarray(exposures_ms, np.float64)
    worst = []
    for light in np.stack([level.site_light for level in levels], axis=1):
        chosen = (light > LINEAR_RANGE[0] * full) & (light < LINEAR_RANGE[1] * full)
        if len(np.unique(exposures[chosen])) < FEWEST_LEVELS:
            continue
        design = np.stack([exposures[chosen], np.ones(chosen.sum())], axis=1)
        scaled = design / light[chosen, None]
        line = np.linalg.lstsq(scaled, np.ones(len(scaled)), rcond=None)[0]
        worst.append(float(np.abs(light[chosen] / (design @ line) - 1).max()))
    return 100 * max(worst) if worst else None

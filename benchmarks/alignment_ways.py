"""Ways of aligning a pair, and simulated pairs to try them on.

Ours, and what is usual: an ECC homography per pair (100 iterations, as the scripts of published data sets do), a
homography from SIFT matches by MAGSAC, and an ECC homography from a static pair plus phase correlation for each pair.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from localblur.acquisition.rig.settings import RigSettings, SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigSimulator
from localblur.alignment.light.radiometry import raw_image
from localblur.alignment.model.calibration import RigCalibration, calibrate, fit_static_pair
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.datasets.images import from_unit, srgb_encode

ECC_ITERATIONS, ECC_FILTER_PX = 100, 5
Align = Callable[[CapturedPair], Any]
"""From a pair to the positions (H, W, 2) of the sharp pixels in the blurred picture."""


def hard_rig(seed: int, size: tuple[int, int]) -> RigSettings:
    """A rig with a second radial and tangential terms, which neither a homography nor a cubic field holds exactly."""
    rig, rng = resolve_rig(seed=seed, width=size[0], height=size[1]), np.random.default_rng(seed)
    for name in ("camera_B", "camera_S"):
        k2, p1, p2 = (float(value) for value in rng.uniform(-1, 1, 3) * (0.003, 0.0015, 0.0015))
        camera = rig.camera_B if name == "camera_B" else rig.camera_S
        rig = rig.model_copy(update={name: camera.model_copy(update={"k2": k2, "p1": p1, "p2": p2})})
    return rig


def render(folder: Path, seed: int, size: tuple[int, int], statics: int) -> None:
    """One rig's static pairs and one pair with moving objects, as raw frames with the truth."""
    rig = hard_rig(seed, size)
    target, scene = RigSimulator(rig, SceneSettings(seed=5)), RigSimulator(rig, SceneSettings(seed=100 + seed))
    shots = [target.shot(index, "static") for index in range(statics)] + [scene.shot(0)]
    still = shots[-1].truth.valid & ~shots[-1].truth.motion_mask
    frames = {f"{role}{n}": raw for n, shot in enumerate(shots) for role, raw in (("B", shot.raw_B), ("S", shot.raw_S))}
    np.savez(folder / f"{seed}.npz", displacement=shots[-1].truth.displacement, still=still, **frames)


class Rendered:
    """What `render` left for one rig."""

    def __init__(self, folder: Path, seed: int, size: tuple[int, int]) -> None:
        self._rig = hard_rig(seed, size)
        with np.load(folder / f"{seed}.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        self.displacement, self.still = arrays.pop("displacement"), arrays.pop("still")
        pairs = [self._captured(arrays[f"B{n}"], arrays[f"S{n}"]) for n in range(len(arrays) // 2)]
        self.statics, self.pair = pairs[:-1], pairs[-1]

    def _captured(self, raw_blurred: Any, raw_sharp: Any) -> CapturedPair:
        rig, settings = self._rig, AlignmentSettings().radiometry
        raws = (raw_blurred, raw_sharp)
        images = [raw_image(raw, rig.bayer, rig.black_level, rig.white_level, settings) for raw in raws]
        return CapturedPair("bench", images[0], images[1])

    def error_px(self, positions: Any) -> float:
        """Mean distance in pixels to the true positions, where nothing moved and B saw the point."""
        return float(np.linalg.norm(positions - self.displacement, axis=-1)[self.still].mean())


def calibrated(statics: list[CapturedPair]) -> RigCalibration:
    """Our calibration."""
    settings = AlignmentSettings()
    return calibrate([fit_static_pair(pair, settings) for pair in statics], settings)


def ours(statics: list[CapturedPair]) -> Align:
    """Calibrated field, affine refinement, colours, brightness, one warp."""
    calibration, settings = calibrated(statics), AlignmentSettings()
    return lambda pair: align_pair(pair, calibration, settings).positions


def ecc(statics: list[CapturedPair]) -> Align:
    """Grey, gain-matched, `findTransformECC` with a homography, one cubic warp."""

    def align(pair: CapturedPair) -> Any:
        blurred, sharp = matched(pair)
        matrix = ecc_matrix(sharp, blurred)
        cv2.warpPerspective(blurred, matrix, blurred.shape[1::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        return projected(matrix, *blurred.shape[:2])

    return align


def sift(statics: list[CapturedPair]) -> Align:
    """SIFT matches, homography by MAGSAC, one cubic warp."""
    detector = cv2.SIFT_create()

    def align(pair: CapturedPair) -> Any:
        blurred, sharp = matched(pair)
        found = [detector.detectAndCompute(grey(image), None) for image in (sharp, blurred)]
        matches = cv2.BFMatcher().knnMatch(found[0][1], found[1][1], k=2)
        good = [first for first, second in matches if first.distance < 0.8 * second.distance]
        here = np.array([found[0][0][match.queryIdx].pt for match in good])
        there = np.array([found[1][0][match.trainIdx].pt for match in good])
        matrix, _ = cv2.findHomography(here, there, cv2.USAC_MAGSAC, 1.0, maxIters=10000, confidence=0.9999)
        cv2.warpPerspective(blurred, matrix, blurred.shape[1::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        return projected(matrix, *blurred.shape[:2])

    return align


def static_ecc(statics: list[CapturedPair]) -> Align:
    """ECC homography of a static pair (not timed), phase correlation for each pair, one cubic warp."""
    reference = matched(statics[0])
    matrix = ecc_matrix(reference[1], reference[0])

    def align(pair: CapturedPair) -> Any:
        blurred, sharp = matched(pair)
        size = blurred.shape[1::-1]
        moved = cv2.warpPerspective(blurred, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        window = cv2.createHanningWindow(size, cv2.CV_32F)
        shift, _ = cv2.phaseCorrelate(*(grey(image).astype(np.float32) for image in (sharp, moved)), window)
        total = matrix @ np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
        cv2.warpPerspective(blurred, total, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        return projected(total, *blurred.shape[:2])

    return align


WAYS: dict[str, Callable[[list[CapturedPair]], Align]] = {
    "ours": ours,
    "ECC homography": ecc,
    "SIFT + MAGSAC homography": sift,
    "static ECC + phase correlation": static_ecc,
}


def matched(pair: CapturedPair) -> tuple[Any, Any]:
    """Blurred and sharp as 8-bit sRGB of equal brightness."""
    gain = pair.sharp.light.mean() / pair.blurred.light.mean()
    return from_unit(srgb_encode(gain * pair.blurred.light), 8), from_unit(srgb_encode(pair.sharp.light), 8)


def grey(image: Any) -> Any:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def ecc_matrix(sharp: Any, blurred: Any) -> Any:
    criteria = (cv2.TERM_CRITERIA_COUNT, ECC_ITERATIONS, 0)
    start = np.eye(3, dtype=np.float32)
    return cv2.findTransformECC(
        grey(sharp), grey(blurred), start, cv2.MOTION_HOMOGRAPHY, criteria, None, ECC_FILTER_PX
    )[1]


def projected(matrix: Any, height: int, width: int) -> Any:
    grid = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones((height, width))], axis=-1)
    points = grid @ np.asarray(matrix, np.float64).T
    return points[..., :2] / points[..., 2:]

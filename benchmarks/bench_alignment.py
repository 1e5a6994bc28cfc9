"""Aligning a pair: calibrated displacement field plus affine refinement, against an ECC homography as is usual."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from measure import Row, Section, Variant, side_by_side

from localblur.acquisition.rig import RigSimulator
from localblur.acquisition.rig_settings import RigSettings, SceneSettings, resolve_rig
from localblur.alignment.calibration import calibrate, fit_static_pair
from localblur.alignment.pair import align_pair
from localblur.alignment.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.radiometry import raw_image
from localblur.datasets.images import from_unit, srgb_encode

PAIRS, STATIC_PAIRS = 3, 4
ECC_ITERATIONS, ECC_FILTER_PX = 100, 5


def simulator() -> RigSimulator:
    """The rig and scene of this benchmark."""
    return RigSimulator(resolve_rig(seed=3), SceneSettings(name="bench", seed=11))


def captured(rig: RigSettings, raw_blurred: Any, raw_sharp: Any) -> CapturedPair:
    """A raw pair in linear light."""
    settings = AlignmentSettings().radiometry
    images = [raw_image(raw, rig.bayer, rig.black_level, rig.white_level, settings) for raw in (raw_blurred, raw_sharp)]
    return CapturedPair("bench", images[0], images[1])


def scene_pairs(source: RigSimulator) -> tuple[list[CapturedPair], list[Any]]:
    """Captured pairs and the truth about them."""
    shots = [source.shot(index) for index in range(PAIRS)]
    return [captured(source.rig, shot.raw_B, shot.raw_S) for shot in shots], [shot.truth for shot in shots]


def error_px(positions: Any, truth: Any) -> float:
    """Mean distance in pixels to the true positions, where B saw the point."""
    distance = np.linalg.norm(positions - truth.displacement, axis=-1)
    return float(distance[truth.valid].mean())


def ours() -> Callable[[], Any]:
    """`align_pair` with a calibration from static pairs (made once, not timed)."""
    source, settings = simulator(), AlignmentSettings()
    statics = [source.shot(index, "static") for index in range(STATIC_PAIRS)]
    fits = [fit_static_pair(captured(source.rig, shot.raw_B, shot.raw_S), settings) for shot in statics]
    calibration = calibrate(fits, settings)
    pairs, truths = scene_pairs(source)

    def run() -> float:
        aligned = [align_pair(pair, calibration, settings) for pair in pairs]
        return float(
            np.mean([error_px(result.positions, truth) for result, truth in zip(aligned, truths, strict=True)])
        )

    return run


def ecc() -> Callable[[], Any]:
    """Gray, gain-matched, `findTransformECC` with a homography, one cubic warp."""
    source = simulator()
    pairs, truths = scene_pairs(source)
    height, width = pairs[0].sharp.light.shape[:2]
    grid = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones((height, width))], axis=-1)

    def align(pair: CapturedPair) -> Any:
        gain = pair.sharp.light.mean() / pair.blurred.light.mean()
        blurred, sharp = (from_unit(srgb_encode(light), 8) for light in (gain * pair.blurred.light, pair.sharp.light))
        grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (sharp, blurred)]
        criteria = (cv2.TERM_CRITERIA_COUNT, ECC_ITERATIONS, 0)
        start = np.eye(3, dtype=np.float32)
        _, matrix = cv2.findTransformECC(*grays, start, cv2.MOTION_HOMOGRAPHY, criteria, None, ECC_FILTER_PX)
        cv2.warpPerspective(blurred, matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        projected = grid @ matrix.T
        return projected[..., :2] / projected[..., 2:]

    def run() -> float:
        return float(np.mean([error_px(align(pair), truth) for pair, truth in zip(pairs, truths, strict=True)]))

    return run


def run(rounds: int) -> Section:
    """Time per pair, and the error against the truth."""
    field, homography = side_by_side(
        Variant(name="calibrated field + affine", prepare=ours, units=PAIRS),
        Variant(name="ECC homography", prepare=ecc, units=PAIRS),
        rounds=rounds,
    )
    note = (
        f"error against the truth: {field.result:.3f} px, ECC {homography.result:.3f} px"
        f" ({homography.result / field.result:.0f} times as much)"
    )
    return Section(
        title="Alignment",
        text="Simulated rig (local motion, distortion). Ours also matches colours and brightness.",
        rows=[Row(what="one pair, 640x480", ours=field, other=homography, note=note)],
    )

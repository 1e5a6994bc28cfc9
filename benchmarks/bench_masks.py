"""Blur masks: time, CPU time, memory and accuracy of every method. All scenes: `python benchmarks/mask_scenes.py`."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from mask_catalogue import KINDS, scene_pairs
from mask_scenes import make_masks, score_scene
from mask_stage import simulate
from measure import Measured, Row, Section, Variant, side_by_side

from localblur.alignment.masks.blur_masks import METHODS, MaskSettings
from localblur.alignment.masks.input import SceneFrames, pair_levels

FULL_SIZE = (2152, 1436)
PAIRS = 8
SCORED = ("flat", "slow", "stopping", "leaving", "shadowed", "whole chain 1")
"""Held-out scenes that are scored here, the same for all methods."""


def masks_at_full_size(method: str) -> Callable[[], Any]:
    """Learn a scene of `PAIRS` pairs at full size, then make their masks; returns CPU seconds per pair."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(5)
    staged = simulate(replace(KINDS["textured"], seed=77, count=PAIRS))
    pairs = [tuple(_enlarged(image, rng) for image in (pair.blurred, pair.sharp)) for pair in staged]
    frames = SceneFrames(PAIRS, lambda index: pair_levels(*pairs[index]))
    settings, chosen = MaskSettings(), METHODS[method]

    def run() -> float:
        begun = time.process_time()
        learned = chosen.prepare(frames, settings)
        for index in range(PAIRS):
            chosen.make(frames.read(index), learned, settings)
        return (time.process_time() - begun) / PAIRS

    return run


def _enlarged(image: Any, rng: np.random.Generator) -> Any:
    """A picture at full size with noise of its own: enlarging takes the noise away."""
    large = cv2.resize(image, FULL_SIZE, interpolation=cv2.INTER_CUBIC)
    return np.clip(large + rng.normal(0, 2, large.shape), 0, 255).astype(np.uint8)


def accuracy(method: str) -> float:
    """Mean intersection over union on some held-out scenes."""
    ious = []
    for name in SCORED:
        pairs = list(scene_pairs("held-out", name))
        results = make_masks(pairs, MaskSettings.model_validate({"method": method}))
        ious += [row.iou for row in score_scene(name, pairs, results) if row.iou is not None]
    return float(np.mean(ious))


def run(rounds: int) -> Section:
    """Our methods against background subtraction, the idea of the reference."""
    methods = ("pair", "sequence", "mog2")
    measured = dict(
        zip(
            methods,
            side_by_side(
                *(Variant(name=m, prepare=masks_at_full_size, arguments=(m,), units=PAIRS) for m in methods),
                rounds=rounds,
            ),
            strict=True,
        )
    )
    scores = {method: accuracy(method) for method in methods}
    return Section(
        title="Blur masks",
        text=f"One pair of 2152x1436 in a scene of {PAIRS}, what is learned from the scene included. OpenCV runs on one"
        " thread, linear algebra may take more; CPU seconds are those of the first call.",
        rows=[_row(method, measured, scores) for method in ("pair", "sequence")],
        facts=[f"{method}: {measured[method].result:.2f} CPU seconds per pair" for method in methods],
    )


def _row(method: str, measured: dict[str, Measured], scores: dict[str, float]) -> Row:
    note = f"mean IoU on {len(SCORED)} held-out scenes {scores[method]:.3f}, mog2 {scores['mog2']:.3f}"
    return Row(what=f"masks by {method}", ours=measured[method], other=measured["mog2"], note=note)

"""Demosaicing: ours against OpenCV's and Malvar's, for the colours they leave on simulated Bayer pairs and for time."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from demosaic_ways import WAYS, Left, mosaic_pair
from measure import Row, Section, Variant, side_by_side

OURS = "Hamilton and Adams"
PAIRS = 8
FULL = (2152, 1436)


def full_size(way: str) -> Callable[[], Any]:
    """Demosaic one frame of full size."""
    cv2.setNumThreads(1)
    mosaic = np.random.default_rng(0).random(FULL[::-1], np.float32)
    return lambda: WAYS[way](mosaic).shape


def left_by_all() -> dict[str, list[Left]]:
    """What every way leaves of every pair."""
    left: dict[str, list[Left]] = {way: [] for way in WAYS}
    for seed in range(PAIRS):
        pair = mosaic_pair(seed)
        for way in WAYS:
            left[way].append(pair.left_by(WAYS[way]))
    return left


def run(rounds: int) -> Section:
    """Colour errors of every way, and times against ours."""
    left = left_by_all()
    measured = dict(
        zip(
            WAYS,
            side_by_side(
                *(Variant(name=way, prepare=full_size, arguments=(way,)) for way in WAYS), rounds=max(rounds, 3)
            ),
            strict=True,
        )
    )
    rows = [
        Row(
            what=f"one frame of {FULL[0]}x{FULL[1]}",
            ours=measured[OURS],
            other=measured[way],
            note=f"colour error of a pair {mean(left[way], 'pair'):.2f} levels, ours {mean(left[OURS], 'pair'):.2f}",
        )
        for way in WAYS
        if way != OURS
    ]
    facts = [
        f"{way}: colour error of camera S {mean(found, 'sharp'):.2f}, of camera B {mean(found, 'blurred'):.2f}, of the"
        f" pair {mean(found, 'pair'):.2f} levels of 255; PSNR of camera S {mean(found, 'psnr_db'):.2f} dB"
        for way, found in left.items()
    ]
    return Section(
        title="Demosaicing",
        text=(
            f"{PAIRS} simulated Bayer pairs, aligned and coloured by the truth, so that only demosaicing and noise are"
            " left. Colour error: root mean square of red minus green and blue minus green, sRGB-coded. One thread."
        ),
        rows=rows,
        facts=facts,
    )


def mean(found: list[Left], name: str) -> float:
    """Mean of one number over the pairs."""
    values = {
        "sharp": [left.sharp for left in found],
        "blurred": [left.blurred for left in found],
        "pair": [left.pair for left in found],
        "psnr_db": [left.psnr_db for left in found],
    }
    return float(np.mean(values[name]))


if __name__ == "__main__":
    for line in run(3).facts:
        print(line)

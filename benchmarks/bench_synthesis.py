"""Pairs from video: CPU time of averaging beside FFmpeg's and OpenCV's, accuracy of interpolation and of masks."""

import statistics
import tempfile
from pathlib import Path

import cv2
import numpy as np
from blending_ways import cpu_in_turns, difference, write_video
from measure import Measured, Row, Section
from synthesis_scenes import KINDS, expose, film, mask_ious, psnr_db

from localblur.datasets.films.interpolation import InterpolationSettings

SIZES = ((720, 1280), (1080, 1920))
SPEEDS_PX = (0.5, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0)
SEEDS = (0, 1)
MASK_SEEDS = range(16)
SETTINGS = InterpolationSettings(frames=16)
EVERYWHERE = InterpolationSettings(frames=16, from_px=0.0)


def blending_rows(rounds: int) -> tuple[list[Row], list[str]]:
    """CPU milliseconds per frame, all threads, of averaging eleven frames; decoding apart."""
    rows: list[Row] = []
    facts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for height, width in SIZES:
            path = Path(folder) / f"{height}.mp4"
            write_video(path, height, width)
            found = cpu_in_turns(path, rounds)
            decoding, rgb = found["decoding"], found["decoding and RGB"]
            blending = difference("linear light", found["ours"], rgb)
            peers = {
                "tmix on RGB, its conversion included": difference("tmix RGB", found["tmix on RGB"], decoding),
                "tmix on YUV, averages codes": difference("tmix YUV", found["tmix on YUV"], decoding),
                "whole frames": difference("cv2.LUT + cv2.add", found["whole-frame cv2.LUT + cv2.add"], rgb),
                "decoding and conversion to RGB": rgb,
            }
            size = f"{width}x{height}"
            rows += [_row(f"blending {size} beside {what}", blending, peer) for what, peer in peers.items()]
            rows += [
                _row(f"decoding to blurred picture {size}", found["ours"], found[name])
                for name in ("tmix on RGB", "tmix on YUV", "whole-frame cv2.LUT + cv2.add")
            ]
            facts.append(
                f"{size}, CPU ms per frame: decoding {1e3 * decoding.median:.2f}, conversion to RGB"
                f" {1e3 * difference('', rgb, decoding).median:.2f}, blending {1e3 * blending.median:.2f}"
            )
    return rows, facts


def interpolation_facts() -> list[str]:
    """PSNR against a continuous exposure by kind of motion and speed."""
    facts = []
    for kind in KINDS:
        cells = []
        for speed in SPEEDS_PX:
            filmed = [film(kind, speed, seed) for seed in SEEDS]
            plain, chosen, always = (
                float(np.mean([psnr_db(expose(one.frames, settings)[0], one.truth) for one in filmed]))
                for settings in (None, SETTINGS, EVERYWHERE)
            )
            cells.append(f"{speed:g} px {plain:.1f} / {chosen:.1f} / {always:.1f}")
        facts.append(
            f"{kind}, dB of averaging frames / interpolated where fast / interpolated everywhere: " + "; ".join(cells)
        )
    return facts


def run(rounds: int) -> Section:
    """Blending side by side; interpolation and masks against rendered truth."""
    cv2.setNumThreads(1)
    rows, facts = blending_rows(max(rounds, 5))
    ious = mask_ious(MASK_SEEDS)
    facts += interpolation_facts()
    facts.append(
        f"motion masks, {len(ious)} rendered windows of 11 frames, camera still: mean IoU {np.mean(ious):.3f}, median"
        f" {statistics.median(ious):.3f}, worst {min(ious):.3f}"
    )
    return Section(
        title="Pairs from video",
        text="CPU time of all threads per frame (not wall time), eleven frames averaged, H.264 video made here (60"
        " Mbit/s at 240 frames a second); all ways in turns in one process. `tmix` has no stride and averages codes;"
        " ours averages light.",
        rows=rows,
        facts=facts,
    )


def _row(what: str, ours: Measured, other: Measured) -> Row:
    return Row(what=what, ours=ours, other=other, unit="ms", scale=1e3)

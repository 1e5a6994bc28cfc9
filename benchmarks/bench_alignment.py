"""Aligning pairs: our calibrated field against what is usual, for accuracy, time, memory, and scaling over workers."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignment_ways import WAYS, Rendered, render
from alignment_workers import cost_per_pair, seconds_per_pair, tasks_of
from measure import Row, Section, Variant, side_by_side

RIGS, STATIC_PAIRS = 6, 3
SMALL, FULL = (640, 480), (2152, 1436)
FULL_RIG = 0
OURS, SCRIPT = "ours", "ECC homography"
WORKER_PAIRS = 6


def accuracy(way: str, folder: Path) -> Callable[[], Any]:
    """Align one pair of every rig; gives the errors in px."""
    rendered = [Rendered(folder, seed, SMALL) for seed in range(RIGS)]
    aligners = [WAYS[way](one.statics) for one in rendered]
    return lambda: [one.error_px(align(one.pair)) for one, align in zip(rendered, aligners, strict=True)]


def full_size(way: str, folder: Path) -> Callable[[], Any]:
    """One pair of full size; gives the error, and the seconds that the calibration took."""
    one = Rendered(folder, FULL_RIG, FULL)
    started = time.perf_counter()
    align = WAYS[way](one.statics)
    calibration_s = time.perf_counter() - started
    return lambda: (one.error_px(align(one.pair)), calibration_s)


def run(rounds: int) -> Section:
    """Errors against the truth and times, ours against each other way; then one pair of full size, and workers."""
    folder = Path(tempfile.mkdtemp(prefix="bench-alignment-"))
    try:
        small, full = folder / "small", folder / "full"
        for path in (small, full):
            path.mkdir()
        for seed in range(RIGS):
            render(small, seed, SMALL, STATIC_PAIRS)
        render(full, FULL_RIG, FULL, 1)
        rows, facts = small_rows(small)
        rows.append(full_row(full))
        facts += worker_facts(full)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Section(
        title="Alignment",
        text=(
            f"{RIGS} simulated Bayer rigs with second radial and tangential distortion, {STATIC_PAIRS} static pairs"
            " each (one at full size), one pair with moving objects. Ours also matches colours and brightness. An ECC"
            " fit takes long: these rows are timed once."
        ),
        rows=rows,
        facts=facts,
    )


def small_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """Ours against every other way at 640x480, and by how much the errors differ."""
    rows, errors = list[Row](), dict[str, float]()
    for way in WAYS:
        if way == OURS:
            continue
        mine, other = side_by_side(
            Variant(name="calibrated field + affine", prepare=accuracy, arguments=(OURS, folder), units=RIGS),
            Variant(name=way, prepare=accuracy, arguments=(way, folder), units=RIGS),
            rounds=1,
        )
        errors[OURS], errors[way] = statistics.mean(mine.result), statistics.mean(other.result)
        note = (
            f"mean error {errors[OURS]:.3f} px, {errors[way]:.3f} px ({errors[way] / errors[OURS]:.0f} times as much)"
        )
        rows.append(Row(what=f"one pair, {SMALL[0]}x{SMALL[1]}", ours=mine, other=other, note=note))
    best = min((way for way in errors if way != OURS), key=lambda way: errors[way])
    ratios = errors[SCRIPT] / errors[OURS], errors[best] / errors[OURS]
    fact = (
        f"error: {ratios[0]:.1f} times smaller than {SCRIPT} (at least 10 wanted), {ratios[1]:.1f} times smaller than"
        f" the best other way, {best} (at least 5 wanted)"
    )
    return rows, [fact]


def full_row(folder: Path) -> Row:
    """Ours against the scripts' way at full size."""
    mine, other = side_by_side(
        Variant(name="calibrated field + affine", prepare=full_size, arguments=(OURS, folder)),
        Variant(name=SCRIPT, prepare=full_size, arguments=(SCRIPT, folder)),
        rounds=1,
    )
    note = (
        f"error {mine.result[0]:.3f} px, {other.result[0]:.3f} px; calibration (once per rig)"
        f" {mine.result[1]:.1f} s per static pair; at least 4x wanted"
    )
    return Row(what=f"one pair, {FULL[0]}x{FULL[1]}", ours=mine, other=other, note=note)


def worker_facts(folder: Path) -> list[str]:
    """What a pair costs a worker, and what a second worker gains."""
    tasks = tasks_of(folder, Rendered(folder, FULL_RIG, FULL), WORKER_PAIRS)
    cost = cost_per_pair(tasks)
    one, two = (seconds_per_pair(workers, tasks) for workers in (1, 2))
    size = f"{FULL[0]}x{FULL[1]}"
    pair = (
        f"a pair of {size} takes {cost['judged_s']:.1f} CPU seconds to align and judge (at most 4 wanted),"
        f" {cost['whole_s']:.1f} with reading, blur mask and compression; the worker peaks at"
        f" {cost['resident_mib']:.0f} MiB (at most 1024 wanted)"
    )
    scaling = (
        f"one worker {one:.2f} s per pair of {size}, two workers {two:.2f} s: {one / two:.2f} times as fast"
        " (at least 1.6 wanted)"
    )
    return [pair, scaling]

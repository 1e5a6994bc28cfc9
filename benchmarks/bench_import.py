"""Importing PNG pairs with one and two workers, as the command does it; `python benchmarks/bench_import.py [COUNT]`."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
from measure import MIB, Measured, Row, Section
from patch_stores import make_pair

SIZE = (1280, 720)
DIFFERENT, IMPORTED = 48, 200
COMMAND = "from localblur.datasets.import_dataset import main; main()"


def write_pictures(folder: Path, pairs: int) -> None:
    """PNG pairs of 1280x720: photographs with noise, `DIFFERENT` of them and links to them."""
    source = make_pair(0)
    for index, kind in itertools.product(range(pairs), ("blur", "sharp")):
        path = folder / kind / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index >= DIFFERENT:
            os.link(folder / kind / f"{index % DIFFERENT:04d}.png", path)
            continue
        y, x = 10 * index % 700, 17 * index % 800
        picture = source.blurred if kind == "blur" else source.sharp
        cv2.imwrite(str(path), np.ascontiguousarray(picture[y : y + SIZE[1], x : x + SIZE[0]]))


def measured_import(pictures: Path, output: Path, workers: int) -> tuple[float, float]:
    """Seconds that the whole command takes, and the peak memory in MiB of all its processes together."""
    options = ["--workers", str(workers), "--overwrite"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "folder", str(pictures), "-o", str(output), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak_mib = 0.0
    while process.poll() is None:
        peak_mib = max(peak_mib, tree_mib(process.pid))
        time.sleep(0.02)
    if process.returncode != 0:
        raise RuntimeError(f"import-dataset ended with exit code {process.returncode}")
    return time.perf_counter() - started, peak_mib


def tree_mib(pid: int) -> float:
    """Memory of a process and all that it started, shared pages counted once for each."""
    try:
        parent = psutil.Process(pid)
        return float(sum(process.memory_info().rss for process in [parent, *parent.children(recursive=True)])) / MIB
    except psutil.NoSuchProcess:
        return 0.0


def compare(pairs: int, rounds: int) -> tuple[Measured, Measured]:
    """Two workers and one, in turns, after an import of a few that nobody times."""
    two, one = Measured(name="2 workers"), Measured(name="1 worker")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "all", pairs)
        write_pictures(folder / "few", 2)
        measured_import(folder / "few", folder / "few.h5", 2)
        for _ in range(rounds):
            for measured, workers in ((two, 2), (one, 1)):
                seconds, peak_mib = measured_import(folder / "all", folder / "x.h5", workers)
                measured.seconds.append(seconds / pairs)
                measured.peak_mib = max(measured.peak_mib, peak_mib)
    return two, one


def run(rounds: int, pairs: int = IMPORTED) -> Section:
    """Milliseconds per pair of the whole command, its start included."""
    two, one = compare(pairs, rounds)
    row = Row(
        what=f"{pairs} PNG pairs of {SIZE[0]}x{SIZE[1]}",
        ours=two,
        other=one,
        unit="ms",
        scale=1000,
        note="at least 1.6x wanted",
    )
    return Section(
        title="Importing with workers",
        text="`import-dataset folder` from its start to its end, per pair. Memory is of all processes together.",
        rows=[row],
        facts=[f"all processes together peak at {two.peak_mib:.0f} MiB with two workers (less than 1 GB wanted)"],
    )


if __name__ == "__main__":
    section = run(3, int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    for row in section.rows:
        times = f"{row.ours.median * 1000:.0f} ms per pair, {row.other.name} {row.other.median * 1000:.0f} ms"
        print(f"{row.what}: {row.ours.name} {times}; faster by {[round(ratio, 2) for ratio in row.ratios]}")
    print(section.facts[0])

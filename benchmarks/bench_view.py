"""The curation page on a file of thousands of pairs: first view, and the next pair at full size, in headless Chromium.

`python benchmarks/bench_view.py` writes the file, starts `view-dataset` as a user does, and prints one line per figure.
Most pairs are small pictures, so that the file fits on any disk; those stepped through are 2152 x 1436. Nothing
comparable reads pairs files, so there is no other way beside it: the figures stand against their limits.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from bench_patches import HEIGHT, WIDTH, make_pair
from browser import Browser, find_chromium
from measure import Section

from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.storage.layout import create_scene, put_pair, write_header
from localblur.datasets.storage.schema import StoreHeader, encode_row

SMALL = (256, 170)
SCENES = 50
LARGE_SCENE = "large"  # sorts before the others
MEASURES = (
    "residual_p50_px",
    "residual_p95_px",
    "static_psnr_db",
    "correlation",
    "saturated",
    "moving",
    "gain",
    "noise",
)
PAIRS, LARGE = 5000, 12
FIRST_VIEW_LIMIT_S, NEXT_PAIR_LIMIT_MS = 2.0, 200
PAUSE_S = 1.5
"""How long each pair is looked at before the next is asked for."""
VISIBLE = (
    "document.body.dataset.ready && document.querySelectorAll('.thumb img').length > 10 &&"
    " [...document.querySelectorAll('.thumb img')].every(image => image.complete && image.naturalWidth)"
)


def write_file(path: Path, count: int, large: int) -> None:
    """A pairs file with `count` pairs, `large` of them at full size."""
    pictures = [make_pair(index) for index in range(min(4, large))]
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        write_header(file, StoreHeader(encoding="srgb", bit_depth=8), "")
        for index in range(large):
            base = pictures[index % len(pictures)]
            _put(file, LARGE_SCENE, index, base.blurred, base.sharp, base.mask)
        small = [
            [cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA) for image in (base.blurred, base.sharp, base.mask)]
            for base in pictures
        ]
        for index in range(count - large):
            blurred, sharp, mask = small[index % len(small)]
            shift = index // len(small) % SMALL[0]
            images = [np.roll(image, shift, 1) for image in (blurred, sharp, mask)]
            _put(file, f"scene {index % SCENES:02d}", index // SCENES, *images)


def _put(file: h5py.File, scene: str, row: int, blurred: np.ndarray, sharp: np.ndarray, mask: np.ndarray) -> None:
    random = np.random.default_rng(row)
    quality = {name: float(random.random()) for name in MEASURES}
    info = PairInfo(name=f"{row:04d}", quality=quality, verdict=Verdict.ACCEPT)
    pair = Pair(scene=scene, info=info, blurred=blurred, sharp=sharp, mask=mask)
    if scene not in file["scenes"]:
        create_scene(file, scene, "train", blurred.shape, blurred.dtype, "gzip")
    put_pair(file["scenes"][scene], row, pair, encode_row(pair), "srgb", "gzip")


@click.command()
@click.option("--pairs", default=PAIRS, show_default=True, help="Pairs in the file.")
@click.option("--large", default=LARGE, show_default=True, help="How many of them are 2152 x 1436.")
@click.option("--file", "kept", type=click.Path(path_type=Path), help="Write the file here, or use it if it exists.")
def main(pairs: int, large: int, kept: Path | None) -> None:
    """Measure the curation page."""
    with tempfile.TemporaryDirectory() as folder:
        path = kept or Path(folder) / "pairs.h5"
        if not path.exists():
            write_file(path, pairs, large)
        click.echo(f"{path.name}: {pairs} pairs, {path.stat().st_size / 1e6:.0f} MB")
        for what, value in _measure(path):
            click.echo(f"{what}: {_digits(value)}")


def run(rounds: int) -> Section:
    """The curation page on `PAIRS` pairs: medians over `rounds` starts."""
    text = (
        f"view-dataset on a file of {PAIRS} pairs in headless Chromium on loopback, started as a user does, {rounds}"
        f" times. Limits: first view {FIRST_VIEW_LIMIT_S:g} s, next pair of {WIDTH}x{HEIGHT} {NEXT_PAIR_LIMIT_MS} ms."
    )
    if find_chromium() is None:
        return Section(title="Curation page", text=text, rows=[], facts=["not measured: no Chromium is installed"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.h5"
        write_file(path, PAIRS, LARGE)
        found = [dict(_measure(path)) for _ in range(rounds)]
    facts = []
    for what in found[0]:
        values = sorted(figures[what] for figures in found)
        facts.append(f"{what}: {_digits(statistics.median(values))} ({_digits(values[0])} to {_digits(values[-1])})")
    return Section(title="Curation page", text=text, rows=[], facts=facts)


def _measure(path: Path) -> Iterator[tuple[str, float]]:
    """What was measured, with its unit, and the number."""
    program = "from localblur.datasets.view_dataset import main; main()"
    command = [sys.executable, "-c", program, str(path), "--no-browser", "--read-only"]
    with Browser() as browser, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        begun = time.perf_counter()
        try:
            assert server.stdout is not None
            address = next(line.split()[1] for line in server.stdout if line.startswith("open "))
            yield "command until the page can be opened, s", time.perf_counter() - begun
            for what in ("first view", "second view, thumbnails in the browser's cache"):
                browser.open("about:blank")
                begun = time.perf_counter()
                browser.open(address)
                browser.wait(VISIBLE)
                yield f"{what}, s", time.perf_counter() - begun
                browser.wait("document.body.dataset.complete")
                yield f"{what}, with the blurred areas of all pairs, s", time.perf_counter() - begun
            browser.press("Enter")
            yield f"first pair of {WIDTH}x{HEIGHT}, ms", _shown(browser, 0)
            seen = browser.run("document.querySelector('#about-scene').textContent")
            assert f"{WIDTH} × {HEIGHT}" in seen, seen
            yield "next pair, looked at before, ms", _step(browser, 1, 6, PAUSE_S)
            yield "next pair, without a pause, ms", _step(browser, 6, 11, 0.0)
        finally:
            server.terminate()
            server.communicate()


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def _step(browser: Browser, first: int, end: int, pause_s: float) -> float:
    """Median milliseconds of steps to the next pair."""
    times = []
    for number in range(first, end):
        time.sleep(pause_s)
        browser.press("ArrowRight")
        times.append(_shown(browser, number))
    return statistics.median(times)


def _shown(browser: Browser, number: int) -> float:
    """Milliseconds from the key to the picture on the canvas, as the page measured them."""
    browser.wait(f"document.querySelector('#viewer').dataset.shown === '{number}'")
    return float(browser.run("document.querySelector('#viewer').dataset.milliseconds"))


if __name__ == "__main__":
    main()

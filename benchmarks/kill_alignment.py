"""Kill `align-dataset` at random moments and see whether anything is lost: `python benchmarks/kill_alignment.py`.

Every run is killed (SIGKILL, nothing can be tidied up) at a random moment of its life: while it starts, calibrates,
aligns, or closes the file. It is then started again, and again, until it ends by itself. The file must equal that of an
uninterrupted run. Then the next file begins, until as many kills have hit as were asked for.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from localblur.acquisition.rig.settings import SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigSimulator
from localblur.alignment.light.radiometry import raw_image
from localblur.alignment.model.pipeline import AlignmentSettings
from localblur.datasets.images import from_unit, srgb_encode, write_image
from localblur.datasets.storage.parts import parts_folder
from localblur.datasets.store import PairsFile

WIDTH, HEIGHT = 192, 144
SCENES, PAIRS, STATIC = 2, 6, 2
PROGRAM = "from localblur.alignment.align_dataset import main; main()"


@click.command()
@click.option("--kills", type=click.IntRange(min=1), default=20, show_default=True, help="Kills that must hit a run.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker processes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments.")
def main(kills: int, workers: int, seed: int) -> None:
    """Kill align-dataset at random moments and compare what it writes with an uninterrupted run."""
    folder = Path(tempfile.mkdtemp(prefix="kill-alignment-"))
    try:
        captured = pair_folder(folder / "captured")
        reference, output = folder / "reference.h5", folder / "killed.h5"
        started = time.monotonic()
        run(captured, reference, workers).wait()
        whole_s = time.monotonic() - started
        moments, hit, files, kept = np.random.default_rng(seed), 0, 0, 0
        while hit < kills or parts_folder(output).exists():
            process = run(captured, output, workers)
            if hit < kills and killed(process, float(moments.uniform(0, whole_s))):
                hit += 1
                if not output.exists():
                    kept = check_kept(output, kept)
                    continue  # otherwise the file was closed already
            elif process.wait() != 0:
                raise click.ClickException(f"the run after {hit} kills failed with exit code {process.returncode}")
            compare(reference, output)
            output.unlink()
            files, kept = files + 1, 0
        click.echo(
            f"{hit} kills over {files} files of {SCENES * PAIRS} pairs, {workers} workers: every file equals the"
            " uninterrupted one, no finished pair was lost"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(captured: Path, output: Path, workers: int) -> "subprocess.Popen[bytes]":
    """Start the command."""
    command = [sys.executable, "-c", PROGRAM, str(captured), "-o", str(output), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(process: "subprocess.Popen[bytes]", after_s: float) -> bool:
    """Kill the process after so long; False if it was faster."""
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def check_kept(output: Path, before: int) -> int:
    """Count the finished pairs of an interrupted run; there may never be fewer than after the last kill."""
    kept = len(list(parts_folder(output).glob("scene*.npz")))
    if kept < before:
        raise click.ClickException(f"{before} pairs were finished, {kept} are left after the next kill")
    return kept


def pair_folder(path: Path) -> Path:
    """A plain pair folder of a small simulated rig."""
    rig = resolve_rig(seed=1, width=WIDTH, height=HEIGHT)
    settings = AlignmentSettings().radiometry

    def write(folder: Path, index: int, shot: Any) -> None:
        for role, raw in (("blur", shot.raw_B), ("sharp", shot.raw_S)):
            light = raw_image(raw, rig.bayer, rig.black_level, rig.white_level, settings).light
            write_image(folder / f"{index:02d}_{role}.png", from_unit(srgb_encode(light), 8))

    target = RigSimulator(rig, SceneSettings(seed=5))
    for index in range(STATIC):
        write(path / "calibration" / "static", index, target.shot(index, "static"))
    for scene in range(SCENES):
        simulator = RigSimulator(rig, SceneSettings(seed=scene))
        for index in range(PAIRS):
            write(path / "scenes" / f"scene{scene}", index, simulator.shot(index))
    return path


def compare(reference: Path, output: Path) -> None:
    """Raise unless both files hold the same pairs, bit for bit."""
    with PairsFile.open(reference) as first, PairsFile.open(output) as second:
        names = [[scene.name for scene in pairs.scenes] for pairs in (first, second)]
        if names[0] != names[1]:
            raise click.ClickException(f"scenes differ: {names[0]} and {names[1]}")
        for name in names[0]:
            if repr(first.info(name)) != repr(second.info(name)):
                raise click.ClickException(f"the pairs of {name} differ")
            for index in range(len(first.info(name))):
                one, other = first.read(name, index), second.read(name, index)
                pictures = [(pair.blurred, pair.sharp, pair.mask) for pair in (one, other)]
                if not all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True)):
                    raise click.ClickException(f"pair {index} of {name} differs")


if __name__ == "__main__":
    main()

"""Damaged data sets and pairs files: `python benchmarks/fuzz_datasets.py [COUNT] [FIRST_SEED]` (500, 0).

Every round takes a small tree of one of the published forms, or a pairs file, damages up to three of its files at
random and runs what reads it, in a process of its own that is watched. What must not happen: a traceback, a refusal in
more than one line, an exit code other than 0, 1 and 3, the death of the process, 30 seconds of silence, more than a
gigabyte of memory, anything made or changed outside the output's folder. Exits with 1 if it happened.
"""

import multiprocessing
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from click.testing import CliRunner

from localblur.common.errors import LocalblurError

SUPPORT = Path(__file__).resolve().parent.parent / "tests" / "support"
SILENCE_S = 30
MOST_BYTES = 1 << 30
STORE = "pairs file"
STORE_SHARE = 4
"""One round in so many damages a pairs file."""


@dataclass(kw_only=True)
class Round:
    """What came of one seed."""

    seed: int
    kind: str = ""
    exit_codes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Fuzzer:
    """Damages trees and reads them; lives in the watched process."""

    def __init__(self, folder: Path) -> None:
        if str(SUPPORT) not in sys.path:
            sys.path.insert(0, str(SUPPORT))
        from dataset_miniatures import MINIATURES, put

        self.folder, self.miniatures = folder, MINIATURES
        for kind, (_, make, _) in MINIATURES.items():
            make(folder / "whole" / kind)
        write_pairs_files(folder / "whole" / STORE)
        put(folder / "secret.png", 99)

    def run(self, seed: int) -> Round:
        """Damage and read one tree."""
        from dataset_damage import damage

        dice, kinds = random.Random(seed), list(self.miniatures)
        done = Round(seed=seed, kind=kinds[seed % len(kinds)] if seed % STORE_SHARE else STORE)
        tree, out = self.folder / "tree", self.folder / "out"
        for old in (tree, out):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(self.folder / "whole" / done.kind, tree)
        out.mkdir()
        damage(tree, dice)
        before = _state(self.folder, out)
        self._read(done, tree, out)
        after = _state(self.folder, out)
        if after != before:
            changed = {path for path, _ in set(after.items()) ^ set(before.items())}
            done.problems.append(f"changed outside the output's folder: {sorted(changed)[:3]}")
        return done

    def _read(self, done: Round, tree: Path, out: Path) -> None:
        if done.kind == STORE:
            for command in STORE_COMMANDS:
                _command(done, *command(tree / "pairs.h5", tree / "other.h5", out))
            _sample(done, tree / "pairs.h5")
        else:
            from localblur.datasets.import_dataset import main

            layout, _, options = self.miniatures[done.kind]
            _command(done, main, layout, tree, "-o", out / "x.h5", "--workers", "0", *options)


def _commands() -> list[Callable[[Path, Path, Path], tuple[Any, ...]]]:
    from localblur.datasets.export_dataset import main as export
    from localblur.datasets.pairs_file import main as pairs

    return [
        lambda file, other, out: (pairs, "inspect", file),
        lambda file, other, out: (pairs, "stats", file),
        lambda file, other, out: (pairs, "verify", file),
        lambda file, other, out: (pairs, "repack", file, "-o", out / "repacked.h5", "--compression", "none"),
        lambda file, other, out: (pairs, "merge", file, other, "-o", out / "merged.h5", "--prefix"),
        lambda file, other, out: (export, file, "-o", out / "tree", "--format", "reloblur", "--workers", "0"),
        lambda file, other, out: (export, file, "-o", out / "hub", "--format", "imagefolder", "--workers", "0"),
    ]


STORE_COMMANDS = _commands()


def _command(done: Round, command: Any, *arguments: Any) -> None:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    done.exit_codes.append(result.exit_code)
    name = " ".join(str(argument) for argument in arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        done.problems.append(f"{name}: {type(result.exception).__name__}: {str(result.exception)[:300]}")
    elif result.exit_code not in (0, 1, 3):
        done.problems.append(f"{name}: exit code {result.exit_code}: {result.output[-300:]}")
    elif result.exit_code == 1 and "verify" not in arguments and len(_complaints(result.stderr)) != 1:
        done.problems.append(f"{name}: refused in {len(_complaints(result.stderr))} lines: {result.stderr[-500:]}")


def _complaints(stderr: str) -> list[str]:
    """Lines that are neither progress nor warnings."""
    lines = [line for line in stderr.splitlines() if line]
    return [line for line in lines if not re.match(r"WARNING|note: |[^:]+: \d+(/\d+)? pairs", line)]


def _sample(done: Round, file: Path) -> None:
    """Patches, as training reads them."""
    from localblur.datasets.patches import PatchDataset

    try:
        dataset = PatchDataset([file], patch_px=16)
        for index in range(2 * len(dataset)):
            dataset[index]
        done.exit_codes.append(0)
    except LocalblurError:
        done.exit_codes.append(1)
    except Exception as error:  # whatever it is, it is what is looked for
        done.problems.append(f"patches: {type(error).__name__}: {str(error)[:300]}")


def write_pairs_files(folder: Path) -> None:
    """A pairs file with two scenes, masks, a calibration and edits of a person; and another one."""
    import numpy as np

    from localblur.datasets.pair import Pair, PairInfo, Verdict
    from localblur.datasets.storage.edits import EditsWriter
    from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("pairs.h5", "other.h5"):
        header = StoreHeader(encoding="srgb", bit_depth=8, creator="fuzz", settings={"seed": 3})
        with PairsWriter(folder / name, header) as writer:
            for scene, split in (("s1", "train"), ("s2", "test")):
                for number in range(3):
                    pictures = [random.integers(0, 256, (70, 90, 3), dtype=np.uint8) for _ in range(2)]
                    mask = np.zeros((70, 90), np.uint8)
                    mask[20:40, 30:50] = 255
                    info = PairInfo(name=f"{number:02d}", verdict=Verdict.ACCEPT, quality={"residual_px": 0.25})
                    pair = Pair(scene=scene, info=info, blurred=pictures[0], sharp=pictures[1], mask=mask)
                    writer.add(pair, split)
            writer.set_calibration({"field": random.random((5, 5)), "rig": {"name": "a"}})
    with PairsFile(folder / "pairs.h5") as pairs, EditsWriter(folder / "pairs.h5", pairs.identity, "kim") as edits:
        edits.set_verdict("s1", "01", Verdict.REJECT)
        edits.set_mask("s1", "02", np.full((70, 90), 255, np.uint8))


def _state(folder: Path, out: Path) -> Mapping[str, tuple[int, int]]:
    found = [path for path in folder.rglob("*") if path != out and out not in path.parents]
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found if not path.is_dir()}


def _serve(connection: Connection, folder: Path) -> None:
    fuzzer = Fuzzer(folder)
    connection.send(None)
    while (seed := connection.recv()) is not None:
        connection.send(fuzzer.run(seed))


class Watched:
    """The process that reads, watched; started again when it dies or hangs."""

    def __init__(self) -> None:
        self._process: Any = None

    def run(self, seed: int) -> Round:
        """One round."""
        if self._process is None:
            self._start()
        self._connection.send(seed)
        return self._receive(seed, SILENCE_S) or Round(seed=seed)

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._folder), daemon=True)
        self._process.start()
        self._receive(-1, 120)

    def _receive(self, seed: int, limit_s: float) -> Round | None:
        begun, kind = time.monotonic(), f"unknown, in {self._folder}"
        while True:
            if self._connection.poll(0.02):
                received: Round | None = self._connection.recv()
                return received
            problem = self._trouble(time.monotonic() - begun, limit_s)
            if problem:
                self.close()
                return Round(seed=seed, kind=kind, problems=[problem])

    def _trouble(self, waited_s: float, limit_s: float) -> str:
        if not self._process.is_alive() and not self._connection.poll(0):
            return f"the process died with exit code {self._process.exitcode}"
        if waited_s > limit_s:
            return f"no answer for {limit_s:g} s"
        try:
            used = psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            used = 0
        return f"it took {used / 1e6:.0f} MB" if used > MOST_BYTES else ""


def main() -> int:
    """Run the rounds, print what went wrong, and a summary."""
    count, first = (int(value) for value in (*sys.argv[1:], *("500", "0")[len(sys.argv) - 1 :]))
    watched, outcomes, wrong = Watched(), Counter[tuple[str, int]](), 0
    started = time.monotonic()
    for seed in range(first, first + count):
        done = watched.run(seed)
        outcomes.update((done.kind, code) for code in done.exit_codes)
        wrong += bool(done.problems)
        for problem in done.problems:
            print(f"seed {seed}, {done.kind}: {problem}", flush=True)
    watched.close()
    for kind in sorted({kind for kind, _ in outcomes}):
        codes = ", ".join(f"{n} x exit {code}" for (own, code), n in sorted(outcomes.items()) if own == kind)
        print(f"{kind}: {codes}")
    print(f"{count} rounds in {time.monotonic() - started:.0f} s, {wrong} with a problem")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

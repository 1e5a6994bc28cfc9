"""Kills at random moments: the next run continues, nothing that was finished is lost, the content is the same."""

import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from localblur.datasets.storage.check import find_damage
from localblur.datasets.store import PairsFile, masks_folder, parts_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")

COUNT = 48  # more than five runs can finish: each is killed after 3 pairs and 20 ms at most, a pair takes 5 ms or more
KILLS = 5

WRITE_PAIRS = f"""
    import sys
    import time
    from pathlib import Path
    import numpy as np
    from localblur.datasets.pair import Pair, PairInfo
    from localblur.datasets.store import PairsWriter, StoreHeader, write_part

    with PairsWriter(Path(sys.argv[1]), StoreHeader(encoding="linear", bit_depth=16)) as writer:
        print("finished", *sorted(f"{{scene}}/{{name}}" for scene, name in writer.finished), flush=True)
        writer.set_calibration({{"field": np.arange(60_000.0)}})
        for number in range({COUNT}):
            scene, name = f"s{{number % 3}}", f"{{number:02}}"
            if (scene, name) in writer.finished:
                continue
            rng = np.random.default_rng(number)
            blurred, sharp = rng.integers(0, 65536, (2, 140, 150, 3)).astype(np.uint16)
            mask = rng.integers(0, 256, (140, 150), dtype=np.uint8) if number % 4 else None
            pair = Pair(scene=scene, info=PairInfo(name=name), blurred=blurred, sharp=sharp, mask=mask)
            split = ("train", "val", "test")[number % 3]
            if number % 2:
                writer.add(pair, split)
            else:
                writer.fold(write_part(writer.parts, pair, split))
            print("done", f"{{scene}}/{{name}}", flush=True)
            time.sleep(0.005)
        print("closing", flush=True)
"""

WRITE_MASKS = f"""
    import sys
    import time
    from pathlib import Path
    import numpy as np
    from localblur.datasets.store import MasksWriter

    with MasksWriter(Path(sys.argv[1]), {{"seed": 1}}) as writer:
        print("finished", *sorted(f"{{scene}}/{{name}}" for scene, name in writer.finished), flush=True)
        for number in range({COUNT}):
            scene, name = f"s{{number % 3}}", f"{{number:02}}"
            if (scene, name) not in writer.finished:
                mask = np.random.default_rng(1000 + number).integers(0, 256, (140, 150), dtype=np.uint8)
                writer.add(scene, name, mask)
                print("done", f"{{scene}}/{{name}}", flush=True)
                time.sleep(0.005)
            time.sleep(0.005)
        print("closing", flush=True)
"""


def run_once(program, path, kill_after=None, delay_s=0.0):
    """Run until the end, or kill `delay_s` after the line number `kill_after`; (finished before, done in this run)."""
    finished: set[str] = set()
    done: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            word, *names = line.decode().split()
            finished |= set(names) if word == "finished" else set()
            done |= set(names) if word == "done" else set()
            if number == kill_after or (kill_after is not None and word == "closing"):
                time.sleep(delay_s)
                process.send_signal(signal.SIGKILL)
                done |= {line.decode().split()[1] for line in process.stdout if line.startswith(b"done s")}
                break
    assert process.returncode in ((0,) if kill_after is None else (0, -signal.SIGKILL))
    return finished, done


def run_with_kills(program, path, seed, folder):
    chance = random.Random(seed)
    known: set[str] = set()
    kills = 0
    while kills < KILLS:
        finished, done = run_once(program, path, kill_after=chance.randrange(1, 4), delay_s=chance.uniform(0, 0.02))
        assert finished >= known, f"a finished pair was lost: {known - finished}"
        known = finished | done
        kills += 1
        assert folder.is_dir(), "all was done before the last kill: nothing was tested"
    finished, done = run_once(program, path)
    assert finished >= known
    assert len(finished | done) == COUNT
    assert not folder.exists()


def assert_same_content(left, right):
    with PairsFile.open(left) as first, PairsFile.open(right) as second:
        assert first.header == second.header
        assert first.scenes == second.scenes
        for entry in first.scenes:
            assert first.names(entry.name) == second.names(entry.name)
            for index in range(entry.count):
                one, other = first.read(entry.name, index), second.read(entry.name, index)
                for what in ("blurred", "sharp", "mask"):
                    np.testing.assert_array_equal(getattr(one, what), getattr(other, what))
                assert first.checksums(entry.name, index) == second.checksums(entry.name, index)
        for name, array in first.calibration().items():
            np.testing.assert_array_equal(array, second.calibration()[name])
    assert find_damage(left) == find_damage(right) == []


@pytest.mark.slow
def test_kills_while_pairs_and_masks_are_written_cost_nothing(tmp_path):
    whole, killed = tmp_path / "whole.h5", tmp_path / "killed.h5"
    run_once(WRITE_PAIRS, whole)
    run_with_kills(WRITE_PAIRS, killed, 0, parts_folder(killed))
    assert_same_content(whole, killed)
    run_once(WRITE_MASKS, whole)
    run_with_kills(WRITE_MASKS, killed, 1, masks_folder(killed))
    assert_same_content(whole, killed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.h5", "whole.h5"]


@pytest.mark.slow
def test_kills_while_the_file_is_replaced_leave_the_old_or_the_new_one(tmp_path):
    """The moment of the copy, the fold and the rename: whenever the kill comes, the pairs are there."""
    path = tmp_path / "a.h5"
    run_once(WRITE_PAIRS, path)
    names = {entry.name: PairsFile(path).names(entry.name) for entry in PairsFile(path).scenes}
    for delay_s in (0.0, 0.02, 0.08):
        run_once(WRITE_MASKS, path, kill_after=COUNT + 1, delay_s=delay_s)
        assert find_damage(path) == []
        assert {entry.name: PairsFile(path).names(entry.name) for entry in PairsFile(path).scenes} == names
    run_once(WRITE_MASKS, path)
    assert sum(entry.masked for entry in PairsFile(path).scenes) == COUNT

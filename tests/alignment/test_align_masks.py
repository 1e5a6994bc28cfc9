"""Masks of whole scenes within `align-dataset`; a kill after the last pair costs neither them nor the report."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from localblur.alignment.align_dataset import main
from localblur.alignment.mask_dataset import main as mask_dataset
from localblur.alignment.run.align_record import RunRecord
from localblur.common.errors import LocalblurError
from localblur.datasets.pair import binary_mask
from localblur.datasets.storage.parts import parts_folder
from localblur.datasets.store import PairsFile, masks_folder

SUICIDAL = """
import os, signal, sys
from localblur.alignment.run import align_run
from localblur.alignment.masks import tasks as mask_tasks
from localblur.alignment.align_dataset import main
moment = sys.argv.pop(1)
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
leave, write, made = mask_tasks.write_mask_part, align_run.write_report, []
if moment == "file closed":
    align_run.add_masks = die
elif moment == "two masks made":
    mask_tasks.write_mask_part = lambda *a: die() if len(made) == 2 else (made.append(a), leave(*a))[1]
elif moment == "masks in":
    align_run.write_report = die
elif moment == "report written":
    align_run.write_report = lambda *a, **k: (write(*a, **k), die())
main()
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*(str(argument) for argument in arguments), "--workers", "1"])


@pytest.fixture(scope="module")
def folder(small_rig: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs of one scene; a fifth cannot be read."""
    path = Path(small_rig.folder(tmp_path_factory.mktemp("data") / "in", {"a": 4}, static=1))
    for role in ("blur", "sharp"):
        (path / "scenes" / "a" / f"04_{role}.png").write_bytes(b"torn")
    return path


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """An uninterrupted run with `--masks sequence` and a report."""
    path = tmp_path_factory.mktemp("whole")
    result = run(folder, "-o", path / "x.h5", "--masks", "sequence", "--report", path / "report")
    return path, result


def content(path: Path) -> list[tuple[str, Any, np.ndarray]]:
    with PairsFile.open(path) as pairs:
        return [
            (repr(info), pairs.header.plain(), pairs.read(scene.name, index).mask)
            for scene in pairs.scenes
            for index, info in enumerate(pairs.info(scene.name))
        ]


def assert_same(first: Path, second: Path) -> None:
    assert len(content(first)) == len(content(second))
    for one, other in zip(content(first), content(second), strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_array_equal(one[2], other[2])


def test_an_unknown_method_is_a_usage_error(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "-o", tmp_path / "x.h5", "--masks", "magic").exit_code == 2
    result = run(folder, "-o", tmp_path / "x.h5", "--set", "masks=magic")
    assert (result.exit_code, "sequence" in result.stderr) == (1, True)


def test_a_dry_run_says_which_masks(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "-o", tmp_path / "x.h5", "--masks", "sequence", "--dry-run")
    assert "masks: sequence" in result.stdout
    assert not list(tmp_path.iterdir())


def test_sequence_masks_are_those_of_mask_dataset_and_nothing_is_left_beside(
    whole: tuple[Path, Result], folder: Path, tmp_path: Path
) -> None:
    path, result = whole
    assert result.exit_code == 3  # one pair was lost
    assert sorted(entry.name for entry in path.iterdir()) == ["report", "x.h5"]
    run(folder, "-o", tmp_path / "y.h5", "--masks", "none")
    CliRunner().invoke(mask_dataset, [str(tmp_path / "y.h5"), "--workers", "1"])
    for one, other in zip(content(path / "x.h5"), content(tmp_path / "y.h5"), strict=True):
        assert one[0] == other[0]
        assert "mask_confidence" in one[0]
        assert binary_mask(one[2]).any()
        np.testing.assert_array_equal(one[2], other[2])
    with PairsFile.open(path / "x.h5") as pairs:
        assert pairs.mask_settings is not None
        assert pairs.mask_settings["method"] == "sequence"
        assert pairs.header.settings["mask"]["method"] == "sequence"


def test_the_report_shows_masks_that_came_after_its_pictures(whole: tuple[Path, Result]) -> None:
    page = (whole[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert "a/04" in page
    assert "blur mask" in page
    assert "no blur mask" not in page


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_kills_after_the_last_pair_cost_neither_masks_nor_report(
    whole: tuple[Path, Result], folder: Path, tmp_path: Path
) -> None:
    output, report = tmp_path / "x.h5", tmp_path / "report"
    options = [str(folder), "-o", str(output), "--masks", "sequence", "--report", str(report), "--workers", "1"]
    for moment in ("file closed", "two masks made", "masks in", "report written"):
        killed = subprocess.run([sys.executable, "-c", SUICIDAL, moment, *options], capture_output=True, check=False)
        assert killed.returncode == -9, killed.stderr
        assert output.exists()
        assert (report / "index.html").exists() == (moment == "report written")
        assert len(list(masks_folder(output).glob("[!.]*.npz"))) == (2 if moment == "two masks made" else 0)
    assert "with another" in run(*options[:3], "--masks", "pair").stderr
    result = run(*options[:-2])
    assert result.exit_code == 3
    assert "continued: 4 pairs were finished already" in result.stdout
    assert "lost a/04" in result.stderr
    assert_same(whole[0] / "x.h5", output)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report", "x.h5"]
    again = run(*options[:-2])
    assert (again.exit_code, "--overwrite" in again.stderr) == (1, True)


def test_what_a_kill_left_of_the_parts_is_in_nobodys_way(
    whole: tuple[Path, Result], folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.h5"
    output.write_bytes((whole[0] / "x.h5").read_bytes())
    parts_folder(output).mkdir()
    (parts_folder(output) / "a-00-123.npz").write_bytes(b"")
    with PairsFile.open(output) as pairs:
        created = pairs.created
    record = RunRecord(output, {"a": 1})
    record.path.write_text(f'{{"run": {{"a": 1}}, "created": "{created}", "lost": {{"a/04": "torn"}}}}')
    assert record.lost(overwrite=False) == {"a/04": "torn"}
    with pytest.raises(LocalblurError, match=r"another a \(1, now 2\)"):
        RunRecord(output, {"a": 2}).lost(overwrite=False)
    assert RunRecord(output, {"a": 2}).lost(overwrite=True) is None
    record.clear()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.h5"]
    record.path.write_text(f'{{"run": {{"a": 1}}, "created": "before {created}", "lost": {{}}}}')
    assert record.lost(overwrite=False) is None
    record.path.write_text("[]")
    with pytest.raises(LocalblurError, match="damaged"):
        record.lost(overwrite=False)


def test_pairs_without_a_mask_are_named_and_the_rest_is_done(small_rig: Any, tmp_path: Path) -> None:
    folder = small_rig.folder(tmp_path / "in", {"a": 3, "b": 1}, static=1)
    result = run(folder, "-o", tmp_path / "x.h5", "--masks", "mog2")
    assert result.exit_code == 3
    assert "no mask for b/00: method mog2 needs 2 other pairs" in result.stderr
    assert "4 accepted, 0 rejected, 0 lost" in result.stdout
    with PairsFile.open(tmp_path / "x.h5") as pairs:
        assert [(scene.name, scene.masked) for scene in pairs.scenes] == [("a", 3), ("b", 0)]


def test_pair_masks_have_their_confidence_and_doubtful_ones_are_named(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "-o", tmp_path / "x.h5", "--set", "mask.doubtful_below=1")
    with PairsFile.open(tmp_path / "x.h5") as pairs:
        values = [info.quality["mask_confidence"] for info in pairs.info("a")]
        assert pairs.header.settings["mask"]["method"] == "pair"
    assert all(0 < value <= 1 for value in values)
    doubtful = sum(value < 1 for value in values)
    counted = "1 mask is" if doubtful == 1 else f"{doubtful} masks are"
    assert f"{counted} doubtful" in result.stdout

"""The command, from folders to a pairs file; what it says when it cannot; and that a kill costs nothing."""

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from localblur.alignment.align_dataset import main
from localblur.alignment.run import align_run
from localblur.alignment.run.align_tasks import field_path, run_align_task, save_displacement
from localblur.alignment.run.run_notes import bumped_note
from localblur.datasets.images import read_image, write_image
from localblur.datasets.pair import Verdict, binary_mask
from localblur.datasets.storage.parts import parts_folder
from localblur.datasets.store import PairsFile


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def captured(rig: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of one pair each, and two static pairs."""
    return Path(rig.folder(tmp_path_factory.mktemp("data") / "captured", {"desk": 1, "hall": 1}))


@pytest.fixture(scope="module")
def small(small_rig: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(small_rig.folder(tmp_path_factory.mktemp("data") / "small", {"a": 3, "b": 2}))


def copied(folder: Path, target: Path) -> Path:
    for path in folder.rglob("*.png"):
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return target


def contents(path: Path) -> dict[str, Any]:
    with PairsFile.open(path) as pairs:
        return {
            f"{scene.name}/{info.name}": (scene.split, info, pairs.read(scene.name, index))
            for scene in pairs.scenes
            for index, info in enumerate(pairs.info(scene.name))
        }


def assert_same(first: Path, second: Path) -> None:
    one, other = contents(first), contents(second)
    assert one.keys() == other.keys()
    for key, (split, info, pair) in one.items():
        assert (split, repr(info)) == (other[key][0], repr(other[key][1]))
        np.testing.assert_array_equal(pair.blurred, other[key][2].blurred)
        np.testing.assert_array_equal(pair.sharp, other[key][2].sharp)
        np.testing.assert_array_equal(pair.mask, other[key][2].mask)


def test_nothing_and_wrong_options_are_usage_errors(tmp_path: Path, small: Path) -> None:
    assert run("-o", tmp_path / "x.h5").exit_code == 2
    assert run(small).exit_code == 2
    assert run(small, "-o", tmp_path / "x.h5", "--encoding", "hdr").exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "quality.max_gian=3"], "max_gian"),
        (["--set", "quality.max_residual_p95_px=.nan"], "max_residual_p95_px"),
        (["--set", "quality.max_saturated=-1"], "max_saturated"),
        (["--set", "alignment.radiometry.saturated_from=.nan"], "saturated_from"),
        (["--render", "gains"], "render.gains must be three positive numbers"),
        (["--render", "chart"], "has no calibration/chart"),
        (["--split", "train=0.5,val=0.1"], "sum"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--size", "half"], "size: Value error, must be WIDTHxHEIGHT in pixels"),
        (["--size", "0.5"], "leaves 88x64 of 176x128"),
        (["--size", "352x256"], "would enlarge"),
        (["--size", "150x128"], "would distort"),
    ],
)
def test_bad_settings_are_one_line_and_leave_no_output(
    options: list[str], message: str, small: Path, tmp_path: Path
) -> None:
    result = run(small, "-o", tmp_path / "x.h5", *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.h5").exists()


def test_missing_partner_stops_before_any_work(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "in")
    (folder / "scenes" / "b" / "01_sharp.png").unlink()
    result = run(folder, "-o", tmp_path / "x.h5")
    assert result.exit_code == 1
    assert "01_blur.png has no partner" in result.stderr
    assert not parts_folder(tmp_path / "x.h5").exists()


def test_names_that_cannot_be_stored_are_said_before_any_work(small: Path, tmp_path: Path) -> None:
    folder = copied(small / "scenes" / "a", tmp_path / "in" / "scenes" / ("long" * 20)).parents[1]
    result = run(folder, "-o", tmp_path / "x.h5")
    assert result.exit_code == 1
    assert "80 bytes long, the limit is 64" in result.stderr
    assert not parts_folder(tmp_path / "x.h5").exists()


def test_existing_output_is_kept_without_overwrite(small: Path, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("precious")
    result = run(small, "-o", tmp_path / "x.h5", "--workers", 1)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (tmp_path / "x.h5").read_text() == "precious"


def test_reports_and_fields_of_another_run_are_kept_without_overwrite(small: Path, tmp_path: Path) -> None:
    for option, path in (("--report", tmp_path / "r" / "index.html"), ("--save-displacement", tmp_path / "f/b_01.npy")):
        path.parent.mkdir()
        path.write_text("precious")
        result = run(small, "-o", tmp_path / "x.h5", "--workers", 1, option, path.parent)
        assert result.exit_code == 1
        assert f"{path} exists already" in result.stderr
        assert "--overwrite" in result.stderr
        assert path.read_text() == "precious"
    assert not parts_folder(tmp_path / "x.h5").exists()


def test_a_run_is_continued_with_the_same_inputs_and_side_outputs_only(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else calibrations would be mixed, or the report would show the remaining pairs only."""
    folder, fields = copied(small, tmp_path / "in"), tmp_path / "fields"
    command = (folder, "-o", tmp_path / "x.h5", "--masks", "none", "--workers", 1, "--save-displacement", fields)

    stop_before = ["00", "02"]  # the first run leaves a field, but no part

    def interrupted(task: Any) -> Any:
        if task.pair == stop_before[0]:
            if task.pair == "00":
                save_displacement(field_path(fields, "a", "00"), np.zeros((1, 1, 2), np.float32))
            raise KeyboardInterrupt
        return run_align_task(task)

    with monkeypatch.context() as patch:
        patch.setattr(align_run, "run_align_task", interrupted)
        assert run(*command).exit_code != 0
        assert [path.name for path in fields.iterdir()] == ["a_00.npy"]
        del stop_before[0]
        assert run(*command).exit_code != 0
    assert sorted(path.name for path in fields.iterdir()) == ["a_00.npy", "a_01.npy"]
    assert "another report (None, now" in run(*command, "--report", tmp_path / "report").stderr
    assert "another save_displacement" in run(*command[:-2]).stderr
    static = folder / "calibration" / "static"
    added = [(static / f"00_{role}.png", static / f"09_{role}.png") for role in ("blur", "sharp")]
    for source, target in added:
        target.write_bytes(source.read_bytes())
    assert "another inputs.in (" in run(*command).stderr
    for _, target in added:
        target.unlink()
    result = run(*command)
    assert "continued: 2 pairs were finished already" in result.stdout, result.output
    assert len(list(fields.iterdir())) == 5


def test_damaged_and_odd_pairs_are_lost_and_the_rest_is_done(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "in")
    (folder / "scenes" / "a" / "01_blur.png").write_bytes(b"not a picture")
    write_image(folder / "scenes" / "b" / "00_blur.png", np.zeros((130, 180, 3), np.uint8))
    result = run(folder, "-o", tmp_path / "x.h5", "--masks", "none", "--workers", 1)
    assert result.exit_code == 3
    assert "lost a/01: cannot decode" in result.stderr
    assert "lost b/00" in result.stderr
    assert "blurred is 180x130 but sharp is 176x128" in result.stderr
    assert set(contents(tmp_path / "x.h5")) == {"a/00", "a/02", "b/01"}


def test_no_usable_pair_at_all_writes_nothing(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "in")
    for path in (folder / "scenes").rglob("*_sharp.png"):
        path.write_bytes(b"")
    result = run(folder, "-o", tmp_path / "x.h5", "--workers", 1)
    assert result.exit_code == 1
    assert "none of the 5 pairs could be aligned" in result.stderr
    assert not (tmp_path / "x.h5").exists()


def test_unreadable_static_pairs_are_said(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "in")
    for path in (folder / "calibration").rglob("*_sharp.png"):
        path.write_bytes(b"")
    result = run(folder, "-o", tmp_path / "x.h5", "--workers", 1)
    assert result.exit_code == 1
    assert "not one of the 2 static pairs" in result.stderr


def test_saturated_and_flat_pairs_are_stored_as_rejected(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "in")
    for name, value in (("00", 255), ("01", 90)):
        for role in ("blur", "sharp"):
            write_image(folder / "scenes" / "c" / f"{name}_{role}.png", np.full((128, 176, 3), value, np.uint8))
    result = run(folder, "-o", tmp_path / "x.h5", "--workers", 1, "--report", tmp_path / "report")
    assert result.exit_code == 0
    assert "rejected c/00: 100% of the pixels are saturated" in result.stdout
    assert re.search(r"rejected c/01: .*texture", result.stdout)
    found = contents(tmp_path / "x.h5")
    assert {key: found[key][1].verdict for key in ("c/00", "c/01", "a/00")} == {
        "c/00": Verdict.REJECT,
        "c/01": Verdict.REJECT,
        "a/00": Verdict.ACCEPT,
    }


def test_too_many_rejected_is_exit_code_three(small: Path, tmp_path: Path) -> None:
    result = run(
        small, "-o", tmp_path / "x.h5", "--workers", 1, "--masks", "none", "--set", "quality.min_correlation=1"
    )
    assert result.exit_code == 3
    assert "0 accepted, 5 rejected, 0 lost" in result.stdout


def test_folder_becomes_an_aligned_file_with_report_and_fields(captured: Path, tmp_path: Path, rig: Any) -> None:
    output, report, fields = tmp_path / "x.h5", tmp_path / "report", tmp_path / "fields"
    result = run(captured, "-o", output, "--report", report, "--save-displacement", fields, "--workers", 2)
    assert result.exit_code == 0, result.output
    assert "2 accepted, 0 rejected, 0 lost" in result.stdout
    with PairsFile.open(output) as pairs:
        assert (pairs.header.encoding, pairs.header.bit_depth) == ("srgb", 8)
        assert pairs.header.settings["alignment"]["rig_degrees"] == [3, 5]
        assert pairs.header.settings["seed"] == 0
        calibration = pairs.calibration()["captured"]
        pair = pairs.read("desk", 0)
        info = pairs.info("desk")[0]
    np.testing.assert_allclose(calibration["color_matrix"], rig.matrix, atol=0.01)
    assert len(calibration["residuals"]) == 2
    np.testing.assert_array_equal(pair.sharp, read_image(captured / "scenes" / "desk" / "00_sharp.png"))
    assert pair.mask is not None
    assert 0.02 < (pair.mask >= 128).mean() < 0.3
    y0, x0, y1, x1 = info.valid_box or (0, 0, 0, 0)
    assert (y1 - y0) * (x1 - x0) > 0.85 * 320 * 240
    truth = rig.shot(0, drift_px=(-0.3, 0.2))
    positions = np.load(fields / "desk_00.npy")
    assert (positions.dtype, positions.shape) == (np.float32, (240, 320, 2))
    assert truth.error_px(positions)[0] < 0.05
    still = ~truth.moving[y0:y1, x0:x1]
    difference = np.abs(pair.blurred.astype(int) - pair.sharp)[y0:y1, x0:x1][still]
    assert difference.mean() < 3
    page = (report / "index.html").read_text("utf-8")
    assert "desk/00" in page
    assert "hall/00" in page


def test_smaller_pairs_are_stored_and_the_size_is_part_of_the_run(
    captured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, fields = tmp_path / "x.h5", tmp_path / "fields"
    command = (captured, "-o", output, "--workers", 1, "--save-displacement", fields, "--report", tmp_path / "report")

    def interrupted(task: Any) -> Any:
        if task.pair == "00" and task.scene == "hall":
            raise KeyboardInterrupt
        return run_align_task(task)

    with monkeypatch.context() as patch:
        patch.setattr(align_run, "run_align_task", interrupted)
        assert run(*command, "--size", "0.5").exit_code != 0
    assert "another settings.size ('0.5', now '213x160')" in run(*command, "--size", "213x160").stderr
    assert "another settings.size ('0.5', now None)" in run(*command).stderr
    result = run(*command, "--size", "0.5")
    assert "continued: 1 pairs were finished already" in result.stdout, result.output
    assert "2 accepted" in result.stdout
    with PairsFile.open(output) as pairs:
        assert pairs.header.settings["size"] == "0.5"
        pair, info = pairs.read("hall", 0), pairs.info("hall")[0]
    assert pair.mask is not None
    assert pair.blurred.shape == pair.sharp.shape == (120, 160, 3)
    assert pair.mask.shape == (120, 160)
    y0, x0, y1, x1 = info.valid_box or (0, 0, 0, 0)
    assert 0.6 * 120 * 160 < (y1 - y0) * (x1 - x0) < 120 * 160
    assert np.load(fields / "hall_00.npy").shape == (240, 320, 2)
    still = binary_mask(pair.mask)[y0:y1, x0:x1] == 0
    assert np.abs(pair.blurred.astype(int) - pair.sharp)[y0:y1, x0:x1][still].mean() < 2


def test_a_bumped_rig_is_said_with_its_pairs(rig: Any, tmp_path: Path) -> None:
    folder = rig.folder(tmp_path / "in", {"a": 1}, static=2)
    for index, drift in enumerate([(7.0, 0.0), (0.0, -7.0)], start=1):
        rig.write(folder / "scenes" / "a", index, rig.shot(index, drift_px=drift))
    result = run(folder, "-o", tmp_path / "x.h5", "--masks", "none", "--workers", 1)
    assert result.exit_code == 0, result.output
    said = r"rig bumped since calibration: 2 of 3 pairs of in lie more than 2 px from it, (7\.0|6\.9) px in the mean"
    assert re.search(said + r" \(a/01", result.stdout), result.stdout
    assert "3 accepted" in result.stdout


def test_a_note_names_few_of_many_pairs() -> None:
    drifts = {f"a/{index:02d}": 12.0 for index in range(9)} | {"b/00": 0.3}
    assert bumped_note("rec", drifts, 2.0) == (
        "rig bumped since calibration: 9 of 10 pairs of rec lie more than 2 px from it, 12.0 px in the mean"
        " (a/00 12.0 px, a/01 12.0 px, a/02 12.0 px, a/03 12.0 px, a/04 12.0 px, and 4 more); record static pairs again"
    )
    assert bumped_note("rec", {"b/00": 0.3}, 2.0) == ""


def test_linear_sixteen_bit_input_is_stored_linear(rig: Any, tmp_path: Path) -> None:
    folder = rig.folder(tmp_path / "in", {"a": 1}, static=1, bits=16)
    assert run(folder, "-o", tmp_path / "x.h5").exit_code == 1  # must state --encoding
    assert run(folder, "-o", tmp_path / "x.h5", "--encoding", "linear", "--workers", 1).exit_code == 0
    with PairsFile.open(tmp_path / "x.h5") as pairs:
        assert (pairs.header.encoding, pairs.header.bit_depth) == ("linear", 16)
        np.testing.assert_array_equal(pairs.read("a", 0).sharp, read_image(folder / "scenes" / "a" / "00_sharp.png"))


def test_without_static_pairs_it_works_and_says_so(rig: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = rig.folder(tmp_path / "in", {"a": 1}, static=0)
    result = run(folder, "-o", tmp_path / "x.h5", "--masks", "none", "--workers", 1)
    assert result.exit_code == 0
    assert "no static pairs" in caplog.text
    assert contents(tmp_path / "x.h5")["a/00"][1].quality["calibrated"] == 0


def test_scenes_of_one_name_get_the_input_in_front(small: Path, tmp_path: Path) -> None:
    other = copied(small / "scenes" / "a", tmp_path / "other" / "scenes" / "a").parents[1]
    result = run(small, other, "-o", tmp_path / "x.h5", "--dry-run")
    assert result.exit_code == 0
    assert "small-a" in result.stdout
    assert "other-a" in result.stdout
    assert "would write 8 pairs as srgb8" in result.stdout
    assert not (tmp_path / "x.h5").exists()
    assert not parts_folder(tmp_path / "x.h5").exists()
    clash = copied(other, tmp_path / "deeper" / "other")
    assert "two inputs are called other" in run(other, clash, "-o", tmp_path / "x.h5").stderr


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(small: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        assert run(small, "-o", tmp_path / f"{workers}.h5", "--workers", workers).exit_code == 0
    assert_same(tmp_path / "1.h5", tmp_path / "2.h5")


@pytest.mark.slow
def test_five_kills_cost_nothing(small_rig: Any, tmp_path: Path) -> None:
    """Kill the real command five times; what was finished stays, and the result equals an uninterrupted run."""
    folder = small_rig.folder(tmp_path / "in", {"a": 8, "b": 8}, static=2)
    reference, output = tmp_path / "reference.h5", tmp_path / "killed.h5"
    program = "from localblur.alignment.align_dataset import main; main()"
    command = [sys.executable, "-c", program, str(folder), "--workers", "1", "-o"]
    subprocess.run([*command, str(reference)], check=True, capture_output=True)
    moments = random.Random(5)
    finished = dict[str, float]()
    for _ in range(5):
        process = subprocess.Popen([*command, str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = len(finished) + moments.randint(0, 3)
        while process.poll() is None and not (parts_folder(output).exists() and len(stored_parts(output)) >= wanted):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists()
        parts = stored_parts(output)
        assert parts.items() >= finished.items()  # nothing finished is lost or done again
        finished = parts
    assert 0 < len(finished) < 16
    last = subprocess.run([*command, str(output)], check=True, capture_output=True, text=True)
    assert f"continued: {len(finished)} pairs were finished already" in last.stdout
    assert_same(reference, output)
    assert not parts_folder(output).exists()


def stored_parts(output: Path) -> dict[str, float]:
    """The parts of finished pairs and when they were written."""
    return {path.name: path.stat().st_mtime for path in parts_folder(output).glob("[ab]-*.npz")}

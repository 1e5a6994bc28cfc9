"""Slips of those who call `capture`, and two captures at a time: nothing is left out, nothing is written in silence."""

import pytest
from click.testing import CliRunner

from localblur.acquisition.capture import main
from localblur.acquisition.session.plan import make_plan
from localblur.acquisition.session.request import CaptureRequest
from localblur.acquisition.session.session import run_plan
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import Recording, verify

SIZE = "64x64"
SIMULATED = ("--pair", "--simulate", "--size", SIZE, "--count", "2")
REAL = ("--pair", "--blur", "1", "--sharp", "2")


def capture(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((*SIMULATED, "--scene", "", "-o", "x"), 1, "'scenes/' cannot be a group"),
        ((*SIMULATED, "--interval", "nan", "-o", "x"), 1, "--interval nan must be 0 to"),
        ((*SIMULATED, "--interval", "inf", "-o", "x"), 1, "--interval inf must be 0 to"),
        (("--pair", "--simulate", "--count", str(10**20), "-o", "x"), 1, f"--count {10**20} must be at most"),
        ((*REAL, "--start-delay", "nan", "-o", "x"), 1, "start_delay_ms: Input should be a finite number"),
        ((*REAL, "--exposure-long", "nan", "-o", "x"), 1, "exposure_ms: Input should be"),
        ((*REAL, "--exposure-long", "inf", "-o", "x"), 1, "exposure_ms: Input should be"),
        ((*REAL, "--sync", "line", "--rate", "nan", "-o", "x"), 1, "rate_hz: Input should be"),
        ((*REAL, "--advise"), 2, "where shall the recording go?"),
        (("--simulate", "--calibrate", "dark", "--advise"), 2, "where shall the recording go?"),
    ],
)
def test_slips_are_one_line_before_anything_is_written(tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    result = capture(*arguments)
    assert (result.exit_code, type(result.exception)) == (code, SystemExit), result.output
    assert words in result.stderr
    assert code == 2 or len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "B: [{kind: delay, at: 1, ms: .inf}]",
        "B: [{kind: drop, at: 1, count: 1000000000}]",
        "clock_S: {offset_ms: .nan}",
        "seed: -1",
    ],
)
def test_faults_that_are_no_numbers_are_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.yaml").write_text(text)
    result = capture(*SIMULATED, "--faults", "faults.yaml", "-o", "x")
    assert (result.exit_code, type(result.exception)) == (1, SystemExit), result.output
    assert result.stderr.startswith("main: error: faults.yaml: ")
    assert not (tmp_path / "x").exists()


def test_no_recording_inside_another(tmp_path):
    assert capture(*SIMULATED, "-o", tmp_path / "outer").exit_code == 0
    result = capture(*SIMULATED, "-o", tmp_path / "outer" / "scenes" / "inner")
    assert result.exit_code == 1
    assert "lies inside the recording" in result.stderr


@pytest.mark.parametrize("rerecord", [(), (1,)])
def test_pairs_added_between_plan_and_capture_are_noticed(tmp_path, rerecord):
    """Whoever waits for Enter may find that another terminal went on meanwhile."""
    folder = tmp_path / "recording"
    options = ("--pair", "--simulate", "s", "--size", SIZE, "-o", folder)
    assert capture(*options, "--count", 3).exit_code == 0
    request = CaptureRequest(
        output=folder, source="simulate", look="s", scene="s", count=6, resume=True, size=(64, 64), rerecord=rerecord
    )
    plan = make_plan(request)
    assert capture(*options, "--count", 5, "--resume").exit_code == 0
    before = Recording.open(folder).pairs("scenes/s")
    with pytest.raises(LocalblurError, match="goes on with pair 5 by now and not with pair 3"):
        run_plan(plan)
    assert Recording.open(folder).pairs("scenes/s") == before
    run_plan(make_plan(request))
    assert verify(folder) == (5 if rerecord else 6, [])

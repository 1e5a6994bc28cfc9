"""The command `capture`, called as a user would, and what may be said of the outcome."""

from click.testing import CliRunner

from localblur.acquisition.capture import main
from localblur.acquisition.rig.simulator import RigSettings, RigSimulator, SceneSettings
from localblur.datasets.recordings.journal import read_journal

SIZE = "64x64"
COMMAND = "from localblur.acquisition.capture import main; main(prog_name='capture')"


def capture(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def captured(*arguments):
    result = capture(*arguments)
    assert result.exit_code == 0, result.output
    return result


def assert_refused(result, code, *words):
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    for word in words:
        assert word in result.output
    if code == 1:
        assert len(result.stderr.splitlines()) == 1


def assert_refused_after_progress(result, words):
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert words in result.stderr.splitlines()[-1]


def rendered_again(recording, scene, index):
    """The frames of a pair from the settings stored in the recording alone."""
    start = read_journal(recording.folder / "scenes" / scene / "journal.jsonl").starts[0]
    rig = RigSettings.model_validate(recording.manifest.rig)
    return RigSimulator(rig, SceneSettings.model_validate(start["scene"])).shot(index)


def with_faults(tmp_path, text):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    return "--faults", path

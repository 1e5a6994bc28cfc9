"""The making of the model in the box: its commands exist and understand their arguments; failures end it."""

import importlib

import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.training import evaluate_deblur
from localblur.training.recipes import model_in_the_box as recipe


@pytest.mark.parametrize("quick", [False, True])
def test_every_command_understands_its_arguments(tmp_path, quick):
    made = recipe.commands(tmp_path, tmp_path / "work", tmp_path / "terms.md", 5.0, quick=quick)
    for module, *arguments in made:
        command = importlib.import_module(module)
        command.main.make_context(module, list(arguments))


def test_each_file_read_was_made_before(tmp_path):
    made = recipe.commands(tmp_path, tmp_path, None, None, quick=False)
    outputs = set()
    for command in made:
        files = {word for word in command if word.endswith(".h5")}
        target = recipe.produced(command)
        assert files <= outputs | {str(target)}
        outputs.add(str(target))


def test_a_later_call_takes_the_outputs_of_an_earlier_one(tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "summary.json").write_text("{}")
    for module, *arguments in recipe.commands(tmp_path, tmp_path, None, None, quick=False):
        if module.endswith("evaluate_deblur"):
            given = evaluate_deblur.main.make_context(module, list(arguments)).params
            evaluate_deblur.refuse_used_folder(given["output"], overwrite=given["overwrite"], resume=given["resume"])


def test_a_folder_is_not_continued_with_another_call(tmp_path):
    photos, work = tmp_path / "photos", tmp_path / "work"
    recipe.remember_call(photos, work, quick=True)
    recipe.remember_call(photos, work, quick=True)
    for others, quick in ((photos, False), (tmp_path, True)):
        with pytest.raises(LocalblurError, match="was begun with other PHOTOS or another --quick"):
            recipe.remember_call(others, work, quick=quick)


@pytest.mark.slow
def test_a_failing_step_ends_it_in_one_line_and_a_made_file_is_not_made_again(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    (work / "rig.h5").write_bytes(b"made")
    result = CliRunner().invoke(recipe.main, [str(photos), "-o", str(work), "--quick"])
    assert result.exit_code == 1
    assert f"exists: {work / 'rig.h5'}" in result.output
    assert "synthesize-local ended with exit code 1; repeat the call" in result.output
    assert not (work / "local.h5").exists()

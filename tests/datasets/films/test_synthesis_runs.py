"""Runs that are interrupted, fail, meet a full disk or an earlier output: what was finished is kept."""

import itertools
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.common.parallel import run_tasks
from localblur.datasets.films import synthesis, synthesis_plan, video_work, work_tally
from localblur.datasets.films.synthesis import synthesize
from localblur.datasets.films.synthesis_output import TreeOutput
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.images import read_image, write_image
from localblur.datasets.store import PairsFile
from localblur.datasets.synthesize_gopro import main


def run(*arguments):
    return CliRunner().invoke(main, [*(str(argument) for argument in arguments), "--workers", "1"])


def pictures(folder):
    return {str(path.relative_to(folder)): read_image(path) for path in sorted(folder.glob("*/*/*/*.png"))}


def test_an_interrupted_run_continues_and_ends_with_the_same_pairs(tmp_path, clip, monkeypatch):
    settings = SynthesisSettings(shortest=3, longest=7, seed=4)
    synthesize([clip], tmp_path / "whole.h5", settings)
    write, written = video_work.write_part, []

    def interrupted(*arguments):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    monkeypatch.setattr(video_work, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize([clip], tmp_path / "x.h5", settings)
    assert not (tmp_path / "x.h5").exists()
    (tmp_path / "elsewhere").mkdir()
    namesake = shutil.copy2(clip, tmp_path / "elsewhere" / "clip.mkv")
    with pytest.raises(LocalblurError, match=r"another inputs.*clip\.mkv"):
        synthesize([namesake], tmp_path / "x.h5", settings)
    again = []
    monkeypatch.setattr(video_work, "write_part", lambda *arguments: again.append(write(*arguments)))
    done = synthesize([clip], tmp_path / "x.h5", settings)
    assert len(again) == done.pairs - 4
    with PairsFile(tmp_path / "whole.h5") as whole, PairsFile(tmp_path / "x.h5") as continued:
        assert continued.scenes == whole.scenes
        for scene in whole.scenes:
            for index in range(scene.count):
                one, other = whole.read(scene.name, index), continued.read(scene.name, index)
                np.testing.assert_array_equal(one.blurred, other.blurred)
                np.testing.assert_array_equal(one.mask, other.mask)


def test_an_interrupted_tree_continues(tmp_path, clip, monkeypatch):
    settings = SynthesisSettings(shortest=5, longest=5)
    write, written = video_work.write_tree_pair, []

    def fail(*arguments):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(write(*arguments))

    monkeypatch.setattr(video_work, "write_tree_pair", fail)
    with pytest.raises(OSError, match="No space"):
        synthesize([clip], tmp_path / "tree", settings)
    kept = pictures(tmp_path / "tree")
    assert len([path for path in kept if "sharp" in path]) == 3
    again = []
    monkeypatch.setattr(video_work, "write_tree_pair", lambda *arguments: again.append(write(*arguments)))
    with pytest.raises(LocalblurError, match="unfinished run with another"):
        synthesize([clip], tmp_path / "tree", SynthesisSettings(shortest=7, longest=7))
    with monkeypatch.context() as newer, pytest.raises(LocalblurError, match="another version of the program began it"):
        newer.setattr(synthesis, "PLANNING_VERSION", synthesis.PLANNING_VERSION + 1)
        synthesize([clip], tmp_path / "tree", settings)
    done = synthesize([clip], tmp_path / "tree", settings)
    assert (done.pairs, len(again)) == (7, 4)


def test_a_tree_is_only_overwritten_by_what_can_be_made_and_notes_in_it_stay(tmp_path, clip):
    tree = tmp_path / "GOPRO"
    assert run(clip, "-o", tree, "--frames", "5").exit_code == 0
    (tree / "notes.txt").write_text("mine")
    made = pictures(tree)
    assert run(clip, "-o", tree, "--frames", "99", "--overwrite").exit_code == 1
    assert pictures(tree).keys() == made.keys()
    nothing = ("--skip-static", "--set", "static_share=1", "--overwrite")
    assert run(clip, "-o", tree, "--frames", "5", *nothing).exit_code == 1
    assert [path.name for path in tree.rglob("*")] == ["notes.txt"]


def test_overwriting_forgets_what_an_unfinished_run_has_dropped(tmp_path, clip, monkeypatch):
    settings = SynthesisSettings(shortest=5, longest=5, skip_static=True, static_share=0.9)
    monkeypatch.setattr(TreeOutput, "__exit__", lambda *_: None)  # killed at the end
    with pytest.raises(LocalblurError, match="were dropped"):
        synthesize([clip], tmp_path / "tree", settings)
    monkeypatch.undo()
    assert (tmp_path / "tree" / ".work" / "0.json").is_file()
    done = synthesize([clip], tmp_path / "tree", SynthesisSettings(shortest=5, longest=5), overwrite=True)
    assert (done.pairs, done.dropped) == (7, [])


def test_an_output_among_the_frames_changes_nothing_about_them(tmp_path, moving_frames, monkeypatch):
    for index, frame in enumerate(moving_frames(12)):
        write_image(tmp_path / "frames" / f"{index}.png", frame)
    settings, write, written = SynthesisSettings(shortest=4, longest=4), video_work.write_part, []

    def fail(*arguments):
        if written:
            raise OSError(28, "No space left on device")
        written.append(write(*arguments))

    monkeypatch.setattr(video_work, "write_part", fail)
    with pytest.raises(OSError, match="No space"):
        synthesize([tmp_path / "frames"], tmp_path / "frames" / "x.h5", settings)
    monkeypatch.undo()
    (tmp_path / "frames" / "notes.txt").write_text("mine")
    assert synthesize([tmp_path / "frames"], tmp_path / "frames" / "x.h5", settings).pairs == 3


def test_a_full_disk_is_one_line_and_what_was_finished_is_kept(tmp_path, clip, monkeypatch):
    write, written = video_work.write_part, []

    def full(*arguments):
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(tmp_path / "x.h5.parts"))
        written.append(write(*arguments))

    monkeypatch.setattr(video_work, "write_part", full)
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "5")
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "x.h5").exists()
    with monkeypatch.context() as newer:
        newer.setattr(synthesis, "PLANNING_VERSION", synthesis.PLANNING_VERSION + 1)
        refused = run(clip, "-o", tmp_path / "x.h5", "--frames", "5")
    assert refused.exit_code == 1
    assert "another planning (another version of the program began it)" in refused.stderr
    monkeypatch.setattr(video_work, "write_part", write)
    assert run(clip, "-o", tmp_path / "x.h5", "--frames", "5").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert sum(scene.count for scene in pairs.scenes) == 7


def test_a_run_that_fails_stops_the_other_videos(tmp_path, clip, monkeypatch):
    monkeypatch.setattr(work_tally, "WRITE_INTERVAL_S", 0.0)
    settings = SynthesisSettings(shortest=5, longest=5)
    write, written = video_work.write_part, []

    def stopping(folder, *others):
        written.append(write(folder, *others))
        (folder / "work" / work_tally.STOP).touch()  # as the main process does when it fails

    monkeypatch.setattr(video_work, "write_part", stopping)
    done = synthesize([clip], tmp_path / "x.h5", settings)
    assert len(written) == done.pairs == 1
    assert "was not finished" in done.problems[0]


def test_a_worker_that_dies_costs_no_window_that_is_made(tmp_path, clip, monkeypatch):
    settings = SynthesisSettings(shortest=5, longest=5)
    blend = video_work.blend_video

    def dying(video, windows, *others, **more):
        """As if three windows came from another worker's video, which is not finished either."""
        yield from itertools.islice((found for found in blend(video, windows, *others, **more) if found), 3)
        raise MemoryError

    def broken(*arguments, **more):
        for task, outcome in run_tasks(*arguments, **more):
            if isinstance(outcome, MemoryError):
                raise LocalblurError("a worker process died (out of memory?); run again with fewer --workers")
            yield task, outcome

    with monkeypatch.context() as patch:
        patch.setattr(video_work, "blend_video", dying)
        patch.setattr(synthesis, "run_tasks", broken)
        with pytest.raises(LocalblurError, match="a worker process died"):
            synthesize([clip], tmp_path / "x.h5", settings)
    asked = []

    def counting(video, windows, *others, **more):
        asked.append(len(windows))
        return blend(video, windows, *others, **more)

    monkeypatch.setattr(video_work, "blend_video", counting)
    assert synthesize([clip], tmp_path / "x.h5", settings).pairs == 7
    assert asked == [4]


def test_videos_that_an_interrupted_run_finished_are_not_read_again(tmp_path, write_video, moving_frames, monkeypatch):
    still = moving_frames(1) * 7
    clips = [write_video(tmp_path / f"c{n}.mkv", [*still, *moving_frames(7 + n)]) for n in range(2)]
    settings = SynthesisSettings(shortest=7, longest=7, skip_static=True, split="train=1")
    blend, blended = video_work.blend_video, []

    def interrupted(video, windows, *others, **more):
        blended.append((video.title, len(windows)))
        if len(blended) == 2:
            raise KeyboardInterrupt
        return blend(video, windows, *others, **more)

    monkeypatch.setattr(video_work, "blend_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(clips, tmp_path / "x.h5", settings)
    surveyed = []
    monkeypatch.setattr(synthesis_plan, "survey", lambda *arguments, **more: surveyed.append(arguments))
    done = synthesize(clips, tmp_path / "x.h5", settings)
    assert blended == [("c0", 2), ("c1", 2), ("c1", 2)]
    assert surveyed == []
    assert (done.pairs, len(done.dropped)) == (2, 2)

"""The command that makes pairs from video."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.datasets import synthesis
from localblur.datasets.images import srgb_decode, srgb_encode, write_image
from localblur.datasets.pair import binary_mask
from localblur.datasets.store import PairsFile
from localblur.datasets.synthesis import SynthesisSettings, synthesize
from localblur.datasets.synthesize_gopro import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def clip(tmp_path, write_video, moving_frames):
    """Two shots of 24 and 15 frames."""
    return write_video(tmp_path / "clip.mkv", [*moving_frames(24), *moving_frames(15, level=190)])


@pytest.mark.parametrize("frames", ["8", "12..8", "x", "7..y", "1"])
def test_impossible_numbers_of_frames_are_refused(tmp_path, clip, frames):
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", frames)
    assert result.exit_code in (1, 2)
    assert not (tmp_path / "x.h5").exists()


def test_a_video_shorter_than_a_window_is_told_with_both_numbers(tmp_path, write_video, moving_frames):
    short = write_video(tmp_path / "short.mkv", moving_frames(5))
    result = run(short, "-o", tmp_path / "x.h5", "--frames", "7")
    assert result.exit_code == 1
    assert "5 frames" in result.stderr
    assert "7 are needed" in result.stderr
    assert list(tmp_path.glob("x.h5*")) == []


def test_an_unreadable_video_is_left_out_and_told(tmp_path, clip):
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    result = run(tmp_path / "bad.mp4", clip, "-o", tmp_path / "x.h5", "--frames", "7")
    assert result.exit_code == 3
    assert "bad.mp4" in result.stderr
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert sum(scene.count for scene in pairs.scenes) == 5


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path, clip):
    (tmp_path / "x.h5").write_bytes(b"precious")
    assert run(clip, "-o", tmp_path / "x.h5").exit_code == 1
    assert (tmp_path / "x.h5").read_bytes() == b"precious"
    assert run(clip, "-o", tmp_path / "x.h5", "--overwrite").exit_code == 0


def test_an_unknown_setting_is_refused(tmp_path, clip):
    result = run(clip, "-o", tmp_path / "x.h5", "--set", "motion.tolerance=1")
    assert result.exit_code == 1
    assert "motion.tolerance" in result.stderr


def test_pairs_are_the_mean_light_and_the_middle_frame(tmp_path, write_video, moving_frames):
    frames = moving_frames(11)
    clip = write_video(tmp_path / "clip.mkv", frames, rate=100)
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "11")
    assert result.exit_code == 0, result.output
    with PairsFile(tmp_path / "x.h5") as pairs:
        pair = pairs.read("clip", 0)
    np.testing.assert_array_equal(pair.sharp, frames[5])
    exact = 255 * srgb_encode(srgb_decode(np.array(frames) / 255).mean(axis=0))
    assert np.abs(pair.blurred - exact).max() <= 1
    assert (pair.info.exposure_long_ms, pair.info.exposure_short_ms) == (110, 10)
    assert 0.05 < binary_mask(pair.mask).mean() < 0.3


def test_no_pair_crosses_a_cut(tmp_path, clip):
    assert run(clip, "-o", tmp_path / "x.h5", "--frames", "5", "--stride", "1").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert {scene.name: scene.count for scene in pairs.scenes} == {"clip_shot1": 20, "clip_shot2": 11}
        for scene, level in (("clip_shot1", 90), ("clip_shot2", 190)):
            for index in range(pairs.scene(scene).count):
                assert abs(np.median(pairs.read(scene, index).blurred) - level) < 20


def test_folders_of_frames_work_like_videos(tmp_path, clip, moving_frames):
    for index, frame in enumerate(moving_frames(9)):
        write_image(tmp_path / "frames" / f"{index}.png", frame)
    result = run(tmp_path / "frames", "-o", tmp_path / "x.h5", "--frames", "9", "--camera-response", "gamma2.2")
    assert result.exit_code == 0, result.output
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [scene.name for scene in pairs.scenes] == ["frames"]
        assert pairs.header.settings["camera_response"] == "gamma2.2"
        assert np.isnan(pairs.read("frames", 0).info.exposure_long_ms)


def test_flags_win_over_the_settings_file(tmp_path, clip):
    (tmp_path / "s.yaml").write_text("shortest: 9\nlongest: 9\nseed: 5\nmask: false\n")
    arguments = (clip, "-o", tmp_path / "x.h5", "--config", tmp_path / "s.yaml", "--frames", "5")
    assert run(*arguments).exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        settings = pairs.header.settings
        assert (settings["shortest"], settings["seed"], settings["mask"]) == (5, 5, False)
        assert not pairs.has_mask("clip_shot1", 0)


def test_static_windows_are_left_out_on_request(tmp_path, write_video, moving_frames):
    still = moving_frames(1) * 14
    clip = write_video(tmp_path / "clip.mkv", still)
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--skip-static")
    assert result.exit_code == 1
    assert "static" in result.stderr
    clip = write_video(tmp_path / "clip.mkv", [*still, *moving_frames(7)])
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--skip-static", "--no-mask")
    assert result.exit_code == 0
    assert "2 static windows left out" in result.stdout


def test_a_dry_run_writes_nothing(tmp_path, clip):
    result = run(clip, "-o", tmp_path / "x.h5", "--dry-run", "--frames", "7", "--max-pairs", "2")
    assert result.exit_code == 0
    assert "2 pairs from 2 shots" in result.stdout
    assert list(tmp_path.glob("x.h5*")) == []


def test_an_interrupted_run_continues_and_ends_with_the_same_pairs(tmp_path, clip, monkeypatch):
    settings = SynthesisSettings(shortest=3, longest=7, seed=4)
    synthesize([clip], tmp_path / "whole.h5", settings)
    blend = synthesis.blend_windows

    def interrupted(*arguments):
        for count, pair in enumerate(blend(*arguments)):
            if count == 4:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(synthesis, "blend_windows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize([clip], tmp_path / "x.h5", settings)
    assert not (tmp_path / "x.h5").exists()
    (tmp_path / "elsewhere").mkdir()
    namesake = shutil.copy2(clip, tmp_path / "elsewhere" / "clip.mkv")
    with pytest.raises(LocalblurError, match=r"another inputs.*clip\.mkv"):
        synthesize([namesake], tmp_path / "x.h5", settings)
    monkeypatch.setattr(synthesis, "blend_windows", blend)
    synthesize([clip], tmp_path / "x.h5", settings)
    with PairsFile(tmp_path / "whole.h5") as whole, PairsFile(tmp_path / "x.h5") as continued:
        assert continued.scenes == whole.scenes
        for scene in whole.scenes:
            for index in range(scene.count):
                one, other = whole.read(scene.name, index), continued.read(scene.name, index)
                np.testing.assert_array_equal(one.blurred, other.blurred)
                np.testing.assert_array_equal(one.mask, other.mask)


def test_real_video_becomes_pairs(shared, tmp_path):
    settings = SynthesisSettings(max_pairs=6)
    done = synthesize([shared / "data/video/bikes.mp4"], tmp_path / "x.h5", settings)
    assert (done.pairs, done.problems) == (6, [])
    with PairsFile(tmp_path / "x.h5") as pairs:
        for scene in pairs.scenes:
            assert 0.01 < binary_mask(pairs.read(scene.name, 0).mask).mean() <= 1

"""The command that makes pairs from video."""

import numpy as np
import pytest
from click.testing import CliRunner

from localblur.common.parallel import open_executor
from localblur.datasets.films.synthesis import preview_synthesis, synthesize
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.images import read_image, read_plane, srgb_decode, srgb_encode, write_image
from localblur.datasets.pair import binary_mask
from localblur.datasets.store import PairsFile
from localblur.datasets.synthesize_gopro import main


def run(*arguments):
    return CliRunner().invoke(main, [*(str(argument) for argument in arguments), "--workers", "1"])


@pytest.mark.parametrize("frames", ["8..8.5", "12..8", "x", "7..y", "1", "2..2..3"])
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


def test_windows_that_overlap_beyond_memory_are_refused(tmp_path, clip):
    assert run(clip, "-o", tmp_path / "x.h5", "--frames", "10", "--stride", "1").exit_code == 0
    result = run(clip, "-o", tmp_path / "y.h5", "--frames", "130", "--stride", "2")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "overlap 65-fold, at most 64" in result.stderr


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
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--skip-static", "--preview")
    sheet = tmp_path / "x.h5.preview" / "clip.png"
    assert result.stderr.endswith(f"see {sheet}\n")
    assert sheet.is_file()
    clip = write_video(tmp_path / "clip.mkv", [*still, *moving_frames(7)])
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--skip-static", "--no-mask")
    assert result.exit_code == 0
    assert "2 static windows left out" in result.stdout


def test_a_dry_run_writes_nothing(tmp_path, clip):
    result = run(clip, "-o", tmp_path / "x.h5", "--dry-run", "--frames", "7", "--max-pairs", "2")
    assert result.exit_code == 0
    assert "2 pairs from 2 shots" in result.stdout
    assert list(tmp_path.glob("x.h5*")) == []


def test_no_window_of_real_video_crosses_one_of_its_cuts(shared):
    plan = preview_synthesis([shared / "data/video/bikes.mp4"], SynthesisSettings(stride=1, shortest=3, longest=7))
    windows = plan.videos[0].windows
    assert len(windows) > 200
    for cut in (30, 76, 137, 187, 242):  # as seen by eye
        assert not [window for window in windows if window.start < cut < window.stop]


def test_real_video_becomes_pairs(shared, tmp_path):
    settings = SynthesisSettings(max_pairs=6)
    done = synthesize([shared / "data/video/bikes.mp4"], tmp_path / "x.h5", settings)
    assert (done.pairs, done.problems) == (6, [])
    with PairsFile(tmp_path / "x.h5") as pairs:
        for scene in pairs.scenes:
            assert 0.01 < binary_mask(pairs.read(scene.name, 0).mask).mean() <= 1


def pictures(folder):
    return {str(path.relative_to(folder)): read_image(path) for path in sorted(folder.glob("*/*/*/*.png"))}


def test_a_folder_becomes_the_tree_of_gopro_with_both_versions(tmp_path, write_video, moving_frames):
    frames = moving_frames(18)
    clip = write_video(tmp_path / "clip.mkv", frames)
    arguments = (clip, "-o", tmp_path / "GOPRO", "--frames", "9", "--camera-response", "gamma2.2", "--split", "train=1")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    found = pictures(tmp_path / "GOPRO")
    roles = ("blur", "blur_gamma", "mask", "sharp")
    assert list(found) == [f"train/clip/{role}/{name}.png" for role in roles for name in ("000000", "000009")]
    window = np.array(frames[9:18])
    np.testing.assert_array_equal(found["train/clip/sharp/000009.png"], window[4])
    np.testing.assert_array_equal(found["train/clip/blur/000009.png"], np.rint(window.mean(axis=0)))
    light = 255 * ((window / 255) ** 2.2).mean(axis=0) ** (1 / 2.2)
    assert np.abs(found["train/clip/blur_gamma/000009.png"] - light).max() <= 1
    assert not (tmp_path / "GOPRO" / ".work").exists()
    assert run(*arguments).exit_code == 1  # finished: not touched again
    assert run(*arguments, "--no-mask", "--overwrite").exit_code == 0
    assert not list((tmp_path / "GOPRO").glob("**/mask/*.png"))


def test_a_tree_holds_both_versions_so_codes_alone_are_refused(tmp_path, clip):
    result = run(clip, "-o", tmp_path / "GOPRO", "--coded")
    assert result.exit_code == 1
    assert "--coded" in result.stderr
    assert not (tmp_path / "GOPRO").exists()


def test_codes_are_averaged_on_request(tmp_path, write_video, moving_frames):
    frames = moving_frames(7)
    clip = write_video(tmp_path / "clip.mkv", frames)
    assert run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--coded").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        np.testing.assert_array_equal(pairs.read("clip", 0).blurred, np.rint(np.mean(frames, axis=0)))
    result = run(clip, "-o", tmp_path / "y.h5", "--coded", "--realism")
    assert result.exit_code == 1
    assert "linear_light" in result.stderr


def test_a_measured_curve_is_used(tmp_path, write_video, moving_frames):
    frames = moving_frames(7)
    clip = write_video(tmp_path / "clip.mkv", frames)
    curve = tmp_path / "curve.csv"
    curve.write_text("0,0\n255,1\n")  # codes are light
    arguments = (clip, "-o", tmp_path / "x.h5", "--frames", "7", "--camera-response", curve)
    assert run(*arguments).exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert np.abs(pairs.read("clip", 0).blurred - np.mean(frames, axis=0)).max() < 0.51


def test_a_video_named_like_another_ones_shot_has_scenes_of_its_own(tmp_path, clip, write_video, moving_frames):
    other = write_video(tmp_path / "CLIP_shot2.mkv", moving_frames(7))
    long_names = [write_video(tmp_path / f"{'x' * 70}{end}.mkv", moving_frames(7)) for end in "ab"]
    result = run(clip, other, *long_names, "-o", tmp_path / "x.h5", "--frames", "7")
    assert result.exit_code == 0, result.output
    with PairsFile(tmp_path / "x.h5") as pairs:
        found = {scene.name: scene.count for scene in pairs.scenes}
    cut = {"x" * 64: 1, f"2-{'x' * 62}": 1}
    assert found == {"clip_shot1": 3, "clip_shot2": 2, "2-CLIP_shot2": 1, **cut}


def test_a_folder_of_other_things_is_left_alone(tmp_path, clip):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    for more in ((), ("--overwrite",)):
        result = run(clip, "-o", tmp_path / "mine", *more)
        assert result.exit_code == 1
        assert "other files" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_workers_make_the_same_pictures_bit_for_bit(tmp_path, write_video, moving_frames):
    clips = [write_video(tmp_path / f"c{n}.mkv", moving_frames(12, step_px=3 + n)) for n in range(2)]
    settings = SynthesisSettings(
        seed=7, shortest=3, longest=5, interpolation={"frames": 4}, realism={"response": "contrast"}, split="train=1"
    )
    alone = synthesize(clips, tmp_path / "alone", settings)
    with open_executor(2) as executor:
        together = synthesize(clips, tmp_path / "together", settings, executor=executor, preview=True)
    assert alone.pairs == together.pairs > 4
    one, other = pictures(tmp_path / "alone"), pictures(tmp_path / "together")
    assert one.keys() == other.keys()
    for name, picture in one.items():
        np.testing.assert_array_equal(picture, other[name], err_msg=name)
    assert [sheet.name for sheet in together.sheets] == ["c0.png", "c1.png"]
    assert together.frames == alone.frames == 22  # what follows the last window is not read


def test_realism_is_noise_on_the_blurred_picture_and_recorded(tmp_path, write_video, moving_frames):
    clip = write_video(tmp_path / "clip.mkv", moving_frames(1) * 7)
    assert run(clip, "-o", tmp_path / "clean.h5", "--frames", "7").exit_code == 0
    assert run(clip, "-o", tmp_path / "noisy.h5", "--frames", "7", "--realism", "--noise", "500,5").exit_code == 0
    with PairsFile(tmp_path / "clean.h5") as clean, PairsFile(tmp_path / "noisy.h5") as noisy:
        before, after = clean.read("clip", 0), noisy.read("clip", 0)
        assert noisy.header.settings["realism"]["camera"] == {"full_well_e": 500.0, "read_noise_e": 5.0}
    np.testing.assert_array_equal(before.sharp, after.sharp)
    assert 250 <= after.info.quality["full_well_e"] <= 1000
    deviation = (after.blurred.astype(float) - before.blurred)[70:, :, 1].std()
    assert 2 < deviation < 30


def test_realism_of_a_settings_file_can_be_switched_off(tmp_path, write_video, moving_frames):
    clip = write_video(tmp_path / "clip.mkv", moving_frames(7))
    (tmp_path / "s.yaml").write_text("realism: {mosaic: false}\n")
    for number, (flags, realism) in enumerate(
        (((), {"mosaic": False}), (("--noise", "900,2"), {"mosaic": False}), (("--no-realism",), None))
    ):
        output = tmp_path / f"{number}.h5"
        config = ("--frames", "7", "--config", tmp_path / "s.yaml", "--compression", "none")
        assert run(clip, "-o", output, *config, *flags).exit_code == 0
        with PairsFile(output) as pairs:
            stored = pairs.header.settings["realism"]
        assert (stored is None) == (realism is None)
        assert stored is None or stored["mosaic"] is False


@pytest.mark.parametrize("flags", [(), ("--no-realism",)])
def test_noise_alone_switches_the_other_stages_off(tmp_path, write_video, moving_frames, flags):
    clip = write_video(tmp_path / "clip.mkv", moving_frames(1) * 7)
    output = tmp_path / "x.h5"
    assert run(clip, "-o", output, "--frames", "7", "--noise", "500,5", *flags).exit_code == 0
    with PairsFile(output) as pairs:
        realism, pair = pairs.header.settings["realism"], pairs.read("clip", 0)
    assert realism["camera"] == {"full_well_e": 500.0, "read_noise_e": 5.0}
    assert not (realism["mosaic"] or realism["white_balance"] or realism["saturation"])
    assert pair.info.quality["full_well_e"] == 500
    light = srgb_decode(pair.sharp / 255)
    noise = srgb_decode(pair.blurred / 255) - light
    middle = (light > 0.02) & (light < 0.8)
    expected = np.sqrt((light / 500 + (5 / 500) ** 2)[middle].mean())
    assert noise[middle].std() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--frame-rate", "inf"), "frame_rate"),
        (("--exposure", "inf"), "exposure_ms"),
        (("--frames", "7..9000000000"), "longest"),
        (("--stride", "2", "--duty-cycle", "0.5"), "--duty-cycle 0.5 of --stride 2 exposes 1"),
    ],
)
def test_numbers_that_make_no_sense_are_one_line(tmp_path, clip, arguments, told):
    result = run(clip, "-o", tmp_path / "x.h5", *arguments)
    assert result.exit_code == 1
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_frame_rate_that_is_given_wins_over_the_times_of_the_frames(tmp_path, write_video, moving_frames):
    clip = write_video(tmp_path / "clip.mkv", moving_frames(10), rate=60)
    assert run(clip, "-o", tmp_path / "x.h5", "--frames", "10", "--frame-rate", "100").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.read("clip", 0).info.exposure_long_ms == pytest.approx(100)


def test_exposures_and_duty_cycles_are_frames(tmp_path, write_video, moving_frames):
    clip = write_video(tmp_path / "clip.mkv", moving_frames(24), rate=100)
    for arguments, frames, pairs in (
        (("--exposure", "50"), 5, 4),
        (("--exposure", "25", "--frame-rate", "240"), 6, 4),
        (("--duty-cycle", "0.5", "--stride", "8"), 4, 3),
    ):
        result = run(clip, "-o", tmp_path / "x.h5", "--overwrite", *arguments)
        assert result.exit_code == 0, result.output
        with PairsFile(tmp_path / "x.h5") as file:
            info = file.info("clip")
        assert len(info) == pairs
        assert info[0].quality["frames"] == frames
        assert info[0].quality["sharp_late_frames"] == (0 if frames % 2 else 0.5)
    assert info[0].exposure_long_ms == pytest.approx(40)
    result = run(clip, "-o", tmp_path / "y.h5", "--duty-cycle", "0.5")
    assert result.exit_code == 1
    assert "stride" in result.stderr


def test_a_preview_shows_pairs_and_what_was_dropped(tmp_path, write_video, moving_frames):
    clip = write_video(tmp_path / "clip.mkv", [*moving_frames(7), *moving_frames(8)[7:] * 8])
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--skip-static", "--preview")
    assert result.exit_code == 0, result.output
    assert "1 static windows left out" in result.stdout
    sheet = read_image(tmp_path / "x.h5.preview" / "clip.png")
    assert sheet.shape == (2 * 22 + 2 * (22 + 192) + 2 * 22, 960, 3)
    assert read_plane(tmp_path / "x.h5.preview" / "clip.png").max() > 200


def test_repeated_frames_are_told_and_may_be_dropped(tmp_path, write_video, moving_frames):
    frames = [frame for index, frame in enumerate(moving_frames(15)) for frame in [frame] * (1 + (index % 3 == 2))]
    clip = write_video(tmp_path / "clip.mkv", frames)
    result = run(clip, "-o", tmp_path / "x.h5", "--frames", "7")
    assert result.exit_code == 1
    assert "--repeated drop" in result.stderr
    assert run(clip, "-o", tmp_path / "x.h5", "--frames", "7", "--repeated", "drop").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert pairs.scenes[0].count == 2
        assert np.abs(pairs.read("clip", 1).sharp.astype(int) - frames[13]).max() == 0  # the tenth that is not repeated


def test_missing_frames_are_noted(tmp_path, moving_frames):
    for index, frame in enumerate(moving_frames(17)):
        if index != 8:
            write_image(tmp_path / "frames" / f"{index:02d}.png", frame)
    result = run(tmp_path / "frames", "-o", tmp_path / "x.h5", "--frames", "5")
    assert result.exit_code == 0
    assert "gaps in time: 1" in result.stdout
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [info.name for info in pairs.info("frames")] == ["000000", "000008"]


def test_a_change_of_frame_size_ends_a_scene(tmp_path, moving_frames):
    frames = [*moving_frames(6), *moving_frames(6, size=(96, 192))]
    for index, frame in enumerate(frames):
        write_image(tmp_path / "frames" / f"{index}.png", frame)
    assert run(tmp_path / "frames", "-o", tmp_path / "x.h5", "--frames", "5").exit_code == 0
    with PairsFile(tmp_path / "x.h5") as pairs:
        assert [(scene.name, scene.width, scene.count) for scene in pairs.scenes] == [
            ("frames_shot1", 160, 1),
            ("frames_shot2", 192, 1),
        ]

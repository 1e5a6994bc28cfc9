"""Cuts, repeated frames, missing frames and changes of size."""

import av
import cv2
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.films.scene_cuts import (
    Shot,
    find_cuts,
    find_gaps,
    find_repeated,
    survey,
    survey_from_plain,
    survey_to_plain,
)
from localblur.datasets.films.video import read_frames
from localblur.datasets.images import write_image


def test_a_change_of_frame_size_begins_a_new_shot(tmp_path, moving_frames):
    small, large = moving_frames(3), moving_frames(4, size=(96, 192))
    stream = b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in [*small, *large])
    path = tmp_path / "resized.mjpeg"
    path.write_bytes(stream)
    folder = tmp_path / "frames"
    for index, frame in enumerate([*small, *large]):
        write_image(folder / f"{index}.png", frame)
    for source in (path, folder):
        assert survey(source).shots == [
            Shot(start=0, stop=3, height=96, width=160),
            Shot(start=3, stop=7, height=96, width=192),
        ]
        assert [frame.shape[1] for frame in read_frames(source)] == [160] * 3 + [192] * 4


@pytest.mark.parametrize(
    ("changes", "cuts"),
    [
        ([0.0], []),
        ([0, 3, 3, 3, 60, 3, 3], [4]),
        ([0, 18, 19, 20, 20, 19, 18], []),  # a fast pan
        ([0, 18, 19, 20, 60, 7, 8, 9], [4]),  # a cut at the end of a pan
        ([0, 0, 0, 5, 0, 0], []),  # a small change in a still picture
        ([0, 1, 50, 1, 1, 1, 55, 1], [2, 6]),
    ],
)
def test_hard_cuts_stand_out_from_their_neighbours(changes, cuts):
    assert find_cuts(np.array(changes, float)) == cuts


def test_a_cut_is_found_in_pictures(tmp_path, write_video, moving_frames):
    path = write_video(tmp_path / "clip.mkv", [*moving_frames(9), *moving_frames(8, level=190)])
    assert [(shot.start, shot.stop) for shot in survey(path).shots] == [(0, 9), (9, 17)]


def test_the_cuts_and_repeated_frames_of_real_video_are_found(shared):
    bikes = survey(shared / "data/video/bikes.mp4")
    assert [shot.start for shot in bikes.shots] == [0, 30, 76, 137, 187, 242]
    assert (bikes.repeated, bikes.missing) == (0, 0)
    film = survey(shared / "data/video/bigbuckbunny.mp4")  # 24 frames a second made 25
    assert [(shot.start, shot.stop, shot.breaks) for shot in film.shots] == [(0, 132, (7, 32, 57, 82, 107))]


@pytest.mark.parametrize("seed", range(4))
def test_every_hard_cut_of_a_generated_video_is_found(tmp_path, write_video, seed):
    """Shots of panned textures: slow and fast, light and dark, none brighter than its neighbours on the whole."""
    rng = np.random.default_rng(seed)
    frames, starts = [], []
    for _ in range(5):
        texture = cv2.resize(
            rng.integers(0, 256, (12, 40, 3), dtype=np.uint8), (400, 96), interpolation=cv2.INTER_CUBIC
        )
        level, speed = rng.uniform(0.3, 1.0), int(rng.integers(0, 9))
        starts.append(len(frames))
        for step in range(int(rng.integers(6, 14))):
            noise = rng.normal(0, 1.5, (96, 160, 3))
            shown = level * texture[:, speed * step : speed * step + 160] + noise
            frames.append(np.clip(shown, 0, 255).astype(np.uint8))
    found = survey(write_video(tmp_path / "clip.mkv", frames))
    assert [shot.start for shot in found.shots] == starts


def test_repeated_frames_stand_still_while_their_neighbours_move():
    changes = np.full(30, 2.0)
    changes[[7, 20]] = 0.02
    assert find_repeated(changes) == [7, 20]
    assert find_repeated(np.zeros(30)) == []  # a still scene
    assert find_repeated(np.random.default_rng(0).uniform(0.5, 1.5, 50)) == []


@pytest.mark.parametrize(
    ("intervals", "tick", "gaps"),
    [
        ([0, 33, 33, 34, 33, 67, 33, 33], 1, [5]),  # one frame missing
        ([0, 33, 33, 34, 17, 16, 17, 16], 1, [4]),  # another frame rate
        ([0, 2, 2, 3, 2, 2, 3, 2, 2], 1, []),  # 480 frames a second in whole milliseconds
        ([0, 1, 1, 1, 3, 1, 1], 0, [4]),  # numbered pictures with two missing
        ([0, np.nan, np.nan], 0, []),
    ],
)
def test_gaps_in_time_are_found(intervals, tick, gaps):
    assert find_gaps(np.array(intervals, float), tick) == gaps


def test_missing_frames_of_a_video_break_its_shot(tmp_path, moving_frames):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "bgr0"
        for number, image in enumerate(moving_frames(20)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if number < 12 else number + 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = survey(path)
    assert [(shot.breaks, shot.runs) for shot in found.shots] == [((12,), [(0, 12), (12, 20)])]
    assert (found.missing, found.longest_run) == (1, 12)


def test_missing_numbers_of_pictures_break_their_shot(tmp_path, moving_frames):
    for number, frame in enumerate(moving_frames(12)):
        if number != 7:
            write_image(tmp_path / f"f{number:04d}.png", frame)
    assert survey(tmp_path).shots[0].breaks == (7,)


def test_repeated_frames_end_runs_or_are_left_out(tmp_path, write_video, moving_frames):
    frames = moving_frames(20)
    twice = [*frames[:9], frames[8], *frames[9:]]
    path = write_video(tmp_path / "clip.mkv", twice)
    assert survey(path).shots[0].runs == [(0, 9), (9, 21)]
    dropped = survey(path, "drop")
    assert (dropped.left_out, dropped.shots[0].runs, len(dropped.times)) == ([9], [(0, 20)], 20)


def test_a_survey_survives_as_plain_values(tmp_path, write_video, moving_frames):
    found = survey(write_video(tmp_path / "clip.mkv", [*moving_frames(9), *moving_frames(8, level=190)]))
    assert survey_from_plain(survey_to_plain(found)) == found
    with pytest.raises(LocalblurError, match="makes no sense"):
        survey_from_plain({"shots": 3})

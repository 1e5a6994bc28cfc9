"""Windows over the frames of a video."""

from pathlib import Path

import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.films.frame_windows import (
    Window,
    frames_of_exposure,
    numbers_of_frames,
    place_windows,
    spread,
    titles,
)
from localblur.datasets.films.scene_cuts import Shot

SIZE = {"height": 96, "width": 160}
SHOTS = [
    Shot(start=0, stop=30, **SIZE),
    Shot(start=30, stop=35, **SIZE),
    Shot(start=35, stop=80, breaks=(50,), **SIZE),
]


@pytest.mark.parametrize("bounds", [(1, 1), (13, 7), (1, 2)])
def test_ranges_without_an_odd_number_are_refused(bounds):
    with pytest.raises(LocalblurError, match="odd number"):
        numbers_of_frames(*bounds)


def test_a_source_given_twice_is_refused():
    with pytest.raises(LocalblurError, match="twice"):
        titles([Path("a.mp4"), Path("a.mp4")])


def test_equal_names_are_told_apart():
    assert list(titles([Path("x/a.mp4"), Path("y/a.mp4"), Path("b.mkv")]).values()) == ["a", "a-2", "b"]


@pytest.mark.parametrize("stride", [None, 4, 20])
def test_no_window_crosses_a_cut_and_each_shot_is_a_scene(stride):
    windows = place_windows("clip", SHOTS, numbers_of_frames(7, 13), stride, seed=3)
    for window in windows:
        shot = SHOTS[int(window.scene.removeprefix("clip_shot")) - 1]
        assert shot.start <= window.start < window.middle < window.stop <= shot.stop
        assert not window.start < 50 < window.stop
        assert window.length in (7, 9, 11, 13)
        assert window.middle - window.start == window.stop - 1 - window.middle
    assert {window.scene for window in windows} == {"clip_shot1", "clip_shot3"}
    assert len({window.length for window in windows}) > 1
    assert len({(window.scene, window.name) for window in windows}) == len(windows)


def test_windows_depend_on_the_seed_alone():
    first = place_windows("clip", SHOTS, numbers_of_frames(7, 13), None, seed=1)
    assert place_windows("clip", SHOTS, numbers_of_frames(7, 13), None, seed=1) == first
    assert place_windows("clip", SHOTS, numbers_of_frames(7, 13), None, seed=2) != first


def test_a_limit_spreads_over_everything():
    assert spread(range(100), 5) == [0, 25, 50, 74, 99]
    assert spread(range(3), 5) == [0, 1, 2]
    assert spread(range(3), None) == [0, 1, 2]
    assert spread(range(9), 1) == [0]


def test_one_number_may_be_even_and_its_sharp_frame_is_half_a_frame_late():
    assert numbers_of_frames(8, 8) == [8]
    assert numbers_of_frames(8, 12) == [9, 11]
    window = Window(scene="s", name="0", start=10, length=8)
    assert (window.middle, window.sharp_late_frames) == (14, 0.5)
    assert Window(scene="s", name="0", start=10, length=7).sharp_late_frames == 0


def test_an_exposure_is_as_many_frames_as_fit_it_best():
    assert frames_of_exposure(50, 1000 / 240) == 12
    with pytest.raises(LocalblurError, match="frame rate is unknown"):
        frames_of_exposure(50, float("nan"))
    with pytest.raises(LocalblurError, match="0.24 frames"):
        frames_of_exposure(1, 1000 / 240)

"""Counting work that other processes do."""

import time

from localblur.datasets.films import work_tally
from localblur.datasets.films.work_tally import STOP, Tally, TallyWatcher


def test_tallies_are_added_up(tmp_path, capsys):
    paths = {tmp_path / name: name for name in ("a", "b", "never")}
    with TallyWatcher(paths, 12, "blending", "frame") as watcher:
        for path, count in ((tmp_path / "a", 5), (tmp_path / "b", 4)):
            with Tally(path) as tally:
                for _ in range(count):
                    tally.step()
        (tmp_path / "never").write_text("torn 1")
    assert watcher.count == 9
    assert watcher.seconds > 0


def test_progress_tells_speed_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("localblur.common.parallel.PLAIN_INTERVAL_S", 0.0)
    path = tmp_path / "a"
    with TallyWatcher({path: "clip.mp4"}, 100, "blending", "frame"):
        path.write_text("50")
        time.sleep(0.7)
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("blending: 50/100 frames")
    assert "frames/s" in line
    assert "left, clip.mp4" in line


def test_a_place_that_cannot_be_written_does_not_stop_the_work(tmp_path):
    with Tally(tmp_path / "none" / "a") as tally:
        tally.step()
    assert tally.count == 1


def test_a_task_learns_that_it_is_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(work_tally, "WRITE_INTERVAL_S", 0.0)
    tally = Tally(tmp_path / "a")
    tally.step()
    assert not tally.stopped
    (tmp_path / STOP).touch()
    tally.step()
    assert tally.stopped

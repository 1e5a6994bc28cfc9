"""The status line: its exact words, its width, and what it says once."""

import io
import logging
import shutil
import threading

import pytest

from localblur.acquisition.screen.screen import StatusLine
from localblur.acquisition.screen.screen_text import (
    Field,
    disk_field,
    fit_line,
    focus_field,
    gap_field,
    level_error_stops,
    level_field,
    lost_field,
    saturation_field,
)
from localblur.datasets.recording import CameraRecord, FrameRecord, PairRecord


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def lines(self):
        """What stands on the screen, each line as it was drawn last."""
        shown = []
        for line in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in line.split("\r"):
                cells[: len(part)] = part
            shown.append("".join(cells).rstrip())
        return shown


def camera(role):
    return CameraRecord(
        role=role,
        model="coded",
        serial=role,
        pixel_format="BayerRG12",
        bit_depth=12,
        bayer="RGGB",
        width=1000,
        height=500,
        black_level=64,
        white_level=4095,
        exposure_ms=20 if role == "B" else 2,
    )


CAMERAS = {"B": camera("B"), "S": camera("S")}


def frame(role, mean, saturated, focus):
    return FrameRecord(
        name=f"000000_{role}.tif",
        bytes=1,
        crc32=0,
        block_id=0,
        host_time_ns=0,
        camera_time_ns=None,
        exposure_ms=CAMERAS[role].exposure_ms,
        mean=mean,
        saturated=saturated,
        focus=focus,
    )


def pair(index=0, *, means=(1064.0, 1064.0), saturated=(0.0, 0.0), focus=5.0, gap_ms=0.1):
    blurred, sharp = (frame(role, means[n], saturated[n], focus) for n, role in enumerate("BS"))
    return PairRecord(index=index, B=blurred, S=sharp, gap_ms=gap_ms)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A status line on a stream, and its clock; the disk is as large as it is, so it is cut out of what is compared."""

    def build(stream, group="scenes/street", asked=10, held=0, columns=300):
        monkeypatch.setenv("COLUMNS", str(columns))
        clock = Clock()
        line = StatusLine(group, asked, held, CAMERAS, tmp_path, ring=6, stream=stream, clock=clock)
        return line, clock

    return build


def without_disk(line):
    return "  ".join(part for part in line.split("  ") if not part.startswith("disk"))


def test_fields_in_words():
    assert lost_field(0, "") == Field("lost 0", "lost 0", 2)
    assert lost_field(2, "camera S: no frame") == Field("lost 2 (camera S: no frame)", "lost 2", 2)
    assert gap_field(0.092, 0.31, 1).text == "gap 92/310 us"
    assert gap_field(0.1, 8.4, 1).text == "gap 0.10/8.40 ms!"
    assert saturation_field(0.0004, 0.002) == Field("saturated 0.0/0.2 %!", "sat 0.0/0.2 %!", 3)
    assert level_field(0.021) == Field("level +0.02 stops", "level +0.02", 5)
    assert level_field(-0.3) == Field("level -0.30 stops!", "level -0.30!", 5)
    assert level_field(None).text == "level -"
    assert focus_field(0.97).text == "focus 97 %"
    assert focus_field(0.4).text == "focus 40 %!"
    assert disk_field(812_000_000_000, 20_000_000).text == "disk 812 GB (40600 pairs)"
    assert disk_field(3_210_000_000, 20_000_000) == Field("disk 3.2 GB (160 pairs)", "disk 3.2 GB", 7)


def test_the_level_error_is_that_of_light_above_black():
    assert level_error_stops(pair(means=(2064.0, 1064.0)), CAMERAS) == pytest.approx(1)
    assert level_error_stops(pair(means=(564.0, 1064.0)), CAMERAS) == pytest.approx(-1)
    assert level_error_stops(pair(means=(64.5, 63.9)), CAMERAS) is None


def test_the_least_important_fields_are_shortened_and_then_left_out_first():
    fields = [
        Field("group: 12/50 pairs", "group 12/50", 0),
        Field("lost 3 (why)", "lost 3", 2),
        Field("queue 1/6", "", 8),
    ]
    assert fit_line(fields, 50) == "group: 12/50 pairs  lost 3 (why)  queue 1/6"
    assert fit_line(fields, 40) == "group: 12/50 pairs  lost 3  queue 1/6"
    assert fit_line(fields, 30) == "group 12/50  lost 3  queue 1/6"
    assert fit_line(fields, 29) == "group 12/50  lost 3"
    assert fit_line(fields, 18) == "group 12/50"
    assert fit_line(fields, 8) == "group..."


def test_a_pipe_gets_a_line_every_ten_seconds_one_per_loss_and_a_last_one(make):
    stream = io.StringIO()
    line, clock = make(stream, asked=50, held=7)
    with line:
        for index in range(44):
            clock.now += 0.5
            line.committed(pair(index), index % 3)
        line.lost("camera S: no\nframe in time")
        line.status({"B_temperature_c": 41.4, "S_temperature_c": 39.0})
    lines = [without_disk(text) for text in stream.getvalue().splitlines()]
    loss = "lost 1 (camera S: no frame in time)"
    tail = "gap 100/100 us  saturated 0.0/0.0 %  level +0.00 stops  focus 100 %"
    assert lines == [
        f"scenes/street: 20/50 pairs (7 held)  2.0 pairs/s  lost 0  {tail}  queue 1/6",
        f"scenes/street: 40/50 pairs (7 held)  2.0 pairs/s  lost 0  {tail}  queue 0/6",
        "scenes/street: lost 1: camera S: no frame in time",
        f"scenes/street: 44/50 pairs (7 held)  2.0 pairs/s  {loss}  {tail}  queue 1/6  41 C",
    ]


def test_the_disk_is_counted_in_pairs(make, tmp_path):
    stream = io.StringIO()
    line, _ = make(stream)
    with line:
        pass
    free_pairs = int(stream.getvalue().split("(")[1].split(" pairs)")[0])
    assert free_pairs == pytest.approx(shutil.disk_usage(tmp_path).free / 2e6, rel=0.05)


def test_a_terminal_shows_one_line_that_fits(make):
    for columns in (300, 100, 60, 20):
        terminal = Terminal()
        line, clock = make(terminal, columns=columns)
        with line:
            for index in range(10):
                clock.now += 1
                line.committed(pair(index), 0)
        *shown, last = terminal.lines()
        assert last == ""
        assert len(shown) == 1
        assert shown[0].startswith("scenes/street")
        assert "10/10" in shown[0]
        assert all(len(part) < columns for part in terminal.getvalue().replace("\n", "\r").split("\r"))


def test_a_terminal_is_not_redrawn_more_often_than_the_eye_can_follow(make):
    terminal = Terminal()
    line, clock = make(terminal)
    with line:
        before = len(terminal.getvalue())
        for index in range(100):
            clock.now += 0.001
            line.committed(pair(index), 0)
        assert len(terminal.getvalue()) == before
        clock.now += 0.2
        line.committed(pair(100), 0)
        assert len(terminal.getvalue()) > before


def test_losses_and_warnings_stand_above_the_live_line(make):
    terminal = Terminal()
    line, clock = make(terminal, columns=400)
    with line:
        clock.now += 1
        line.committed(pair(0, saturated=(0.004, 0)), 0)
        line.lost("camera B: late")
    lines = terminal.lines()
    assert lines[0] == "warning: camera B: 0.4 % of the pixels are saturated; shorten --exposure-long or dim the light"
    assert lines[1] == "scenes/street: lost 1: camera B: late"
    assert lines[2].startswith("scenes/street: 1/10 pairs  lost 1 (camera B: late)")
    assert lines[3:] == [""]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"saturated": (0.0, 0.0123)}, "camera S: 1.2 % of the pixels are saturated; shorten --exposure-short"),
        ({"means": (1264.0, 1064.0)}, "camera B is 0.26 stops brighter than camera S; match the exposures"),
        ({"means": (964.0, 1064.0)}, "camera S is 0.15 stops brighter than camera B; match the exposures"),
        ({"focus": 2.4}, "camera S has only 48 % of the sharpness it had; check its lens"),
        ({"gap_ms": -1.2}, "pair 1: the triggers came 1.2 ms apart (limit 1.0 ms)"),
    ],
)
def test_each_kind_of_trouble_is_said_once(make, bad, expected):
    stream = io.StringIO()
    line, _ = make(stream)
    with line:
        line.committed(pair(0), 0)
        for index in range(1, 6):
            line.committed(pair(index, **bad), 0)
    warnings = [text for text in stream.getvalue().splitlines() if text.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"warning: {expected}")


def test_a_single_pair_of_another_level_is_flicker(make):
    stream = io.StringIO()
    line, _ = make(stream)
    with line:
        for index in range(9):
            line.committed(pair(index, means=(1264.0 if index % 4 == 1 else 1064.0, 1064.0)), 0)
    assert "warning" not in stream.getvalue()


def test_black_clipping_is_said_once_per_camera(make):
    stream = io.StringIO()
    line, _ = make(stream)
    shares = (("B", 0.02), ("S", 0.0005))
    with line:
        for _ in range(2):
            cut = pair()
            frames = {role: cut.frames[role].model_copy(update={"clipped": share}) for role, share in shares}
            line.committed(cut.model_copy(update=frames), 0)
    warnings = [text for text in stream.getvalue().splitlines() if text.startswith("warning: ")]
    assert warnings == ["warning: camera B: 2.0 % of the pixels are cut off at 0; raise its black level"]


def test_small_troubles_are_none(make):
    stream = io.StringIO()
    line, _ = make(stream)
    with line:
        line.committed(pair(0), 0)
        for index in range(1, 6):
            line.committed(pair(index, saturated=(0.001, 0.001), means=(1130, 1064), focus=2.6, gap_ms=0.9), 0)
    assert "warning" not in stream.getvalue()


def test_in_a_calibration_gap_and_focus_do_not_matter(make):
    stream = io.StringIO()
    line, _ = make(stream, group="calibration/static")
    with line:
        line.committed(pair(0), 0)
        line.committed(pair(1, focus=1.0, gap_ms=40), 0)
    assert "warning" not in stream.getvalue()
    assert "focus" not in stream.getvalue()


def test_frames_without_focus_and_light_have_no_such_numbers(make):
    stream = io.StringIO()
    line, _ = make(stream)
    with line:
        line.committed(pair(0, means=(64, 64), focus=None), 0)
    assert "focus" not in stream.getvalue()
    assert "level -" in stream.getvalue()


def test_what_is_logged_meanwhile_does_not_tear_the_line(make):
    terminal = Terminal()
    root = logging.getLogger()
    handler = logging.StreamHandler(terminal)
    root.addHandler(handler)
    try:
        line, _ = make(terminal)
        with line:
            line.committed(pair(0), 0)
            logging.getLogger("localblur.test").warning("camera B is warm")
        assert handler.stream is terminal
    finally:
        root.removeHandler(handler)
    assert terminal.lines()[0] == "camera B is warm"
    assert terminal.lines()[1].startswith("scenes/street: 1/10 pairs")


def test_a_broken_screen_never_ends_a_recording(make):
    class Broken(io.StringIO):
        def write(self, content):
            raise BrokenPipeError

    line, _ = make(Broken())
    with line:
        line.committed(pair(0, saturated=(0.5, 0.5)), 0)
        line.lost("gone")


def test_threads_may_speak_at_once(make):
    stream = io.StringIO()
    line, _ = make(stream, asked=200)
    with line:
        threads = [
            threading.Thread(target=lambda: [line.committed(pair(n), 0) or line.lost("x") for n in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = stream.getvalue().splitlines()
    assert sum(text.startswith("scenes/street: lost") for text in lines) == 200
    assert "200/200 pairs" in lines[-1]


def test_many_triggers_lost_for_one_reason_are_one_line(make):
    stream = io.StringIO()
    line, _ = make(stream)
    with line:
        line.lost("camera S: no frame", 90)
        line.lost("camera S: no frame")
    lost = [text for text in stream.getvalue().splitlines() if ": lost " in text]
    assert lost == [
        "scenes/street: lost 90: camera S: no frame (90 triggers)",
        "scenes/street: lost 91: camera S: no frame",
    ]

"""Contact sheets of synthesised pairs."""

import textwrap
from pathlib import Path

import numpy as np
import pytest

from localblur.datasets.films.contact_sheet import (
    CAPTION_PX,
    CHARACTERS_PER_LINE,
    TILE_WIDTH_PX,
    SheetRow,
    sheet_of,
    strip_of,
    write_sheet,
)
from localblur.datasets.films.frame_windows import Window
from localblur.datasets.films.scene_cuts import Shot, Survey
from localblur.datasets.films.synthesis_plan import PlannedVideo
from localblur.datasets.films.video_sheet import MOST_RANGES, left_out_lines, ranges_text
from localblur.datasets.images import read_image, write_image


def test_a_strip_shows_blurred_sharp_and_mask(make_pair):
    pair = make_pair(size=(120, 160))
    strip = strip_of(pair)
    assert strip.shape == (240, 3 * TILE_WIDTH_PX, 3)
    marked, sharp = strip[:, 2 * TILE_WIDTH_PX :].astype(int), strip[:, TILE_WIDTH_PX : 2 * TILE_WIDTH_PX].astype(int)
    inside = (slice(65, 115), slice(112, 155))  # of a mask from a quarter to half, and a third to half
    assert (marked[inside][..., 0] > sharp[inside][..., 0] - 1).all()
    assert marked[inside][..., 0].mean() > sharp[inside][..., 0].mean() + 30
    np.testing.assert_array_equal(marked[150:], sharp[150:])


def test_rows_stand_below_their_captions_and_dropped_ones_in_red():
    strip = np.full((40, 3 * TILE_WIDTH_PX, 3), 9, np.uint8)
    rows = [SheetRow(strip=strip, caption="kept"), SheetRow(strip=strip, caption="static: ...", dropped=True)]
    sheet = sheet_of("clip – café", rows)
    assert sheet.shape == (4 * CAPTION_PX + 80, 3 * TILE_WIDTH_PX, 3)
    kept, dropped = sheet[2 * CAPTION_PX : 3 * CAPTION_PX], sheet[3 * CAPTION_PX + 40 : 4 * CAPTION_PX + 40]
    assert kept[..., 1].max() > kept[..., 0].max()
    assert dropped[..., 0].max() > dropped[..., 1].max() + 80


def test_strips_that_are_gone_are_left_out(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((30, 3 * TILE_WIDTH_PX, 3), np.uint8))
    rows = [(tmp_path / "a.png", "a", False), (tmp_path / "b.png", "b", False)]
    assert write_sheet(tmp_path / "sheet.png", "clip", rows)
    assert read_image(tmp_path / "sheet.png").shape[0] == 3 * CAPTION_PX + 30
    assert not write_sheet(tmp_path / "none.png", "clip", rows[1:])
    assert not (tmp_path / "none.png").exists()


def test_notes_follow_in_lines_that_fit(tmp_path):
    note = "dropped, static, windows: 300, frames: " + ", ".join(f"{n}000-{n}006" for n in range(60))
    sheet = sheet_of("clip", [], [note, "end"])
    lines = sheet.reshape(-1, CAPTION_PX, 3 * TILE_WIDTH_PX, 3)
    assert len(lines) == 2 + len(textwrap.wrap(note, CHARACTERS_PER_LINE)) + 1
    assert (lines[2:].max(axis=(1, 2, 3)) > 150).all()
    assert (lines[:, :, -6:] == lines[0, 0, -1]).all()  # no line runs out of the picture


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ([], ""),
        ([(4, 4)], "4"),
        ([(7, 13), (0, 6), (20, 26), (22, 30)], "0-13, 20-30"),
        ([(2 * n, 2 * n) for n in range(MOST_RANGES + 3)], " and 3 more ranges"),
    ],
)
def test_ranges_that_touch_are_joined(ranges, text):
    assert ranges_text(ranges).endswith(text)


def test_everything_that_is_in_no_pair_is_told_with_the_frames_of_the_video():
    shots = [Shot(start=0, stop=30, height=8, width=8, breaks=(10, 14)), Shot(start=30, stop=40, height=8, width=8)]
    found = Survey(shots=shots, damaged=[2, 3], damage="2 frames are damaged, 0.1 s", repeated=1, problem="truncated")
    windows = tuple(Window(scene="clip", name=f"{n:06d}", start=n, length=5) for n in (0, 5, 14, 19, 24, 30, 35))
    video = PlannedVideo(source=Path("clip.mp4"), title="clip", found=found, windows=windows, interval_ms=10)
    why = {("clip", f"{n:06d}"): f"static: 0.0{n}% moves" for n in (14, 19, 35)} | {("clip", "000000"): "fails: much"}
    assert left_out_lines(video, why) == [
        "dropped, fails, windows: 1, frames: 0-6",
        "dropped, static, windows: 3, frames: 16-25, 37-41",
        "cuts at frames: 32",
        "too short for a window between cuts, repeated, missing and damaged frames: 12-15",
        "repeated frames: 1",
        "2 frames are damaged, 0.1 s",
        "truncated",
    ]

"""Contact sheets of synthesised pairs."""

import numpy as np

from localblur.datasets.films.contact_sheet import CAPTION_PX, TILE_WIDTH_PX, SheetRow, sheet_of, strip_of, write_sheet
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

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from localblur.datasets.images import read_image
from localblur.datasets.local.preview import TILE_PX, pair_row, write_preview
from localblur.datasets.pair import Pair


def test_a_row_shows_both_pictures_the_outline_and_a_detail(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(size=(300, 400), quality={"travel_px": 12.34, "objects": 2.0, "moving": 1.0, "blurred_share": 0.1})
    row = pair_row(pair)
    assert row.dtype == np.uint8 and row.shape[1] > 5 * TILE_PX and row.shape[0] > TILE_PX
    y, x = 75, 133  # the mask begins here
    detail = row[:TILE_PX, 3 * (TILE_PX + 4) : 3 * (TILE_PX + 4) + TILE_PX]
    height, width = pair.blurred.shape[:2]
    found = [
        (top, left)
        for top in range(height - TILE_PX + 1)
        for left in range(width - TILE_PX + 1)
        if np.array_equal(detail[0, :8], pair.blurred[top, left : left + 8])
    ]
    assert len(found) == 1
    top, left = found[0]
    np.testing.assert_array_equal(detail, pair.blurred[top : top + TILE_PX, left : left + TILE_PX])
    assert top <= y <= top + TILE_PX and left <= x <= left + TILE_PX


@pytest.mark.parametrize("masked", [False, True])
def test_a_sheet_has_a_row_for_some_pairs_of_every_size(
    tmp_path: Path, make_pair: Callable[..., Pair], make_file: Callable[..., Path], masked: bool
) -> None:
    pairs = [make_pair("s1", f"{i:02}", masked=masked) for i in range(5)]
    path = make_file(tmp_path / "x.h5", {"train": pairs})
    sheets = [read_image(write_preview(path, rows=rows)) for rows in (1, 3, 50)]
    assert [sheet.shape[0] // sheets[0].shape[0] for sheet in sheets] == [1, 3, 5]
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["x.h5", "x.preview.png"]

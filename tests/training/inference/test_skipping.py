"""Open cells, the rectangles that cover them, and the weights with which restored pixels count."""

import numpy as np
import pytest

from localblur.training.inference.skipping import Box, SkipSettings, confirmed_cells, cover, grown, open_cells, weights

SETTINGS = SkipSettings(grow_cells=0)


def cost(boxes, halo):
    return sum((b.bottom - b.top + 2 * halo) * (b.right - b.left + 2 * halo) for b in boxes)


def test_cells_open_where_the_gate_is_open_and_a_rim_grows():
    gate = np.full((100, 150), 0.1, np.float32)
    gate[40:60, 80:100] = 0.9  # rows 160 to 240 and columns 320 to 400 of the picture, reduced four times
    cells = open_cells(gate, (400, 600), SETTINGS)
    assert cells.shape == (25, 38)
    assert cells[10:15, 20:25].all()
    assert cells.sum() == 25
    wider = open_cells(gate, (400, 600), SkipSettings(grow_cells=2))
    assert wider[8:17, 18:27].all()
    assert wider.sum() == 81


@pytest.mark.parametrize("level", [0.0, 0.1, 0.15, 0.4])
def test_a_closed_gate_opens_nothing_at_any_size(level):
    for size in ((1, 1), (15, 17), (16, 16), (401, 603)):
        gate = np.full((max(1, size[0] // 4), max(1, size[1] // 4)), level, np.float32)
        assert not open_cells(gate, size, SkipSettings()).any()
        assert open_cells(gate + 0.55, size, SkipSettings()).all()


def test_faint_cells_open_with_a_certain_one_beside_them_and_not_by_themselves():
    gate = np.zeros((100, 150), np.float32)
    gate[8:16, 8:40] = 0.3  # rows 32 to 64 and columns 32 to 160: faint, with one certain cell at its end
    gate[8:12, 36:40] = 0.9
    gate[60:68, 100:120] = 0.3  # faint alone
    cells = open_cells(gate, (400, 600), SETTINGS)
    assert cells[2:4, 2:10].all()
    assert cells.sum() == 16
    low = SkipSettings(grow_cells=0, threshold=0.15, seed_threshold=0.2)
    assert open_cells(gate, (400, 600), low).sum() == 16 + 10
    corner = np.zeros((100, 150), np.float32)
    corner[8:12, 8:12], corner[12:16, 12:16] = 0.3, 0.9
    assert open_cells(corner, (400, 600), SETTINGS).sum() == 2


def test_blur_at_the_last_rows_and_columns_is_found_though_their_cells_are_cut():
    gate = np.zeros((101, 151), np.float32)
    gate[-1], gate[:, -1] = 1, 1
    cells = open_cells(gate, (405, 605), SETTINGS)
    assert cells[-1].all()
    assert cells[:, -1].all()


@pytest.mark.parametrize("seed", range(6))
def test_rectangles_cover_every_open_cell_once_and_never_cost_more_than_one(seed):
    rng = np.random.default_rng(seed)
    cells = np.zeros((60, 90), bool)
    for _ in range(seed):
        top, left = rng.integers(0, 50), rng.integers(0, 80)
        cells[top : top + rng.integers(1, 12), left : left + rng.integers(1, 12)] = True
    boxes = cover(cells, 3, 16)
    covered = np.zeros(cells.shape, int)
    for box in boxes:
        covered[box.top : box.bottom, box.left : box.right] += 1
    assert covered.max(initial=0) <= 1
    assert (covered[cells] == 1).all()
    assert len(boxes) >= (1 if seed else 0)
    if seed:
        rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
        around = Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        assert cost(boxes, 3) <= cost([around], 3)


def test_far_apart_is_divided_and_close_together_is_not():
    cells = np.zeros((60, 90), bool)
    cells[2:8, 2:8] = cells[50:56, 80:86] = True
    assert cover(cells, 3, 16) == [Box(2, 2, 8, 8), Box(50, 80, 56, 86)]
    cells[:] = False
    cells[2:8, 2:8] = cells[2:8, 9:15] = True
    assert cover(cells, 3, 16) == [Box(2, 2, 8, 15)]


def test_an_angle_is_cut_into_its_legs():
    cells = np.zeros((60, 60), bool)
    cells[:, :5] = cells[55:] = True
    boxes = cover(cells, 2, 16)
    assert len(boxes) == 2
    assert cost(boxes, 0) == cells.sum()


def test_weights_fall_from_open_to_closed_cells():
    cells = np.zeros((6, 8), bool)
    cells[2:4, 3:6] = True
    found = weights(cells, Box(0, 0, 96, 128), 16)
    assert found.shape == (96, 128)
    assert (found[40:56, 56:88] == 1).all()  # from the middle of the outermost open cells inwards
    outside = np.ones(found.shape, bool)
    outside[24:72, 40:104] = False
    assert (found[outside] == 0).all()  # from the middle of the closed cells outwards
    assert found[48, 40:56] == pytest.approx((np.arange(16) + 0.5) / 16, abs=1e-6)
    part = weights(cells, Box(30, 50, 61, 99), 16)
    np.testing.assert_array_equal(part, found[30:61, 50:99])


def test_open_cells_at_the_border_count_fully_up_to_it():
    assert (weights(np.ones((2, 3), bool), Box(0, 0, 30, 41), 16) == 1).all()


def test_boxes_grow_to_multiples_and_stay_inside():
    assert grown(Box(20, 3, 50, 60), 10, (55, 100), 8) == Box(8, 0, 55, 70)


def test_a_cell_stays_open_if_it_or_its_rim_is_confirmed():
    cells = np.zeros((10, 12), bool)
    cells[2:8, 2:10] = True
    gate = np.full((160, 192), 120, np.uint8)
    gate[48:64, 48:64] = 250  # cell (3, 3)
    gate[0:16, 160:176] = 250  # a closed one
    kept = confirmed_cells(cells, gate, SkipSettings(grow_cells=1, confirm_threshold=0.9))
    expected = np.zeros_like(cells)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(confirmed_cells(cells, gate, SkipSettings(confirm_threshold=0.4)), cells)
    np.testing.assert_array_equal(confirmed_cells(cells, gate, SkipSettings()), cells)


def test_confirmation_works_where_cells_are_cut_by_the_border():
    gate = np.full((37, 53), 255, np.uint8)
    cells = np.ones((3, 4), bool)
    assert confirmed_cells(cells, gate, SkipSettings(confirm_threshold=0.98)).all()

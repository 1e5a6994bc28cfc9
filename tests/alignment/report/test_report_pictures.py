"""The pictures of a report show what they say: tested on small arrays with known answers."""

import json
import re
from typing import Any

import cv2
import numpy as np
import pytest

from localblur.alignment.light.rendering import Rendering
from localblur.alignment.model.calibration import calibrate, fit_static_pair
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings
from localblur.alignment.registration.displacement import PolynomialField
from localblur.alignment.registration.tiles import TileResiduals
from localblur.alignment.report.drawings import (
    NOT_MEASURED,
    RAMP,
    TILE_STEPS,
    draw_field,
    draw_surface,
    draw_tiles,
    nice_length,
)
from localblur.alignment.report.histogram import BINS, distance_levels, draw_histograms, histogram
from localblur.alignment.report.pictures import (
    DETAIL_PX,
    HEAT_LEVELS,
    HEAT_SIDES_PX,
    LONG_SIDE_PX,
    NO_DATA,
    SUFFIXES,
    detail_box,
    heat_map,
    heat_scale,
    mask_overlay,
    pair_pictures,
)


def tiles(shift_px: list[list[float]], usable: list[list[bool]]) -> TileResiduals:
    shift = np.stack([np.array(shift_px), np.zeros_like(shift_px)], -1).astype(np.float32)
    flags = np.array(usable)
    return TileResiduals(shift, np.zeros(flags.shape, np.float32), flags, np.ones_like(flags), 48)


@pytest.mark.parametrize("calibrated", [True, False])
def test_pictures_of_a_pair(calibrated: bool, shots: dict[str, Any]) -> None:
    settings = AlignmentSettings()
    captured = shots["moving"].captured()
    rig = None
    if calibrated:
        rig = calibrate(
            [fit_static_pair(shots[name].captured(), settings) for name in ("static0", "static1")], settings
        )
    aligned = align_pair(captured, rig, settings)
    pictures = pair_pictures(captured, aligned, None, Rendering.none(), rig.field if rig else None)
    assert list(pictures) == list(SUFFIXES)
    decoded = {
        kind: cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        for kind, content in pictures.items()
        if SUFFIXES[kind] in (".webp", ".png")
    }
    for kind, picture in decoded.items():
        assert picture is not None, kind
        assert max(picture.shape[:2]) <= (HEAT_SIDES_PX.get(kind, LONG_SIDE_PX))
    assert decoded["mask"].shape[2] == 4
    assert decoded["after"].mean() < 0.5 * decoded["before"].mean()
    about = json.loads(pictures["about"])
    assert about["against_rig"] is calibrated
    assert not about["masked"]
    if calibrated:  # the drift of this shot: 0.5 px
        assert about["field_mean_px"] == pytest.approx(aligned.drift_px, abs=0.02)
    else:
        assert about["field_mean_px"] > 3


def test_large_pictures_are_reduced(shots: dict[str, Any]) -> None:
    x = np.zeros((1000, 1600, 3), np.float32)
    assert heat_map(x, x, 400).shape == (250, 400, 3)
    assert mask_overlay(x[..., 0] > 1, x[..., 0] > 1).shape == (562, LONG_SIDE_PX, 4)


def test_heat_map_has_the_colours_of_its_scale() -> None:
    reference = np.zeros((30, 40, 3), np.float32)
    scale = heat_scale(5)
    assert scale[0] == "#000003" or scale[0].startswith("#00000")
    for index, color in enumerate(scale):
        level = index / 4 * HEAT_LEVELS
        shown = heat_map(reference + np.float32(level / 255), reference, 40)
        expected = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        np.testing.assert_allclose(shown[10, 10], expected, atol=3)
    beyond = heat_map(reference + np.float32(0.9), reference, 40)
    np.testing.assert_array_equal(beyond[10, 10], [int(scale[-1][i : i + 2], 16) for i in (1, 3, 5)])
    nothing = heat_map(reference, reference, 40, np.zeros((30, 40), bool))
    assert (nothing == NO_DATA).all()


def test_mask_overlay_has_an_outline_and_lets_the_rest_through() -> None:
    marked, lost = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    marked[20:40, 30:50], lost[:5] = True, True
    overlay = mask_overlay(marked, lost)
    assert overlay[20, 30, 3] == 255
    assert 0 < overlay[30, 40, 3] < 128
    assert overlay[50, 10, 3] == 0
    assert tuple(overlay[2, 2, :3]) == (0, 0, 0)
    assert overlay[2, 2, 3] > 100


def test_detail_is_around_the_worst_usable_tile_and_inside() -> None:
    shift = [[0.0] * 20 for _ in range(15)]
    shift[10][12], shift[2][2] = 0.3, 0.9
    usable = [[True] * 20 for _ in range(15)]
    usable[2][2] = False
    x0, y0, x1, y1 = detail_box(tiles(shift, usable), 960, 720)
    assert (x1 - x0, y1 - y0) == DETAIL_PX
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (12.5 * 48, 10.5 * 48)
    assert detail_box(tiles([[0.1]], [[True]]), 960, 720)[:2] == (0, 0)
    assert detail_box(tiles([[0.1]], [[False]]), 960, 720) == (320, 240, 640, 480)
    assert detail_box(tiles([[0.1]], [[True]]), 100, 96) == (0, 0, 100, 96)


def test_tiles_have_the_colour_of_their_step() -> None:
    drawing = draw_tiles(tiles([[0.01, 0.07, 0.15, 0.3, 0.7, 0.7]], [[True] * 5 + [False]]), 288, 48)
    for index, (_, color, _) in enumerate(TILE_STEPS):
        assert f'd="M{48 * index} 0h48v48h-48z" fill="{color}"' in drawing
    assert f'd="M240 0h48v48h-48z" fill="{NOT_MEASURED}"' in drawing
    assert drawing.count("stroke=") == 2 * len(TILE_STEPS)  # arrows of the measured ones only
    assert drawing.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 288 48"')


def test_field_is_drawn_against_the_rig() -> None:
    rig = PolynomialField(np.array([[3.0, 4.0], [0.5, 0.0], [0.0, 0.2]]), 640, 480)
    same = draw_field(rig, rig)
    assert (same.mean_px, same.largest_px, same.scale_px) == (0.0, 0.0, 0.01)
    drifted = draw_field(rig.plus(np.array([[0.3, -0.4]])), rig)
    assert drifted.mean_px == pytest.approx(0.5)
    assert drifted.scale_px == 0.5
    assert re.search(
        rf'h640v[\d.]+h-640z" fill="{RAMP[-1]}"', drifted.svg
    )  # all of it has the length of the scale's end
    assert draw_field(rig).mean_px == pytest.approx(5.0, abs=0.1)


def test_surface_tells_its_range() -> None:
    drawing, low, high = draw_surface(np.array([1.0, 0.1, 0.0]), 640, 480)
    assert (low, high) == (pytest.approx(1 - 0.1 * 31 / 32, abs=1e-3), pytest.approx(1 + 0.1 * 31 / 32, abs=1e-3))
    assert RAMP[0] in drawing
    assert RAMP[-1] in drawing


@pytest.mark.parametrize(("value", "nice"), [(0.0, 0.01), (0.011, 0.02), (0.3, 0.5), (0.5, 0.5), (7, 10), (10, 10)])
def test_scales_end_at_round_numbers(value: float, nice: float) -> None:
    assert nice_length(value) == pytest.approx(nice)


def test_histograms_are_as_far_apart_as_they_were_moved() -> None:
    rng = np.random.default_rng(0)
    dark = rng.uniform(0.2, 0.5, (200, 200)).astype(np.float32)
    everywhere = np.ones(dark.shape, bool)
    first, second = (histogram(values, everywhere) for values in (dark, dark + np.float32(8 / BINS)))
    assert first.sum() == pytest.approx(1)
    assert distance_levels(first, second) == pytest.approx(8 / BINS * 255, rel=1e-6)
    assert distance_levels(first, first) == 0


def test_histograms_say_what_colour_matching_did() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.uniform(0.2, 0.5, (100, 100, 3)).astype(np.float32)
    drawing = draw_histograms(sharp + np.float32(0.25), sharp, sharp, np.ones((100, 100), bool))
    assert "before: 63.8 levels apart" in drawing
    assert "after: 0.0 levels apart" in drawing

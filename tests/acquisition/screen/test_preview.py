"""The preview: what its picture shows, and that it never holds the recording up."""

import logging
import shutil
import sys
import time

import cv2
import numpy as np
import pytest

from localblur.acquisition.screen.preview import Preview
from localblur.acquisition.screen.preview_picture import STRIP_PX, Glimpse, View, compose
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import CameraRecord
from localblur.datasets.recordings.sharpness import focus_measure

HEIGHT, WIDTH = 120, 160


def camera(role, bayer="RGGB", bit_depth=12, width=WIDTH, height=HEIGHT):
    return CameraRecord(
        role=role,
        model="coded",
        serial=role,
        pixel_format=f"BayerRG{bit_depth}" if bayer else "RGB8",
        bit_depth=bit_depth,
        bayer=bayer,
        width=width,
        height=height,
        black_level=64 if bit_depth == 12 else 4,
        white_level=2**bit_depth - 1,
        exposure_ms=20 if role == "B" else 2,
    )


CAMERAS = {"B": camera("B"), "S": camera("S")}


def even(light, bit_depth=12):
    """A mosaic of `light` full scales everywhere."""
    black, white = (64, 4095) if bit_depth == 12 else (4, 255)
    return np.full((HEIGHT, WIDTH), round(black + light * (white - black)), np.uint16 if bit_depth == 12 else np.uint8)


def read(path):
    picture = cv2.imread(str(path))
    return None if picture is None else picture[..., ::-1]


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("target", ["preview.gif", "preview", "missing/preview.jpg"])
def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path, target):
    with pytest.raises(LocalblurError, match=r"is written as \.jpg, \.jpeg, \.png|does not exist; make it first"):
        Preview(tmp_path / target, CAMERAS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
@pytest.mark.parametrize("display", [None, ":4077"])
def test_without_a_display_a_window_is_refused_in_one_line(monkeypatch, display):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(
        LocalblurError, match=r"^no preview window can be opened: .*; pass --preview FILE\.jpg"
    ) as caught:
        Preview(None, CAMERAS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bit_depth", [8, 12])
def test_brightness_follows_a_plain_gamma_curve(bit_depth):
    view = View.of(Glimpse.of(even(0.25, bit_depth)), camera("B", bit_depth=bit_depth))
    assert view.picture.shape == (HEIGHT // 2, WIDTH // 2, 3)
    np.testing.assert_allclose(view.picture, 255 * 0.25 ** (1 / 2.2), atol=1)
    assert view.light == pytest.approx(0.25, abs=0.003)
    assert view.saturated == 0


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_colours_come_from_their_sites(pattern):
    raw = even(0.0)
    site = pattern.index("R")
    raw[site // 2 :: 2, site % 2 :: 2] = 4095 * 0.9
    picture = View.of(Glimpse.of(raw), camera("B", bayer=pattern)).picture
    assert (picture[..., 0] > 230).all()
    assert (picture[..., 1:] == 0).all()


def test_one_saturated_site_makes_its_cell_red():
    raw = even(0.5)
    raw[61, 80] = 4095
    view = View.of(Glimpse.of(raw), camera("B"))
    red = (view.picture == (255, 0, 0)).all(2)
    assert np.argwhere(red).tolist() == [[30, 40]]
    assert view.saturated == pytest.approx(1 / (60 * 80))


def test_rgb_frames_are_shown_too(rng):
    raw = rng.integers(5, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    view = View.of(Glimpse.of(raw), camera("B", bayer=None, bit_depth=8))
    expected = 255 * (np.maximum(raw[::2, ::2] - 4.0, 0) / 251) ** (1 / 2.2)
    np.testing.assert_allclose(view.picture, expected, atol=1)


def test_focus_is_that_of_the_middle_in_full_resolution(rng):
    raw = np.kron(rng.integers(500, 3000, (200, 400)), np.ones((6, 4), int)).astype(np.uint16)
    view = View.of(Glimpse.of(raw), camera("S", width=1600, height=1200))
    assert view.focus == focus_measure(raw[344 : 344 + 512, 544 : 544 + 512], 64)
    assert view.focus > 0


def test_a_glimpse_does_not_see_what_the_buffer_gets_next():
    raw = even(0.25)
    glimpse = Glimpse.of(raw)
    raw[:] = 0
    assert View.of(glimpse, camera("B")).light == pytest.approx(0.25, abs=0.003)


def test_both_stand_side_by_side_over_their_numbers():
    views = {role: View.of(Glimpse.of(even(light)), CAMERAS[role]) for role, light in (("B", 0.5), ("S", 0.25))}
    picture = compose(views, CAMERAS, best_focus=0.0)
    assert picture.shape == (HEIGHT // 2 + STRIP_PX, WIDTH, 3)
    assert picture[30, 40, 0] == pytest.approx(255 * 0.5 ** (1 / 2.2), abs=1)
    assert picture[30, 120, 0] == pytest.approx(255 * 0.25 ** (1 / 2.2), abs=1)
    for half in (picture[HEIGHT // 2 :, : WIDTH // 2], picture[HEIGHT // 2 :, WIDTH // 2 :]):
        assert half.max() > 100
        assert (half[:, -2:] == 0).all(), "the text must end before the picture does"


def test_the_file_shows_a_pair_and_is_whole_whenever_it_is_read(tmp_path):
    path = tmp_path / "preview.jpg"
    with Preview(path, CAMERAS, interval_s=0.01) as preview:
        for number in range(30):
            preview.offer(even(0.1 + 0.02 * number), even(0.5))
            picture = read(path) if path.exists() else None
            assert picture is None or picture.shape == (HEIGHT // 2 + STRIP_PX, WIDTH, 3)
            time.sleep(0.005)
    assert read(path)[30, 120].tolist() == pytest.approx([186] * 3, abs=6)
    assert [file.name for file in tmp_path.iterdir()] == ["preview.jpg"]


def test_pairs_between_two_pictures_are_dropped(tmp_path):
    path = tmp_path / "preview.png"
    with Preview(path, CAMERAS, interval_s=1000) as preview:
        preview.offer(even(0.25), even(0.25))
        wait_for(path.exists)
        before = path.read_bytes()
        for _ in range(20):
            preview.offer(even(1.0), even(1.0))
    assert path.read_bytes() == before


def test_the_last_pair_is_shown_when_it_ends_and_then_nothing(tmp_path):
    path = tmp_path / "preview.png"
    preview = Preview(path, CAMERAS)
    preview.offer(even(0.25), even(0.25))
    preview.close()
    assert path.exists()
    path.unlink()
    preview.offer(even(0.25), even(0.25))
    preview.close()
    assert not path.exists()


def test_a_preview_that_cannot_be_written_any_more_ends_and_harms_nobody(tmp_path, caplog):
    folder = tmp_path / "gone"
    folder.mkdir()
    with caplog.at_level(logging.WARNING), Preview(folder / "preview.jpg", CAMERAS, interval_s=0) as preview:
        shutil.rmtree(folder)
        preview.offer(even(0.25), even(0.25))
        wait_for(lambda: "the preview has ended, the recording goes on" in caplog.text)
        for _ in range(10):
            preview.offer(even(0.25), even(0.25))
    assert caplog.text.count("the preview has ended") == 1

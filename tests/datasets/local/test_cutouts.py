from pathlib import Path

import cv2
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_decode, write_image
from localblur.datasets.local.cutout_files import cutout_tasks, make_cutout, read_cutout
from localblur.datasets.local.cutouts import GrabCutSettings, cut_out, find_object, make_cutout_sprite


def scene(rng: np.random.Generator, *, touching: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A red ellipse with some texture on a green background with some texture, and where it is."""
    image = np.empty((120, 160, 3), np.float32)
    image[...] = (60, 140, 70)
    where = np.zeros((120, 160), np.uint8)
    cv2.ellipse(where, (20 if touching else 80, 60), (38, 26), 20, 0, 360, 1, -1)
    image[where > 0] = (200, 60, 50)
    image += cv2.GaussianBlur(rng.normal(0, 25, image.shape).astype(np.float32), (0, 0), 1.5)
    mixed = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.clip(mixed, 0, 255).astype(np.uint8), where


def test_a_mask_of_another_size_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(LocalblurError, match="the mask is 80x60 but the photograph is 160x120"):
        cut_out(scene(rng)[0], np.zeros((60, 80), np.uint8))


@pytest.mark.parametrize("level", [0, 255])
def test_a_mask_without_an_object_is_refused(rng: np.random.Generator, level: int) -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[50:55, 50:55] = level
    with pytest.raises(LocalblurError, match="holds no object of 16 px or more"):
        cut_out(scene(rng)[0], mask)


def test_grabcut_finds_the_object(rng: np.random.Generator) -> None:
    image, where = scene(rng)
    found = find_object(image, GrabCutSettings()) >= 128
    assert (found & (where > 0)).sum() / (found | (where > 0)).sum() > 0.93
    np.testing.assert_array_equal(find_object(image, GrabCutSettings()) >= 128, found)


@pytest.mark.parametrize(
    ("touching", "settings", "message"),
    [
        (True, GrabCutSettings(), "along the frame|fills"),
        (False, GrabCutSettings(area=(0.4, 0.9)), "fills 1.% of the photograph, not 40% to 90%"),
        (False, GrabCutSettings(contrast=250), "colours change by"),
        (False, GrabCutSettings(solid=1.0), "too ragged"),
    ],
)
def test_what_is_no_object_is_refused(
    rng: np.random.Generator, touching: bool, settings: GrabCutSettings, message: str
) -> None:
    with pytest.raises(LocalblurError, match=message):
        find_object(scene(rng, touching=touching)[0], settings)


def test_an_even_photograph_has_no_object() -> None:
    with pytest.raises(LocalblurError):
        find_object(np.full((80, 100, 3), 90, np.uint8), GrabCutSettings())


def test_the_edge_of_a_cutout_has_the_objects_colours_and_none_of_the_background(rng: np.random.Generator) -> None:
    image, where = scene(rng)
    cutout = cut_out(image, where * np.uint8(255))
    edge = (cutout.alpha > 20) & (cutout.alpha < 250)
    colours = cutout.image[edge].astype(int)
    assert edge.sum() > 100
    # red stays far above green everywhere along the edge, as it is inside
    assert np.percentile(colours[:, 0] - colours[:, 1], 2) > 60
    raw = cut_out(image, where * np.uint8(255), refined=False)
    assert np.percentile(raw.image[edge][:, 0].astype(int) - raw.image[edge][:, 1], 2) < 20
    inside = cutout.alpha == 255
    solid = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_array_equal(cutout.image[solid], raw.image[solid])


def test_a_cutout_is_clear_of_its_border(rng: np.random.Generator) -> None:
    image, where = scene(rng, touching=True)
    alpha = cut_out(image, where * np.uint8(255)).alpha
    assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 0


@pytest.mark.parametrize("turn_deg", [0.0, 17.0])
def test_a_sprite_is_linear_premultiplied_and_of_the_size_asked_for(rng: np.random.Generator, turn_deg: float) -> None:
    image, where = scene(rng)
    image[...] = (200, 100, 50)
    sprite = make_cutout_sprite(cut_out(image, where * np.uint8(255)), 40, turn_deg=turn_deg, gain=0.5)
    assert sprite.dtype == np.float32 and 38 <= max(sprite.shape[:2]) <= 58
    assert sprite.min() >= 0 and sprite[..., 3].max() <= 1 and sprite[0].max() == sprite[:, -1].max() == 0
    solid = sprite[..., 3] > 0.3
    expected = 0.5 * srgb_decode(np.array([200, 100, 50]) / 255)
    colours = sprite[..., :3][solid] / sprite[..., 3:][solid]
    np.testing.assert_allclose(colours, np.broadcast_to(expected, colours.shape), atol=0.02)


def test_a_sprite_is_never_enlarged_and_can_be_mirrored(rng: np.random.Generator) -> None:
    image, where = scene(rng)
    cutout = cut_out(image, where * np.uint8(255))
    sprite = make_cutout_sprite(cutout, 5000)
    assert max(sprite.shape[:2]) == max(cutout.alpha.shape) + 4
    np.testing.assert_array_equal(make_cutout_sprite(cutout, 5000, mirrored=True), sprite[:, ::-1])


def test_cutouts_are_made_once_from_masks_alpha_and_grabcut(tmp_path: Path, rng: np.random.Generator) -> None:
    image, where = scene(rng)
    masks = tmp_path / "masks"
    for name in ("a", "b"):
        write_image(tmp_path / "photos" / f"{name}.png", image)
    write_image(masks / "a.tif", where)  # zeros and ones
    tasks = cutout_tasks([tmp_path / "photos" / f"{n}.png" for n in "ab"], masks, tmp_path / "out", None)
    assert [task.picture.stem for task in tasks] == ["a"]
    path = make_cutout(tasks[0])
    written = path.stat().st_mtime_ns
    assert make_cutout(tasks[0]) == path and path.stat().st_mtime_ns == written
    masked = read_cutout(path)
    np.testing.assert_array_equal(masked.alpha, cut_out(image, where * np.uint8(255)).alpha)

    (found,) = cutout_tasks([tmp_path / "photos" / "b.png"], None, tmp_path / "out", GrabCutSettings())
    assert abs(int((read_cutout(make_cutout(found)).alpha > 128).sum()) - int(where.sum())) < 0.1 * where.sum()

    # what was written has an alpha channel, and is its own mask
    (again,) = cutout_tasks([path], None, tmp_path / "again", None)
    np.testing.assert_array_equal(np.unique(read_cutout(make_cutout(again)).alpha), np.unique(masked.alpha))


@pytest.mark.parametrize("twice", ["masks", "photos"])
def test_names_that_do_not_tell_masks_apart_are_refused(tmp_path: Path, twice: str) -> None:
    files = [tmp_path / "photos" / "1" / "a.png", tmp_path / "masks" / "1" / "a.png", tmp_path / twice / "2" / "a.png"]
    for path in files:
        write_image(path, np.zeros((20, 20), np.uint8))
    pictures = [path for path in files if path.is_relative_to(tmp_path / "photos")]
    with pytest.raises(LocalblurError, match=r"of one name: .*1.a\.png and .*2.a\.png"):
        cutout_tasks(pictures, tmp_path / "masks", tmp_path / "out", None)


def test_what_cannot_be_cut_out_is_told_with_its_file(tmp_path: Path, rng: np.random.Generator) -> None:
    image, where = scene(rng)
    write_image(tmp_path / "photos" / "a.png", image)
    write_image(tmp_path / "photos" / "even.png", np.full((80, 100, 3), 90, np.uint8))
    write_image(tmp_path / "masks" / "a.png", where[:50])
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG nothing")
    out = tmp_path / "out"
    with pytest.raises(LocalblurError, match="no mask in .*masks has the name of a picture"):
        cutout_tasks([tmp_path / "photos" / "even.png"], tmp_path / "masks", out, None)
    (wrong,) = cutout_tasks([tmp_path / "photos" / "a.png"], tmp_path / "masks", out, None)
    with pytest.raises(LocalblurError, match=r"a\.png: the mask is 160x50 but the photograph is 160x120"):
        make_cutout(wrong)
    for name, settings, message in (
        ("even.png", GrabCutSettings(), "even.png: "),
        ("even.png", None, "neither a mask nor an alpha channel"),
        ("broken.png", GrabCutSettings(), "cannot decode image"),
    ):
        (task,) = cutout_tasks([tmp_path / "photos" / name], None, out, settings)
        for _ in range(2):  # remembered at the second time
            with pytest.raises(LocalblurError, match=message):
                make_cutout(task)

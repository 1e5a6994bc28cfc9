import math

import cv2
import numpy as np
import pytest

from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.local.blur import (
    LocalBlurSettings,
    blur_objects,
    patch_sprite,
    place_objects,
    random_local_blur,
)
from localblur.datasets.pair import binary_mask
from localblur.datasets.scenes.motion_paths import ArcPath
from localblur.datasets.scenes.object_motion import MovingObject

SIZE = 128
MOVING = LocalBlurSettings(negative=0, still=0, slow=0, blur_px=(8, 20))


def disc(radius: float, colour: tuple[float, float, float] = (0.9, 0.5, 0.1)) -> np.ndarray:
    """A premultiplied disc with an edge of one pixel."""
    side = 2 * math.ceil(radius + 3) + 1
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    alpha = np.clip(radius - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)
    return np.dstack([*(alpha * c for c in colour), alpha]).astype(np.float32)


def noisy(rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    return cv2.GaussianBlur(rng.uniform(0, 1, (size, size, 3)).astype(np.float32), (0, 0), 1.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objects": (0, 2)}, "objects must be a range within 1 to 50, got 0 to 2"),
        ({"blur_px": (30, 3)}, "blur_px must be a range within 0.01 to 1000, got 30 to 3"),
        ({"size": (0.1, 3)}, "size must be a range"),
        ({"spacing_px": 0}, "spacing_px"),
        ({"blur": 3}, "blur"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(LocalblurError, match=message):
        validate(LocalBlurSettings, values, "blur")


@pytest.mark.parametrize("shape", [(20, 64, 3), (64, 64), (64, 64, 4)])
def test_a_patch_of_the_wrong_shape_is_refused(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    with pytest.raises(LocalblurError, match=r"needs a patch \(H, W, 3\) of at least 32 px"):
        random_local_blur(np.zeros(shape, np.float32), rng, MOVING)


@pytest.mark.parametrize(("heading", "length"), [(0.0, 3.0), (0.6, 11.5), (2.2, 30.0)])
def test_the_mask_is_the_analytic_extent_within_a_pixel(heading: float, length: float) -> None:
    radius, middle = 18.0, 64.0
    path = ArcPath(x=middle, y=middle, heading=heading, speed=length)
    made = blur_objects(np.full((SIZE, SIZE, 3), 0.3, np.float32), [MovingObject(disc(radius), path)])
    y, x = np.mgrid[0:SIZE, 0:SIZE] - middle
    along = np.clip(x * math.cos(heading) + y * math.sin(heading), -length / 2, length / 2)
    distance = np.hypot(x - along * math.cos(heading), y - along * math.sin(heading)) - radius
    found = binary_mask(made.mask)
    assert found[distance < -0.5].all() and not found[distance > 0.5].any()
    assert made.travel_px[0] == pytest.approx(length, rel=1e-6)


def test_the_mask_is_the_union_of_all_instants_for_turning_growing_objects(rng: np.random.Generator) -> None:
    path = ArcPath(x=64, y=60, heading=1.0, speed=20, curvature=0.04, spin=0.5, acceleration=8)
    sprite = patch_sprite(noisy(rng), rng, 50)
    moving = MovingObject(sprite, path, growth=0.2)
    made = blur_objects(noisy(rng), [moving])
    union = np.zeros((SIZE, SIZE), np.float32)
    for time in np.linspace(-0.5, 0.5, 400):
        (y0, x0, y1, x1), placed = moving.placed(float(time), (0, 0, SIZE, SIZE)) or ((0, 0, 0, 0), sprite)
        union[y0:y1, x0:x1] = np.maximum(union[y0:y1, x0:x1], placed[..., 3])
    wrong = binary_mask(made.mask) != (union >= 0.5)
    near = cv2.dilate((union >= 0.5).astype(np.uint8), np.ones((3, 3))) - cv2.erode(
        (union >= 0.5).astype(np.uint8), np.ones((3, 3))
    )
    assert not wrong[near == 0].any() and wrong.mean() < 2e-3


@pytest.mark.parametrize("seed", range(4))
def test_light_is_kept_within_a_thousandth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = ArcPath(x=70, y=60, heading=rng.uniform(0, 6), speed=rng.uniform(2, 35), curvature=0.02, acceleration=5)
    made = blur_objects(np.zeros((SIZE, SIZE, 3), np.float32), [MovingObject(disc(15), path)])
    light = disc(15)[..., :3].sum(axis=(0, 1), dtype=np.float64)
    np.testing.assert_allclose(made.sharp.sum(axis=(0, 1), dtype=np.float64), light, rtol=1e-6)
    np.testing.assert_allclose(made.blurred.sum(axis=(0, 1), dtype=np.float64), light, rtol=1e-3)


def test_the_background_is_revealed_as_by_the_share_of_time(rng: np.random.Generator) -> None:
    """A bar that moves by its own width: the column at its left edge at mid-exposure is covered half of the time."""
    paint = np.array([0.8, 0.2, 0.1], np.float32)
    sprite = np.zeros((41, 24, 4), np.float32)
    sprite[4:-4, 2:-2] = (*paint, 1.0)
    background = noisy(rng)
    left, row = 61, 64
    moving = MovingObject(sprite, ArcPath(x=left - 2 + 23 / 2, y=row, speed=20.0))
    made = blur_objects(background, [moving])
    for column, share in ((left, 0.5 + 0.5 / 20), (left - 5, 0.25 + 0.5 / 20), (left + 5, 0.75 + 0.5 / 20)):
        expected = (1 - share) * background[row, column] + share * paint
        np.testing.assert_allclose(made.blurred[row, column], expected, atol=0.01)
    np.testing.assert_array_equal(made.blurred[10:30], background[10:30])


def test_the_sharp_picture_is_the_middle_and_shows_sprites_pixel_for_pixel(rng: np.random.Generator) -> None:
    background = noisy(rng)
    sprites = [patch_sprite(noisy(rng), rng, 40)]
    objects = place_objects(sprites, SIZE, SIZE, rng, MOVING)
    made = blur_objects(background, objects)
    x, y = objects[0].path.pose(0.0)[:2]
    top, left = y - (sprites[0].shape[0] - 1) / 2, x - (sprites[0].shape[1] - 1) / 2
    assert top == int(top) and left == int(left)
    canvas = np.zeros((3 * SIZE, 3 * SIZE, 4), np.float32)
    canvas[SIZE + int(top) :, SIZE + int(left) :][: sprites[0].shape[0], : sprites[0].shape[1]] = sprites[0]
    layer = canvas[SIZE : 2 * SIZE, SIZE : 2 * SIZE]
    np.testing.assert_allclose(made.sharp, background * (1 - layer[..., 3:]) + layer[..., :3], atol=2e-6)


def test_enough_instants_are_summed_to_leave_no_ghosts(rng: np.random.Generator) -> None:
    background = noisy(rng)
    objects = place_objects([patch_sprite(noisy(rng), rng, 60)], SIZE, SIZE, rng, MOVING)
    made, dense = blur_objects(background, objects), blur_objects(background, objects, spacing_px=0.05)
    moved = made.mask > 0
    assert -10 * math.log10(float(((made.blurred - dense.blurred)[moved] ** 2).mean())) > 60


def test_nothing_moves_in_negatives_and_slow_objects_move_little(rng: np.random.Generator) -> None:
    still = LocalBlurSettings(negative=1)
    for _ in range(5):
        blurred, sharp, mask = random_local_blur(noisy(rng), rng, still)
        np.testing.assert_array_equal(blurred, sharp)
        assert mask.max() == 0
    slow = LocalBlurSettings(negative=0, still=0, slow=1, slow_px=(1, 2))
    travels = []
    for _ in range(20):
        objects = place_objects([disc(12)], SIZE, SIZE, rng, slow)
        travels += blur_objects(noisy(rng), objects).travel_px
    assert min(travels) >= 1 and max(travels) < 3.5


def test_an_object_that_stands_still_is_not_in_the_mask(rng: np.random.Generator) -> None:
    objects = [
        MovingObject(disc(15), ArcPath(x=40, y=40, speed=12)),
        MovingObject(disc(15), ArcPath(x=95, y=90)),
    ]
    made = blur_objects(noisy(rng), objects)
    assert made.mask[40, 40] == 255 and made.mask[90, 95] == 0
    assert made.travel_px[1] == 0
    np.testing.assert_array_equal(made.blurred[70:, 70:], made.sharp[70:, 70:])


@pytest.mark.parametrize("given", [False, True])
def test_augmentation_repeats_for_a_seed_and_leaves_its_input_alone(given: bool) -> None:
    patch = noisy(np.random.default_rng(5))
    before = patch.copy()
    sprites = [disc(20), disc(11)] if given else []
    results = [random_local_blur(patch, np.random.default_rng(s), MOVING, sprites) for s in (1, 1, 2)]
    np.testing.assert_array_equal(patch, before)
    for one, again in zip(results[0], results[1], strict=True):
        np.testing.assert_array_equal(one, again)
    assert np.abs(results[0][0] - results[2][0]).max() > 0.01
    blurred, sharp, mask = results[0]
    assert blurred.dtype == sharp.dtype == np.float32 and mask.dtype == np.uint8
    assert blurred.min() >= 0 and blurred.max() <= 1 + 1e-5
    np.testing.assert_array_equal(blurred[mask == 0], sharp[mask == 0])
    assert np.abs(blurred - sharp)[mask >= 128].mean() > 1e-3


def test_lengths_cover_their_range_evenly_on_a_logarithmic_scale(rng: np.random.Generator) -> None:
    settings = LocalBlurSettings(negative=0, still=0, slow=0, blur_px=(4, 36), bend_deg=0, turn_deg=0, growth=0)
    travels = []
    for _ in range(300):
        (item,) = place_objects([disc(9)], SIZE, SIZE, rng, settings)
        travels.append(item.travel_px(-0.5, 0.5)[0])
    assert min(travels) >= 4 * 0.99 and max(travels) <= 36 * 1.01
    assert np.mean(np.array(travels) < 12) == pytest.approx(0.5, abs=0.09)


def test_a_patch_sprite_is_premultiplied_and_no_brighter_than_white(rng: np.random.Generator) -> None:
    sprite = patch_sprite(np.ones((64, 64, 3), np.float32), rng, 500)
    assert max(sprite.shape[:2]) <= 60
    assert (sprite[..., :3] <= sprite[..., 3:] + 1e-6).all() and sprite[..., 3].max() == pytest.approx(1, abs=1e-3)


def test_blur_is_added_to_a_pair_that_has_blur_already(rng: np.random.Generator) -> None:
    sharp = noisy(rng)
    blurred = cv2.blur(sharp, (9, 1))
    plain = random_local_blur(sharp, np.random.default_rng(4), MOVING, [disc(16)])
    added = random_local_blur(sharp, np.random.default_rng(4), MOVING, [disc(16)], blurred_linear=blurred)
    np.testing.assert_array_equal(added[1], plain[1])
    np.testing.assert_array_equal(added[2], plain[2])
    outside = added[2] == 0
    np.testing.assert_array_equal(added[0][outside], blurred[outside])
    assert np.abs(added[0] - blurred)[added[2] == 255].mean() > 0.05
    still = random_local_blur(
        sharp, np.random.default_rng(4), LocalBlurSettings(negative=1), [disc(16)], blurred_linear=blurred
    )
    assert still[2].max() == 0 and np.abs(still[0] - still[1]).max() > 0.05
    with pytest.raises(LocalblurError, match="the blurred patch is"):
        random_local_blur(sharp, rng, MOVING, blurred_linear=blurred[1:])

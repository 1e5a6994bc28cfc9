import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from localblur.common.errors import LocalblurError
from localblur.datasets.scenes.motion_paths import ArcPath, WanderPath
from localblur.datasets.scenes.object_motion import MovingObject, integrate, render_frames
from localblur.datasets.scenes.scene_objects import SHAPES, make_sprite, silhouette, video_objects
from localblur.datasets.scenes.textures import TextureSource

HEIGHT, WIDTH = 90, 120


def sprite(size: int = 24, colour: tuple[float, float, float] = (0.8, 0.4, 0.2)) -> npt.NDArray[np.float32]:
    """A soft disc with a vertical stripe."""
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    alpha = np.clip(size / 2 - 2 - np.hypot(x, y), 0, 1).astype(np.float32)
    paint = np.array(colour, np.float32) * np.where(np.abs(x - 3) < 3, 0.3, 1.0)[..., None]
    return np.dstack([paint * alpha[..., None], alpha]).astype(np.float32)


def background(seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (HEIGHT, WIDTH, 3)).astype(np.float32)


def crossing() -> list[MovingObject]:
    """Two objects that meet, and one that stands still in front."""
    return [
        MovingObject(sprite(30), ArcPath(x=50, y=45, speed=3.0, curvature=0.02, spin=0.03)),
        MovingObject(sprite(22, (0.1, 0.9, 0.9)), ArcPath(x=60, y=45, heading=2.0, speed=2.0, acceleration=0.1)),
        MovingObject(sprite(18, (0.9, 0.9, 0.1)), ArcPath(x=66, y=50, angle=0.4)),
    ]


def test_an_exposure_cannot_end_before_it_starts() -> None:
    with pytest.raises(LocalblurError, match=r"cannot end \(1 ms\) before it starts \(2 ms\)"):
        integrate([], HEIGHT, WIDTH, 2, 1)


def test_spacing_must_be_positive() -> None:
    with pytest.raises(LocalblurError, match="spacing_px must be above 0, got 0"):
        integrate([], HEIGHT, WIDTH, 0, 1, spacing_px=0)


def test_a_shutter_longer_than_the_interval_is_refused() -> None:
    with pytest.raises(LocalblurError, match="interval_ms=4.0, got 5.0"):
        next(render_frames(background(), [], count=1, interval_ms=4.0, shutter_ms=5.0))


@pytest.mark.parametrize("bad", [np.zeros((5, 5, 3), np.float32), np.zeros((5, 5, 4), np.float32)])
def test_a_sprite_needs_four_channels_and_something_to_see(bad: npt.NDArray[np.float32]) -> None:
    with pytest.raises(LocalblurError, match="a sprite must"):
        MovingObject(bad, ArcPath(x=0, y=0))


def test_too_small_an_object_is_refused() -> None:
    with pytest.raises(LocalblurError, match="at least 12 canvas px"):
        make_sprite(TextureSource("train"), [0], 5, feature_px=1, background=background())


def test_integration_keeps_energy() -> None:
    moving = MovingObject(sprite(), ArcPath(x=60, y=45, heading=0.7, speed=2.5, spin=0.02, curvature=0.01))
    (patch,) = integrate([moving], HEIGHT, WIDTH, -8, 8).patches
    expected = moving.sprite.astype(np.float64).sum(axis=(0, 1))
    np.testing.assert_allclose(patch.layer.astype(np.float64).sum(axis=(0, 1)), expected, rtol=2e-3)


def test_an_object_of_the_colour_of_an_even_background_is_invisible() -> None:
    even = np.full((HEIGHT, WIDTH, 3), (0.8, 0.4, 0.2), np.float32)
    alpha = sprite()[..., 3:]
    same = np.concatenate([alpha * even[:24, :24], alpha], axis=2).astype(np.float32)
    image = integrate([MovingObject(same, ArcPath(x=60, y=45, speed=3))], HEIGHT, WIDTH, 0, 10).over(even)
    np.testing.assert_allclose(image, even, atol=2e-6)


def test_the_blur_is_the_mean_of_many_instants() -> None:
    objects, still = crossing(), background()
    blurred = integrate(objects, HEIGHT, WIDTH, -6, 6).over(still)
    times = -6 + (np.arange(240) + 0.5) / 20
    instants = [integrate(objects, HEIGHT, WIDTH, t, t).over(still) for t in times]
    mean = np.mean(instants, axis=0, dtype=np.float64)
    assert np.abs(blurred - mean).max() < 0.02
    assert np.sqrt(((blurred - mean) ** 2).mean()) < 0.0015


def test_an_instant_is_composited_from_back_to_front() -> None:
    objects, still = crossing(), background()
    expected = still.copy()
    for item in objects:
        x, y, angle = item.path.pose(1.0)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        middle = (item.sprite.shape[0] - 1) / 2
        matrix = np.hstack([turn, (np.array([x, y]) - turn @ [middle, middle])[:, None]])
        layer = cv2.warpAffine(item.sprite, matrix, (WIDTH, HEIGHT))
        expected = expected * (1 - layer[..., 3:]) + layer[..., :3]
    image = integrate(objects, HEIGHT, WIDTH, 1.0, 1.0).over(still)
    np.testing.assert_allclose(image, expected, atol=0.02)
    assert np.abs(image - expected).mean() < 1e-3


def test_coverage_is_what_moves_and_is_seen_at_any_time() -> None:
    objects = crossing()
    coverage = integrate(objects, HEIGHT, WIDTH, -6, 6).coverage(HEIGHT, WIDTH)
    assert coverage.min() >= 0 and coverage.max() <= 1
    assert coverage[45, 50] > 0.99
    # the object in front stands still: what passes behind it is not seen there
    assert coverage[50, 66] < 1e-3
    still_only = integrate(objects[2:], HEIGHT, WIDTH, -6, 6)
    assert still_only.coverage(HEIGHT, WIDTH).max() == 0
    assert np.abs(still_only.over(background()) - background()).max() > 0.05


def test_a_thin_bar_leaves_an_even_trail() -> None:
    alpha = np.zeros((40, 40), np.float32)
    alpha[5:35, 18:21] = 1
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.7)
    bar = MovingObject(np.dstack([alpha] * 4), ArcPath(x=60.3, y=45, speed=4.0))
    (patch,) = integrate([bar], HEIGHT, WIDTH, -10, 10).patches
    trail = patch.layer[patch.layer.shape[0] // 2, :, 3]
    inside = trail[len(trail) // 2 - 30 : len(trail) // 2 + 30]
    assert inside.std() / inside.mean() < 0.02
    assert inside.mean() == pytest.approx(3 / 80, rel=0.05)


def test_what_is_outside_leaves_the_background_as_it_is() -> None:
    far = MovingObject(sprite(), ArcPath(x=-400, y=45, speed=1))
    still = background()
    np.testing.assert_array_equal(integrate([far], HEIGHT, WIDTH, 0, 10).over(still), still)
    partly = MovingObject(sprite(), ArcPath(x=1, y=HEIGHT - 2, speed=1))
    assert integrate([partly], HEIGHT, WIDTH, 0, 10).over(still).shape == still.shape


def test_an_arc_has_the_length_and_turn_it_is_given() -> None:
    path = ArcPath(x=3, y=4, heading=0.5, speed=2.0, curvature=0.05, spin=0.1)
    poses = np.array([path.pose(t) for t in np.linspace(-10, 10, 2001)])
    steps = np.diff(poses, axis=0)
    assert np.hypot(steps[:, 0], steps[:, 1]).sum() == pytest.approx(40, rel=1e-4)
    turned = math.atan2(steps[-1, 1], steps[-1, 0]) - math.atan2(steps[0, 1], steps[0, 0])
    assert turned % (2 * math.pi) == pytest.approx(0.05 * 40, abs=2e-3)
    assert poses[1000] == pytest.approx((3, 4, 0))
    straight = ArcPath(x=0, y=0, speed=2.0, acceleration=0.1)
    assert straight.pose(10) == pytest.approx((25, 0, 0))


def test_video_frames_with_an_open_shutter_add_up_to_one_exposure() -> None:
    still = background()
    objects = [MovingObject(sprite(), WanderPath(x=60, y=45, reach_x=20, reach_y=15, rate_x=0.05, rate_y=0.04))]
    frames = list(render_frames(still, objects, count=8, interval_ms=4, shutter_ms=4))
    assert len(frames) == 8 and frames[0].dtype == np.float32
    whole = integrate(objects, HEIGHT, WIDTH, 0, 32).over(still)
    assert np.abs(np.mean(frames, axis=0) - whole).max() < 0.03
    assert np.abs(frames[0] - frames[7]).max() > 0.2


def test_video_objects_stay_in_view_and_are_repeatable() -> None:
    source, still = TextureSource("test"), background()
    objects = video_objects(source, [4], still, count=3, size_px=(20, 40))
    for item in objects:
        poses = np.array([item.path.pose(t) for t in range(0, 4000, 50)])
        assert (poses[:, 0] > 0).all() and (poses[:, 0] < WIDTH).all()
        assert (poses[:, 1] > 0).all() and (poses[:, 1] < HEIGHT).all()
    again = video_objects(source, [4], still, count=3, size_px=(20, 40))
    for one, two in zip(objects, again, strict=True):
        np.testing.assert_array_equal(one.sprite, two.sprite)
        assert one.path == two.path


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_are_soft_and_clear_of_the_border(shape: str) -> None:
    alpha = silhouette(np.random.default_rng(1), 60, shape)  # type: ignore[arg-type]
    assert alpha.max() == pytest.approx(1, abs=1e-3) and alpha.min() == 0
    assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) < 0.01
    assert 0.08 < (alpha > 0.5).mean() < 0.8
    assert ((alpha > 0.1) & (alpha < 0.9)).any()


def test_a_camouflaged_object_looks_like_its_surroundings() -> None:
    still = np.full((HEIGHT, WIDTH, 3), (0.1, 0.5, 0.2), np.float32)
    made = make_sprite(TextureSource("train"), [2], 40, feature_px=1, background=still, style="camouflaged")
    colour = made[20, 20, :3] / made[20, 20, 3]
    np.testing.assert_allclose(colour / colour.sum(), still[0, 0] / still[0, 0].sum(), atol=1e-3)

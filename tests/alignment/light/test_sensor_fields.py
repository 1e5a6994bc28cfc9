"""Dark frames become a black, flat frames a vignetting ratio; both against what was put in."""

from typing import Any

import numpy as np
import pytest

from localblur.acquisition.rig.settings import SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigSimulator
from localblur.alignment.light.radiometry import LinearImage
from localblur.alignment.light.sensor_fields import FlatMean, black_frame, vignetting_ratio
from localblur.alignment.model.calibration import calibrate, fit_static_pair
from localblur.alignment.model.pipeline import AlignmentSettings
from localblur.alignment.registration.displacement import PolynomialField, evaluate_on_grid
from localblur.common.errors import LocalblurError

BLACK, WHITE, READ_NOISE_DN = 64.0, 4095.0, 3.0
HEIGHT, WIDTH = 200, 240


def true_black() -> np.ndarray:
    """Offsets of the four colours, uneven columns and rows, and three hot pixels."""
    rng = np.random.default_rng(1)
    black = np.full((HEIGHT, WIDTH), BLACK)
    for row in (0, 1):
        for column in (0, 1):
            black[row::2, column::2] += (0.4, -0.7, 1.1, -0.2)[2 * row + column]
    black += rng.normal(0, 1.5, WIDTH) + rng.normal(0, 0.5, HEIGHT)[:, None]
    for row, column in ((10, 20), (77, 131), (150, 9)):
        black[row, column] += 120
    return black


def darks(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [
        np.rint(true_black() + rng.normal(0, READ_NOISE_DN, (HEIGHT, WIDTH))).astype(np.uint16) for _ in range(count)
    ]


@pytest.mark.parametrize("count", [1, 4, 16])
def test_black_is_far_better_than_its_frames_and_than_the_nominal_level(count: int) -> None:
    found = black_frame(darks(count), True, BLACK, WHITE)
    error = found.level_dn - true_black()
    nominal = np.sqrt(np.mean((BLACK - true_black()) ** 2))
    assert np.sqrt(np.mean(error**2)) < min(0.5 * READ_NOISE_DN, 0.4 * nominal) / np.sqrt(min(count, 4)) + 0.15
    assert found.frames == count
    assert found.outstanding == 3
    assert found.column_dn == pytest.approx(1.5, rel=0.15)
    assert found.row_dn == pytest.approx(0.5, rel=0.25)


def test_a_black_without_pattern_stays_flat() -> None:
    rng = np.random.default_rng(3)
    even = [np.rint(BLACK + rng.normal(0, READ_NOISE_DN, (HEIGHT, WIDTH))).astype(np.uint16) for _ in range(8)]
    found = black_frame(even, True, BLACK, WHITE)
    assert np.sqrt(np.mean((found.level_dn - BLACK) ** 2)) < 0.2
    assert found.outstanding == 0


def test_frames_without_mosaic() -> None:
    black = np.full((HEIGHT, WIDTH, 3), BLACK) + [0.5, -1.0, 2.0]
    found = black_frame([np.random.default_rng(4).normal(black, 2.0)], False, BLACK, WHITE)
    np.testing.assert_allclose(found.level_dn.mean((0, 1)), black[0, 0], atol=0.05)


def test_bright_and_missing_dark_frames_are_refused() -> None:
    with pytest.raises(LocalblurError, match="400 DN from the black level 64, at most 202 DN.*caps"):
        black_frame([np.full((HEIGHT, WIDTH), 464, np.uint16)], True, BLACK, WHITE)
    with pytest.raises(LocalblurError, match="no dark frame"):
        black_frame([], True, BLACK, WHITE)


def flat(falloff: float, level: float = 0.5, saturated: bool = False) -> LinearImage:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    radius = np.hypot(x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2) / (np.hypot(WIDTH, HEIGHT) / 2)
    light = level * (1 - falloff * radius**2)[..., None] * np.array([0.7, 1.0, 0.8])
    return LinearImage(light.astype(np.float32), np.full((HEIGHT, WIDTH), saturated))


@pytest.mark.parametrize(
    "frame", [flat(0.2, level=0.01), flat(0.2, saturated=True), None], ids=["dark", "saturated", "none"]
)
def test_useless_flat_frames_are_refused(frame: Any) -> None:
    mean = FlatMean()
    if frame is not None:
        mean.add(frame)
    with pytest.raises(LocalblurError, match="flat frame"):
        mean.field()


def test_the_ratio_of_two_fall_offs_at_corresponding_places() -> None:
    fields = []
    for falloff in (0.25, 0.1):
        mean = FlatMean()
        mean.add(flat(falloff))
        fields.append(mean.field())
    blurred, sharp = fields
    shifted = PolynomialField(np.array([[5.0, -3.0]]), WIDTH, HEIGHT)
    found = evaluate_on_grid(vignetting_ratio(sharp, blurred, shifted), WIDTH, HEIGHT)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    half = (np.hypot(WIDTH, HEIGHT) / 2) ** 2

    def fall(amount: float, dx: float, dy: float) -> Any:
        return 1 - amount * ((x + dx - (WIDTH - 1) / 2) ** 2 + (y + dy - (HEIGHT - 1) / 2) ** 2) / half

    expected = fall(0.1, 0, 0) / fall(0.25, 5, -3)
    expected /= expected[HEIGHT // 2, WIDTH // 2]
    np.testing.assert_allclose(found, expected, atol=0.004)


@pytest.mark.slow
def test_flat_frames_beat_static_pairs_on_simulated_rigs(rig_tools: Any) -> None:
    """Mean error of the vignetting ratio over four rigs: well below that from static pairs."""
    settings, errors = AlignmentSettings(), []
    for seed in range(4):
        rig = rig_tools.rig(resolve_rig(seed=seed, width=320, height=240))
        simulator = RigSimulator(rig.settings, SceneSettings(seed=5))
        means = FlatMean(), FlatMean()
        for index in range(4):
            shot = simulator.shot(index, "flat")
            pair = rig.captured(shot.raw_B, shot.raw_S)
            means[0].add(pair.blurred)
            means[1].add(pair.sharp)
        fits = [fit_static_pair(pair, settings) for pair in rig.static_pairs()]
        truth = simulator.shot(0).truth.vignetting_ratio
        for flats in (None, (means[0].field(), means[1].field())):
            ratio = evaluate_on_grid(calibrate(fits, settings, flats).color.vignetting, 320, 240)
            errors.append(np.abs(ratio / ratio.mean() / (truth / truth.mean()) - 1).mean())
    from_pictures, from_flats = np.reshape(errors, (4, 2)).mean(0)
    assert from_flats < 0.8 * from_pictures
    assert from_flats < 0.001

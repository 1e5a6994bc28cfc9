import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from localblur.acquisition.measuring.exposure import (
    BRACKET_FACTORS,
    BRACKET_LEVELS,
    BRACKET_SHOTS,
    Advice,
    Alignment,
    advise,
    bracket_factor,
    middle_offset_ms,
    trigger_delay_ms,
)
from localblur.acquisition.measuring.transmittance import Transmittance
from localblur.acquisition.rig.simulator import RigSettings, RigSimulator, SceneSettings, resolve_rig
from localblur.common.errors import LocalblurError
from localblur.common.settings import validate
from localblur.datasets.images import write_image

SPEED_PX_PER_MS = 1.5


def measured(density: float = 1.0, **changes: Any) -> Transmittance:
    values: dict[str, Any] = {
        "densities": (density,) * 3,
        "density_errors": (0.001,) * 3,
        "blocks": 200,
        "exposure_long_ms": 20.0,
        "exposure_short_ms": 2.0,
        "saturated": {"B": 0.0, "S": 0.0},
        "clipped": {"B": 0.0, "S": 0.0},
    }
    return Transmittance.model_validate({**values, **changes})


def test_impossible_exposures_are_one_line() -> None:
    for long_ms, short_ms in ((2.0, 20.0), (20.0, 0.0), (20.0, -1.0), (float("nan"), 1.0), (float("inf"), 1.0)):
        with pytest.raises(LocalblurError, match="the short exposure .* must be above 0 and no longer than the long"):
            trigger_delay_ms("centre", long_ms, short_ms)
        with pytest.raises(LocalblurError, match="--exposure-long and --exposure-short"):
            advise(measured(), long_ms, short_ms)
    with pytest.raises(LocalblurError, match="one of start, centre, end, got 'middle'"):
        trigger_delay_ms("middle", 20, 2)  # type: ignore[arg-type]
    for speed in (-1.0, float("nan"), float("inf")):
        with pytest.raises(LocalblurError, match="speed must be 0 px/ms or more"):
            advise(measured(), 20, 2, speed_px_per_ms=speed)
    with pytest.raises(LocalblurError, match="index of a shot must be 0 or more, got -1"):
        bracket_factor(-1)


def test_a_camera_that_starts_too_late_by_itself_is_one_line() -> None:
    with pytest.raises(LocalblurError, match=r"start of 2 ms in 20 ms .* -0.05 ms, .* 0.05 ms late .* centre or end"):
        trigger_delay_ms("start", 20, 2, start_delay_ms=0.05)
    with pytest.raises(LocalblurError, match="centre of 2 ms in 2.05 ms .* choose alignment end or a longer"):
        trigger_delay_ms("centre", 2.05, 2.0, start_delay_ms=0.05)


@pytest.mark.parametrize(("alignment", "delay_ms", "offset_ms"), [("start", 0, -9), ("centre", 9, 0), ("end", 18, 9)])
def test_delays_and_the_middle_they_give(alignment: Alignment, delay_ms: float, offset_ms: float) -> None:
    assert trigger_delay_ms(alignment, 20, 2) == pytest.approx(delay_ms)
    assert middle_offset_ms(delay_ms, 20, 2) == pytest.approx(offset_ms)
    if alignment != "start":
        late = trigger_delay_ms(alignment, 20, 2, start_delay_ms=0.3)
        assert late == pytest.approx(delay_ms - 0.3)
        assert middle_offset_ms(late, 20, 2, start_delay_ms=0.3) == pytest.approx(offset_ms)
    early = trigger_delay_ms(alignment, 20, 2, start_delay_ms=-0.3)
    assert middle_offset_ms(early, 20, 2, start_delay_ms=-0.3) == pytest.approx(offset_ms)


def test_a_bracket_visits_every_level_twice_in_a_row() -> None:
    factors = [bracket_factor(index) for index in range(BRACKET_LEVELS * BRACKET_SHOTS)]
    assert tuple(factors[0::2]) == tuple(factors[1::2]) == BRACKET_FACTORS
    assert bracket_factor(len(factors)) == BRACKET_FACTORS[0]
    assert list(BRACKET_FACTORS) == sorted(BRACKET_FACTORS) and BRACKET_FACTORS[-1] < 1


@pytest.mark.parametrize("long_ms", [16.0, 20.0, 40.0, 80.0])
@pytest.mark.parametrize("density", [0.8, 0.9, 1.0, 1.3, 1.6])
def test_the_advised_exposures_match_levels(long_ms: float, density: float) -> None:
    advice = advise(measured(density), long_ms, 2.0)
    assert advice.ideal_density == pytest.approx(np.log10(long_ms / 2))
    # the level is light times exposure: T tL against tS
    share = 10**-density
    assert advice.level_stops == pytest.approx(np.log2(share * long_ms / 2))
    assert share * advice.matched_long_ms == pytest.approx(2.0)
    assert advice.matched_short_ms == pytest.approx(share * long_ms)
    left = np.log2(share * 10**-advice.filter_step * long_ms / 2)
    assert advice.filtered_stops == pytest.approx(left, abs=1e-9)
    assert abs(advice.filter_step * 10 - round(advice.filter_step * 10)) < 1e-9
    assert abs(left) <= 0.05 / np.log10(2) + 1e-9


def test_motion_is_foretold_only_for_a_stated_speed() -> None:
    advice = advise(measured(), 20, 2, speed_px_per_ms=0.2, alignment="start")
    assert (advice.blur_px, advice.motion_px) == (pytest.approx(4), pytest.approx(0.4))
    assert advice.longest_sharp_ms == pytest.approx(2.5)
    assert advice.offset_px == pytest.approx(-1.8)
    assert advice.warnings == ()
    assert advise(measured(), 20, 2, speed_px_per_ms=0.2).offset_px == pytest.approx(0)
    assert "any exposure" in " ".join(advise(measured(), 20, 2, speed_px_per_ms=0).lines())
    unknown = advise(measured(), 20, 2)
    assert unknown.blur_px is unknown.motion_px is unknown.longest_sharp_ms is unknown.offset_px is None
    assert len(unknown.lines()) < len(advice.lines())


@pytest.mark.parametrize(
    ("transmittance", "speed", "warning"),
    [
        (measured(1.04), None, "levels differ by 0.13 stops .limit 0.1."),
        (measured(0.96), None, "levels differ by 0.13 stops .limit 0.1."),
        (measured(), 0.3, "0.60 px of motion .* .limit 0.5.; shorten both exposures"),
        (measured(densities=(0.99, 1.0, 1.01)), None, "transmittance differs by 4.7% .limit 3%..*--calibrate chart"),
        (measured(saturated={"B": 0.002, "S": 0.0}), None, "camera B: 0.2% of the pixels are saturated"),
        (measured(clipped={"B": 0.0, "S": 0.01}), None, "camera S: 1.0% of the pixels are at 0 DN .* black level"),
        (measured(density_errors=(0.02,) * 3), None, "known to .- 0.020 only .* even white surface"),
    ],
)
def test_each_fault_has_its_warning(transmittance: Transmittance, speed: float | None, warning: str) -> None:
    found = advise(transmittance, 20, 2, speed_px_per_ms=speed)
    assert len(found.warnings) == 1
    assert found.lines()[-1] == f"warning: {found.warnings[0]}"
    assert_matches(found.warnings[0], warning)


def test_a_good_rig_has_no_warning_and_says_its_numbers() -> None:
    lines = advise(measured(0.995), 20, 2, speed_px_per_ms=0.1).lines()
    text = "\n".join(lines)
    assert "warning" not in text
    for part in ("density of camera B against S: 0.995 +- 0.001", "10.12% of the light", "20 ms / 2 ms: 1.000"):
        assert part in text
    for part in ("0.02 stops brighter", "--exposure-long 19.77", "--exposure-short 2.023", "blur: 2.0 px in 20 ms"):
        assert part in text
    assert all(line == line.strip() or line.startswith(" " * 8) for line in lines)


def test_filters_are_added_and_taken_away() -> None:
    assert "add ND 0.3 before camera B" in said(advise(measured(0.72), 20, 2))
    assert "take ND 0.2 away from camera B" in said(advise(measured(1.18), 20, 2))
    assert "none of the common steps" in said(advise(measured(1.04), 20, 2))


def said(advice: Advice) -> str:
    return "\n".join(advice.lines())


def assert_matches(text: str, pattern: str) -> None:
    assert re.search(pattern, text), f"{text!r} does not say {pattern!r}"


@pytest.fixture(scope="module")
def even_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("even")
    for number in range(6):
        write_image(folder / f"even{number}.png", np.full((700, 700, 3), 128, np.uint8))
    return folder


def noiseless_rig(seed: int, alignment: Alignment) -> RigSettings:
    """Both cameras look the same way through the same lens, and only the filter differs."""
    rig = resolve_rig(seed=seed, width=320, height=240, alignment=alignment)
    one = rig.camera_B.model_copy(update={"full_well_electrons": 1e8, "read_noise_electrons": 0.0})
    other = one.model_copy(update={"transmittance": 10 * one.transmittance})
    still = {"drift_px": 0, "drift_deg": 0, "exposure_jitter": 0}
    return validate(RigSettings, {**rig.model_dump(), "camera_B": one, "camera_S": other, **still}, "rig")


def middle_of(raw: npt.NDArray[Any], empty: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Centroid (x, y) of what an object takes from or adds to an even picture, in px, from the mosaic's green."""
    light, even = (frame[0::2, 1::2].astype(np.float64) - 64 for frame in (raw, empty))
    change = light / even - 1
    # all of the object is brighter or all of it is darker than the background
    assert abs(change.sum()) > 0.95 * np.abs(change).sum()
    y, x = np.mgrid[0 : change.shape[0], 0 : change.shape[1]]
    return 2 * np.array([(x * change).sum(), (y * change).sum()]) / change.sum()


@pytest.mark.parametrize("seed", [0, 1, 5, 6])
@pytest.mark.parametrize("alignment", ["start", "centre", "end"])
def test_raw_frames_lie_apart_as_predicted(seed: int, alignment: Alignment, even_pictures: Path) -> None:
    rig = noiseless_rig(seed, alignment)
    scene = {"seed": seed, "textures": str(even_pictures), "background": "photograph", "brightness": 0.4}
    scene |= {"blur_px": (30, 30), "pause": 0, "steady": True, "coverage": 0.05}
    shots = [
        RigSimulator(rig, validate(SceneSettings, {**scene, "objects": objects}, "scene")).shot(1) for objects in (0, 1)
    ]
    middle_b = middle_of(shots[1].raw_B, shots[0].raw_B)
    middle_s = middle_of(shots[1].raw_S, shots[0].raw_S)
    assert rig.exposure_long_ms * SPEED_PX_PER_MS == 30
    delay = trigger_delay_ms(alignment, rig.exposure_long_ms, rig.exposure_short_ms)
    predicted = SPEED_PX_PER_MS * middle_offset_ms(delay, rig.exposure_long_ms, rig.exposure_short_ms)
    assert predicted == pytest.approx({"start": -13.5, "centre": 0, "end": 13.5}[alignment])
    forward = forward_of(rig, scene)
    assert middle_s - middle_b == pytest.approx(predicted * forward, abs=0.2)


def forward_of(rig: RigSettings, scene: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Direction of motion, from two short exposures: at the start and at the end of the long one."""
    ends = []
    for alignment in ("start", "end"):
        aligned = rig.model_copy(update={"alignment": alignment})
        empty, full = (
            RigSimulator(aligned, validate(SceneSettings, {**scene, "objects": objects}, "scene")).shot(1).raw_S
            for objects in (0, 1)
        )
        ends.append(middle_of(full, empty))
    apart = ends[1] - ends[0]
    return np.asarray(apart / np.hypot(*apart))

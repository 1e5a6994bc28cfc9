"""Calibration checks: silent on good captures of many rigs, and clear about each thing that can go wrong."""

import numpy as np
import pytest

from localblur.acquisition.calibrating.checks import check_calibration
from localblur.acquisition.measuring.raw_pictures import cells
from localblur.acquisition.rig.simulator import RigSimulator, SceneSettings, resolve_rig
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import (
    CameraRecord,
    Frame,
    Recording,
    RecordingManifest,
    RecordingWriter,
)

EXPOSURES_MS = {"B": 20.0, "S": 2.0}
BRACKET = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 0.4, 0.6, 0.85)


class Maker:
    """Makes recordings from the shots of one simulated rig."""

    def __init__(self, folder, **options):
        self.rig = resolve_rig(**{"width": 320, "height": 240, "seed": 3, **options})
        self.simulator = RigSimulator(self.rig, SceneSettings(name="calibration", seed=self.rig.seed, brightness=0.75))
        self.folder = folder

    def shots(self, kind, count, light=1.0):
        """Raw frames (B, S), the light `light` times as strong."""
        simulator = self.simulator
        if light != 1.0:
            rig = self.rig.model_copy(update={"light_per_ms": light * self.rig.light_per_ms})
            simulator = RigSimulator(rig, self.simulator.scene)
        return [(shot.raw_B, shot.raw_S) for shot in (simulator.shot(index, kind) for index in range(count))]

    def still(self, count, *, moving=(), drift_px=0.05, jitter=0.0):
        """Shots of one and the same target; an object is there in the shots `moving`."""
        rig = self.rig.model_copy(
            update={"drift_px": drift_px, "drift_deg": self.rig.static_drift_deg, "exposure_jitter": jitter}
        )
        empty, busy = (
            RigSimulator(rig, SceneSettings(seed=9, brightness=0.7, objects=objects, coverage=0.03, blur_px=(3, 5)))
            for objects in (0, 1)
        )
        shots = ((busy if index in moving else empty).shot(index) for index in range(count))
        return [(shot.raw_B, shot.raw_S) for shot in shots]

    def camera(self, role):
        return CameraRecord(
            role=role,
            model="simulated",
            serial=role,
            pixel_format=f"BayerRG{self.rig.bit_depth}",
            bit_depth=self.rig.bit_depth,
            bayer="RGGB",
            width=self.rig.width,
            height=self.rig.height,
            black_level=self.rig.black_level,
            white_level=self.rig.white_level,
            exposure_ms=EXPOSURES_MS[role],
        )

    def recording(self, groups, factors=None):
        manifest = RecordingManifest(camera_B=self.camera("B"), camera_S=self.camera("S"))
        writer = RecordingWriter.create(self.folder, manifest)
        for kind, pairs in groups.items():
            journal = writer.journal(f"calibration/{kind}")
            for index, pair in enumerate(pairs):
                factor = factors[index] if factors else 1.0
                frames = [
                    Frame(
                        role=role,
                        data=np.ascontiguousarray(raw),
                        block_id=index,
                        host_time_ns=index,
                        camera_time_ns=None,
                        exposure_ms=factor * EXPOSURES_MS[role],
                    )
                    for role, raw in zip("BS", pair, strict=True)
                ]
                journal.commit_pair(*frames, 0.1)
        writer.close("complete")
        return Recording.open(self.folder)

    def check(self, kind, pairs, *, factors=None, first=0):
        return check_calibration(self.recording({kind: pairs}, factors), kind, first=first)

    def bracket(self, light=1.33):
        factors = np.repeat(BRACKET, 2).tolist()
        pairs = []
        for index, factor in enumerate(factors):
            rig = self.rig.model_copy(update={"light_per_ms": light * factor * self.rig.light_per_ms})
            shot = RigSimulator(rig, self.simulator.scene).shot(index, "flat")
            pairs.append((shot.raw_B, shot.raw_S))
        return pairs, factors


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "recording")


def only(lines):
    assert len(lines) == 1, lines
    return lines[0]


def test_an_unknown_kind_is_refused(maker):
    recording = maker.recording({"dark": maker.shots("dark", 1)})
    with pytest.raises(LocalblurError, match="one of static, dark, flat, chart, bracket, got 'grey'"):
        check_calibration(recording, "grey")


def test_frames_too_small_to_be_judged_are_no_success(tmp_path):
    small = Maker(tmp_path / "recording", width=64, height=64)
    assert "side of 64 px are too small" in only(small.check("dark", small.shots("dark", 1)))


@pytest.mark.parametrize(
    ("seed", "preset", "bit_depth"),
    [(seed, *kind) for seed in range(6) for kind in (("nd", 12), ("gain", 8))]
    + [(seed, *kind) for seed in (6, 7) for kind in (("nd", 8), ("gain", 12))],
)
def test_good_captures_give_nothing(tmp_path, seed, preset, bit_depth):
    maker = Maker(tmp_path / "recording", seed=seed, preset=preset, bit_depth=bit_depth)
    counts = {"static": 3, "dark": 1, "flat": 1, "chart": 1}
    recording = maker.recording({kind: maker.shots(kind, count) for kind, count in counts.items()})
    assert [line for kind in counts for line in check_calibration(recording, kind)] == []


def test_rgb_cameras_are_checked_too(tmp_path):
    maker = Maker(tmp_path / "recording", bit_depth=8, width=640, height=480)
    cameras = {
        role: maker.camera(role).model_copy(update={"bayer": None, "pixel_format": "RGB8", "width": 320, "height": 240})
        for role in "BS"
    }
    maker.camera = cameras.__getitem__
    counts = {"static": 3, "dark": 1, "flat": 1, "chart": 1}
    shots = {kind: maker.shots(kind, count) for kind, count in counts.items()}
    rgb = {
        kind: [tuple(np.rint(cells(raw, "RGGB")).astype(np.uint8) for raw in pair) for pair in pairs]
        for kind, pairs in shots.items()
    }
    recording = maker.recording(rgb)
    assert [line for kind in counts for line in check_calibration(recording, kind)] == []
    swapped = Maker(tmp_path / "swapped", bit_depth=8)
    swapped.camera = maker.camera
    recording = swapped.recording({"dark": rgb["flat"], "flat": rgb["static"], "chart": rgb["flat"]})
    assert all(len(check_calibration(recording, kind)) == 2 for kind in ("dark", "flat", "chart"))


@pytest.mark.parametrize("seed", range(3))
def test_one_target_with_small_drift_and_flicker_is_good(tmp_path, seed):
    maker = Maker(tmp_path / "recording", seed=seed)
    assert maker.check("static", maker.still(6, drift_px=0.08, jitter=0.05)) == []


@pytest.mark.parametrize(("bit_depth", "preset"), [(12, "nd"), (8, "gain")])
def test_a_good_bracket_gives_nothing(tmp_path, bit_depth, preset):
    maker = Maker(tmp_path / "recording", bit_depth=bit_depth, preset=preset)
    pairs, factors = maker.bracket()
    assert maker.check("bracket", pairs, factors=factors) == []


def test_too_few_static_pairs(maker):
    line = only(maker.check("static", maker.shots("static", 2)))
    assert line == "calibration/static: only 2 of the 3 pairs needed; capture more with --count 3 --resume"


def test_movement_between_shots_names_camera_pair_and_place(maker):
    lines = maker.check("static", maker.still(5, moving=[3]))
    assert [line.split(" near")[0] for line in lines] == [
        f"calibration/static: pair 3: camera {role}: something moved between the shots," for role in "BS"
    ]
    assert all(line.endswith("capture it again with --calibrate static --rerecord 3") for line in lines)


def test_only_new_pairs_are_reported_but_old_ones_are_compared_with(tmp_path):
    pairs = Maker(tmp_path / "a").still(5, moving=[1, 4])
    maker = Maker(tmp_path / "recording")
    recording = maker.recording({"static": pairs})
    assert all("pair 4:" in line for line in check_calibration(recording, "static", first=2))
    assert len(check_calibration(recording, "static", first=2)) == 2
    assert check_calibration(recording, "static", first=5) == []
    for line in check_calibration(recording, "static"):
        assert "pairs 1, 4:" in line
        assert line.endswith("capture them again with --calibrate static --rerecord 1,4")


def test_movement_inside_a_pair_is_noticed_without_any_other(maker):
    scene = SceneSettings(seed=1, objects=3, coverage=0.4, blur_px=(18, 24), brightness=0.7)
    shots = [RigSimulator(maker.rig, scene.model_copy(update={"seed": seed})).shot(0) for seed in range(3)]
    line = only(maker.check("static", [(shot.raw_B, shot.raw_S) for shot in shots]))
    assert line.startswith("calibration/static: pairs 0-2: something moved during the long exposure, near x=")


def test_a_camera_that_slips_is_noticed(maker):
    pairs = maker.still(5)
    pairs[2] = pairs[2][0], np.roll(pairs[2][1], (2, 4), (0, 1))
    line = only(maker.check("static", pairs))
    assert line.startswith("calibration/static: pair 2: cameras B and S moved by 4.")
    assert "against each other" in line


def test_a_rig_that_shakes_is_noticed(maker):
    pairs = maker.still(5)
    pairs[4] = tuple(np.roll(raw, (2, 4), (0, 1)) for raw in pairs[4])
    lines = maker.check("static", pairs)
    assert [line.split(" moved by 4.")[0] for line in lines] == [
        f"calibration/static: pair 4: the picture of camera {role}" for role in "BS"
    ]


def test_a_mirrored_camera_does_not_show_the_same(maker):
    line = only(maker.check("static", [(b, s[:, ::-1]) for b, s in maker.shots("static", 3)]))
    assert "pairs 0-2: cameras B and S do not show the same" in line
    assert "--mirror" in line


def test_a_target_with_texture_in_one_corner_is_not_enough(maker):
    rng = np.random.default_rng(0)
    pairs = [(b.copy(), s.copy()) for b, s in maker.shots("static", 3)]
    for pair in pairs:
        for raw in pair:
            raw[:, 130:] = rng.normal(1000, 15, raw[:, 130:].shape)
    line = only(maker.check("static", pairs))
    assert "right quarter has texture to register the cameras by" in line


@pytest.mark.parametrize("kind", ["static", "flat"])
def test_too_little_light_and_too_much(tmp_path, kind):
    count = 3 if kind == "static" else 1
    maker = Maker(tmp_path / "dark")
    dark = maker.check(kind, maker.shots(kind, count, light=0.15))
    assert all("of full scale on average" in line for line in dark)
    maker = Maker(tmp_path / "bright")
    bright = maker.check(kind, maker.shots(kind, count, light=3))
    assert all("pixels are saturated (limit 0.1 %); dim the light" in line for line in bright)
    assert len(dark) == len(bright) == 2


@pytest.mark.parametrize("bit_depth", [12, 8])
def test_dark_frames_with_the_cap_off(tmp_path, bit_depth):
    maker = Maker(tmp_path / "recording", bit_depth=bit_depth)
    (dark,), (lit,) = maker.shots("dark", 1), maker.shots("flat", 1, light=0.01)
    line = only(maker.check("dark", [dark, (dark[0], lit[1])]))
    assert line.startswith("calibration/dark: pair 1: camera S lies ")
    assert "put the lens caps on" in line


def test_a_light_leak_and_a_black_level_of_zero(maker):
    (dark,) = maker.shots("dark", 1)
    y, x = np.mgrid[:240, :320]
    leak = 15 * np.exp(-((x - 300) ** 2 + (y - 20) ** 2) / (2 * 30**2))
    leaking = dark[0], (dark[1] + np.rint(leak)).astype(np.uint16)
    clipped = np.clip(dark[0].astype(int) - 62, 0, None).astype(np.uint16), dark[1]
    lines = maker.check("dark", [dark, leaking, clipped])
    assert "pair 1: camera S sees a pattern of 1" in lines[0]
    assert "pair 2: camera B lies -6" in lines[1]
    assert "pair 2: " in lines[2]
    assert "of camera B's pixels are cut off at 0" in lines[2]
    assert len(lines) == 3


def test_a_flat_field_with_something_in_it_or_lit_from_one_side(maker):
    flat, other = maker.shots("flat", 2)
    spotted = flat[0].copy()
    spotted[60:85, 200:225] = 64 + 0.85 * (spotted[60:85, 200:225] - 64.0)
    slanted = (64 + (other[1] - 64.0) * np.linspace(0.7, 1, 320)).astype(np.uint16)
    uneven, slant = maker.check("flat", [(spotted, flat[1]), (other[0], slanted)])
    assert "pair 0: camera B sees more than an even surface, near x=21" in uneven
    assert "pair 1: camera S gets 3" in slant


def test_a_wall_is_no_flat_field_and_no_chart(maker):
    walls = maker.shots("static", 1)
    recording = maker.recording({"flat": walls, "chart": walls})
    assert all("more than an even surface" in line for line in check_calibration(recording, "flat"))
    for role, line in zip("BS", check_calibration(recording, "chart"), strict=True):
        assert f"pair 0: the colour chart was not found in the picture of camera {role}" in line


def test_a_chart_with_a_saturated_white_patch(maker):
    lines = maker.check("chart", maker.shots("chart", 1, light=1.8))
    assert len(lines) == 2
    assert all("of the chart's 24 patches are saturated or black" in line for line in lines)


def test_a_bracket_needs_levels_between_dark_and_saturated(maker):
    pairs, factors = maker.bracket()
    recording = maker.recording({"bracket": pairs[:6]}, factors[:6])
    for role, line in zip("BS", check_calibration(recording, "bracket"), strict=True):
        assert f"camera {role} has only 3 of the 4 exposures needed" in line


def test_a_bracket_under_flickering_light(maker):
    pairs, factors = maker.bracket()
    pairs[7] = pairs[4][0], pairs[7][1]
    line = only(maker.check("bracket", pairs, factors=factors))
    assert "pair 7: camera B's light is 49 %" in line
    assert "out of proportion to its exposure" in line


def test_a_bracket_in_which_a_longer_exposure_is_not_brighter(maker):
    pairs, factors = maker.bracket()
    pairs[8:10] = pairs[6:8]
    lines = maker.check("bracket", pairs, factors=factors)
    assert any("pair 8: camera S is not brighter than with a shorter exposure" in line for line in lines)


def test_a_bracket_in_which_something_moves(maker):
    pairs, factors = maker.bracket()
    moved = pairs[4][1].copy()
    moved[100:120, 200:220] = 64 + 0.8 * (moved[100:120, 200:220] - 64.0)
    pairs[4] = pairs[4][0], moved
    line = only(maker.check("bracket", pairs, factors=factors))
    assert line.startswith("calibration/bracket: pair 4: camera S: something moved between the shots, near x=21")

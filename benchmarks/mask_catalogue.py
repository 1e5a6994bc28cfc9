"""The sequences blur masks are judged by: every kind once to tune by, once held out with other seeds and textures."""

from collections.abc import Iterator
from dataclasses import replace

from mask_stage import Actor, StagedPair, StagedScene, simulate, truth_of

from localblur.acquisition.rig.settings import SceneSettings, resolve_rig
from localblur.acquisition.rig.simulator import RigSimulator
from localblur.alignment.light.radiometry import raw_image
from localblur.alignment.model.calibration import calibrate, fit_static_pair
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.datasets.images import from_unit, srgb_encode
from localblur.datasets.scenes.photographs import Split

SPLITS: dict[str, Split] = {"tuning": "train", "held-out": "test"}
"""Which textures the scenes of each half are made of."""
_FIRST_SEED = {"tuning": 100, "held-out": 900}

KINDS: dict[str, StagedScene] = {
    scene.name: scene
    for scene in (
        StagedScene(name="textured", seed=0, actors=(Actor(size=0.25), Actor(habit="wanders"))),
        StagedScene(name="flat", seed=1, actors=(Actor(style="flat", size=0.25), Actor(style="flat", shape="ellipse"))),
        StagedScene(name="small", seed=2, actors=tuple(Actor(size=0.06, blur_px=(5, 16)) for _ in range(4))),
        StagedScene(
            name="slow", seed=3, actors=(Actor(habit="creeps", size=0.25, blur_px=(2, 6)), Actor(habit="creeps"))
        ),
        StagedScene(
            name="stopping",
            seed=4,
            actors=(Actor(habit="stops", size=0.25), Actor(habit="stops", style="flat"), Actor(size=0.15)),
        ),
        StagedScene(
            name="leaving", seed=5, actors=(Actor(habit="leaves", size=0.4, style="flat"), Actor(habit="leaves"))
        ),
        StagedScene(
            name="camouflaged",
            seed=6,
            actors=(Actor(style="camouflaged", size=0.25), Actor(style="camouflaged", habit="wanders")),
        ),
        StagedScene(name="shadowed", seed=7, actors=(Actor(shadow=0.4, size=0.25), Actor(shadow=0.3, style="flat"))),
        StagedScene(
            name="busy wall", seed=8, background="procedural", preset="gain", actors=(Actor(), Actor(style="flat"))
        ),
        StagedScene(name="flicker", seed=9, flicker=0.04, drift=0.15, actors=(Actor(size=0.3), Actor(style="flat"))),
        StagedScene(name="misaligned", seed=10, misalignment_px=0.5, shake_px=0.3, actors=(Actor(), Actor(size=0.3))),
        StagedScene(
            name="crowd",
            seed=11,
            actors=(
                Actor(habit="stands", size=0.3),
                Actor(habit="wanders", shadow=0.3),
                Actor(habit="crosses", style="flat", size=0.12),
                Actor(habit="creeps", style="camouflaged"),
                Actor(habit="leaves", size=0.25),
            ),
        ),
        StagedScene(
            name="limbs",
            seed=12,
            actors=(
                Actor(habit="stands", size=0.35, shape="blob"),
                Actor(habit="swings", size=0.3, shape="bar", style="flat"),
                Actor(habit="swings", size=0.2, shape="bar"),
            ),
        ),
        StagedScene(
            name="large flat slow",
            seed=13,
            actors=(Actor(habit="creeps", style="flat", size=0.5, shape="ellipse", blur_px=(6, 20)),),
        ),
        StagedScene(
            name="noisy glints",
            seed=14,
            preset="gain",
            highlights=4,
            misalignment_px=0.4,
            actors=(Actor(size=0.2), Actor(habit="wanders", style="flat", shadow=0.2)),
        ),
    )
}
CHAIN_COUNT = 3
"""Scenes in each half that go through the whole chain: two distorted cameras, calibration, alignment."""
CHAIN_PAIRS = 6


def scene_names() -> list[str]:
    """Names of the scenes in each half."""
    return [*KINDS, *(f"whole chain {number}" for number in range(CHAIN_COUNT))]


def scene_pairs(half: str, name: str) -> Iterator[StagedPair]:
    """The pairs of one scene of the half `tuning` or `held-out`."""
    if name in KINDS:
        kind = KINDS[name]
        yield from simulate(replace(kind, seed=_FIRST_SEED[half] + kind.seed, split=SPLITS[half]))
    else:
        yield from chain_pairs(_FIRST_SEED[half] + 50 + int(name.split()[-1]), SPLITS[half])


def chain_pairs(seed: int, split: Split) -> Iterator[StagedPair]:
    """Pairs of the rig simulator as captured, calibrated and aligned."""
    rig, settings = resolve_rig(seed=seed, width=480, height=320), AlignmentSettings()

    def captured(simulator: RigSimulator, index: int, kind: str) -> CapturedPair:
        shot = simulator.shot(index, "static" if kind == "static" else "scene")
        frames = [
            raw_image(raw, rig.bayer, rig.black_level, rig.white_level, settings.radiometry)
            for raw in (shot.raw_B, shot.raw_S)
        ]
        return CapturedPair(f"{kind} {index}", frames[0], frames[1])

    scene = SceneSettings(seed=seed, textures=split, pause=0.3)
    simulator = RigSimulator(rig, scene)
    calibration = calibrate([fit_static_pair(captured(simulator, i, "static"), settings) for i in range(3)], settings)
    for index in range(CHAIN_PAIRS):
        aligned = align_pair(captured(simulator, index, "scene"), calibration, settings)
        truth = truth_of(simulator.shot(index).truth.soft_extent)
        truth[~aligned.valid] = 128
        coded = [from_unit(srgb_encode(light), 8) for light in (aligned.blurred, aligned.sharp)]
        yield StagedPair(blurred=coded[0], sharp=coded[1], truth=truth, moving=True)

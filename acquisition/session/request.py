"""What a user asks of `capture`, before anything is decided."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from localblur.acquisition.cameras.faults import FaultPlan
from localblur.acquisition.measuring.exposure import BRACKET_LEVELS, BRACKET_SHOTS, Alignment
from localblur.acquisition.pairing.sync import SyncMode
from localblur.acquisition.rig.simulator import ShotKind
from localblur.acquisition.session.sources import SourceKind
from localblur.datasets.recording import Role

DEFAULT_SCENE = "scene-01"
DEFAULT_COUNTS: dict[ShotKind, int] = {
    "scene": 10,
    "static": 8,
    "dark": 4,
    "flat": 4,
    "chart": 2,
    "bracket": BRACKET_LEVELS * BRACKET_SHOTS,
}
DEFAULT_AVERAGE: dict[ShotKind, int] = {"scene": 1, "static": 4, "dark": 8, "flat": 8, "chart": 4, "bracket": 1}
"""Exposures averaged per pair by real cameras; a bracket needs the noise of single ones."""
DEFAULT_EXPOSURE_MS: dict[Role, float] = {"B": 20.0, "S": 2.0}


@dataclass(frozen=True, kw_only=True)
class CaptureRequest:
    """What the user asked for; None is "not said".

    Attributes:
        scene: name of the scene in the recording; with only `calibrate` none is captured.
        look: simulated rigs: which scene stands in front of it, a name or a YAML file; empty for the scene's name.
        calibrate: kinds of calibration to capture.
        count: pairs that the group shall hold when done.
        rig: seed or YAML file of the simulated rig.
        textures, seed, overrides: of the simulated scene.
        serials: camera serial numbers by role.
        mirrored: the camera whose picture is to be flipped.
        camera: settings of real cameras, `NAME=VALUE` for both or `B.NAME=VALUE` for one, see `CameraSettings`.
        sync, align, rate_hz, blur_line, sharp_line, sharp_edge, start_delay_ms: synchronisation, see `SyncSettings`.
        average: exposures averaged per calibration pair.
        durable: commit each pair before the next trigger.
        faults: what goes wrong with simulated cameras.
        rerecord: numbers of pairs to replace, "all" for every pair of the group, and why.
    """

    output: Path
    source: SourceKind
    scene: str | None = None
    look: str = ""
    calibrate: tuple[ShotKind, ...] = ()
    count: int | None = None
    exposures_ms: dict[Role, float | None] = field(default_factory=dict)
    rig: str | None = None
    preset: str | None = None
    textures: str = "train"
    seed: int = 0
    overrides: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    bit_depth: int | None = None
    serials: dict[Role, str | None] = field(default_factory=dict)
    mirrored: Role | None = None
    camera: tuple[str, ...] = ()
    interval_ms: float = 0.0
    resume: bool = False
    sync: SyncMode | None = None
    align: Alignment | None = None
    rate_hz: float | None = None
    blur_line: str | None = None
    sharp_line: str | None = None
    sharp_edge: Literal["rising", "falling"] | None = None
    start_delay_ms: float | None = None
    average: int | None = None
    durable: bool = False
    faults: FaultPlan | None = None
    rerecord: tuple[int, ...] | Literal["all"] = ()
    reason: str = "rerecorded"

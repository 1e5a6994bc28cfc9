"""From what the user asked for to a complete plan: which rig, which groups, how many pairs, with which settings.

Everything that can be refused is refused here, before a camera is touched or a file is made.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localblur.acquisition.cameras.camera import CameraSettings
from localblur.acquisition.cameras.faults import FaultPlan
from localblur.acquisition.pairing.sync import SyncSettings
from localblur.acquisition.rig.simulator import RigSettings, SceneSettings, ShotKind, resolve_rig
from localblur.acquisition.session.request import (
    DEFAULT_AVERAGE,
    DEFAULT_COUNTS,
    DEFAULT_EXPOSURE_MS,
    DEFAULT_SCENE,
    CaptureRequest,
)
from localblur.acquisition.session.sources import SourceKind
from localblur.common.errors import LocalblurError
from localblur.common.settings import load_settings, read_yaml, validate
from localblur.datasets.recording import MANIFEST_NAME, ROLES, Recording, RecordingManifest, Role, check_group
from localblur.datasets.recordings.journal import JOURNAL_NAME, read_journal

MAX_INTERVAL_MS = 86_400_000.0
MAX_COUNT = 10**12


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """One scene or calibration to capture.

    Attributes:
        count: pairs it shall hold when done.
        held: pairs it holds already.
        scene: what stands before a simulated rig.
        average: exposures averaged per pair.
        replace: numbers of held pairs to capture anew instead of new ones, and why.
    """

    group: str
    shot_kind: ShotKind
    count: int
    held: int
    scene: SceneSettings | None
    average: int = 1
    replace: tuple[int, ...] = ()
    reason: str | None = None

    @property
    def indices(self) -> Sequence[int]:
        """Numbers of the pairs to capture."""
        return self.replace or range(self.held, self.count)


@dataclass(frozen=True, kw_only=True)
class CapturePlan:
    """Everything decided. `manifest` is that of the existing recording, None for a new one."""

    output: Path
    source: SourceKind
    manifest: RecordingManifest | None
    rig: RigSettings | None
    groups: tuple[GroupPlan, ...]
    camera_settings: dict[Role, CameraSettings]
    serials: dict[Role, str]
    camera_options: tuple[str, ...]
    sync: SyncSettings
    interval_ms: float
    durable: bool
    faults: FaultPlan | None


def make_plan(request: CaptureRequest) -> CapturePlan:
    """Decide everything that was left open; an existing recording decides for itself.

    Raises:
        LocalblurError: if the request contradicts itself or the recording, or names what does not exist.
    """
    manifest = _existing_manifest(request.output)
    if manifest is not None and manifest.settings.get("source") != request.source:
        raise LocalblurError(
            f"{request.output} was recorded with {_source_words(manifest.settings.get('source'))}, not with"
            f" {_source_words(request.source)}; say so too, or choose another --output"
        )
    _check_mirror(request, manifest)
    _check_numbers(request)
    _check_simulation(request)
    rig = None if request.source == "cameras" else _decide_rig(request, manifest)
    cameras = _camera_settings(request, manifest)
    return CapturePlan(
        output=request.output,
        source=request.source,
        manifest=manifest,
        rig=rig,
        groups=tuple(_plan_groups(request, simulated=rig is not None)),
        camera_settings=cameras,
        serials=_decide_serials(request, manifest),
        camera_options=_camera_options(request, manifest),
        sync=_decide_sync(request, manifest, rig, cameras["B"].exposure_ms),
        interval_ms=request.interval_ms,
        durable=request.durable,
        faults=request.faults,
    )


def _check_numbers(request: CaptureRequest) -> None:
    """Limits far beyond any use: what is larger, or no number at all, is a slip that must not end a recording later."""
    if not 0 <= request.interval_ms <= MAX_INTERVAL_MS:
        raise LocalblurError(f"--interval {request.interval_ms:g} must be 0 to {MAX_INTERVAL_MS:g} ms, which is a day")
    if request.count is not None and request.count > MAX_COUNT:
        raise LocalblurError(f"--count {request.count} must be at most {MAX_COUNT}; begin another --scene after that")


def _check_simulation(request: CaptureRequest) -> None:
    if request.faults is not None and request.source != "simulate":
        raise LocalblurError("--faults is for simulated cameras; add --simulate")
    if request.source == "cameras":
        return
    if request.rate_hz is not None:
        raise LocalblurError(
            "--rate is for real cameras: simulated scenes are rendered ahead, one shot per trigger; leave it out"
        )
    if request.average not in (None, 1):
        raise LocalblurError(
            "--average is for real cameras: simulated frames are compared bit for bit with what was rendered; ask for"
            " more pairs with --count instead"
        )


def _decide_sync(
    request: CaptureRequest, manifest: RecordingManifest | None, rig: RigSettings | None, exposure_long_ms: float
) -> SyncSettings:
    """What was asked for; a recording keeps what it began with."""
    said = {
        "mode": request.sync,
        "alignment": request.align,
        "rate_hz": request.rate_hz,
        "output_line": request.blur_line,
        "input_line": request.sharp_line,
        "edge": request.sharp_edge,
        "start_delay_ms": request.start_delay_ms,
    }
    said = {name: value for name, value in said.items() if value is not None}
    if manifest is None:
        if rig is not None:
            said["alignment"] = rig.alignment
        sync = validate(SyncSettings, said, "synchronisation")
    else:
        sync = stored_sync(manifest)
        for name, value in said.items():
            if getattr(sync, name) != value:
                raise LocalblurError(
                    f"{request.output} was recorded with {name} {getattr(sync, name)}, not {value}; leave the option"
                    " out or choose another --output"
                )
    if sync.rate_hz is not None and sync.rate_hz * exposure_long_ms >= 1000:
        raise LocalblurError(
            f"--rate {sync.rate_hz:g} leaves {1000 / sync.rate_hz:g} ms per pair, less than the long exposure of"
            f" {exposure_long_ms:g} ms; lower the rate or shorten --exposure-long"
        )
    return sync


def stored_sync(manifest: RecordingManifest) -> SyncSettings:
    """The synchronisation a recording began with."""
    stored = manifest.settings.get("sync", "software")
    if isinstance(stored, str):  # recordings made before alignment was stored beside the mode
        stored = {"mode": stored, "alignment": manifest.rig.get("alignment", "centre")}
    return validate(SyncSettings, stored, "the recording's synchronisation")


def _check_mirror(request: CaptureRequest, manifest: RecordingManifest | None) -> None:
    if request.mirrored is None:
        return
    if request.source != "cameras":
        raise LocalblurError("--mirror is for real cameras: the simulated rig has no reflected arm; leave it out")
    if manifest is not None and manifest.settings.get("mirrored") != request.mirrored:
        raise LocalblurError(
            f"{request.output} was recorded with camera {manifest.settings.get('mirrored')} mirrored, not"
            f" {request.mirrored}; leave --mirror out or choose another --output"
        )


def _existing_manifest(output: Path) -> RecordingManifest | None:
    if (output / MANIFEST_NAME).exists():
        return Recording.open(output).manifest
    around = next((folder for folder in output.resolve().parents if (folder / MANIFEST_NAME).exists()), None)
    if around is not None:
        raise LocalblurError(f"{output} lies inside the recording {around}; choose a folder beside it")
    if output.exists() and (not output.is_dir() or any(not path.name.startswith(".") for path in output.iterdir())):
        raise LocalblurError(f"{output} exists and is no recording; choose another --output")
    return None


def _source_words(source: object) -> str:
    return {"cameras": "real cameras", "simulate": "--simulate", "emulate": "--emulate"}.get(str(source), str(source))


def _decide_rig(request: CaptureRequest, manifest: RecordingManifest | None) -> RigSettings:
    seed, given = _given_rig(request)
    if manifest is None:
        if given is not None:
            return given
        said = {name: value for name, value in _rig_options(request, seed).items() if value is not None}
        return resolve_rig(**said)
    stored = validate(RigSettings, manifest.rig, f"{request.output}: rig")
    wanted = dict(given) if given is not None else _rig_options(request, seed)
    differing = {name: value for name, value in wanted.items() if value is not None and value != getattr(stored, name)}
    if differing:
        name, value = next(iter(differing.items()))
        raise LocalblurError(
            f"{request.output} belongs to a rig with {name}={_short(getattr(stored, name))}, not {_short(value)}; leave"
            " the option out to use the stored rig, or choose another --output"
        )
    return stored


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _given_rig(request: CaptureRequest) -> tuple[int | None, RigSettings | None]:
    if request.rig is None:
        return None, None
    if request.rig.isdigit():
        return int(request.rig), None
    options = _rig_options(request, None)
    said = ", ".join(name for name, value in options.items() if value is not None)
    if said:
        raise LocalblurError(f"--rig {request.rig} is a complete rig; set {said} in that file instead of by option")
    return None, validate(RigSettings, read_yaml(Path(request.rig)), request.rig)


def _rig_options(request: CaptureRequest, seed: int | None) -> dict[str, Any]:
    width, height = request.size or (None, None)
    return {
        "seed": seed,
        "width": width,
        "height": height,
        "preset": request.preset,
        "bit_depth": request.bit_depth,
        "exposure_long_ms": request.exposures_ms.get("B"),
        "exposure_short_ms": request.exposures_ms.get("S"),
        "alignment": request.align,
    }


def _plan_groups(request: CaptureRequest, *, simulated: bool) -> list[GroupPlan]:
    plans = []
    for kind in request.calibrate:
        settings = _calibration_settings(request) if simulated else None
        plans.append(_plan_group(request, f"calibration/{kind}", kind, settings))
    if request.scene is not None or request.look or not request.calibrate:
        look_is_name = request.look and not _is_yaml(request.look)
        name = request.scene if request.scene is not None else request.look if look_is_name else DEFAULT_SCENE
        check_group(f"scenes/{name}")
        settings = _scene_settings(request, name) if simulated else None
        plans.append(_plan_group(request, f"scenes/{name}", "scene", settings))
    return plans


def _is_yaml(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml")


def _calibration_settings(request: CaptureRequest) -> SceneSettings:
    return SceneSettings(name="calibration", seed=request.seed, textures=_textures(request))


def _textures(request: CaptureRequest) -> str:
    """`train`, `test`, or a folder that can be found again from wherever the recording is continued."""
    given = request.textures
    return given if given in ("train", "test") else str(Path(given).resolve())


def _scene_settings(request: CaptureRequest, name: str) -> SceneSettings:
    look = request.look or name
    values = {"name": name, "textures": _textures(request), "seed": zlib.crc32(f"{look}/{request.seed}".encode())}
    return load_settings(SceneSettings, Path(look) if _is_yaml(look) else None, request.overrides, values)


def _plan_group(request: CaptureRequest, group: str, shot_kind: ShotKind, scene: SceneSettings | None) -> GroupPlan:
    if scene is not None:
        scene.source()  # textures that are not there are noticed now and not by a worker
    count, held = request.count or DEFAULT_COUNTS[shot_kind], 0
    path = request.output / group / JOURNAL_NAME
    if path.exists():
        journal = read_journal(path)
        held = len(journal.pairs)
        if held and not (request.resume or request.rerecord):
            raise LocalblurError(
                f"{request.output} holds {held} pairs of {group} already; pass --resume to continue it, --rerecord N to"
                " replace pair N, or choose another --scene"
            )
        stored = next((start["scene"] for start in journal.starts if start.get("scene")), None)
        if held and scene is not None and stored is not None:
            _refuse_other_scene(group, validate(SceneSettings, stored, str(path)), scene)
    replace = _to_replace(request, group, held)
    return GroupPlan(
        group=group,
        shot_kind=shot_kind,
        count=held if replace else count,
        held=held,
        scene=scene,
        average=request.average or (1 if request.source != "cameras" else DEFAULT_AVERAGE[shot_kind]),
        replace=replace,
        reason=request.reason if replace else None,
    )


def _to_replace(request: CaptureRequest, group: str, held: int) -> tuple[int, ...]:
    if not request.rerecord:
        return ()
    wanted = tuple(range(held)) if request.rerecord == "all" else request.rerecord
    missing = [index for index in wanted if index >= held]
    if missing or not wanted:
        number = missing[0] if missing else 0
        raise LocalblurError(f"--rerecord {number}: {request.output / group} holds {held} pairs, numbered from 0")
    return wanted


def _refuse_other_scene(group: str, stored: SceneSettings, wanted: SceneSettings) -> None:
    for name in SceneSettings.model_fields:
        if getattr(stored, name) != getattr(wanted, name):
            raise LocalblurError(
                f"{group} was begun with {name}={_short(getattr(stored, name))}, not {_short(getattr(wanted, name))};"
                " repeat the options it was begun with, or choose another --scene"
            )


def _camera_options(request: CaptureRequest, manifest: RecordingManifest | None) -> tuple[str, ...]:
    """Settings of the cameras by name; a recording keeps those it began with."""
    if request.camera and request.source != "cameras":
        raise LocalblurError("--camera is for real cameras; a simulated rig has its own file, see --rig")
    if manifest is None:
        return request.camera
    stored = tuple(manifest.settings.get("camera", ()))
    if request.camera and request.camera != stored:
        raise LocalblurError(
            f"{request.output} was recorded with --camera {' '.join(stored) or '(none)'}, not"
            f" {' '.join(request.camera)}; leave the option out or choose another --output"
        )
    return stored


def _of_camera(options: tuple[str, ...], role: Role) -> tuple[str, ...]:
    """The options that concern one camera, without the letter in front."""
    of_one = tuple(f"{any_role}." for any_role in ROLES)
    both = [option for option in options if not option.startswith(of_one)]
    return (*both, *(option[2:] for option in options if option.startswith(f"{role}.")))


def _camera_settings(request: CaptureRequest, manifest: RecordingManifest | None) -> dict[Role, CameraSettings]:
    settings, options = {}, _camera_options(request, manifest)
    for role in ROLES:
        stored = manifest.cameras[role] if manifest is not None else None
        exposure = request.exposures_ms.get(role)
        if exposure is None:
            exposure = stored.exposure_ms if stored is not None else DEFAULT_EXPOSURE_MS[role]
        width, height = request.size or ((stored.width, stored.height) if stored is not None else (None, None))
        depth = request.bit_depth or (stored.bit_depth if stored is not None else 12)
        mirrored = manifest.settings.get("mirrored") if manifest is not None else request.mirrored
        values = {"exposure_ms": exposure, "width": width, "height": height, "bit_depth": depth}
        values["mirrored"] = mirrored == role
        settings[role] = load_settings(CameraSettings, None, _of_camera(options, role), values)
    if settings["S"].exposure_ms >= settings["B"].exposure_ms:
        raise LocalblurError(
            f"the short exposure ({settings['S'].exposure_ms} ms) must be below the long one"
            f" ({settings['B'].exposure_ms} ms); see --exposure-long and --exposure-short"
        )
    return settings


def _decide_serials(request: CaptureRequest, manifest: RecordingManifest | None) -> dict[Role, str]:
    serials: dict[Role, str] = {}
    for role in ROLES:
        serial = request.serials.get(role)
        if serial is None and manifest is not None:
            serial = manifest.settings.get("serials", {}).get(role)
        if serial is not None:
            serials[role] = serial
    if request.source == "cameras" and len(serials) < len(ROLES):
        raise LocalblurError(
            "two cameras are needed: name them with --blur SERIAL (long exposure) and --sharp SERIAL (short exposure),"
            " or use --simulate or --emulate; `capture --list` shows what is connected"
        )
    if len(serials) == len(ROLES) and serials["B"] == serials["S"]:
        raise LocalblurError(
            f"--blur and --sharp name the same camera {serials['B']}; two are needed, `capture --list` shows all"
        )
    return serials

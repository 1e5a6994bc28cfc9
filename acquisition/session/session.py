"""Carrying out a capture plan: open the cameras, create or continue the recording, fill its groups."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

from localblur.acquisition.cameras.camera import CameraRecord
from localblur.acquisition.cameras.watchdog import Watchdog
from localblur.acquisition.measuring.preflight import camera_warnings
from localblur.acquisition.session.capture_group import GroupCapture, GroupOutcome, Surroundings
from localblur.acquisition.session.plan import CapturePlan, GroupPlan
from localblur.acquisition.session.sources import CameraSource, PairSource, RigSource
from localblur.common.errors import LocalblurError
from localblur.common.files import ensure_space, write_text
from localblur.common.parallel import Progress, open_executor
from localblur.datasets.recording import (
    FEED_PREFIX,
    ROLES,
    RecordingManifest,
    RecordingWriter,
    Role,
)

TRUTH_BYTES_PER_PIXEL = 16
"""Compressed truth of a simulated pair; 14 measured."""
SMALL_WORK_PIXELS = 1_000_000
"""Rendering less than this is done sooner than worker processes start."""
EXPOSURE_TOLERANCE = 0.01
CHECKSUM_DELAY_S = 2.0
"""A list made sooner is not worth a word."""


def run_plan(plan: CapturePlan, around: Surroundings | None = None) -> list[GroupOutcome]:
    """Capture all groups of a plan.

    On Ctrl-C, an error or a driver that hangs the recording is closed well: what was committed stays, and `--resume`
    continues.

    Raises:
        CameraError, LocalblurError, OSError: with everything committed so far intact.
    """
    around = around or Surroundings()
    _check_space(plan)
    outcomes = []
    with contextlib.ExitStack() as stack:
        # entered before the workers, so left after them: a worker cut short may write a last frame
        stack.callback(shutil.rmtree, _feed_folder(plan), ignore_errors=True)
        executor = stack.enter_context(_executor(plan, around))
        writer: RecordingWriter | None = None
        try:
            for group in plan.groups:
                if group.shot_kind != "scene" and group.indices:
                    around.guide(group.shot_kind)
                source = open_source(plan, group, executor, batch=max(4, 2 * around.workers))
                with watched_cameras(source):
                    records = source.watchdog.run(source.set_up)
                    if writer is None:
                        _warn(plan, records, around.say)
                        writer = _open_recording(plan, records, source)
                    outcomes.append(GroupCapture(plan, group, source, writer, records, around).capture())
                if source.watchdog.interrupted.is_set():
                    raise KeyboardInterrupt  # it came when all pairs were captured, and there may be more groups
        except BaseException:
            if writer is not None:
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong first
                    writer.close("aborted")
            raise
        if writer is not None:
            with Progress(None, "checksums", "file", delay_s=CHECKSUM_DELAY_S) as progress:
                writer.close("complete", lambda count, total: progress.step())
    return outcomes


@contextlib.contextmanager
def watched_cameras(source: PairSource) -> Iterator[None]:
    """Open both cameras for a `with` block under the eyes of the source's watchdog."""
    try:
        source.watchdog.run(functools.partial(_open, source))
        yield
    finally:
        source.watchdog.run(functools.partial(_close, source))


def _open(source: PairSource) -> None:
    for camera in source.cameras:
        camera.open()


def _close(source: PairSource) -> None:
    with contextlib.ExitStack() as stack:
        for camera in source.cameras:
            stack.callback(camera.close)


def _executor(plan: CapturePlan, around: Surroundings) -> contextlib.AbstractContextManager[Executor | None]:
    largest = max((len(group.indices) for group in plan.groups), default=0)
    small = plan.rig is None or largest * plan.rig.width * plan.rig.height < SMALL_WORK_PIXELS
    return open_executor(1 if small else around.workers, None if small else around.scheduler)


def _warn(plan: CapturePlan, records: dict[Role, CameraRecord], say: Callable[[str], None]) -> None:
    if plan.rig is None:
        for line in camera_warnings(records):
            say(f"warning: {line}")


def _feed_folder(plan: CapturePlan) -> Path:
    return plan.output / f"{FEED_PREFIX}{os.getpid()}"


def _check_space(plan: CapturePlan) -> None:
    if plan.rig is None:
        return
    pixels = plan.rig.width * plan.rig.height
    frames = 2 * pixels * (2 if plan.rig.bit_depth > 8 else 1)
    scene_pairs = sum(len(group.indices) for group in plan.groups if group.shot_kind == "scene")
    needed = sum(len(group.indices) for group in plan.groups) * frames + scene_pairs * pixels * TRUTH_BYTES_PER_PIXEL
    ensure_space(plan.output, needed, "this capture")


def open_source(plan: CapturePlan, group: GroupPlan, executor: Executor | None, *, batch: int) -> PairSource:
    """The cameras of a plan, not yet opened, for one of its groups."""
    if plan.rig is None or group.scene is None:
        return CameraSource(plan.serials, plan.camera_settings, plan.sync, Watchdog())
    truth = plan.output / "truth" / group.group.removeprefix("scenes/") if group.shot_kind == "scene" else None
    return RigSource(
        plan.source,
        _feed_folder(plan),
        plan.rig,
        group.scene,
        group.shot_kind,
        plan.sync,
        Watchdog(),
        faults=plan.faults,
        serials=plan.serials,
        truth_folder=truth,
        executor=executor,
        batch=batch,
    )


def _open_recording(plan: CapturePlan, records: dict[Role, CameraRecord], source: PairSource) -> RecordingWriter:
    blurred, sharp = records["B"], records["S"]
    if blurred.shape != sharp.shape:
        raise LocalblurError(
            f"camera B delivers {blurred.width}x{blurred.height} and camera S {sharp.width}x{sharp.height}; pass --size"
            " WxH that both can deliver"
        )
    if plan.rig is None:  # how large real frames are is known only now
        wanted = sum(len(group.indices) for group in plan.groups)
        ensure_space(plan.output, wanted * (blurred.frame_bytes + sharp.frame_bytes), "this capture")
    if plan.manifest is not None:
        _refuse_other_cameras(plan, records)
        return RecordingWriter.open(plan.output)
    mirrored = next((role for role in ROLES if plan.camera_settings[role].mirrored), None)
    manifest = RecordingManifest(
        versions=_versions(plan),
        camera_B=blurred,
        camera_S=sharp,
        rig=plan.rig.model_dump(mode="json") if plan.rig is not None else {},
        settings={
            "source": plan.source,
            "sync": plan.sync.model_dump(mode="json"),
            "mirrored": mirrored,
            "camera": list(plan.camera_options),
            "serials": plan.serials,
        },
    )
    texts = {camera.role: source.watchdog.run(camera.settings_text) for camera in source.cameras}
    writer = RecordingWriter.create(plan.output, manifest)
    try:
        for role, text in texts.items():
            if text:
                write_text(plan.output / f"camera_{role}.pfs", text)
    except BaseException:
        with contextlib.suppress(OSError):
            writer.close("aborted")
        raise
    return writer


def _refuse_other_cameras(plan: CapturePlan, records: dict[Role, CameraRecord]) -> None:
    for role, now in records.items():
        before = plan.manifest.cameras[role] if plan.manifest is not None else now
        for name in ("model", "serial", "pixel_format", "width", "height"):
            if getattr(now, name) != getattr(before, name):
                raise LocalblurError(
                    f"{plan.output} was recorded with {name} {getattr(before, name)} of camera {role}, which now has"
                    f" {getattr(now, name)}; use the same cameras and settings, or choose another --output"
                )
        if abs(now.exposure_ms - before.exposure_ms) > EXPOSURE_TOLERANCE * before.exposure_ms:
            raise LocalblurError(
                f"{plan.output} was recorded with an exposure of {before.exposure_ms:g} ms of camera {role}, not"
                f" {now.exposure_ms:g} ms; its calibration would not fit, choose another --output"
            )


def _versions(plan: CapturePlan) -> dict[str, str]:
    packages = ["localblur", "numpy", "tifffile"] + ([] if plan.source == "simulate" else ["pypylon"])
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions

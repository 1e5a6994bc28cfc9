"""Carrying out a capture plan: open the cameras, create or continue the recording, fill its groups."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localblur.acquisition.camera import CameraRecord, opened
from localblur.acquisition.pairing import FRAME_TIMEOUT_MS, Pairer
from localblur.acquisition.plan import CapturePlan, GroupPlan
from localblur.acquisition.record import RecordHooks, record_pairs
from localblur.acquisition.sources import CameraSource, PairSource, RigSource
from localblur.common.errors import LocalblurError
from localblur.common.files import ensure_space, write_text
from localblur.common.parallel import Progress, open_executor
from localblur.datasets.recording import (
    FEED_PREFIX,
    ROLES,
    JournalWriter,
    PairRecord,
    RecordingManifest,
    RecordingWriter,
    Role,
)

TRUTH_BYTES_PER_PIXEL = 16
"""Compressed truth of a simulated pair; 14 measured."""
SMALL_WORK_PIXELS = 1_000_000
"""Rendering less than this is done sooner than worker processes start."""
EXPOSURE_TOLERANCE = 0.01
SATURATION_WARNING = 0.001


@dataclass
class GroupOutcome:
    """What became of one group."""

    group: str
    asked: int
    held: int
    committed: int = 0
    lost: list[str] = field(default_factory=list)
    saturated: dict[Role, float] = field(default_factory=lambda: {"B": 0.0, "S": 0.0})


def run_plan(plan: CapturePlan, *, workers: int = 1, scheduler: str | None = None) -> list[GroupOutcome]:
    """Capture all groups of a plan.

    On Ctrl-C or an error the recording is closed well: what was committed stays, and `--resume` continues.

    Raises:
        CameraError, LocalblurError, OSError: with everything committed so far intact.
    """
    _check_space(plan)
    outcomes = []
    with contextlib.ExitStack() as stack:
        # entered before the workers, so left after them: a worker cut short may write a last frame
        stack.callback(shutil.rmtree, _feed_folder(plan), ignore_errors=True)
        largest = max((group.remaining for group in plan.groups), default=0)
        small = plan.rig is None or largest * plan.rig.width * plan.rig.height < SMALL_WORK_PIXELS
        executor = stack.enter_context(open_executor(1 if small else workers, None if small else scheduler))
        writer: RecordingWriter | None = None
        try:
            for group in plan.groups:
                source = _source(plan, group, executor, batch=max(4, 2 * workers))
                with opened(*source.cameras):
                    records = source.set_up()
                    if writer is None:
                        writer = _open_recording(plan, records, source)
                    outcomes.append(_capture_group(plan, group, source, writer))
        except BaseException:
            if writer is not None:
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong first
                    writer.close("aborted")
            raise
        if writer is not None:
            writer.close("complete")
    return outcomes


def _feed_folder(plan: CapturePlan) -> Path:
    return plan.output / f"{FEED_PREFIX}{os.getpid()}"


def _check_space(plan: CapturePlan) -> None:
    if plan.rig is None:
        return
    pixels = plan.rig.width * plan.rig.height
    frames = 2 * pixels * (2 if plan.rig.bit_depth > 8 else 1)
    scene_pairs = sum(group.remaining for group in plan.groups if group.shot_kind == "scene")
    needed = sum(group.remaining for group in plan.groups) * frames + scene_pairs * pixels * TRUTH_BYTES_PER_PIXEL
    ensure_space(plan.output, needed, "this capture")


def _source(plan: CapturePlan, group: GroupPlan, executor: Executor | None, *, batch: int) -> PairSource:
    if plan.rig is None or group.scene is None:
        return CameraSource(plan.serials, plan.camera_settings)
    truth = plan.output / "truth" / group.group.removeprefix("scenes/") if group.shot_kind == "scene" else None
    return RigSource(
        plan.source,
        _feed_folder(plan),
        plan.rig,
        group.scene,
        group.shot_kind,
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
        wanted = sum(group.remaining for group in plan.groups)
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
        settings={"source": plan.source, "sync": "software", "mirrored": mirrored, "serials": plan.serials},
    )
    writer = RecordingWriter.create(plan.output, manifest)
    for camera in source.cameras:
        text = camera.settings_text()
        if text:
            write_text(plan.output / f"camera_{camera.role}.pfs", text)
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


def _capture_group(plan: CapturePlan, group: GroupPlan, source: PairSource, writer: RecordingWriter) -> GroupOutcome:
    journal = writer.journal(group.group)
    outcome = GroupOutcome(group.group, group.count, journal.next_index)
    if outcome.held >= group.count:
        return outcome
    long_ms, short_ms = (record.exposure_ms for record in (writer.manifest.camera_B, writer.manifest.camera_S))
    pairer = Pairer(*source.cameras, frame_timeout_ms=FRAME_TIMEOUT_MS + long_ms + short_ms)
    journal.start(_start_settings(plan, group))
    status = "aborted"
    try:
        with Progress(group.count - outcome.held, f"capture {group.group}") as progress:
            hooks = _with_progress(source.hooks(), outcome, progress)
            while journal.next_index < group.count:
                ready = source.prepare(journal.next_index, group.count - journal.next_index)
                record_pairs(pairer, journal, writer.manifest.cameras, ready, hooks=hooks, interval_ms=plan.interval_ms)
        status = "complete"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        _finish(source, journal, status)
    return outcome


def _finish(source: PairSource, journal: JournalWriter, status: str) -> None:
    try:
        source.finish(journal)
        journal.stop(status)
    except OSError:
        if status == "complete":
            raise  # otherwise the failure under way says more


def _start_settings(plan: CapturePlan, group: GroupPlan) -> dict[str, Any]:
    return {
        "source": plan.source,
        "kind": group.shot_kind,
        "count": group.count,
        "interval_ms": plan.interval_ms,
        "scene": group.scene.model_dump(mode="json") if group.scene is not None else None,
    }


def _with_progress(hooks: RecordHooks, outcome: GroupOutcome, progress: Progress) -> RecordHooks:
    def committed(record: PairRecord) -> None:
        outcome.committed += 1
        for role, frame in zip(ROLES, (record.B, record.S), strict=True):
            outcome.saturated[role] = max(outcome.saturated[role], frame.saturated)
        shares = ", ".join(f"{role} {100 * outcome.saturated[role]:.1f}" for role in ROLES)
        progress.step(f"lost {len(outcome.lost)}, saturated % {shares}, gap {record.gap_ms:.2f} ms")

    return RecordHooks(
        seek=hooks.seek,
        check=hooks.check,
        before_commit=hooks.before_commit,
        committed=committed,
        lost=outcome.lost.append,
    )

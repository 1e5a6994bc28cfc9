"""Capturing through Basler's camera emulator: the recording loop against one that writes PNG files between triggers."""

import shutil
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import Row, Section, Variant, side_by_side

from localblur.acquisition.cameras.camera import CameraSettings
from localblur.acquisition.cameras.emulation import EmulatedCamera, enable_emulator
from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.recording.record import record_pairs
from localblur.acquisition.rig.settings import RigSettings, SceneSettings, resolve_rig
from localblur.acquisition.session.feed import RigFeed
from localblur.datasets.recording import ROLES, CameraRecord, RecordingManifest, RecordingWriter, Role

WIDTH, HEIGHT, PAIRS = 1280, 960, 12


def rig() -> RigSettings:
    """The rig of this benchmark."""
    return resolve_rig(seed=3, width=WIDTH, height=HEIGHT)


def write_frames(folder: Path) -> None:
    """What the emulated cameras will show: one simulated shot, again and again."""
    feed = RigFeed(folder, rig(), SceneSettings(name="bench", seed=11), "static")
    feed.render(0, 1)
    for role in ROLES:
        for number in range(1, PAIRS):
            shutil.copyfile(feed.folder_of(role) / "000000.tif", feed.folder_of(role) / f"{number:06d}.tif")


def cameras(frames: Path) -> tuple[TriggeredPairer, dict[Role, CameraRecord]]:
    """Two emulated cameras, open and set up; they live as long as the process."""
    enable_emulator()
    settings = rig()
    pair = EmulatedCamera("B", frames / "B"), EmulatedCamera("S", frames / "S")
    records = {}
    for camera, exposure_ms in zip(pair, (settings.exposure_long_ms, settings.exposure_short_ms), strict=True):
        camera.open()
        wanted = CameraSettings(
            exposure_ms=exposure_ms, width=WIDTH, height=HEIGHT, bit_depth=12, black_level=settings.black_level
        )
        records[camera.role] = camera.apply(wanted)
    return TriggeredPairer(*pair), records


def ours(frames: Path, folder: Path) -> Callable[[], Any]:
    """Frames to TIFF, checksums, an fsynced journal line per pair, on a writer thread behind a ring of buffers."""
    pairer, records = cameras(frames)
    manifest = RecordingManifest(versions={}, camera_B=records["B"], camera_S=records["S"])
    writer = RecordingWriter.create(folder / "recording", manifest)
    numbers = count()

    def run() -> int:
        journal = writer.journal(f"scenes/round{next(numbers)}")
        return record_pairs(pairer, journal, records, range(PAIRS)).committed

    return run


def simple_loop(frames: Path, folder: Path) -> Callable[[], Any]:
    """Trigger, fetch, write both frames as PNG, next: what a first script does; nothing is synced to the disk."""
    pairer, records = cameras(frames)
    buffers = [np.empty(records[role].shape, np.uint16) for role in ROLES]
    numbers = count()

    def run() -> int:
        target = folder / f"round{next(numbers)}"
        target.mkdir()
        pairer.start()
        for index in range(PAIRS):
            pair = pairer.take(*buffers)
            cv2.imwrite(str(target / f"{index}_blur.png"), pair.blurred.data)
            cv2.imwrite(str(target / f"{index}_sharp.png"), pair.sharp.data)
        pairer.stop()
        return PAIRS

    return run


def run(rounds: int) -> Section:
    """Milliseconds per pair."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_frames(folder / "frames")
        places = folder / "frames", folder
        recording, simple = side_by_side(
            Variant(name="record_pairs", prepare=ours, arguments=places, units=PAIRS),
            Variant(name="trigger, fetch, write PNG", prepare=simple_loop, arguments=places, units=PAIRS),
            rounds=rounds,
        )
    rate = f"{1 / recording.median:.0f} pairs/s"
    return Section(
        title="Capture through the emulator",
        text="12-bit Bayer frames; the emulator itself reads every frame from a TIFF file in both cases.",
        rows=[Row(what=f"one pair, {WIDTH}x{HEIGHT}", ours=recording, other=simple, unit="ms", scale=1000, note=rate)],
    )

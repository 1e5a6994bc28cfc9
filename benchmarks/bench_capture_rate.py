"""The recording loop at full size: the rate of the cameras alone, of the writer alone, and of both together.

If capturing took turns with writing, c pairs/s from the cameras and w pairs/s to the disk would give 1 / (1/c + 1/w).
The emulator shows its own test images here, so that nothing is read from a disk while another thing is written to it.
"""

import gc
import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from measure import MIB, Row, Section, Variant, side_by_side

from localblur.acquisition.cameras.camera import CameraSettings
from localblur.acquisition.cameras.emulation import SERIALS, enable_emulator
from localblur.acquisition.cameras.pylon import PylonCamera
from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.recording.pair_writer import make_buffers
from localblur.acquisition.recording.record import RecordHooks, record_pairs
from localblur.datasets.recording import (
    ROLES,
    CameraRecord,
    Frame,
    FrameRecord,
    PairRecord,
    RecordingManifest,
    RecordingWriter,
    Role,
)

WIDTH, HEIGHT, PAIRS = 2448, 2048, 12
SMALL_WIDTH, SMALL_HEIGHT, SMALL_PAIRS = 640, 480, 1000
SETTLED_PAIRS = 100
"""After so many pairs all caches and pools have their size."""
EXPOSURES_MS: dict[Role, float] = {"B": 0.2, "S": 0.1}
"""The emulator waits for its exposures; these leave it as fast as its memory."""


class NullJournal:
    """Commits nothing: what is left is the cameras' own rate."""

    next_index = 0

    def commit_pair(
        self, blurred: Frame, sharp: Frame, gap_ms: float, *, averaged: int = 1, replaces: Any = None
    ) -> PairRecord:
        frames = [
            FrameRecord(
                name="",
                bytes=0,
                crc32=0,
                block_id=frame.block_id,
                host_time_ns=frame.host_time_ns,
                camera_time_ns=None,
                exposure_ms=frame.exposure_ms,
                mean=0,
                saturated=0,
            )
            for frame in (blurred, sharp)
        ]
        return PairRecord(index=0, B=frames[0], S=frames[1], gap_ms=gap_ms)

    def lost(self, index: int, reason: str, *, count: int = 1) -> None:
        raise RuntimeError(f"a pair was lost: {reason}")

    def note(self, text: str) -> None:
        pass


def cameras(width: int, height: int) -> tuple[TriggeredPairer, dict[Role, CameraRecord]]:
    """Two emulated cameras with their own test image, open and set up; they live as long as the process."""
    enable_emulator()
    pair = PylonCamera("B", SERIALS["B"]), PylonCamera("S", SERIALS["S"])
    records = {}
    for camera in pair:
        camera.open()
        settings = CameraSettings(exposure_ms=EXPOSURES_MS[camera.role], width=width, height=height, bit_depth=12)
        records[camera.role] = camera.apply(settings)
    return TriggeredPairer(*pair), records


def cameras_alone() -> Callable[[], Any]:
    """Our loop, ring and copies, with a writer that does nothing."""
    pairer, records = cameras(WIDTH, HEIGHT)
    return lambda: record_pairs(pairer, NullJournal(), records, range(PAIRS)).committed


def array_copies() -> Callable[[], Any]:
    """Trigger both cameras and take a new array of each frame, as the SDK's samples do."""
    pairer, _ = cameras(WIDTH, HEIGHT)
    # the SDK's objects inside our cameras: the same set-up, and nothing of ours in the loop
    from pypylon import pylon

    raw = [camera._camera for camera in pairer.cameras]  # noqa: SLF001

    def run() -> int:
        for camera in raw:
            camera.StartGrabbing(pylon.GrabStrategy_OneByOne)
        for _ in range(PAIRS):
            for camera in raw:
                camera.WaitForFrameTriggerReady(1000, pylon.TimeoutHandling_ThrowException)
                camera.ExecuteSoftwareTrigger()
            frames = []
            for camera in raw:
                result = camera.RetrieveResult(3000, pylon.TimeoutHandling_ThrowException)
                frames.append(result.Array)
                result.Release()
        for camera in raw:
            camera.StopGrabbing()
        return len(frames)

    return run


def writer_alone(folder: Path) -> Callable[[], Any]:
    """Commit pairs that are in memory already."""
    _, records = cameras(WIDTH, HEIGHT)
    writer = RecordingWriter.create(folder, RecordingManifest(camera_B=records["B"], camera_S=records["S"]))
    buffers = make_buffers(records)
    frames = [
        Frame(role=role, data=data, block_id=0, host_time_ns=0, camera_time_ns=None, exposure_ms=1.0)
        for role, data in zip(ROLES, buffers, strict=True)
    ]
    numbers = count()

    def run() -> int:
        journal = writer.journal(f"scenes/round{next(numbers)}")
        for _ in range(PAIRS):
            journal.commit_pair(frames[0], frames[1], 0.0)
        return journal.next_index

    return run


def committed(folder: Path) -> Callable[[], Any]:
    """All of it: from the trigger to the synced journal line."""
    pairer, records = cameras(WIDTH, HEIGHT)
    writer = RecordingWriter.create(folder, RecordingManifest(camera_B=records["B"], camera_S=records["S"]))
    numbers = count()

    def run() -> int:
        journal = writer.journal(f"scenes/round{next(numbers)}")
        return record_pairs(pairer, journal, records, range(PAIRS)).committed

    return run


def thousand_pairs(folder: Path) -> Callable[[], Any]:
    """Memory and open files of the process while a thousand small pairs are recorded."""
    pairer, records = cameras(SMALL_WIDTH, SMALL_HEIGHT)
    manifest = RecordingManifest(camera_B=records["B"], camera_S=records["S"])
    process = psutil.Process()
    samples: list[tuple[float, int]] = []

    def sample(record: PairRecord, *_: object) -> None:
        if (record.index + 1) % SETTLED_PAIRS == 0:
            gc.collect()
            samples.append((process.memory_info().rss / MIB, process.num_fds()))

    def run() -> list[tuple[float, int]]:
        writer = RecordingWriter.create(folder / "small", manifest)
        journal = writer.journal("scenes/small")
        record_pairs(pairer, journal, records, range(SMALL_PAIRS), hooks=RecordHooks(committed=sample))
        writer.close("complete")
        return samples

    return run


def run(rounds: int) -> Section:
    """Milliseconds per pair, and what does not grow."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ceiling, plain, writing, both = side_by_side(
            Variant(name="ring and zero copy", prepare=cameras_alone, units=PAIRS),
            Variant(name="a new `.Array` per frame", prepare=array_copies, units=PAIRS),
            Variant(name="writer alone", prepare=writer_alone, arguments=(folder / "writer",), units=PAIRS),
            Variant(name="record_pairs", prepare=committed, arguments=(folder / "both",), units=PAIRS),
            rounds=rounds,
        )
        (small,) = side_by_side(Variant(name="small", prepare=thousand_pairs, arguments=(folder,)), rounds=0)
    size = f"one pair, {WIDTH}x{HEIGHT}, 12 bit"
    taking_turns = type(both)(
        name="cameras, then writer",
        seconds=[camera + disk for camera, disk in zip(ceiling.seconds, writing.seconds, strict=True)],
        peak_mib=max(ceiling.peak_mib, writing.peak_mib),
    )
    shares = [turns / together for turns, together in zip(taking_turns.seconds, both.seconds, strict=True)]
    rates = f"cameras alone {1 / ceiling.median:.1f}, writer alone {1 / writing.median:.1f} pairs/s"
    memory, files = [sample[0] for sample in small.result], [sample[1] for sample in small.result]
    return Section(
        title="Capture at full size",
        text="The emulator's own test images; every pair synced to the disk with its journal line where it is written.",
        rows=[
            Row(
                what=f"{size}, not stored",
                ours=ceiling,
                other=plain,
                unit="ms",
                scale=1000,
                note=f"{1 / ceiling.median:.1f} pairs/s",
            ),
            Row(
                what=f"{size}, committed",
                ours=both,
                other=taking_turns,
                unit="ms",
                scale=1000,
                note=f"{1 / both.median:.1f} pairs/s; {rates}",
            ),
        ],
        facts=[
            "committed rate over 1/(1/cameras + 1/writer): {:.0f} % ({:.0f} to {:.0f})".format(
                *(100 * share for share in (statistics.median(shares), min(shares), max(shares)))
            ),
            f"{SMALL_PAIRS} small pairs: {memory_text(memory)}; open files {files[0]} and {files[-1]}",
        ],
    )


def memory_text(memory: list[float]) -> str:
    """Memory after the first pairs and at the end, in MiB."""
    growth = 100 * (memory[-1] / memory[0] - 1)
    return f"{memory[0]:.0f} MiB after {SETTLED_PAIRS} pairs, {memory[-1]:.0f} MiB at the end ({growth:+.1f} %)"

"""Cameras for tests: real classes on a feed whose pixels say which frame they are."""

import numpy as np
import pytest

from localblur.acquisition.cameras.camera import CameraRecord, CameraSettings, TriggerSettings
from localblur.acquisition.cameras.faults import Fault, FaultPlan
from localblur.acquisition.cameras.simulated import simulated_pair
from localblur.acquisition.cameras.timebase import HostTime, VirtualTime
from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.pairing.stream_pairing import StreamPairer
from localblur.datasets.recording import RecordingManifest, RecordingWriter

SHAPE = (8, 16)
S_CODE = 20_000


class CodedFeed:
    """Frame `n` of camera B is all n, of camera S all 20000 + n; `seek` chooses the first after a start."""

    def __init__(self, length=10**6):
        self.first, self.length = 0, length

    def record(self, role):
        return CameraRecord(
            role=role,
            model="coded",
            serial=f"coded-{role}",
            pixel_format="BayerRG12",
            bit_depth=12,
            bayer="RGGB",
            width=SHAPE[1],
            height=SHAPE[0],
            black_level=0,
            white_level=4095,
            exposure_ms=2.0 if role == "S" else 20.0,
        )

    def seek(self, index):
        self.first = index

    def frame(self, role, number):
        if self.first + number >= self.length:
            raise IndexError(number)
        return np.full(SHAPE, self.first + number + S_CODE * (role == "S"), np.uint16)


def faults_of(plan):
    """`{trigger: kind}` or `{trigger: (kind, {more})}` as a tuple of faults."""
    faults = []
    for trigger, fault in (plan or {}).items():
        kind, more = fault if isinstance(fault, tuple) else (fault, {})
        faults.append(Fault(kind=kind, at=trigger, **more))
    return tuple(faults)


class FaultyPair:
    """Two simulated cameras on one feed, with faults and clocks, their pairer, and what they record into."""

    def __init__(self, folder, b_faults=None, s_faults=None, length=10**6, *, each=True, virtual=True, **clocks):
        self.feed = CodedFeed(length)
        self.time = VirtualTime() if virtual else HostTime()
        self.plan = FaultPlan(B=faults_of(b_faults), S=faults_of(s_faults), **clocks)
        self.blurred, self.sharp = simulated_pair(self.feed, plan=self.plan, timebase=self.time, wired=not each)
        if not each:
            self.set_up("sharp", source="line")
        self.pairer = TriggeredPairer(self.blurred, self.sharp, each=each, frame_timeout_ms=50, timebase=self.time)
        self.manifest = RecordingManifest(camera_B=self.feed.record("B"), camera_S=self.feed.record("S"))
        self.folder = folder

    def set_up(self, which, **trigger):
        camera = self.blurred if which == "blurred" else self.sharp
        exposure_ms = self.feed.record(camera.role).exposure_ms
        return camera.apply(CameraSettings(exposure_ms=exposure_ms, trigger=TriggerSettings(**trigger)))

    def stream(self, rate_hz=30.0, delay_ms=9.0):
        """Let camera B run by itself and S follow; returns their pairer."""
        self.blurred, self.sharp = simulated_pair(self.feed, plan=self.plan, timebase=self.time, wired=True, paced=True)
        self.set_up("blurred", source="free", rate_hz=rate_hz)
        self.set_up("sharp", source="line", delay_ms=delay_ms)
        return StreamPairer(
            self.blurred,
            self.sharp,
            period_ms=1000 / rate_hz,
            delay_ms=delay_ms,
            frame_timeout_ms=500,
            timebase=self.time,
        )

    def writer(self):
        return RecordingWriter.create(self.folder, self.manifest)

    @staticmethod
    def buffers():
        return np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint16)

    @staticmethod
    def codes(blurred, sharp):
        """Which frames these are; all pixels of a frame must agree."""
        assert (blurred == blurred.flat[0]).all()
        assert (sharp == sharp.flat[0]).all()
        return int(blurred.flat[0]), int(sharp.flat[0]) - S_CODE


@pytest.fixture
def faulty_pair(tmp_path):
    """Call it with the faults of B and of S, `{trigger: fault}`."""
    return lambda *faults, **more: FaultyPair(tmp_path / "recording", *faults, **more)


@pytest.fixture
def coded_feed():
    return CodedFeed()


@pytest.fixture
def two_emulated(monkeypatch):
    """Two emulated Basler cameras, for this test only."""
    monkeypatch.setenv("PYLON_CAMEMU", "2")

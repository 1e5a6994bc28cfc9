"""Cameras for tests: real classes on a feed whose pixels say which frame they are."""

import numpy as np
import pytest

from localblur.acquisition.camera import CameraError, CameraRecord
from localblur.acquisition.pairing import Pairer
from localblur.acquisition.simulated import SimulatedCamera
from localblur.datasets.recording import RecordingManifest, RecordingWriter

SHAPE = (8, 16)
S_CODE = 1000


class CodedFeed:
    """Frame `n` of camera B is all n, of camera S all 1000 + n; `seek` chooses the first after a start."""

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


class FaultyCamera(SimulatedCamera):
    """`faults` says what goes wrong at which trigger, counted over all starts."""

    def __init__(self, role, feed, faults=None):
        super().__init__(role, feed)
        self.faults = faults or {}
        self.triggers = 0

    def trigger(self):
        fault = self.faults.get(self.triggers)
        self.triggers += 1
        if fault == "interrupt":
            raise KeyboardInterrupt
        if fault == "refuse":
            raise CameraError("disconnected", "cable pulled")
        if fault != "ignore":
            super().trigger()
        if fault == "twice":
            super().trigger()

    def get(self, timeout_ms, out):
        fault = self.faults.get(self.triggers - 1)
        if fault == "late":  # the frame comes, but after everybody has stopped waiting
            raise CameraError("timeout", "no frame in time")
        frame = super().get(timeout_ms, out)
        if fault == "damaged":
            raise CameraError("failed_buffer", "incompletely grabbed")
        if fault == "skip":
            return super().get(timeout_ms, out)
        return frame


class FaultyPair:
    """Two faulty cameras on one feed, their pairer, and what they record into."""

    def __init__(self, folder, b_faults=None, s_faults=None, length=10**6):
        self.feed = CodedFeed(length)
        self.blurred = FaultyCamera("B", self.feed, b_faults)
        self.sharp = FaultyCamera("S", self.feed, s_faults)
        self.pairer = Pairer(self.blurred, self.sharp, frame_timeout_ms=50)
        self.manifest = RecordingManifest(camera_B=self.feed.record("B"), camera_S=self.feed.record("S"))
        self.folder = folder

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

"""SIGKILL of the recording loop at random moments: how much of what was triggered can be lost, and nothing else is."""

import subprocess
import sys
import time

import numpy as np
import pytest

from localblur.acquisition.recording.record import RING_PAIRS
from localblur.datasets.recording import Recording, verify
from localblur.datasets.recordings.journal import read_journal

KILLS = 20
GROUP = "scenes/codes"
PROGRAM = """
import sys
from pathlib import Path

import numpy as np

from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.recording.record import RecordHooks, RecordOptions, record_pairs
from localblur.acquisition.cameras.simulated import SimulatedCamera
from localblur.datasets.recording import CameraRecord, RecordingManifest, RecordingWriter

folder, triggers, durable = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "durable"


class Feed:
    first = 0

    def record(self, role):
        return CameraRecord(role=role, model="coded", serial=role, pixel_format="BayerRG12", bit_depth=12, bayer="RGGB",
                            width=64, height=48, black_level=0, white_level=4095, exposure_ms=2.0)

    def frame(self, role, number):
        return np.full((48, 64), self.first + number, np.uint16)


class Counting(SimulatedCamera):
    def trigger(self):
        log.write(b".")  # unbuffered: on record before the exposure begins
        super().trigger()


feed = Feed()
log = triggers.open("ab", buffering=0)
if (folder / "recording.json").exists():
    writer = RecordingWriter.open(folder)
else:
    writer = RecordingWriter.create(folder, RecordingManifest(camera_B=feed.record("B"), camera_S=feed.record("S")))
journal = writer.journal("scenes/codes")
feed.first = journal.next_index
indices = range(journal.next_index, 10**6)
pairer = TriggeredPairer(SimulatedCamera("B", feed), Counting("S", feed))
print("recording", flush=True)
record_pairs(pairer, journal, writer.manifest.cameras, indices, options=RecordOptions(durable=durable))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "most_lost"), [("durable", 1), ("normal", RING_PAIRS + 1)])
def test_twenty_kills_lose_no_more_than_promised(tmp_path, mode, most_lost):
    folder, triggers = tmp_path / "recording", tmp_path / "triggers"
    rng, held, lost = np.random.default_rng(20), 0, []
    for _ in range(KILLS):
        triggered = triggers.stat().st_size if triggers.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(triggers), mode], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "recording\n"
        time.sleep(float(rng.uniform(0.0, 0.4)))
        process.kill()
        process.communicate()
        journal = folder / GROUP / "journal.jsonl"
        pairs = read_journal(journal).pairs if journal.exists() else []
        lost.append(triggers.stat().st_size - triggered - (len(pairs) - held))
        held = len(pairs)
        assert [pair.index for pair in pairs] == list(range(held))
    assert held > KILLS
    assert min(lost) >= 0
    assert max(lost) <= most_lost
    checked, problems = verify(folder)
    assert (checked, problems) == (held, [])
    recording = Recording.open(folder)
    for index in range(held):
        codes = {int(code) for frame in recording.frames(GROUP, index) for code in np.unique(frame)}
        # one and the same exposure; cameras that had to be started anew on a busy machine count from the run's first
        assert len(codes) == 1 and max(codes) <= index

"""The recording loop on emulated cameras: damaged frames and pulled cables cost attempts, never a pair or its place."""

import numpy as np
import pytest
import tifffile

from localblur.acquisition.cameras.camera import CameraSettings, TriggerSettings, opened
from localblur.acquisition.cameras.emulation import emulated_pair
from localblur.acquisition.pairing.pairing import TriggeredPairer
from localblur.acquisition.recording.record import RecordHooks, record_pairs
from localblur.datasets.recording import Recording, RecordingManifest, RecordingWriter, verify

pytestmark = pytest.mark.usefixtures("two_emulated")

WIDTH, HEIGHT, PAIRS = 96, 64, 40
S_CODE = 1000


class Feed:
    """Folders in which frame n of B is all n and of S all 1000 + n; `seek` makes the next frame after a start n."""

    def __init__(self, folder):
        self.folders = {role: folder / role for role in "BS"}
        for path in self.folders.values():
            path.mkdir()

    def seek(self, index):
        for role, path in self.folders.items():
            for number in range(PAIRS):
                file = path / f"{number:06d}.tif"
                if number < index:
                    file.unlink(missing_ok=True)
                elif not file.exists():
                    frame = np.full((HEIGHT, WIDTH), number + S_CODE * (role == "S"), np.uint16)
                    tifffile.imwrite(file, frame << 4, photometric="minisblack")


def settings(**trigger):
    return CameraSettings(exposure_ms=5.0, width=WIDTH, height=HEIGHT, trigger=TriggerSettings(**trigger))


@pytest.mark.parametrize("wired", [False, True])
def test_faults_in_a_recording_cost_attempts_and_no_pair_is_wrong(tmp_path, rng, wired):
    damaged, broken = np.split(rng.choice(np.arange(1, PAIRS), 8, replace=False), [6])
    faults = {
        "B": dict.fromkeys(damaged[::2].tolist(), "failed_buffer") | {int(broken[0]): "stream_error"},
        "S": dict.fromkeys(damaged[1::2].tolist(), "failed_buffer") | {int(broken[1]): "stream_error"},
    }
    feed = Feed(tmp_path)
    cameras = emulated_pair(feed.folders, wired=wired, faults=faults)
    wanted = (settings(output_line="Line2"), settings(source="line")) if wired else (settings(), settings())

    def set_up():
        return [camera.apply(asked) for camera, asked in zip(cameras, wanted, strict=True)]

    def reopen():
        for camera in cameras:
            camera.close()
        for camera in cameras:
            camera.open()
        assert [record.features for record in set_up()] == [blurred.features, sharp.features]

    with opened(*cameras):
        blurred, sharp = set_up()
        manifest = RecordingManifest(camera_B=blurred, camera_S=sharp)
        writer = RecordingWriter.create(tmp_path / "recording", manifest)
        pairer = TriggeredPairer(*cameras, each=not wired, frame_timeout_ms=1000)
        journal = writer.journal("scenes/a")
        hooks = RecordHooks(seek=feed.seek, reopen=reopen)
        result = record_pairs(pairer, journal, manifest.cameras, range(PAIRS), hooks=hooks)
        writer.close("complete")
    assert result.committed == PAIRS
    assert len(result.lost) == 8
    assert sum("damaged" in reason for reason in result.lost) == 6
    assert sum("cable was pulled" in reason for reason in result.lost) == 2
    assert verify(writer.folder) == (PAIRS, [])
    recording = Recording.open(writer.folder)
    for index in range(PAIRS):
        pair = recording.frames("scenes/a", index)
        assert [int(frame[0, 0]) for frame in pair] == [index, S_CODE + index]

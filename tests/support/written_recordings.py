"""Small recordings as cameras would leave them, and disks that fill up."""

import errno

import numpy as np

from localblur.datasets.recording import (
    CameraRecord,
    Frame,
    RecordingManifest,
)
from localblur.datasets.recordings.journal import FrameStore

GROUP = "scenes/street"
SHAPE = (12, 16)


def camera(role, **changes):
    values = {
        "role": role,
        "model": "test",
        "serial": f"serial-{role}",
        "pixel_format": "BayerRG12",
        "bit_depth": 12,
        "bayer": "RGGB",
        "width": SHAPE[1],
        "height": SHAPE[0],
        "black_level": 64.0,
        "white_level": 4095.0,
        "exposure_ms": 20.0 if role == "B" else 2.0,
    }
    return CameraRecord(**{**values, **changes})


def manifest(**changes):
    return RecordingManifest(camera_B=camera("B", **changes), camera_S=camera("S", **changes))


def pixels(role, index, shape=SHAPE, dtype=np.uint16):
    """Different in every frame, and the same each time."""
    seed = 2 * index + (role == "S")
    return np.random.default_rng(seed).integers(0, 4096 if dtype == np.uint16 else 256, shape).astype(dtype)


def frame(role, index, data=None):
    return Frame(
        role=role,
        data=pixels(role, index) if data is None else data,
        block_id=index,
        host_time_ns=1_000_000 * index,
        camera_time_ns=None,
        exposure_ms=20.0,
    )


def commit(journal, count):
    for _ in range(count):
        index = journal.next_index
        journal.commit_pair(frame("B", index), frame("S", index), 0.25)


def left_by_a_kill(folder):
    """Make it look as if its writer had been killed: the state says so, and no list of checksums is believed."""
    path = folder / "recording.json"
    path.write_text(path.read_text().replace('"state": "complete"', '"state": "running"'))
    return folder


def names(folder):
    return sorted(path.name for path in (folder / GROUP).glob("*.tif*"))


class FullDisk(FrameStore):
    """A disk with room for so many more bytes."""

    def __init__(self, room):
        self.room = room

    def put(self, file, content):
        super().put(file, content[: self.room])
        if len(content) > self.room:
            self.room = 0
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(content)

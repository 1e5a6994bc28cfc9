"""Frames of the simulated rig, rendered ahead into a folder, from which simulated or emulated cameras take them.

Rendering is the slow part, so it runs in worker processes. The files are what Basler's emulator reads: one folder per
camera with gray TIFFs, 12-bit values aligned to the most significant bit, in the order in which they will be triggered.
"""

import shutil
import zlib
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from localblur.acquisition.cameras.camera import CameraRecord
from localblur.acquisition.pairing.pairing import CapturedPair
from localblur.acquisition.rig.simulator import RigSettings, RigSimulator, SceneSettings, ShotKind
from localblur.common.errors import LocalblurError
from localblur.common.parallel import run_tasks
from localblur.datasets.images import read_plane
from localblur.datasets.recording import ROLES, Role


@dataclass(frozen=True)
class RenderTask:
    """One shot to render into `folder`; `truth` says whether its truth is wanted."""

    rig: RigSettings
    scene: SceneSettings
    kind: ShotKind
    index: int
    folder: Path
    truth: bool


def render_shot(task: RenderTask) -> dict[Role, int]:
    """Render one shot into its folder; returns the CRC-32 of each camera's right-aligned values. Runs in a worker."""
    shot = _simulator(task.rig, task.scene).shot(task.index, task.kind)
    checksums: dict[Role, int] = {}
    for role, raw in zip(ROLES, (shot.raw_B, shot.raw_S), strict=True):
        checksums[role] = zlib.crc32(np.ascontiguousarray(raw).data)
        tifffile.imwrite(
            task.folder / role / f"{task.index:06d}.tif", raw << _shift(task.rig), photometric="minisblack"
        )
    if task.truth:
        shot.truth.save(task.folder / "truth" / f"{task.index:06d}.npz")
    return checksums


@lru_cache(maxsize=1)
def _simulator(rig: RigSettings, scene: SceneSettings) -> RigSimulator:
    return RigSimulator(rig, scene)


def _shift(rig: RigSettings) -> int:
    return 16 - rig.bit_depth if rig.bit_depth > 8 else 0


class RigFeed:
    """Rendered shots of one scene or calibration, waiting for the cameras.

    Args:
        folder: a folder of its own for waiting frames; removed by `remove`.
        rig, scene, kind: what to render.
        truth_folder: where the truth of committed pairs goes; None if it is not wanted.
        executor: worker processes, or None to render in this process.
    """

    def __init__(
        self,
        folder: Path,
        rig: RigSettings,
        scene: SceneSettings,
        kind: ShotKind,
        *,
        truth_folder: Path | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.folder = folder
        self.checked = 0
        self._rig, self._scene, self._kind = rig, scene, kind
        self._truth_folder, self._executor = truth_folder, executor
        self._checksums: dict[int, dict[Role, int]] = {}
        self._first = 0

    def render(self, first: int, count: int) -> None:
        """Render shots `first` to `first + count - 1` in place of whatever waited.

        Raises:
            LocalblurError: if rendering fails.
        """
        self.remove()
        for role in ROLES:
            self.folder_of(role).mkdir(parents=True)
        wanted = self._truth_folder is not None
        tasks = [
            RenderTask(self._rig, self._scene, self._kind, index, self.folder, wanted)
            for index in range(first, first + count)
        ]
        for task, result in run_tasks(render_shot, tasks, self._executor):
            if isinstance(result, Exception):
                raise result
            self._checksums[task.index] = result
        self._first = first

    def folder_of(self, role: Role) -> Path:
        """The folder with one camera's waiting frames."""
        return self.folder / role

    def seek(self, index: int) -> None:
        """Make shot `index` the next one: cameras that start now begin with it."""
        for passed in range(self._first, index):
            for role in ROLES:
                (self.folder_of(role) / f"{passed:06d}.tif").unlink(missing_ok=True)
        self._first = index

    def record(self, role: Role) -> CameraRecord:
        """The simulated camera that takes these frames."""
        rig = self._rig
        return CameraRecord(
            role=role,
            model="simulated",
            serial=f"simulated-{role}",
            pixel_format=f"BayerRG{rig.bit_depth}",
            bit_depth=rig.bit_depth,
            bayer=rig.bayer,
            width=rig.width,
            height=rig.height,
            black_level=rig.black_level,
            white_level=rig.white_level,
            exposure_ms=rig.exposure_long_ms if role == "B" else rig.exposure_short_ms,
        )

    def frame(self, role: Role, number: int) -> npt.NDArray[Any]:
        """The waiting frame a camera reaches with trigger `number` since its start."""
        path = self.folder_of(role) / f"{self._first + number:06d}.tif"
        if not path.exists():
            raise IndexError(number)
        return read_plane(path) >> _shift(self._rig)

    def check(self, index: int, pair: CapturedPair) -> None:
        """Compare a captured pair with what was rendered, bit for bit.

        Raises:
            LocalblurError: if a frame differs.
        """
        for role, frame in zip(ROLES, (pair.blurred, pair.sharp), strict=True):
            if zlib.crc32(np.ascontiguousarray(frame.data).data) != self._checksums[index][role]:
                raise LocalblurError(
                    f"camera {role} did not deliver shot {index} as it was fed; nothing of this pair is kept, run again"
                    " with --resume"
                )
        self.checked += 1

    def keep_truth(self, index: int) -> None:
        """Move the truth of a pair that is about to be committed to its place."""
        if self._truth_folder is not None:
            self._truth_folder.mkdir(parents=True, exist_ok=True)
            name = f"{index:06d}.npz"
            (self.folder / "truth" / name).replace(self._truth_folder / name)

    def remove(self) -> None:
        """Remove all waiting frames."""
        shutil.rmtree(self.folder, ignore_errors=True)

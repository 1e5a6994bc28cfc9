"""The frames of a calibration as its checks see them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from localblur.acquisition.calibrating.findings import Case
from localblur.acquisition.measuring.raw_pictures import RawFrame, binned, check_bin_px
from localblur.datasets.images import FloatArray
from localblur.datasets.recording import ROLES, CameraRecord, PairRecord, Recording, Role
from localblur.datasets.recordings.journal import SATURATED_SHARE

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Small:
    """A frame in blocks of `size_px` x `size_px` pixels.

    Attributes:
        light: DN above black, float32 (H, W).
        clear: blocks without a saturated pixel, bool (H, W).
    """

    light: FloatArray
    clear: BoolArray
    size_px: int


@dataclass(frozen=True)
class Shot:
    """One frame of a pair."""

    pair: int
    role: Role
    raw: RawFrame
    camera: CameraRecord
    exposure_ms: float
    averaged: int

    def saturated(self) -> BoolArray:
        """Which values are at 98 % of the white level or above, in the frame's shape."""
        return np.asarray(self.raw >= SATURATED_SHARE * self.camera.white_level)

    def light(self) -> float:
        """Mean light as a share of full scale."""
        camera = self.camera
        return (float(self.raw.mean()) - camera.black_level) / (camera.white_level - camera.black_level)

    def small(self) -> Small:
        """The frame in blocks."""
        size_px = check_bin_px(self.raw.shape[1])
        saturated = self.saturated().astype(np.uint8) * np.uint8(255)
        light = binned(self.raw, size_px) - np.float32(self.camera.black_level)
        return Small(light, binned(saturated, size_px) == 0, size_px)

    def case(
        self, problem: str, value: float = 0.0, limit: float = 0.0, place: tuple[float, float] | None = None
    ) -> Case:
        """A problem of this frame; `place` is (x, y) as shares of width and height."""
        where = ""
        if place is not None:
            where = f"near x={place[0] * self.camera.width:.0f}, y={place[1] * self.camera.height:.0f}"
        return Case(problem=problem, pair=self.pair, camera=self.role, value=value, limit=limit, where=where)


def read_shots(recording: Recording, kind: str, pair: PairRecord) -> tuple[Shot, Shot]:
    """Both frames of a pair of `calibration/<kind>`."""
    frames = recording.frames(f"calibration/{kind}", pair.index)
    blurred, sharp = (
        Shot(pair.index, role, raw, recording.manifest.cameras[role], pair.frames[role].exposure_ms, pair.averaged)
        for role, raw in zip(ROLES, frames, strict=True)
    )
    return blurred, sharp


def new_shots(recording: Recording, kind: str, pairs: Sequence[PairRecord], first: int) -> Iterator[Shot]:
    """All frames of the pairs from number `first` on."""
    for pair in pairs:
        if pair.index >= first:
            yield from read_shots(recording, kind, pair)

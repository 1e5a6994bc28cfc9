"""What is recorded about a camera, a frame and a pair."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from localblur.common.settings import Settings

Role = Literal["B", "S"]
"""B: long exposure, blurred. S: short exposure, sharp."""
BayerPattern = Literal["RGGB", "GRBG", "GBRG", "BGGR"]
"""The mosaic's first 2x2 block, row by row."""

ROLES: tuple[Role, Role] = ("B", "S")


class CameraRecord(Settings):
    """What the recording knows about one camera.

    Attributes:
        pixel_format: the camera's name for it, for example BayerRG12; `bayer` is None for RGB frames.
        black_level, white_level: DN at `bit_depth`.
        exposure_ms: as read back from the camera.
        features: every other setting read back from the camera.
    """

    role: Role
    model: str
    serial: str
    pixel_format: str
    bit_depth: int
    bayer: BayerPattern | None
    width: int
    height: int
    black_level: float
    white_level: float
    exposure_ms: float
    features: dict[str, Any] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame: (H, W), or (H, W, 3) for RGB."""
        return (self.height, self.width) if self.bayer else (self.height, self.width, 3)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of a frame's values, right-aligned."""
        return np.uint8 if self.bit_depth <= 8 else np.uint16

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One exposure of one camera.

    Attributes:
        data: uint8 or uint16, right-aligned DN, (H, W) mosaic or (H, W, 3).
        block_id: the camera's frame counter since the last start, None when it has none.
        host_time_ns: wall clock of the host when the frame had arrived.
        camera_time_ns: the camera's own clock, None when it has none.
        exposure_ms: exposure time in milliseconds.
    """

    role: Role
    data: npt.NDArray[Any]
    block_id: int | None
    host_time_ns: int
    camera_time_ns: int | None
    exposure_ms: float


class FrameRecord(Settings):
    """A committed frame: its file, checked by size and CRC-32, and what is known about the exposure.

    `mean` (DN), `saturated` (share of pixels at 98 % of the white level or above) and `clipped` (at 0 DN, where noise
    is cut off) come from one pixel in sixteen, every Bayer site alike. `focus` is that of `focus_measure`; frames
    recorded before it was measured have None.
    """

    name: str
    bytes: int
    crc32: int
    block_id: int | None
    host_time_ns: int
    camera_time_ns: int | None
    exposure_ms: float
    mean: float
    saturated: float
    clipped: float = 0.0
    focus: float | None = None


class Replaced(Settings):
    """The pair whose place another one took: why, and the names of its frames, which stay where they are."""

    reason: str
    B: str
    S: str


class PairRecord(Settings):
    """A committed pair.

    Attributes:
        gap_ms: host time of S's trigger minus that of B's, in milliseconds.
        averaged: number of exposures each frame is the mean of.
        replaces: the pair of the same index that was recorded before and is not used any more.
    """

    index: int
    B: FrameRecord
    S: FrameRecord
    gap_ms: float
    averaged: int = 1
    replaces: Replaced | None = None

    @property
    def frames(self) -> dict[Role, FrameRecord]:
        """Both frames by role."""
        return {"B": self.B, "S": self.S}

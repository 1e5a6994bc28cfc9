"""What a pair is: a blurred and a sharp picture of the same instant, with its mask and what is known about it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError

ValidBox = tuple[int, int, int, int]

MASK_THRESHOLD = 128
"""A soft mask value of 128 and above is blurred."""


class Verdict(StrEnum):
    """What quality control, or a person, decided about a pair."""

    ACCEPT = "accept"
    REJECT = "reject"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class PairInfo:
    """Everything known about a pair except its pixels.

    Attributes:
        name: the pair's name inside its scene, for example "00".
        exposure_long_ms, exposure_short_ms: exposure times in milliseconds, NaN when unknown.
        valid_box: (y0, x0, y1, x1), half open; outside it a warp had no data.
        quality: named quality measures.
        verdict, reasons, decided_by: the decision, why (in words), and whose it is ("auto" or a person).
    """

    name: str
    exposure_long_ms: float = float("nan")
    exposure_short_ms: float = float("nan")
    valid_box: ValidBox | None = None
    quality: dict[str, float] = field(default_factory=dict)
    verdict: Verdict = Verdict.UNDECIDED
    reasons: str = ""
    decided_by: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A blurred and a sharp picture of the same instant.

    Attributes:
        scene: name of the scene; scenes, never pairs, are divided between splits.
        info: everything but pixels.
        blurred, sharp: uint8 or uint16, shape (H, W, 3), the same dtype and shape.
        mask: soft blur mask, uint8, shape (H, W): 0..255 is the confidence that a pixel belongs to the blur's extent,
            128 and above is blurred; None until made.

    Raises:
        LocalblurError: if shapes or types disagree.
    """

    scene: str
    info: PairInfo
    blurred: npt.NDArray[Any]
    sharp: npt.NDArray[Any]
    mask: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        label = f"pair {self.scene}/{self.info.name}"
        if self.blurred.ndim != 3 or self.blurred.shape[2] != 3 or self.blurred.dtype not in (np.uint8, np.uint16):
            raise LocalblurError(
                f"{label}: blurred must be (H, W, 3) uint8 or uint16, got {self.blurred.shape} {self.blurred.dtype}"
            )
        if self.sharp.shape != self.blurred.shape or self.sharp.dtype != self.blurred.dtype:
            raise LocalblurError(
                f"{label}: blurred is {self.blurred.shape} {self.blurred.dtype} but sharp is {self.sharp.shape}"
                f" {self.sharp.dtype}; both must be the same"
            )
        if self.mask is not None and (self.mask.shape != self.blurred.shape[:2] or self.mask.dtype != np.uint8):
            raise LocalblurError(
                f"{label}: mask must be {self.blurred.shape[:2]} uint8, got {self.mask.shape} {self.mask.dtype}"
            )

    @property
    def valid_box(self) -> ValidBox:
        """The valid box, the whole image when none was recorded."""
        return self.info.valid_box or (0, 0, *self.blurred.shape[:2])


def binary_mask(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """True where a soft mask says blurred (128 and above)."""
    return mask >= MASK_THRESHOLD

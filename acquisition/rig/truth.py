"""What is known about a simulated shot, and its file."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.datasets.images import FloatArray

_FLOAT16 = ("soft_extent", "clean_blurred_on_sharp", "clean_sharp", "vignetting_ratio")
_STEPS_PER_PX = 2048
"""Displacement is rounded to 1/2048 px: exact to 0.00025 px and far smaller when compressed."""


@dataclass(frozen=True, kw_only=True)
class RigTruth:
    """The truth of a shot on the grid of the sharp camera S.

    Values are linear, 0 at the nominal black level and 1 at white level: (DN - black) / (white - black). With B and S
    in these units, S = vignetting_ratio * (color_matrix @ (B - offset_B)) + offset_S wherever nothing moves.

    Attributes:
        displacement: float32 (H, W, 2), for each S pixel its (x, y) position in B.
        motion_mask: bool (H, W), touched by anything that moved at any time of the long exposure, rim included.
        soft_extent: float32 (H, W) in [0, 1], the largest share of the pixel a moving object covered.
        valid: bool (H, W), inside B's frame.
        color_matrix: float64 (3, 3), shot-to-shot exposure included. offset_B, offset_S: float64 (3,).
        vignetting_ratio: float32 (H, W).
        clean_blurred_on_sharp: float32 (H, W, 3), the long exposure as S would have seen it, without noise.
        clean_sharp: float32 (H, W, 3), the short exposure without noise.
        patches_S, patches_B: float64 (24, 2), centres of the chart's patches in each camera; None without a chart.
    """

    displacement: FloatArray
    motion_mask: npt.NDArray[np.bool_]
    soft_extent: FloatArray
    valid: npt.NDArray[np.bool_]
    color_matrix: npt.NDArray[np.float64]
    offset_B: npt.NDArray[np.float64]  # noqa: N815 - the two cameras are called B and S everywhere
    offset_S: npt.NDArray[np.float64]  # noqa: N815
    vignetting_ratio: FloatArray
    clean_blurred_on_sharp: FloatArray
    clean_sharp: FloatArray
    patches_S: npt.NDArray[np.float64] | None = None  # noqa: N815
    patches_B: npt.NDArray[np.float64] | None = None  # noqa: N815

    def save(self, path: Path) -> None:
        """Write a compressed npz: images in float16, displacement to 0.00025 px, everything else exactly."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name == "displacement":
                value = (np.rint(value * _STEPS_PER_PX) / _STEPS_PER_PX).astype(np.float32)
            arrays[field.name] = value.astype(np.float16) if field.name in _FLOAT16 else value
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "RigTruth":
        """Read what `save` wrote.

        Raises:
            LocalblurError: if the file is missing, damaged or something else.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            return cls(**{k: v.astype(np.float32) if k in _FLOAT16 else v for k, v in arrays.items()})
        except Exception as error:  # numpy raises many kinds on damaged archives
            raise LocalblurError(f"cannot read truth {path}: {' '.join(str(error).split())}") from error

"""What goes into the pipeline: a captured pair in linear light, and the constants of every step."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from localblur.alignment.light.color import ColorSettings
from localblur.alignment.light.radiometry import LinearImage, RadiometrySettings
from localblur.alignment.registration.registration_level import RegistrationSettings
from localblur.alignment.registration.tiles import TileSettings
from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings

MIN_SIDE_PX = 96


class AlignmentSettings(Settings):
    """Constants of calibration and alignment.

    Attributes:
        rig_degrees: degrees of the rig's displacement field to choose from; what the static pairs speak for is taken. A
            cubic holds shift, turn, perspective and the first radial term, degree 5 the second one.
        max_uncertainty_px: a refinement whose predicted standard deviation somewhere in the frame is larger falls back
            to a simpler one.
        bumped_px: a pair whose field lies further than this from the calibration was taken by a rig that was bumped
            since; a shift and a turn no longer describe the difference.
        min_static_correlation: a static pair that correlates less after registration is not used.
    """

    rig_degrees: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(default=(3, 5), min_length=1)
    max_uncertainty_px: float = Field(default=0.1, gt=0)
    bumped_px: float = Field(default=2.0, gt=0)
    min_static_correlation: float = Field(default=0.7, ge=0, le=1)
    radiometry: RadiometrySettings = RadiometrySettings()
    registration: RegistrationSettings = RegistrationSettings()
    color: ColorSettings = ColorSettings()
    tiles: TileSettings = TileSettings()


@dataclass(frozen=True)
class CapturedPair:
    """Two pictures of the same instant as the cameras took them, in linear light.

    Attributes:
        label: where it comes from, for messages.
        blurred, sharp: the long and the short exposure.
        exposure_long_ms, exposure_short_ms: exposure times in milliseconds, NaN when unknown.
    """

    label: str
    blurred: LinearImage
    sharp: LinearImage
    exposure_long_ms: float = float("nan")
    exposure_short_ms: float = float("nan")

    def check(self) -> None:
        """Raise a `LocalblurError` unless both are finite pictures of one size and large enough."""
        blurred, sharp = self.blurred.light, self.sharp.light
        if blurred.shape != sharp.shape:
            raise LocalblurError(
                f"{self.label}: blurred is {blurred.shape[1]}x{blurred.shape[0]} but sharp is"
                f" {sharp.shape[1]}x{sharp.shape[0]}; capture both cameras at one size"
            )
        if min(sharp.shape[:2]) < MIN_SIDE_PX:
            raise LocalblurError(
                f"{self.label}: {sharp.shape[1]}x{sharp.shape[0]} is too small to align;"
                f" both sides need at least {MIN_SIDE_PX} px"
            )
        if not (np.isfinite(blurred).all() and np.isfinite(sharp).all()):
            raise LocalblurError(f"{self.label}: the pictures hold NaN or infinite values")

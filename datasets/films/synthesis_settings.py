"""How pairs are made from video."""

from pydantic import Field, model_validator

from localblur.common.settings import Settings
from localblur.datasets.films.interpolation import InterpolationSettings
from localblur.datasets.films.scene_cuts import Repeated
from localblur.datasets.light.realism import RealismSettings
from localblur.datasets.masks.motion_masks import MotionMaskSettings
from localblur.datasets.storage.splits import DEFAULT_SPLIT


class SynthesisSettings(Settings):
    """How pairs are made from video; stored with them.

    Attributes:
        shortest, longest: number of frames averaged: one number, or drawn per pair from the odd ones of a range.
        exposure_ms: frames for so long an exposure instead, by the frame rate.
        duty_cycle: share of `stride` that is exposed instead: a camera of `1 / stride` of the frame rate whose shutter
            is open so long.
        stride: frames from one window's start to the next; None: no overlap, no gap.
        frame_rate: at which it was filmed, where the video plays slower or says nothing.
        repeated: whether windows end at repeated frames, or these are left out.
        camera_response: how the video codes light: a name of `CAMERA_RESPONSES` or the path of a measured curve.
        linear_light: average light; otherwise the codes themselves (the published `blur` without gamma).
        interpolation: in-between frames where motion is fast.
        realism: what a camera makes of the blurred light; None: nothing.
        seed: seed of every random choice.
        split: shares of the splits or a file, see `assign_splits`.
        mask: make blur masks; motion: how.
        skip_static, static_share: leave out windows with a smaller blurred share of the picture.
        max_pairs: at most so many windows, spread evenly over all videos.
    """

    shortest: int = Field(default=7, ge=2, le=100_000)
    longest: int = Field(default=13, ge=2, le=100_000)
    exposure_ms: float | None = Field(default=None, gt=0, le=1e6)
    duty_cycle: float | None = Field(default=None, gt=0, le=1)
    stride: int | None = Field(default=None, ge=1)
    frame_rate: float | None = Field(default=None, gt=0, le=1e6)
    repeated: Repeated = "break"
    camera_response: str = "srgb"
    linear_light: bool = True
    interpolation: InterpolationSettings = InterpolationSettings()
    realism: RealismSettings | None = None
    seed: int = Field(default=0, ge=0)
    split: str = DEFAULT_SPLIT
    mask: bool = True
    motion: MotionMaskSettings = MotionMaskSettings()
    skip_static: bool = False
    static_share: float = Field(default=0.002, ge=0, le=1)
    max_pairs: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "SynthesisSettings":
        if self.duty_cycle is not None and self.stride is None:
            raise ValueError("duty_cycle is a share of stride: give stride as well")
        if self.duty_cycle is not None and self.exposure_ms is not None:
            raise ValueError("give exposure_ms or duty_cycle, not both")
        if self.realism is not None and not self.linear_light:
            raise ValueError("realism works on light: it needs linear_light")
        return self

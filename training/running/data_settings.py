"""What a training step sees, as settings."""

from typing import Literal

from pydantic import Field, model_validator

from localblur.common.settings import Settings


class StageSettings(Settings):
    """A part of a run with patches of one size (progressive patches, as Restormer's).

    Attributes:
        duration: share of the run, in units common to all stages.
        patch_px, batch: as in `DataSettings`, which then says nothing about them.
    """

    duration: float = Field(gt=0)
    patch_px: int = Field(ge=44, multiple_of=4)
    batch: int = Field(ge=1)


class AugmentSettings(Settings):
    """What may be changed in a patch; blurred and sharp alike, but for noise.

    Attributes:
        turn: `mirror` left and right, `all` eight ways to mirror and rotate by multiples of 90 degrees, or `none`.
        channel_order: exchange red, green and blue.
        exposure_stops: make linear light up to so many stops brighter or darker.
        saturation: factor of the colours' distance from gray, drawn evenly between the two.
        tone: both pictures' coded values are raised to a power from 1 / tone to tone, and another fifth of that for
            each channel: cameras respond differently to light.
        warp: share of patches turned by any angle, stretched and enlarged: of few photographs more are seen.
        most_enlarged: how many times at most, beside what turning takes.
        noise: Gaussian noise in the blurred picture whose standard deviation is this times |N(0, 1)|, coded values in
            [0, 1], as DeepDeblur's.
        local_blur: share of patches over which parts of their sharp picture move, with exact masks; the pair's own blur
            stays where it has a mask. For pairs that are few, or without masks.
        local_blur_px: how far the parts move.
        reduced: share of patches that show more of the picture, made smaller: `deblur` first looks for blur from afar.
        most_reduced: how many times smaller at most, where the picture is large enough; whole numbers from 2.
        still: share of patches whose sharp picture stands for both, with an empty mask: what is there, is not what says
            that it moved.
        glow: share of patches with up to three soft spots of light or shade in both pictures: what has no edge may
            stand still.
        glow_px: how broad the spots are, as the standard deviation of a bell.
        defocus: share of patches that both pictures show out of focus, wholly or in part: soft is not moving.
        defocus_px: how far out of focus, as the radius of a disc of light.
    """

    turn: Literal["none", "mirror", "all"] = "all"
    channel_order: bool = False
    exposure_stops: float = Field(default=0.0, ge=0, le=4)
    saturation: tuple[float, float] | None = None
    tone: float = Field(default=1.0, ge=1, le=4)
    warp: float = Field(default=0.0, ge=0, le=1)
    most_enlarged: float = Field(default=1.5, ge=1, le=4)
    noise: float = Field(default=0.0, ge=0, le=0.5)
    local_blur: float = Field(default=0.0, ge=0, le=1)
    local_blur_px: tuple[float, float] = (3.0, 40.0)
    reduced: float = Field(default=0.0, ge=0, le=1)
    most_reduced: int = Field(default=4, ge=2, le=16)
    still: float = Field(default=0.0, ge=0, le=1)
    glow: float = Field(default=0.0, ge=0, le=1)
    glow_px: tuple[float, float] = (3.0, 30.0)
    defocus: float = Field(default=0.0, ge=0, le=1)
    defocus_px: tuple[float, float] = (1.0, 6.0)

    @model_validator(mode="after")
    def _check(self) -> "AugmentSettings":
        ranges = {
            "saturation": self.saturation,
            "local_blur_px": self.local_blur_px,
            "glow_px": self.glow_px,
            "defocus_px": self.defocus_px,
        }
        for name, limits in ranges.items():
            if limits is not None and not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name} must be a range of numbers above 0, got {limits[0]:g} to {limits[1]:g}")
        return self


class DataSettings(Settings):
    """What one step sees.

    Attributes:
        patch_px: side of the square patches; a multiple of 4.
        batch: patches per step, over all processes together.
        stages: patch sizes and batches that change during the run, one stage after another; empty: they do not.
        blur_aware_probability: share of patches centred on a blurred pixel.
        weights: one number per pairs file, its share of the patches; None draws every pair equally often.
        augment: what is changed at random.
    """

    patch_px: int = Field(default=256, ge=44, multiple_of=4)
    batch: int = Field(default=12, ge=1)
    stages: tuple[StageSettings, ...] = ()
    blur_aware_probability: float = Field(default=0.5, ge=0, le=1)
    weights: tuple[float, ...] | None = None
    augment: AugmentSettings = AugmentSettings()

    def all_stages(self) -> tuple[StageSettings, ...]:
        """The stages of a run; one when nothing changes."""
        return self.stages or (StageSettings(duration=1.0, patch_px=self.patch_px, batch=self.batch),)

    def stage_ends(self, steps: int) -> list[int]:
        """The step each stage ends before, of a run of `steps`; the last is `steps`."""
        total = sum(stage.duration for stage in self.all_stages())
        done, ends = 0.0, []
        for stage in self.all_stages():
            done += stage.duration
            ends.append(round(steps * done / total))
        return ends

"""Settings of the blur masks; stored with them."""

from typing import Literal

from pydantic import Field

from localblur.common.settings import Settings

MethodName = Literal["mog2", "pair", "sequence"]


class RegionSettings(Settings):
    """Which regions without evidence of their own belong to a mover; see `RimRule` for how they lie in its blur.

    Attributes:
        coverage: share of a region's outer rim at which the mask must begin; 1 leaves all regions out.
        imbalance: how much more it must be if that part of the rim lies on one side.
        border: largest share of the rim on the image's border.
        largest_area: larger regions, as a share of the image, are background.
    """

    coverage: float = Field(default=0.35, gt=0, le=1)
    imbalance: float = Field(default=0.1, ge=0, le=2)
    border: float = Field(default=0.5, ge=0, le=1)
    largest_area: float = Field(default=0.5, ge=0, le=1)


class BackgroundSettings(Settings):
    """The background of a scene, from frames of it that are spread over its length.

    Attributes:
        frames: at most so many are looked at and held in memory, at half size where they are large.
        fewest: a scene of fewer pairs has no background; its pairs are judged alone.
        agreement: share of the samples of a pixel that must agree, mover's pixels left out, or it is unknown.
        differs_low, differs_high: mean squared difference to the background, in units of the noise and summed over the
            channels (3 where nothing is there), that extends and that starts a region where something is there.
        unmoved: evidence against motion (log-likelihood ratio below its negative) that such a region may not contain.
        regions: which of these regions belong to a mover.
    """

    frames: int = Field(default=24, ge=3, le=64)
    fewest: int = Field(default=4, ge=3)
    agreement: float = Field(default=0.5, gt=0, le=1)
    differs_low: float = Field(default=10.0, gt=0)
    differs_high: float = Field(default=30.0, gt=0)
    unmoved: float = Field(default=3.0, gt=0)
    regions: RegionSettings = RegionSettings(coverage=0.2, imbalance=0.15, border=0.6)


class SubtractionSettings(Settings):
    """Background subtraction with a mixture of Gaussians per pixel.

    Attributes:
        frames: at most so many other frames of the scene, spread over its length, are learned from.
        history, variance_threshold: of the mixture model: frames it remembers, squared distance that is foreground.
        shadows: whether what the model takes for a shadow counts as foreground.
        moving_share: a region counts only if the blurred and the sharp picture differ in this share of it, or what
            merely stands elsewhere than before would be marked; 0 keeps all, as the reference's idea does.
    """

    frames: int = Field(default=24, ge=2, le=500)
    history: int = Field(default=500, ge=1)
    variance_threshold: float = Field(default=16.0, gt=0)
    shadows: bool = True
    moving_share: float = Field(default=0.01, ge=0, le=1)


class MaskSettings(Settings):
    """How blur masks are made; lengths are pixels of a 640-px-wide image and scale with the width.

    Attributes:
        method: `pair` looks at one blurred and sharp image, `sequence` also at the scene's background, `mog2` at the
            scene's blurred images alone.
        motion_contrast: share of the local variance of the sharp image that motion is expected to change.
        contrast_radius_px, window_radius_px: half sizes of the windows for local variance and for averaging evidence.
        low, high: evidence (log-likelihood ratio) that extends, and that starts, a blurred region.
        close_px, open_px: radii of the closing and opening of the binary mask.
        smallest_area: regions below this share of the image are dropped.
        plain_radius_px: a blur of this half length must be visible, or the picture is plain there.
        plain_visibility: how far, in units of the noise's variance.
        fill_holes: whether enclosed holes are filled.
        refine_px, refine_levels: radius and contrast (levels of 255) of the filter that draws the mask's edge to edges
            of the blurred picture; a radius of 0 leaves it out.
        plain: which plain regions belong to a mover.
        doubtful_below: masks of less confidence are pointed out, see `MaskResult`.
        background: of `sequence`. subtraction: of `mog2`.
    """

    method: MethodName = "sequence"
    motion_contrast: float = Field(default=0.1, gt=0)
    contrast_radius_px: float = Field(default=7.0, gt=0)
    window_radius_px: float = Field(default=3.0, gt=0)
    low: float = Field(default=0.5, allow_inf_nan=False)
    high: float = Field(default=12.0, allow_inf_nan=False)
    close_px: float = Field(default=8.0, ge=0)
    open_px: float = Field(default=1.0, ge=0)
    smallest_area: float = Field(default=1e-4, ge=0, lt=1)
    plain_radius_px: float = Field(default=5.0, gt=0)
    plain_visibility: float = Field(default=2.0, ge=0)
    fill_holes: bool = True
    refine_px: float = Field(default=8.0, ge=0)
    refine_levels: float = Field(default=30.0, gt=0)
    plain: RegionSettings = RegionSettings()
    doubtful_below: float = Field(default=0.7, ge=0, le=1)
    background: BackgroundSettings = BackgroundSettings()
    subtraction: SubtractionSettings = SubtractionSettings()

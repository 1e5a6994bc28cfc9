"""Changing a patch so that a network sees more than was recorded: both pictures alike, but for noise."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from localblur.common.settings import Settings

CHANNELS = (0, 1, 2)


class Augmentation(Settings):
    """What may be changed; every choice is equally likely.

    Attributes:
        turn: mirror and rotate by multiples of 90 degrees.
        channel_order: exchange red, green and blue.
        exposure_stops: make linear light up to so many stops brighter or darker; what leaves [0, 1] is clipped.
        noise: standard deviation of Gaussian noise in the blurred picture, up to this, of coded values in [0, 1].
        reduced: share of patches that show more of the picture, made smaller.
        most_reduced: how many times smaller at most, where the picture is large enough; whole numbers from 2.
    """

    turn: bool = True
    channel_order: bool = False
    exposure_stops: float = Field(default=0.0, ge=0, le=4)
    noise: float = Field(default=0.0, ge=0, le=0.5)
    reduced: float = Field(default=0.0, ge=0, le=1)
    most_reduced: int = Field(default=4, ge=2, le=16)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to one patch.

    Attributes:
        way: 0..7, see `patch_choice.turn`.
        channels: the order in which channels are taken.
        gain: factor of linear light.
        noise: standard deviation, coded values.
    """

    way: int = 0
    channels: tuple[int, ...] = CHANNELS
    gain: float = 1.0
    noise: float = 0.0


def draw_change(settings: Augmentation, random: np.random.Generator) -> Change:
    """Draw what is done to one patch; what is off draws nothing, so that switching it on changes nothing else."""
    way = int(random.integers(8)) if settings.turn else 0
    channels = tuple(int(c) for c in random.permutation(3)) if settings.channel_order else CHANNELS
    stops = random.uniform(-settings.exposure_stops, settings.exposure_stops) if settings.exposure_stops else 0.0
    noise = random.uniform(0, settings.noise) if settings.noise else 0.0
    return Change(way=way, channels=channels, gain=float(2.0**stops), noise=float(noise))

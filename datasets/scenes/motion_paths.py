"""How objects move: closed-form paths, so that any instant can be asked for in any order.

Positions are canvas pixels (pixel centres at integers), times milliseconds, angles radians.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class MotionPath(Protocol):
    """Where an object is: `pose(time_ms)` is (x, y, angle in radians) of its centre."""

    def pose(self, time_ms: float) -> tuple[float, float, float]: ...


@dataclass(frozen=True, kw_only=True)
class ArcPath:
    """A circular arc run through with constant acceleration; time 0 is its middle.

    Attributes:
        x, y: position at time 0.
        heading: direction of motion at time 0, radians.
        speed: px/ms at time 0.
        acceleration: px/ms^2.
        curvature: 1/px, change of heading per pixel travelled.
        angle, spin: orientation at time 0 (radians) and its rate (radians/ms).
    """

    x: float
    y: float
    heading: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    curvature: float = 0.0
    angle: float = 0.0
    spin: float = 0.0

    def pose(self, time_ms: float) -> tuple[float, float, float]:
        travelled = self.speed * time_ms + 0.5 * self.acceleration * time_ms**2
        # the chord of the arc: sin(u)/u keeps a straight line exact
        half_turn = 0.5 * self.curvature * travelled
        chord = travelled * float(np.sinc(half_turn / np.pi))
        direction = self.heading + half_turn
        return (
            self.x + chord * math.cos(direction),
            self.y + chord * math.sin(direction),
            self.angle + self.spin * time_ms,
        )


@dataclass(frozen=True, kw_only=True)
class WanderPath:
    """A smooth closed wander (one sine per axis): an object that stays in view for a video of any length.

    Attributes:
        x, y: its middle. reach_x, reach_y: amplitudes in px.
        rate_x, rate_y: radians/ms. phase_x, phase_y: radians.
        swing, swing_rate: amplitude (radians) and rate (radians/ms) of its rotation.
    """

    x: float
    y: float
    reach_x: float
    reach_y: float
    rate_x: float
    rate_y: float
    phase_x: float = 0.0
    phase_y: float = 0.0
    swing: float = 0.0
    swing_rate: float = 0.0

    def pose(self, time_ms: float) -> tuple[float, float, float]:
        return (
            self.x + self.reach_x * math.sin(self.rate_x * time_ms + self.phase_x),
            self.y + self.reach_y * math.sin(self.rate_y * time_ms + self.phase_y),
            self.swing * math.sin(self.swing_rate * time_ms),
        )

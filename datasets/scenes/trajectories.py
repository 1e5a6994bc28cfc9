"""Random camera-shake trajectories, their blur kernels, and the model b = k * I + n of uniform blur.

The trajectory is the random walk of G. Boracchi and A. Foi, "Modeling the performance of image restoration from motion
blur", TIP 2012, in the form DeblurGAN (Kupyn et al., CVPR 2018) made known: a point of constant speed whose direction
is bent by Gaussian tremor, pulled back to the start, and sometimes thrown around. Unlike there, kernels keep energy
(they sum to 1, and pictures are never stretched to their extremes) and blurring happens in linear light.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from localblur.common.errors import LocalblurError
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray

Range = tuple[float, float]
Points = npt.NDArray[np.float64]
"""Positions (x, y) in px at equal steps of time, shape (N, 2)."""

_STEPS = 2000
_NOT_PLACED = (
    "a kernel of {size} px does not hold a trajectory that reaches {reach:.1f} px from its middle; take a larger one"
)


class ShakeSettings(Settings):
    """How a hand shakes; the ranges are those DeblurGAN drew from.

    Attributes:
        length_px: range of the trajectory's length, drawn evenly on a logarithmic scale.
        tremor: largest strength of the Gaussian tremor.
        pull: largest strength of the pull back to the start.
        jerk: largest probability of being thrown about, at each of 2000 steps.
        nervousness: range of a factor on all three; 0 is a straight line.
    """

    length_px: Range = (5.0, 60.0)
    tremor: float = Field(default=10.0, ge=0, le=100)
    pull: float = Field(default=0.7, ge=0, le=10)
    jerk: float = Field(default=0.2, ge=0, le=1)
    nervousness: Range = (0.003, 0.01)

    @model_validator(mode="after")
    def _check(self) -> "ShakeSettings":
        if not 0 < self.length_px[0] <= self.length_px[1] <= 500:
            raise ValueError(f"length_px must be a range within 0 to 500 px, got {self.length_px}")
        if not 0 <= self.nervousness[0] <= self.nervousness[1] <= 1:
            raise ValueError(f"nervousness must be a range within 0 to 1, got {self.nervousness}")
        return self


def shake_trajectory(rng: np.random.Generator, settings: ShakeSettings) -> Points:
    """Where the picture moves during an exposure: (x, y) at `N` equal steps of time, shape (N, 2), mean (0, 0)."""
    low, high = settings.length_px
    length = low * (high / low) ** rng.random()
    nervousness = float(rng.uniform(*settings.nervousness))
    jerk, pull, tremor = settings.jerk * rng.random(), settings.pull * rng.random(), settings.tremor * rng.random()
    step = length / (_STEPS - 1)
    kicks = (rng.standard_normal(_STEPS - 1) + 1j * rng.standard_normal(_STEPS - 1)).tolist()
    throws = (rng.random(_STEPS - 1) < jerk * nervousness).tolist()
    turns = np.exp(1j * (np.pi + rng.random(_STEPS - 1) - 0.5)).tolist()
    position, velocity = 0j, step * complex(np.exp(2j * np.pi * rng.random()))
    places = [position]
    for kick, thrown, turn in zip(kicks, throws, turns, strict=True):
        change = 2 * velocity * turn if thrown else 0j
        change += nervousness * (tremor * kick - pull * position) * step
        velocity += change
        velocity *= step / max(abs(velocity), 1e-12)
        position += velocity
        places.append(position)
    path = np.array(places)
    path -= path.mean()
    return np.stack([path.real, path.imag], axis=1)


def line_trajectory(length_px: float, angle_deg: float, steps: int = _STEPS) -> Points:
    """A straight, even motion about (0, 0), shape (steps, 2); angles turn from x (right) towards y (down)."""
    along = length_px * ((np.arange(steps) + 0.5) / steps - 0.5)
    angle = math.radians(angle_deg)
    return np.stack([along * math.cos(angle), along * math.sin(angle)], axis=1)


def rasterise(points: Points, size: int | None = None) -> FloatArray:
    """The blur kernel of a trajectory: float32, shape (size, size), sums to 1, (0, 0) at the middle pixel's centre.

    Every point is shared among its four neighbours, so that the kernel's centre of mass is the trajectory's, exactly.

    Args:
        points: positions at equal steps of time.
        size: odd; None: the smallest that holds them.

    Raises:
        LocalblurError: if `size` is even, or too small.
    """
    reach = float(np.abs(points).max())
    size = 2 * math.ceil(reach) + 1 if size is None else size
    if size % 2 == 0:
        raise LocalblurError(f"a kernel has a middle pixel: its size must be odd, got {size}")
    if reach > (size - 1) / 2:
        raise LocalblurError(_NOT_PLACED.format(size=size, reach=reach))
    placed = points + (size - 1) / 2
    whole = np.minimum(np.floor(placed).astype(np.intp), max(size - 2, 0))
    right, down = (placed - whole).T
    kernel = np.zeros(size * size)
    for dy, row_share in ((0, 1 - down), (1, down)):
        for dx, column_share in ((0, 1 - right), (1, right)):
            places = np.minimum(whole[:, 1] + dy, size - 1) * size + np.minimum(whole[:, 0] + dx, size - 1)
            kernel += np.bincount(places, row_share * column_share, size * size)
    normalised: FloatArray = (kernel / len(points)).reshape(size, size).astype(np.float32)
    return normalised


def random_kernel(rng: np.random.Generator, settings: ShakeSettings) -> FloatArray:
    """The kernel of a random shake, float32, shape (size, size) with an odd size that fits, sums to 1."""
    return rasterise(shake_trajectory(rng, settings))


def blur_uniformly(linear: FloatArray, kernel: FloatArray) -> FloatArray:
    """Convolve linear light, (H, W) or (H, W, 3), with a kernel; the picture is mirrored at its borders.

    A pixel moves along the kernel's trajectory: light at the middle goes to where the kernel is.
    """
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    return np.asarray(cv2.filter2D(linear, cv2.CV_32F, flipped, borderType=cv2.BORDER_REFLECT_101), np.float32)


def travelled_px(points: Points) -> float:
    """Length of a trajectory, px."""
    return float(np.hypot(*np.diff(points, axis=0).T).sum())

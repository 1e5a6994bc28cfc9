"""Dense optical flow between two successive frames in both directions, and where the two agree."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

_SMALLEST_SIDE_PX = 32
"""DIS needs a pyramid; smaller pictures are padded for it."""


@dataclass(frozen=True, kw_only=True)
class FlowPair:
    """Flow between frames 0 and 1, each float32 (H, W, 2): (x, y) in pixels from a pixel of one to the other.

    Attributes:
        forward: for pixels of frame 0, where they are in frame 1, minus where they were.
        backward: for pixels of frame 1, where they were in frame 0, minus where they are.
    """

    forward: FloatArray
    backward: FloatArray

    @property
    def speed(self) -> FloatArray:
        """The larger of both lengths at every pixel, (H, W)."""
        lengths = [cv2.magnitude(flow[..., 0], flow[..., 1]) for flow in (self.forward, self.backward)]
        return np.asarray(cv2.max(*lengths), np.float32)


def flow_pair(first: Frame, second: Frame) -> FlowPair:
    """Flow in both directions by dense inverse search.

    Args:
        first, second: coded frames, (H, W, 3) uint8, of one size.

    Reference:
        Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016 (OpenCV, preset medium).
    """
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    return FlowPair(forward=_dis(grays[0], grays[1]), backward=_dis(grays[1], grays[0]))


def sample(field: npt.NDArray[np.generic], positions: FloatArray, interpolation: int = cv2.INTER_LINEAR) -> FloatArray:
    """Values of a picture or a flow at positions (H, W, 2), beyond the edge those of the edge."""
    found = cv2.remap(field, positions, None, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found)


def disagreement(flow: FloatArray, back: FloatArray, grid: FloatArray) -> FloatArray:
    """Distance in pixels by which going along `flow` and back along `back` misses the start, (H, W).

    Large where a pixel cannot be seen in the other picture: the flow there is a guess.
    """
    missed = flow + sample(back, grid + flow)
    return np.asarray(cv2.magnitude(missed[..., 0], missed[..., 1]), np.float32)


def pixel_grid(height: int, width: int) -> FloatArray:
    """The position (x, y) of every pixel, float32 (H, W, 2)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def _dis(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> FloatArray:
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = first.shape
    padded = [
        cv2.copyMakeBorder(
            gray,
            0,
            max(0, _SMALLEST_SIDE_PX - height),
            0,
            max(0, _SMALLEST_SIDE_PX - width),
            cv2.BORDER_REPLICATE,
        )
        for gray in (first, second)
    ]
    flow = np.asarray(estimator.calc(padded[0], padded[1], None), np.float32)
    return np.ascontiguousarray(flow[:height, :width])

"""In-between frames where motion is fast, so that averaging them shows a smear and no ghosts.

Below about 1.5 px per frame averaging the frames themselves is closer to the truth than averaging in-betweens, whose
flow is never exact; so every pixel that moves less keeps the frames themselves.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from localblur.common.settings import Settings
from localblur.datasets.films.blending import IDENTITY, FrameSum, HalfInterval
from localblur.datasets.films.optical_flow import FlowPair, disagreement, flow_pair, pixel_grid, sample
from localblur.datasets.light.camera_response import CameraResponse

Frame = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

STEP_PX = 1.0
"""In-betweens are so many that nothing moves further from one to the next, up to the number allowed."""
_FIXED_POINT_STEPS = 3
_DOUBT_LEVELS = 4.0
_HIDDEN_LEVELS = 12.0
_DISAGREEMENT_PX = 0.5
_RAMP = 0.25
_SURE_PX, _SURE_SHARE, _LONGEST_REACH_PX = 0.4, 0.03, 48.0


class InterpolationSettings(Settings):
    """How in-betweens are made.

    Attributes:
        frames: at most so many in-betweens per frame interval; 0: none, the frames alone are averaged.
        from_px: motion per frame interval, in pixels, from which in-betweens are used; slower pixels keep the frames.
        unexplained_levels: a pixel that looks more different than this in the frames before and after, and is not
            hidden in one of them, is one that the flow does not explain.
        largest_unexplained: windows in which more than this share of the fast pixels is unexplained are dropped.
    """

    frames: int = Field(default=0, ge=0, le=64)
    from_px: float = Field(default=1.5, ge=0)
    unexplained_levels: float = Field(default=24.0, gt=0)
    largest_unexplained: float = Field(default=0.15, ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """What lies between two frames.

    Attributes:
        first, second: the halves of the time between them; None where the frame itself is meant, because nothing is
            fast.
        fast_px, unexplained_px: how many pixels were interpolated, and how many of them the flow does not explain.
    """

    first: HalfInterval | None = None
    second: HalfInterval | None = None
    fast_px: int = 0
    unexplained_px: int = 0


def bridge(
    before: Frame, after: Frame, response: CameraResponse, settings: InterpolationSettings, *, coded: bool = False
) -> Bridge:
    """In-betweens of two frames, averaged over either half of the time between them.

    Args:
        before, after: (H, W, 3) uint8.
        response: how they are coded.
        settings: see there.
        coded: average the codes as well.
    """
    flow = flow_pair(before, after)
    speed = _fast_speed(flow, settings.from_px)
    box = _box_around(speed > (1 - _RAMP) * settings.from_px)
    if box is None:
        return Bridge()
    rows, columns = box
    motion = _Motion(before[box], after[box], FlowPair(forward=flow.forward[box], backward=flow.backward[box]))
    fast = _fast_share(speed[rows, columns], settings.from_px)
    largest = float(np.quantile(speed[rows, columns][fast > 0], 0.98))
    count = 2 * max(1, math.ceil(min(settings.frames, largest / STEP_PX) / 2))
    halves = []
    for frame, begin in ((before, 0.0), (after, 0.5)):
        sums = (FrameSum(response.to_linear), FrameSum(IDENTITY) if coded else None)
        for step in range(count // 2):
            between = motion.at(begin + (step + 0.5) / count)
            mixed = _mix(frame[box], between, fast)
            for total in sums:
                if total is not None:
                    total.add(mixed)
        halves.append(_placed(frame, box, response, sums))
    return Bridge(
        first=halves[0],
        second=halves[1],
        fast_px=int((fast > 0.5).sum()),
        unexplained_px=motion.unexplained_px(settings.unexplained_levels, fast > 0.5),
    )


class _Motion:
    """In-betweens of one pair of frames.

    At every instant each pixel looks along three motions: the flow from frame 0, that from frame 1, and the most common
    one, which is that of the background; the motion whose two ends look most alike is taken. Where no two ends are
    alike one of them is hidden behind something: the end that the other frame cannot see is the one that is shown.
    All this is decided on pictures of half the size; colours are taken from the frames themselves.
    """

    def __init__(self, before: Frame, after: Frame, flow: FlowPair) -> None:
        self._frames = (before, after)
        height, width = before.shape[:2]
        size = ((width + 1) // 2, (height + 1) // 2)
        self._small = tuple(cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in self._frames)
        scale = np.array([size[0] / width, size[1] / height], np.float32)
        self._forward, self._backward = (
            cv2.resize(field, size, interpolation=cv2.INTER_AREA) * scale for field in (flow.forward, flow.backward)
        )
        self._scale, self._grid, self._small_grid = scale, pixel_grid(height, width), pixel_grid(size[1], size[0])
        self._hidden = (
            disagreement(self._forward, self._backward, self._small_grid),
            disagreement(self._backward, self._forward, self._small_grid),
        )
        agreeing = self._hidden[0] < _DISAGREEMENT_PX
        usual = np.median(self._forward[agreeing], axis=0) if agreeing.any() else np.zeros(2)
        self._background = np.ascontiguousarray(np.broadcast_to(usual.astype(np.float32), self._forward.shape))

    def at(self, time: float) -> Frame:
        """The frame at `time` in (0, 1), (H, W, 3) uint8."""
        motion, unlike = self._best_motion(time)
        share = self._share_of_first(motion, unlike, time)
        height, width = self._frames[0].shape[:2]
        motion, share = (
            cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR) for field in (motion, share)
        )
        ends = _ends(self._grid, motion / self._scale, time)
        views = [sample(frame, end, cv2.INTER_CUBIC) for frame, end in zip(self._frames, ends, strict=True)]
        return np.asarray(cv2.blendLinear(views[0], views[1], share, 1 - share), np.uint8)

    def unexplained_px(self, levels: float, within: npt.NDArray[np.bool_]) -> int:
        """How many pixels of `within` look different in both frames half way, and not because one hides them.

        What is hidden in one frame is seen in the other; where neither or both lose sight of it, the flow is wrong.
        """
        motion, unlike = self._best_motion(0.5)
        size = (unlike.shape[1], unlike.shape[0])
        looked_at = cv2.resize(within.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        ends = _ends(self._small_grid, motion, 0.5)
        first, second = (sample(field, end) > _DISAGREEMENT_PX for field, end in zip(self._hidden, ends, strict=True))
        found = int((looked_at & (first == second) & (unlike > levels)).sum())
        return round(found * within.size / unlike.size)

    def _best_motion(self, time: float) -> tuple[FloatArray, FloatArray]:
        """The motion whose ends look most alike, and how unlike they still are in levels; half size."""
        motions = (
            self._along(self._forward, time),
            -self._along(self._backward, 1 - time),
            self._background,
        )
        residuals = [self._residual(motion, time) for motion in motions]
        best, unlike = motions[0].copy(), residuals[0].copy()
        better = residuals[1] < unlike
        best[better], unlike[better] = motions[1][better], residuals[1][better]
        # where nothing fits something is hidden, and what is hidden is the background; a tie goes to the flow
        alone = (residuals[2] + 1 < unlike) | (np.minimum(unlike, residuals[2]) > _HIDDEN_LEVELS)
        best[alone], unlike[alone] = self._background[alone], np.minimum(unlike, residuals[2])[alone]
        return best, unlike

    def _along(self, flow: FloatArray, time: float) -> FloatArray:
        """Motion of what is at each pixel at an instant `time` after the flow's frame: a fixed point."""
        motion = flow
        for _ in range(_FIXED_POINT_STEPS):
            motion = sample(flow, self._small_grid - np.float32(time) * motion)
        return motion

    def _residual(self, motion: FloatArray, time: float) -> FloatArray:
        """How unlike both ends of a motion look, in levels, (h, w)."""
        ends = _ends(self._small_grid, motion, time)
        first, second = (sample(frame, end) for frame, end in zip(self._small, ends, strict=True))
        red, green, blue = cv2.split(cv2.absdiff(first, second))
        unlike = cv2.max(cv2.max(red, green), blue)
        return np.asarray(cv2.blur(unlike, (3, 3)), np.float32)

    def _share_of_first(self, motion: FloatArray, unlike: FloatArray, time: float) -> FloatArray:
        """Weight of frame 0 in the mixture of both, (h, w).

        A pixel of frame 0 that frame 1 cannot see makes frame 1's view of it worthless, and the other way round.
        """
        hidden = [
            sample(field, end) for field, end in zip(self._hidden, _ends(self._small_grid, motion, time), strict=True)
        ]
        doubt = np.clip(unlike / _DOUBT_LEVELS - 1, 0, 1)
        trust_first = (1 - time) * np.exp(-doubt * hidden[1])
        trust_second = time * np.exp(-doubt * hidden[0])
        return np.asarray(trust_first / np.maximum(trust_first + trust_second, 1e-9), np.float32)


def _ends(grid: FloatArray, motion: FloatArray, time: float) -> tuple[FloatArray, FloatArray]:
    """Where in both frames that is which is at each pixel at an instant, moving by `motion` from one to the other."""
    return grid - np.float32(time) * motion, grid + np.float32(1 - time) * motion


def _fast_speed(flow: FlowPair, from_px: float) -> FloatArray:
    """Speed in pixels per frame interval at every pixel, 0 where it is a mistake of the flow, (H, W).

    Wrong vectors are not undone by the flow back. Those around something that is really fast are kept all the same:
    there one frame hides what the other shows.
    """
    speed = np.asarray(cv2.blur(flow.speed, (9, 9)), np.float32)
    grid = pixel_grid(*speed.shape)
    missed = cv2.min(disagreement(flow.forward, flow.backward, grid), disagreement(flow.backward, flow.forward, grid))
    sure = ((speed > from_px) & (missed < _SURE_PX + _SURE_SHARE * speed)).astype(np.uint8)
    sure = cv2.morphologyEx(sure, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if not sure.any():
        return np.zeros_like(speed)
    reach = 2 * math.ceil(min(_LONGEST_REACH_PX, float(np.quantile(speed[sure > 0], 0.98)))) + 9
    near = cv2.dilate(sure, np.ones((reach, reach), np.uint8))
    return np.asarray(np.where(near > 0, speed, 0), np.float32)


def _box_around(fast: npt.NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Rows and columns around all that is fast, with a margin for where it comes from; None if nothing is."""
    rows, columns = np.flatnonzero(fast.any(axis=1)), np.flatnonzero(fast.any(axis=0))
    if not rows.size:
        return None
    margin = 32
    return (
        slice(max(0, rows[0] - margin), min(fast.shape[0], rows[-1] + margin + 1)),
        slice(max(0, columns[0] - margin), min(fast.shape[1], columns[-1] + margin + 1)),
    )


def _fast_share(speed: FloatArray, from_px: float) -> FloatArray:
    """Weight of the in-betweens at every pixel: 0 where motion is slow, 1 where it and all around are fast.

    A ramp and no step: pixels about as fast as `from_px` would change sides from frame to frame, and errors of both
    ways, which cancel over an exposure, would not.
    """
    rise = np.clip((speed / max(from_px, 1e-3) - (1 - _RAMP)) / (2 * _RAMP), 0, 1).astype(np.float32)
    return np.asarray(cv2.blur(cv2.dilate(rise, np.ones((9, 9), np.uint8)), (5, 5)), np.float32)


def _mix(frame: Frame, between: Frame, fast: FloatArray) -> Frame:
    if fast.min() == 1:
        return between
    return np.asarray(cv2.blendLinear(between, np.ascontiguousarray(frame), fast, 1 - fast), np.uint8)


def _placed(
    frame: Frame,
    box: tuple[slice, slice],
    response: CameraResponse,
    sums: tuple[FrameSum, FrameSum | None],
) -> HalfInterval:
    """Means of the in-betweens inside a box, the frame around it."""
    light = response.decode(frame)
    light[box] = sums[0].mean()
    codes = None
    if sums[1] is not None:
        codes = frame.astype(np.float32)
        codes[box] = sums[1].mean()
    return HalfInterval(light=light, coded=codes)

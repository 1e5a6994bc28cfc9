"""Moving objects over a still background, rendered in linear light at an instant or integrated over an exposure.

Objects are premultiplied RGBA sprites, so that integrating colour and alpha separately and laying the mean over the
background is exact: the background itself is never copied per sub-frame, and only the box that moves is rendered.
Positions and lengths are canvas pixels (pixel centres at integers), times are milliseconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from localblur.common.errors import LocalblurError
from localblur.datasets.images import FloatArray
from localblur.datasets.scenes.motion_paths import MotionPath

Box = tuple[int, int, int, int]
"""(y0, x0, y1, x1), half open."""

DEFAULT_SPACING_PX = 1.0
"""Sub-frames lie at most this far apart: half a pixel of a picture made from a canvas supersampled by 2."""
MOVING_PX = 0.25
"""An object whose fastest point travels less during an exposure counts as standing still."""
_PATH_SAMPLES = 33


@dataclass(frozen=True)
class MovingObject:
    """A sprite and its path.

    Attributes:
        sprite: premultiplied linear RGBA, float32, shape (h, w, 4); its centre moves along the path.
        path: where its centre is.
        growth: rate of its apparent size, 1/ms: exp(growth * time) times the sprite's at time 0, as it comes nearer.

    Raises:
        LocalblurError: if the sprite has another shape or is transparent everywhere.
    """

    sprite: FloatArray
    path: MotionPath
    growth: float = 0.0

    def __post_init__(self) -> None:
        if self.sprite.ndim != 3 or self.sprite.shape[2] != 4:
            raise LocalblurError(f"a sprite must be (h, w, 4) premultiplied RGBA, got shape {self.sprite.shape}")
        if not (self.sprite[..., 3] > 0).any():
            raise LocalblurError("a sprite must not be transparent everywhere")

    @cached_property
    def corners(self) -> npt.NDArray[np.float64]:
        """Corners (x, y) of what is not transparent, about the sprite's centre, shape (4, 2)."""
        rows, columns = (np.flatnonzero((self.sprite[..., 3] > 0).any(axis=axis)) for axis in (1, 0))
        height, width = self.sprite.shape[:2]
        left, right = columns[0] - (width - 1) / 2, columns[-1] - (width - 1) / 2
        top, bottom = rows[0] - (height - 1) / 2, rows[-1] - (height - 1) / 2
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])

    @cached_property
    def radius_px(self) -> float:
        """Distance from the centre to the furthest point that is not transparent."""
        rows, columns = np.nonzero(self.sprite[..., 3] > 0)
        height, width = self.sprite.shape[:2]
        return float(np.hypot(columns - (width - 1) / 2, rows - (height - 1) / 2).max())

    def travel_px(self, start_ms: float, end_ms: float) -> tuple[float, float]:
        """(length travelled, largest of 32 steps) by the object's fastest point, rotation and growth included."""
        poses = self._poses(start_ms, end_ms)
        radius = self.radius_px * self._sizes(start_ms, end_ms)
        steps = np.hypot(np.diff(poses[:, 0]), np.diff(poses[:, 1])) + np.abs(np.diff(radius))
        steps += np.maximum(radius[:-1], radius[1:]) * np.abs(np.diff(poses[:, 2]))
        return float(steps.sum()), float(steps.max())

    def box(self, start_ms: float, end_ms: float, height: int, width: int) -> Box | None:
        """The part of the canvas the object can touch, None if it stays outside."""
        poses = self._poses(start_ms, end_ms)
        reach = self.radius_px * float(self._sizes(start_ms, end_ms).max()) + 2
        x0, y0 = np.floor(poses[:, :2].min(axis=0) - reach).astype(int)
        x1, y1 = np.ceil(poses[:, :2].max(axis=0) + reach).astype(int) + 1
        box = (max(0, int(y0)), max(0, int(x0)), min(height, int(y1)), min(width, int(x1)))
        return box if box[0] < box[2] and box[1] < box[3] else None

    def placed(self, time_ms: float, within: Box) -> tuple[Box, FloatArray] | None:
        """The sprite at an instant and the box of the canvas it falls on, None if outside `within`."""
        x, y, angle = self.path.pose(time_ms)
        size = math.exp(self.growth * time_ms)
        cosine, sine = size * math.cos(angle), size * math.sin(angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        corners = self.corners @ turn.T
        x0, y0 = np.floor(corners.min(axis=0) + (x, y)).astype(int) - 1
        x1, y1 = np.ceil(corners.max(axis=0) + (x, y)).astype(int) + 2
        y0, x0, y1, x1 = (
            max(within[0], int(y0)),
            max(within[1], int(x0)),
            min(within[2], int(y1)),
            min(within[3], int(x1)),
        )
        if y0 >= y1 or x0 >= x1:
            return None
        middle = np.array([(self.sprite.shape[1] - 1) / 2, (self.sprite.shape[0] - 1) / 2])
        matrix = np.hstack([turn, (np.array([x - x0, y - y0]) - turn @ middle)[:, None]])
        return (y0, x0, y1, x1), cv2.warpAffine(self.sprite, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)

    def _poses(self, start_ms: float, end_ms: float) -> npt.NDArray[np.float64]:
        known = self._known_poses.get((start_ms, end_ms))
        if known is None:
            known = np.array([self.path.pose(float(t)) for t in np.linspace(start_ms, end_ms, _PATH_SAMPLES)])
            self._known_poses.clear()
            self._known_poses[start_ms, end_ms] = known
        return known

    @cached_property
    def _known_poses(self) -> dict[tuple[float, float], npt.NDArray[np.float64]]:
        return {}  # of the last exposure, which is asked about several times

    def _sizes(self, start_ms: float, end_ms: float) -> npt.NDArray[np.float64]:
        return np.asarray(np.exp(self.growth * np.linspace(start_ms, end_ms, _PATH_SAMPLES)), np.float64)


@dataclass(frozen=True)
class Patch:
    """What the objects add inside one box during an exposure.

    Attributes:
        box: where.
        layer: mean premultiplied colour and alpha, float32, shape (h, w, 4).
        coverage: largest visible alpha of any moving object at any instant, float32, shape (h, w).
    """

    box: Box
    layer: FloatArray
    coverage: FloatArray


@dataclass(frozen=True)
class Exposure:
    """The objects integrated over an exposure; disjoint patches to be laid over any background."""

    patches: tuple[Patch, ...]

    def over(self, background: FloatArray) -> FloatArray:
        """Mean linear image, float32, shape (H, W, 3): the exposure over a background, which is not changed."""
        return self.over_part(background, (0, 0, *background.shape[:2]))

    def over_part(self, background: FloatArray, part: Box) -> FloatArray:
        """As `over`, only inside the box `part` of the background: float32, shape (h, w, 3)."""
        image = background[part[0] : part[2], part[1] : part[3]].copy()
        for patch in self.patches:
            if _touch(patch.box, part):
                common = _common(patch.box, part)
                layer = np.ascontiguousarray(patch.layer[_within(common, patch.box)])
                region = image[_within(common, part)]
                uncovered = 1 - cv2.extractChannel(layer, 3)
                np.multiply(region, cv2.merge([uncovered, uncovered, uncovered]), out=region)
                # drops alpha; several times as fast as slices of four channels
                np.add(region, cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR), out=region)
        return image

    def coverage(self, height: int, width: int) -> FloatArray:
        """Largest visible alpha of any moving object at any instant, float32, shape (height, width), in [0, 1]."""
        total = np.zeros((height, width), np.float32)
        for patch in self.patches:
            y0, x0, y1, x1 = patch.box
            total[y0:y1, x0:x1] = patch.coverage
        return total


def integrate(
    objects: Sequence[MovingObject],
    height: int,
    width: int,
    start_ms: float,
    end_ms: float,
    *,
    spacing_px: float = DEFAULT_SPACING_PX,
    ends_covered: bool = False,
) -> Exposure:
    """Integrate objects (later ones in front) over an exposure in linear light.

    Sub-frames sit in the middle of equal slices of time, enough of them that no point moves further than `spacing_px`
    between two. With `end_ms == start_ms` this is an instant.

    Args:
        objects, height, width: what moves on a canvas of which size.
        start_ms, end_ms: the exposure.
        spacing_px: see above.
        ends_covered: let the coverage reach to the very beginning and end, half a sub-frame further than the light.

    Raises:
        LocalblurError: if the exposure ends before it starts or the spacing is not positive.
    """
    if end_ms < start_ms:
        raise LocalblurError(f"an exposure cannot end ({end_ms} ms) before it starts ({start_ms} ms)")
    if spacing_px <= 0:
        raise LocalblurError(f"spacing_px must be above 0, got {spacing_px}")
    patches = []
    for box, members in _groups(objects, height, width, start_ms, end_ms):
        travels = [member.travel_px(start_ms, end_ms) for member in members]
        largest = max(step for _, step in travels)
        count = max(1, math.ceil((_PATH_SAMPLES - 1) * largest / spacing_px))
        times = start_ms + (np.arange(count) + 0.5) / count * (end_ms - start_ms)
        moving = [length > MOVING_PX for length, _ in travels]
        ends = (start_ms, end_ms) if ends_covered else ()
        patches.append(_integrate_group(members, moving, box, times, ends))
    return Exposure(tuple(patches))


def render_frames(
    background: FloatArray,
    objects: Sequence[MovingObject],
    *,
    count: int,
    interval_ms: float,
    shutter_ms: float = 0.0,
    start_ms: float = 0.0,
    spacing_px: float = DEFAULT_SPACING_PX,
) -> Iterator[FloatArray]:
    """Successive video frames, linear float32 (H, W, 3), each integrated over its own shutter from its start.

    Raises:
        LocalblurError: if the shutter is longer than the interval.
    """
    if not 0 <= shutter_ms <= interval_ms:
        raise LocalblurError(f"shutter_ms must lie between 0 and interval_ms={interval_ms}, got {shutter_ms}")
    height, width = background.shape[:2]
    for index in range(count):
        start = start_ms + index * interval_ms
        exposure = integrate(objects, height, width, start, start + shutter_ms, spacing_px=spacing_px)
        yield exposure.over(background)


def _groups(
    objects: Sequence[MovingObject], height: int, width: int, start_ms: float, end_ms: float
) -> list[tuple[Box, list[MovingObject]]]:
    """Objects whose boxes touch, directly or through others, in front-to-back order within disjoint boxes."""
    groups: list[tuple[Box, list[int]]] = []
    for index, item in enumerate(objects):
        box = item.box(start_ms, end_ms, height, width)
        if box is None:
            continue
        members = [index]
        while True:
            touching = [group for group in groups if _touch(group[0], box)]
            if not touching:
                break
            groups = [group for group in groups if not _touch(group[0], box)]
            for other, indices in touching:
                box = (min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]))
                members += indices
        groups.append((box, members))
    return [(box, [objects[i] for i in sorted(members)]) for box, members in groups]


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _integrate_group(
    members: Sequence[MovingObject],
    moving: Sequence[bool],
    box: Box,
    times: npt.NDArray[np.float64],
    only_covering: Sequence[float],
) -> Patch:
    """Sum what is visible of each member at every instant; at `only_covering` instants only its alpha counts."""
    total = np.zeros((box[2] - box[0], box[3] - box[1], 4), np.float32)
    coverage = np.zeros(total.shape[:2], np.float32)
    for time_ms, lit in [*((float(t), True) for t in times), *((t, False) for t in only_covering)]:
        for index, where, sprite, alpha in _visible(members, box, time_ms):
            rows, columns = _within(where, box)
            if lit:
                cv2.accumulate(sprite, total[rows, columns])
            if moving[index]:
                seen = coverage[rows, columns]
                cv2.max(seen, alpha, dst=seen)
    total /= np.float32(len(times))
    return Patch(box, total, np.clip(coverage, 0, 1))


def _visible(
    members: Sequence[MovingObject], box: Box, time_ms: float
) -> Iterator[tuple[int, Box, FloatArray, FloatArray]]:
    """What is seen of every member at an instant, from the front to the back: index, where, sprite and its alpha.

    Compositing in this order only touches the sprites themselves and where two of them meet.
    """
    in_front: list[tuple[Box, FloatArray]] = []
    for index in reversed(range(len(members))):
        placed = members[index].placed(time_ms, box)
        if placed is None:
            continue
        where, sprite = placed
        alpha = cv2.extractChannel(sprite, 3)
        for other, other_alpha in in_front:
            _hide(sprite, where, other_alpha, other)
        if in_front:
            in_front.append((where, alpha))
            alpha = cv2.extractChannel(sprite, 3)
        elif len(members) > 1:
            in_front.append((where, alpha))
        yield index, where, sprite, alpha


def _hide(sprite: FloatArray, where: Box, front_alpha: FloatArray, front: Box) -> None:
    """Remove from `sprite` what a sprite in front of it covers."""
    if not _touch(where, front):
        return
    common = _common(where, front)
    sprite[_within(common, where)] *= 1 - front_alpha[_within(common, front)][..., None]


def _common(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _within(inner: Box, outer: Box) -> tuple[slice, slice]:
    """Rows and columns of one box inside another."""
    return (
        slice(inner[0] - outer[0], inner[2] - outer[0]),
        slice(inner[1] - outer[1], inner[3] - outer[1]),
    )

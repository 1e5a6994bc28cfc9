"""The windows of one video, blended while it is read once; memory holds sums, not frames."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.datasets.films.blending import Exposure, HalfInterval
from localblur.datasets.films.frame_windows import Window
from localblur.datasets.films.interpolation import Bridge, bridge
from localblur.datasets.films.synthesis_plan import PlannedVideo
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.films.video import read_frames
from localblur.datasets.light.camera_response import CameraResponse, Frame, camera_response
from localblur.datasets.light.realism import bend_tones, draw_camera, take_picture
from localblur.datasets.masks.motion_masks import motion_mask
from localblur.datasets.pair import Pair, PairInfo, Verdict, binary_mask

Halves = tuple[HalfInterval | None, HalfInterval | None]


@dataclass(frozen=True, kw_only=True)
class Blended:
    """A finished window.

    Attributes:
        pair: its pictures and mask.
        codes: the mean of the codes themselves, where it was wanted, (H, W, 3) uint8.
        dropped: why it is no pair after all, or None.
    """

    pair: Pair
    codes: Frame | None = None
    dropped: str | None = None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One frame as the sensor saw it: the frame, the halves of the intervals around it, and the bridges they are of."""

    index: int
    frame: Frame
    halves: Halves = (None, None)
    bridges: tuple[Bridge, Bridge] = (Bridge(), Bridge())


@dataclass(kw_only=True)
class _OpenWindow:
    window: Window
    exposure: Exposure
    sharp: Frame | None = None
    fast_px: int = 0
    unexplained_px: int = 0

    def expose(self, moment: Moment) -> None:
        self.exposure.add(moment.frame, moment.halves)
        if moment.index == self.window.middle:
            self.sharp = moment.frame
        for side in moment.bridges:
            self.fast_px += side.fast_px
            self.unexplained_px += side.unexplained_px


def blend_video(
    video: PlannedVideo, windows: Sequence[Window], settings: SynthesisSettings, *, both_versions: bool = False
) -> Iterator[Blended | None]:
    """Read a video once; yield every window when it is finished, and None after every frame.

    Args:
        video: the source and what is known of it.
        windows: those of its windows that are wanted.
        settings: see there.
        both_versions: average the codes as well as light.

    Raises:
        LocalblurError: if the video cannot be read to the end of its last window.
    """
    if not windows:
        return
    response = camera_response(settings.camera_response)
    coded = both_versions or not settings.linear_light
    waiting = sorted(windows, key=lambda window: window.start)
    presmooth_px = settings.motion.presmooth_px if settings.mask or settings.skip_static else None
    opened: list[_OpenWindow] = []
    for moment in _moments(video, windows, response, settings, coded=coded):
        while waiting and waiting[0].start == moment.index:
            exposure = Exposure(response, presmooth_px, coded=coded, clipping=settings.realism is not None)
            opened.append(_OpenWindow(window=waiting.pop(0), exposure=exposure))
        for item in opened:
            item.expose(moment)
        finished = [item for item in opened if item.window.stop == moment.index + 1]
        opened = [item for item in opened if item.window.stop > moment.index + 1]
        for item in finished:
            yield _finish(item, video, settings, both_versions)
        yield None
        if not waiting and not opened:
            return
    raise LocalblurError(f"{video.source} ended before its last window; was it changed meanwhile?")


def _kept_frames(video: PlannedVideo) -> Iterator[tuple[int, Frame]]:
    skipped = video.found.skipped
    index = 0
    for number, frame in enumerate(read_frames(video.source)):
        if number in skipped:
            continue
        if frame is None:
            raise LocalblurError(f"{video.source}: frame {number} can be read no more; was it changed meanwhile?")
        yield index, frame
        index += 1


def _moments(
    video: PlannedVideo,
    windows: Sequence[Window],
    response: CameraResponse,
    settings: SynthesisSettings,
    *,
    coded: bool,
) -> Iterator[Moment]:
    """Every frame; with in-betweens one frame later, when the next one is known."""
    frames = _kept_frames(video)
    if settings.interpolation.frames == 0:
        for index, frame in frames:
            yield Moment(index=index, frame=frame)
        return
    exposed = {index for window in windows for index in range(window.start, window.stop)}
    breaks = video.breaks()
    last: tuple[int, Frame] | None = None
    behind = Bridge()
    for index, frame in frames:
        ahead = Bridge()
        if last is not None:
            if index not in breaks and (index in exposed or index - 1 in exposed):
                ahead = bridge(last[1], frame, response, settings.interpolation, coded=coded)
            yield Moment(index=last[0], frame=last[1], halves=(behind.second, ahead.first), bridges=(behind, ahead))
        last, behind = (index, frame), ahead
    if last is not None:
        yield Moment(index=last[0], frame=last[1], halves=(behind.second, None), bridges=(behind, Bridge()))


def _finish(item: _OpenWindow, video: PlannedVideo, settings: SynthesisSettings, both_versions: bool) -> Blended:
    window, exposure, sharp = item.window, item.exposure, item.sharp
    if sharp is None:
        raise LocalblurError(f"{video.source} ended before frame {window.middle}; was it changed meanwhile?")
    quality = {"frames": float(window.length), "sharp_late_frames": window.sharp_late_frames}
    mask = None
    if exposure.presmooth_px is not None:
        mask = motion_mask(exposure.swing(), sharp, settings.motion)
        quality["blurred_share"] = float(binary_mask(mask).mean())
    if settings.interpolation.frames:
        quality["interpolated_share"] = item.fast_px / (2 * window.length * sharp.shape[0] * sharp.shape[1])
        quality["unexplained_share"] = item.unexplained_px / max(1, item.fast_px)
    blurred, sharp = _developed(item, video, settings, sharp, quality)
    interval_ms = video.window_interval_ms(window)
    info = PairInfo(
        name=window.name,
        # frames of ordinary video are exposed for most of their interval: an upper bound, as for a real exposure
        exposure_long_ms=interval_ms * window.length,
        exposure_short_ms=interval_ms,
        quality=quality,
        verdict=Verdict.ACCEPT,
    )
    return Blended(
        pair=Pair(scene=window.scene, info=info, blurred=blurred, sharp=sharp, mask=mask),
        codes=exposure.blurred_codes() if both_versions else None,
        dropped=why_dropped(quality, settings),
    )


def why_dropped(quality: dict[str, float], settings: SynthesisSettings) -> str | None:
    """Why a window with these measures is no pair, in words; None if it is one."""
    share = quality.get("blurred_share", 1.0)
    if settings.skip_static and share < settings.static_share:
        return f"static: {share:.2%} of the picture moves, less than {settings.static_share:.2%}"
    unexplained, limit = quality.get("unexplained_share", 0.0), settings.interpolation.largest_unexplained
    if unexplained > limit:
        return f"interpolation fails: flow does not explain {unexplained:.0%} of what is fast, more than {limit:.0%}"
    return None


def _developed(
    item: _OpenWindow, video: PlannedVideo, settings: SynthesisSettings, sharp: Frame, quality: dict[str, float]
) -> tuple[Frame, Frame]:
    """The blurred and the sharp picture; with realism as a camera drawn for this window makes them."""
    exposure, window = item.exposure, item.window
    if settings.realism is None:
        return (exposure.blurred() if settings.linear_light else exposure.blurred_codes()), sharp
    rng = np.random.default_rng([settings.seed, zlib.crc32(video.title.encode()), window.start, 5])
    camera = draw_camera(settings.realism, rng)
    quality |= camera.recorded()
    blurred = take_picture(exposure.light(), camera, rng, saturated=exposure.clipped_share())
    response = exposure.response
    if camera.contrast:
        sharp = response.encode(bend_tones(response.decode(sharp), camera))
    return response.encode(blurred), sharp

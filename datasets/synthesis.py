"""Blurred and sharp pairs from video: plan the windows, then average their frames in linear light."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress
from localblur.common.settings import Settings
from localblur.datasets.blending import CAMERA_RESPONSES, Exposure, Frame, ResponseName
from localblur.datasets.frame_windows import Window, odd_lengths, place_windows, spread, titles
from localblur.datasets.motion_masks import MotionMaskSettings, motion_mask
from localblur.datasets.pair import Pair, PairInfo, Verdict, binary_mask
from localblur.datasets.store import DEFAULT_SPLIT, PairsWriter, StoreHeader, assign_splits, files_identity
from localblur.datasets.video import frame_rate, read_frames, survey


class SynthesisSettings(Settings):
    """How pairs are made from video.

    Attributes:
        shortest, longest: number of frames averaged, drawn per pair from the odd numbers of this range.
        stride: frames from one window's start to the next; None: no overlap, no gap.
        camera_response: how the video codes light.
        seed: seed of every random choice.
        split: shares of the splits or a file, see `assign_splits`.
        mask: make blur masks; motion: how.
        static_share: with `skip_static`, windows with a smaller blurred share of the picture are left out.
        max_pairs: at most so many pairs, spread evenly over all videos.
    """

    shortest: int = Field(default=7, ge=3)
    longest: int = Field(default=13, ge=3)
    stride: int | None = Field(default=None, ge=1)
    camera_response: ResponseName = "srgb"
    seed: int = Field(default=0, ge=0)
    split: str = DEFAULT_SPLIT
    mask: bool = True
    motion: MotionMaskSettings = MotionMaskSettings()
    skip_static: bool = False
    static_share: float = Field(default=0.002, ge=0, le=1)
    max_pairs: int | None = Field(default=None, ge=1)


@dataclass
class Synthesis:
    """What came of it: pairs and scenes in the file, static windows left out, and problems in words."""

    pairs: int = 0
    scenes: int = 0
    static: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The windows of every source and the split of every scene; `problems` names what cannot be used."""

    windows: dict[Path, list[Window]]
    splits: dict[str, str]
    problems: list[str]

    @property
    def count(self) -> int:
        """Number of windows."""
        return sum(len(windows) for windows in self.windows.values())


def plan_synthesis(sources: Sequence[Path], settings: SynthesisSettings) -> Plan:
    """Read every source once and place its windows.

    Raises:
        LocalblurError: if there is no window at all, or settings make no sense.
    """
    lengths = odd_lengths(settings.shortest, settings.longest)
    placed: list[tuple[Path, Window]] = []
    problems: list[str] = []
    with Progress(len(sources), "reading", "video") as progress:
        for source, title in titles(sources).items():
            try:
                found = survey(source)
            except LocalblurError as error:
                problems.append(str(error))
                progress.step(title)
                continue
            problems += [f"{found.problem}; what comes before is used"] if found.problem else []
            windows = place_windows(title, found.shots, lengths, settings.stride, settings.seed)
            if not windows:
                longest = max(shot.length for shot in found.shots)
                problems.append(f"{source} has at most {longest} frames without a cut, {min(lengths)} are needed")
            placed += [(source, window) for window in windows]
            progress.step(title)
    if not placed:
        raise LocalblurError("no pair can be made: " + "; ".join(problems))
    chosen: dict[Path, list[Window]] = {}
    for source, window in spread(placed, settings.max_pairs):
        chosen.setdefault(source, []).append(window)
    scenes = [window.scene for windows in chosen.values() for window in windows]
    return Plan(chosen, assign_splits(scenes, settings.split, settings.seed), problems)


def synthesize(
    sources: Sequence[Path], output: Path, settings: SynthesisSettings, *, overwrite: bool = False
) -> Synthesis:
    """Make a pairs file (8 bit, sRGB-coded) from videos and folders of frames; an interrupted run continues.

    Args:
        sources: video files, or folders with one picture per frame.
        output: the pairs file.
        settings: stored in the file.
        overwrite: replace an existing file.

    Raises:
        LocalblurError: if no pair can be made, or `output` exists.
    """
    plan = plan_synthesis(sources, settings)
    result = Synthesis(problems=list(plan.problems))
    header = StoreHeader(
        encoding="srgb",
        bit_depth=8,
        creator="synthesize-gopro",
        source=", ".join(source.name for source in sources),
        settings={**settings.model_dump(mode="json"), "sources": [_name_and_size(source) for source in plan.windows]},
    )
    inputs = {str(source.resolve()): files_identity(source.parent, _files(source)) for source in plan.windows}
    writer = PairsWriter(output, header, overwrite=overwrite, identity={"inputs": inputs})
    with writer, Progress(plan.count, "blending") as progress:
        for source, windows in plan.windows.items():
            missing = [window for window in windows if (window.scene, window.name) not in writer.finished]
            progress.step(source.name, count=len(windows) - len(missing))
            try:
                for pair in blend_windows(source, missing, settings):
                    progress.step(source.name)
                    if settings.skip_static and _is_static(pair, settings):
                        result.static += 1
                        continue
                    writer.add(pair if settings.mask else _without_mask(pair), plan.splits[pair.scene])
            except LocalblurError as error:
                result.problems.append(str(error))
        result.pairs = len(writer.finished)
        result.scenes = len({scene for scene, _ in writer.finished})
        if not result.pairs:
            raise LocalblurError(
                f"all {result.static} windows are static; film something that moves, or leave --skip-static out"
                if result.static
                else "no pair was made: " + "; ".join(result.problems)
            )
    return result


def blend_windows(source: Path, windows: Sequence[Window], settings: SynthesisSettings) -> Iterator[Pair]:
    """Read `source` once and yield the pair of every window in the order of their ends.

    Memory holds the sums of the windows in work, not their frames.
    """
    if not windows:
        return
    waiting = sorted(windows, key=lambda window: window.start)
    open_windows: list[tuple[Window, Exposure, list[Frame]]] = []
    rate = frame_rate(source)
    response = CAMERA_RESPONSES[settings.camera_response]
    presmooth_px = settings.motion.presmooth_px if settings.mask or settings.skip_static else None
    for index, frame in enumerate(read_frames(source)):
        while waiting and waiting[0].start == index:
            open_windows.append((waiting.pop(0), Exposure(response, presmooth_px), []))
        for window, exposure, sharp in open_windows:
            exposure.add(frame)
            if index == window.middle:
                sharp.append(frame)
        for window, exposure, sharp in [entry for entry in open_windows if entry[0].stop == index + 1]:
            yield _finish(window, exposure, sharp[0], rate, settings)
        open_windows = [entry for entry in open_windows if entry[0].stop > index + 1]
        if not waiting and not open_windows:
            return
    raise LocalblurError(f"{source} ended before its last window; was it changed meanwhile?")


def _finish(window: Window, exposure: Exposure, sharp: Frame, rate: float, settings: SynthesisSettings) -> Pair:
    mask = None
    quality = {"frames": float(window.length)}
    if exposure.presmooth_px is not None:
        mask = motion_mask(exposure.swing(), sharp, settings.motion)
        quality["blurred_share"] = float(binary_mask(mask).mean())
    info = PairInfo(
        name=window.name,
        # frames of ordinary video are exposed for most of their interval: an upper bound, as for a real exposure
        exposure_long_ms=1000 * window.length / rate,
        exposure_short_ms=1000 / rate,
        quality=quality,
        verdict=Verdict.ACCEPT,
    )
    return Pair(scene=window.scene, info=info, blurred=exposure.blurred(), sharp=sharp, mask=mask)


def _without_mask(pair: Pair) -> Pair:
    return Pair(scene=pair.scene, info=pair.info, blurred=pair.blurred, sharp=pair.sharp)


def _is_static(pair: Pair, settings: SynthesisSettings) -> bool:
    return pair.info.quality["blurred_share"] < settings.static_share


def _name_and_size(source: Path) -> dict[str, Any]:
    """What the pairs file says of a source: nothing of the folders of this machine."""
    return {"name": source.name, "bytes": sum(file.stat().st_size for file in _files(source))}


def _files(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]

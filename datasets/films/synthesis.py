"""Blurred and sharp pairs from video: survey the videos, plan the windows, blend them, several videos at a time."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localblur.common.errors import LocalblurError
from localblur.common.files import ensure_space, read_json, write_json
from localblur.common.parallel import run_tasks
from localblur.datasets.films.scene_cuts import Survey, faults_of, survey_from_plain, survey_to_plain
from localblur.datasets.films.synthesis_output import Output, PairsOutput, TreeOutput, count_stored
from localblur.datasets.films.synthesis_plan import PLANNING_VERSION, Plan, plan_synthesis, survey_videos
from localblur.datasets.films.synthesis_settings import SynthesisSettings
from localblur.datasets.films.video_sheet import write_video_sheet
from localblur.datasets.films.video_work import VideoTask, earlier_dropped, process_video
from localblur.datasets.films.work_tally import STOP, TallyWatcher
from localblur.datasets.images import IMAGE_SUFFIXES
from localblur.datasets.light.camera_response import camera_response
from localblur.datasets.storage.compression import Compression
from localblur.datasets.storage.names import PAIRS_SUFFIXES
from localblur.datasets.storage.parts import PLANNING
from localblur.datasets.store import StoreHeader, files_identity

SURVEYS = "surveys.json"
VIDEOS_AHEAD = 64
"""As many workers can be busy; they give back words."""
BYTES_PER_PIXEL = 14
"""A part, and the same pictures in the file: two of three bytes and a mask, twice."""


@dataclass
class Synthesis:
    """What came of it.

    Attributes:
        pairs, scenes: in the output.
        dropped: windows left out, as (scene, name, why).
        problems: what could not be used, in words.
        notes: what else is worth knowing, in words.
        sheets: contact sheets written.
        frames, seconds: read by this run, and how long blending took.
    """

    pairs: int = 0
    scenes: int = 0
    dropped: list[tuple[str, str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sheets: list[Path] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0


def preview_synthesis(sources: Sequence[Path], settings: SynthesisSettings, executor: Executor | None = None) -> Plan:
    """What `synthesize` would make, without making it.

    Raises:
        LocalblurError: as there.
    """
    camera_response(settings.camera_response)
    return plan_synthesis(sources, survey_videos(sources, settings, executor), settings)


def synthesize(
    sources: Sequence[Path],
    output: Path,
    settings: SynthesisSettings,
    *,
    compression: Compression = "gzip",
    overwrite: bool = False,
    preview: bool = False,
    executor: Executor | None = None,
) -> Synthesis:
    """Make pairs (8 bit, sRGB-coded) from videos and folders of frames; an interrupted run continues.

    Args:
        sources: video files, or folders with one picture per frame.
        output: a pairs file, if it ends in .h5 or .hdf5, else the folder of a tree like that of GOPRO_Large.
        settings: stored with the pairs.
        compression: of the pictures in a pairs file.
        overwrite: replace an existing output.
        preview: write a contact sheet per video into `<output>.preview`.
        executor: works on several videos at a time; None works here, on one after the other.

    Raises:
        LocalblurError: if no pair can be made, or `output` exists.
    """
    camera_response(settings.camera_response)
    place = _output(sources, output, settings, compression, overwrite)
    result = Synthesis()
    surveys = {}
    if overwrite and place.kind == "gopro":  # what cannot be made must not cost the tree that is there
        surveys = survey_videos(sources, settings, executor)
        plan_synthesis(sources, surveys, settings)
    with place:
        plan = plan_synthesis(sources, surveys or _surveys(sources, settings, place, executor), settings)
        result.problems += plan.problems
        result.notes += [f"{video.source}{faults}" for video in plan.videos if (faults := faults_of(video.found))]
        tasks = _tasks(plan, place, settings, preview)
        _check_space(tasks, place)
        _run(tasks, place, result, executor)
        records = [place.state / f"{number}.json" for number in range(len(plan.videos))]
        result.dropped = sorted({*result.dropped, *(entry for record in records for entry in earlier_dropped(record))})
        if preview:
            for number in range(len(plan.videos)):
                _sheet(output, number, place, result, plan)
        if not place.finished(plan):
            raise LocalblurError(_nothing_made(result))
    result.pairs, result.scenes = count_stored(output)
    return result


def _nothing_made(result: Synthesis) -> str:
    if not result.dropped:
        return "no pair was made: " + "; ".join(result.problems)
    reasons = sorted({why.partition(":")[0] for _, _, why in result.dropped})
    seen = f"; see {result.sheets[0]}" if result.sheets else ""
    return (
        f"all {len(result.dropped)} windows were dropped ({', '.join(reasons)}); film something that moves slower or"
        f" faster, or change --set static_share or interpolation.largest_unexplained{seen}"
    )


def _output(
    sources: Sequence[Path], output: Path, settings: SynthesisSettings, compression: Compression, overwrite: bool
) -> Output:
    described = {**settings.model_dump(mode="json"), "sources": [_name_and_size(source) for source in sources]}
    inputs = {str(source.resolve()): files_identity(source.parent, _files(source)) for source in sources}
    if Path(settings.camera_response).is_file():
        curve = Path(settings.camera_response)
        inputs["camera_response"] = files_identity(curve.parent, [curve])
    if output.suffix.lower() not in PAIRS_SUFFIXES:
        if not settings.linear_light:
            raise LocalblurError(
                "a tree like GOPRO_Large holds both versions, of light and of codes; leave out --coded"
            )
        return TreeOutput(
            output, {PLANNING: PLANNING_VERSION, "settings": described, "inputs": inputs}, overwrite=overwrite
        )
    header = StoreHeader(
        encoding="srgb",
        bit_depth=8,
        creator="synthesize-gopro",
        source=", ".join(source.name for source in sources),
        settings=described,
    )
    return PairsOutput(
        output, header, {PLANNING: PLANNING_VERSION, "inputs": inputs}, compression=compression, overwrite=overwrite
    )


def _surveys(
    sources: Sequence[Path], settings: SynthesisSettings, place: Output, executor: Executor | None
) -> dict[Path, Survey | LocalblurError]:
    """Surveys of all sources; those of an interrupted run are not made again."""
    store = place.state / SURVEYS
    known = read_json(store) if store.is_file() else {}
    found: dict[Path, Survey | LocalblurError] = {
        source: survey_from_plain(known[str(source)]) for source in sources if str(source) in known
    }
    found |= survey_videos([source for source in sources if source not in found], settings, executor)
    write_json(store, {str(path): survey_to_plain(one) for path, one in found.items() if isinstance(one, Survey)})
    return found


def _tasks(plan: Plan, place: Output, settings: SynthesisSettings, preview: bool) -> list[VideoTask]:
    """What is left to do: the missing windows of every video."""
    finished = place.finished(plan)
    tasks = []
    for number, video in enumerate(plan.videos):
        dropped = {(scene, name) for scene, name, _ in earlier_dropped(place.state / f"{number}.json")}
        missing = tuple(window for window in video.windows if (window.scene, window.name) not in finished | dropped)
        if missing:
            tasks.append(
                VideoTask(
                    video=video,
                    missing=missing,
                    splits=plan.splits,
                    settings=settings,
                    kind=place.kind,
                    folder=place.folder,
                    state=place.state,
                    number=number,
                    preview=preview,
                )
            )
    return tasks


def _run(tasks: Sequence[VideoTask], place: Output, result: Synthesis, executor: Executor | None) -> None:
    for task in tasks:
        task.tally.unlink(missing_ok=True)
    total = sum(task.frames for task in tasks)
    names = {task.tally: task.video.source.name for task in tasks}
    stop = place.state / STOP
    stop.unlink(missing_ok=True)
    with TallyWatcher(names, total, "blending", "frame") as watcher:
        try:
            for task, outcome in run_tasks(process_video, tasks, executor, ahead=VIDEOS_AHEAD):
                if isinstance(outcome, Exception):
                    raise outcome
                place.take(task)
                result.dropped += outcome.dropped
                result.problems += [outcome.problem] if outcome.problem else []
        except BaseException:
            stop.touch()
            raise
    result.frames, result.seconds = watcher.count, watcher.seconds


def _check_space(tasks: Sequence[VideoTask], place: Output) -> None:
    needed = 0
    for task in tasks:
        areas = {(shot.start, shot.stop): shot.height * shot.width for shot in task.video.found.shots}
        for window in task.missing:
            area = next(area for (start, stop), area in areas.items() if start <= window.start < stop)
            needed += area * BYTES_PER_PIXEL
    ensure_space(place.folder, needed, f"{sum(len(task.missing) for task in tasks)} pairs")


def _sheet(output: Path, number: int, place: Output, result: Synthesis, plan: Plan) -> None:
    video = plan.videos[number]
    strips = {window.name: place.state / f"{number}-{window.name}.png" for window in video.windows}
    path = output.with_name(output.name + ".preview") / f"{video.title}.png"
    if write_video_sheet(path, video, strips, {(scene, name): why for scene, name, why in result.dropped}):
        result.sheets.append(path)


def _name_and_size(source: Path) -> dict[str, Any]:
    """What is told of a source: nothing of the folders of this machine."""
    return {"name": source.name, "bytes": sum(file.stat().st_size for file in _files(source) if file.exists())}


def _files(source: Path) -> list[Path]:
    """What a source is read from: an output or a note among the pictures of a folder is no part of it."""
    if not source.is_dir():
        return [source]
    return sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())

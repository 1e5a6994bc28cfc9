"""A pairs file without video: plan the scenes, cut objects out, make the pairs in workers, write them in order."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from localblur.common.errors import LocalblurError
from localblur.common.files import ensure_space
from localblur.common.parallel import Progress, run_tasks
from localblur.datasets.local.blur import draw_count
from localblur.datasets.local.cutout_files import CutoutTask, cutout_tasks, make_cutout
from localblur.datasets.local.cutouts import NoObjectError
from localblur.datasets.local.pairs import PLAN, LocalSynthesisSettings, LocalTask, write_local_pair
from localblur.datasets.local.scenes import Scene, list_pictures, make_scenes, usable_photographs
from localblur.datasets.storage.compression import Compression
from localblur.datasets.storage.names import PAIRS_SUFFIXES
from localblur.datasets.storage.parts import PLANNING
from localblur.datasets.store import PairsWriter, StoreHeader, assign_splits, files_identity

PLANNING_VERSION = 2
"""To be raised when the same photographs and settings give other pairs: an unfinished run of an older version of the
program is not continued then."""
TASKS_AHEAD = 64
"""As many workers can be busy. What they give back is little: their pictures are in parts."""
MOST_CUTOUTS = 500
_BYTES_PER_PX = 7 * 1.6
"""A part (two pictures and a mask) and the compressed pair, which exist at the same time."""


@dataclass
class LocalSynthesis:
    """What came of it: pairs and scenes in the file, cut-outs made, time, and problems in words."""

    pairs: int = 0
    scenes: int = 0
    cutouts: int = 0
    made: int = 0
    seconds: float = 0.0
    without_object: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LocalPlan:
    """Scenes and their splits; what photographs cannot be used; how many pictures there are to cut objects from."""

    scenes: list[Scene]
    splits: dict[str, str]
    problems: list[str]

    @property
    def photographs(self) -> list[Path]:
        """Those that are backgrounds."""
        return [scene.photograph for scene in self.scenes if scene.photograph is not None]


def plan_local(sources: Sequence[Path], settings: LocalSynthesisSettings) -> LocalPlan:
    """Choose photographs and divide the pairs among them; without any source, backgrounds are procedural.

    Raises:
        LocalblurError: if there is no usable photograph in the sources.
    """
    paths = list(dict.fromkeys(path for source in sources for path in list_pictures(source)))
    order = np.random.default_rng([settings.seed, PLAN]).permutation(len(paths))
    usable: list[Path] = []
    problems: list[str] = []
    shuffled = [paths[i] for i in order]
    with Progress(min(len(paths), settings.count), "reading", "photograph", delay_s=2) as progress:
        for path, problem in usable_photographs(shuffled, settings.width, settings.height):
            progress.step(path.name)
            if problem is None:
                usable.append(path)
            else:
                problems.append(problem)
            if len(usable) == settings.count:
                break
    if paths and not usable:
        too_small = [problem for problem in problems if "smaller than --size" in problem]
        remedy = "take a smaller --size" if too_small else "give photographs"
        told = (too_small or problems)[0]
        raise LocalblurError(f"none of {len(paths)} photographs can be used: {told}; {remedy}")
    scenes = make_scenes(usable, settings.count, settings.pairs_per_scene)
    splits = assign_splits([scene.name for scene in scenes], settings.split, settings.seed)
    return LocalPlan(scenes=scenes, splits=splits, problems=sorted(problems))


def synthesize_local(
    sources: Sequence[Path],
    output: Path,
    settings: LocalSynthesisSettings,
    *,
    objects: Path | None = None,
    masks: Path | None = None,
    compression: Compression = "gzip",
    overwrite: bool = False,
    executor: Executor | None = None,
) -> LocalSynthesis:
    """Make a pairs file (8 bit, sRGB-coded); an interrupted run continues, with any number of workers.

    Args:
        sources: photographs and folders of photographs; none: procedural backgrounds.
        output: the pairs file. Cut-outs are kept in `<output>.cutouts`, to be looked at.
        settings: stored in the file.
        objects: a folder of pictures to cut objects from; None: the photographs themselves.
        masks: a folder of their masks, with the same names; None: alpha channels, or GrabCut.
        compression: of the pictures in `output`.
        overwrite: replace an existing file.
        executor: makes the pairs; None makes them here.

    Raises:
        LocalblurError: if nothing can be made, there is too little space, or `output` exists.
    """
    if output.suffix.lower() not in PAIRS_SUFFIXES:  # --overwrite must not cost a photograph
        raise LocalblurError(f"{output} is no name of a pairs file; give --output a name that ends in .h5")
    plan = plan_local(sources, settings)
    result = LocalSynthesis(problems=list(plan.problems))
    to_cut = _cutout_tasks(plan, output, settings, objects, masks)
    inputs = _identity(plan, objects, masks)
    writer = PairsWriter(
        output,
        _header(plan, settings),
        overwrite=overwrite,
        compression=compression,
        identity={PLANNING: PLANNING_VERSION, "inputs": inputs},
    )
    if writer.begins():
        _check_space(output, settings, settings.count)
    with writer:
        pool = _cut_all(to_cut, executor, result)
        tasks = [task for task in _tasks(plan, settings, pool, writer.parts) if _key(task) not in writer.finished]
        _check_space(output, settings, len(tasks))
        begun = time.monotonic()
        with Progress(settings.count, "synthesizing") as progress:
            progress.step("", count=settings.count - len(tasks))
            for part in _in_order(tasks, executor, progress):
                writer.fold(part)
        result.made, result.seconds = len(tasks), time.monotonic() - begun
        result.pairs, result.scenes = len(writer.finished), len(plan.scenes)
    return result


def _check_space(output: Path, settings: LocalSynthesisSettings, count: int) -> None:
    needed = int(settings.width * settings.height * count * _BYTES_PER_PX)
    ensure_space(output.resolve().parent, needed, f"{count} pairs")


def _header(plan: LocalPlan, settings: LocalSynthesisSettings) -> StoreHeader:
    folders = sorted({path.parent.name for path in plan.photographs})
    return StoreHeader(
        encoding="srgb",
        bit_depth=8,
        creator="synthesize-local",
        source=f"photographs of {', '.join(folders)}" if folders else "procedural textures",
        settings=settings.model_dump(mode="json"),
    )


def _identity(plan: LocalPlan, objects: Path | None, masks: Path | None) -> dict[str, str]:
    """What else the pairs depend on: photographs, pictures of objects and masks, by size and time."""
    told = {"backgrounds": _files_identity(plan.photographs)}
    told |= {"objects": _files_identity(list_pictures(objects))} if objects is not None else {}
    told |= {"masks": _files_identity(list_pictures(masks))} if masks is not None else {}
    return told


def _files_identity(paths: Sequence[Path]) -> str:
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    return "; ".join(f"{folder.resolve()}, {files_identity(folder, files)}" for folder, files in by_folder.items())


def _cutout_tasks(
    plan: LocalPlan, output: Path, settings: LocalSynthesisSettings, objects: Path | None, masks: Path | None
) -> list[tuple[CutoutTask, str]]:
    """What to cut out, with the split it is for."""
    if settings.mode == "global" or settings.cutout_share == 0:
        return []
    folder = output.with_name(output.name + ".cutouts")
    if objects is None:
        split_of = {scene.photograph: plan.splits[scene.name] for scene in plan.scenes if scene.photograph is not None}
        pictures = plan.photographs[:MOST_CUTOUTS]
        if not pictures or (masks is None and settings.grabcut is None):
            return []
    else:
        pictures = list_pictures(objects)
        by_name = assign_splits([str(path) for path in pictures], _shares(settings), settings.seed)
        # an object that was cut from one of the photographs stays in the photograph's split
        split_of = {path: plan.splits.get(path.stem.rpartition("-")[0], by_name[str(path)]) for path in pictures}
    return [(task, split_of[task.picture]) for task in cutout_tasks(pictures, masks, folder, settings.grabcut)]


def _shares(settings: LocalSynthesisSettings) -> str:
    """Shares for pictures of objects, which a file of splits does not name."""
    return settings.split if "=" in settings.split else "train=0.8,val=0.1,test=0.1"


def _cut_all(
    to_cut: Sequence[tuple[CutoutTask, str]], executor: Executor | None, result: LocalSynthesis
) -> dict[str, list[Path]]:
    """Cut-outs by split, in the order of their names; what GrabCut refuses is counted, what is damaged is told."""
    splits = {task.output: split for task, split in to_cut}
    made: list[Path] = []
    with Progress(len(to_cut), "cutting out objects", "photograph") as progress:
        for task, outcome in run_tasks(make_cutout, [task for task, _ in to_cut], executor, ahead=TASKS_AHEAD):
            progress.step(task.picture.name)
            if isinstance(outcome, Path):
                made.append(outcome)
            elif isinstance(outcome, NoObjectError):
                result.without_object += 1
            elif isinstance(outcome, LocalblurError):
                result.problems.append(str(outcome))
            else:
                raise outcome
    result.cutouts = len(made)
    pool: dict[str, list[Path]] = {}
    for path in sorted(made):
        pool.setdefault(splits[path], []).append(path)
    return pool


def _tasks(
    plan: LocalPlan, settings: LocalSynthesisSettings, pool: dict[str, list[Path]], parts: Path
) -> Iterator[LocalTask]:
    fillers: dict[str, list[Path]] = {}
    for scene in plan.scenes:
        if scene.photograph is not None:
            fillers.setdefault(plan.splits[scene.name], []).append(scene.photograph)
    for scene in plan.scenes:
        split = plan.splits[scene.name]
        for number in scene.pairs:
            rng = np.random.default_rng([settings.seed, number, PLAN])
            available = pool.get(split, [])
            count = 0 if settings.mode == "global" else draw_count(rng, settings.blur)
            drawn = [(rng.random(), int(rng.integers(max(len(available), 1)))) for _ in range(count)]
            filling = fillers.get(split, [])
            yield LocalTask(
                number=number,
                scene=scene,
                split=split,
                name=f"{number - scene.pairs.start:04d}",
                cutouts=tuple(available[i] if available and u < settings.cutout_share else None for u, i in drawn),
                fillers=tuple(filling[i] for i in rng.permutation(len(filling))[:4]),
                settings=settings,
                parts=parts,
            )


def _key(task: LocalTask) -> tuple[str, str]:
    return task.scene.name, task.name


def _in_order(tasks: Sequence[LocalTask], executor: Executor | None, progress: Progress) -> Iterator[Path]:
    """Parts in the order of their tasks, whichever worker is first: the file does not depend on the workers."""
    waiting: dict[int, Path] = {}
    turn = 0
    for task, part in run_tasks(write_local_pair, tasks, executor, ahead=TASKS_AHEAD):
        if isinstance(part, Exception):
            raise part
        progress.step(task.scene.name)
        waiting[task.number] = part
        while turn < len(tasks) and tasks[turn].number in waiting:
            yield waiting.pop(tasks[turn].number)
            turn += 1

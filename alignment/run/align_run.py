"""A whole alignment run: plan it, calibrate every rig, align all pairs, fold them into one file, report."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from localblur.alignment.masks.run import add_masks
from localblur.alignment.model.output import output_size
from localblur.alignment.report.masks import show_masks
from localblur.alignment.report.page import PAGE, ReportEntry, write_report
from localblur.alignment.run.align_record import RunRecord
from localblur.alignment.run.align_tasks import (
    AlignDatasetSettings,
    AlignTask,
    RigModel,
    Storage,
    field_path,
    model_rig,
    run_align_task,
)
from localblur.alignment.run.inputs import PairInput, open_input
from localblur.alignment.run.run_notes import run_notes
from localblur.common.errors import LocalblurError
from localblur.common.parallel import Progress, open_executor, run_tasks
from localblur.datasets.pair import Verdict
from localblur.datasets.storage.mask_confidence import MASK_CONFIDENCE
from localblur.datasets.storage.schema import Compression, check_name
from localblur.datasets.store import PairsFile, PairsWriter, StoreHeader, assign_splits

logger = logging.getLogger(__name__)

_PAIRS_NAMED = 10
TASKS_AHEAD = 64
"""A result is the place of a part, so many may wait; as many workers of a cluster can be busy."""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        inputs: the inputs by the names of their folders.
        scenes: scene as stored: name of the input and group.
        splits: split by stored scene.
        storage: how pixels are stored.
        settings: everything else.
        split, seed: where the splits come from; stored with the output.
    """

    inputs: dict[str, PairInput]
    scenes: dict[str, tuple[str, str]]
    splits: dict[str, str]
    storage: Storage
    settings: AlignDatasetSettings
    split: str
    seed: int

    def pairs(self, scene: str) -> list[str]:
        """Pair names of a stored scene."""
        name, group = self.scenes[scene]
        return self.inputs[name].pairs(group)

    @property
    def header(self) -> StoreHeader:
        """Header of the output."""
        return StoreHeader(
            encoding="srgb" if self.storage == "srgb8" else "linear",
            bit_depth=8 if self.storage == "srgb8" else 16,
            creator=f"align-dataset {version('localblur')}",
            source=", ".join(self.inputs),
            settings={**self.settings.model_dump(mode="json"), "split": self.split, "seed": self.seed},
        )


@dataclass(frozen=True)
class Outcome:
    """What is in the output, rejected pairs with their reasons, and pairs lost on the way with the cause.

    `resumed` pairs were finished by an earlier run; `notes` say what the pairs show together; `unmasked` says which
    pairs got no mask and why.
    """

    pairs: int
    resumed: int
    rejected: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    notes: list[str] = field(default_factory=list)
    unmasked: list[str] = field(default_factory=list)


def make_plan(inputs: Sequence[Path], settings: AlignDatasetSettings, split: str, seed: int) -> Plan:
    """Open all inputs, name their scenes, and assign splits.

    Scenes keep their names; where several inputs have a scene of one name, the input's folder name goes in front.

    Raises:
        LocalblurError: for unusable inputs, inputs of one folder name, names that cannot be stored, a size that
            pairs cannot be brought to, or a bad split.
    """
    if settings.masks != "none":  # so that what is stored names the method that was used
        settings = settings.model_copy(update={"mask": settings.mask.model_copy(update={"method": settings.masks})})
    opened: dict[str, PairInput] = {}
    for path in inputs:
        source = open_input(path, settings.encoding, settings.alignment.radiometry)
        name = path.resolve().name
        if name in opened:
            raise LocalblurError(f"two inputs are called {name}; rename one of the folders")
        opened[name] = source
    if settings.size is not None:
        for source in opened.values():
            _check_size(source, settings.size)
    names = [scene for source in opened.values() for scene in source.scenes()]
    scenes = {
        (f"{name}-{scene}" if names.count(scene) > 1 else scene): (name, f"scenes/{scene}")
        for name, source in opened.items()
        for scene in source.scenes()
    }
    if len(scenes) != len(names):
        raise LocalblurError("two scenes would get the same name; rename a scene or an input folder")
    for scene, (name, group) in scenes.items():
        check_name("scene", scene)
        for pair in opened[name].pairs(group):
            check_name("pair", pair)
    storage: Storage = "srgb8" if all(source.eight_bit for source in opened.values()) else "linear16"
    if settings.store != "auto":
        storage = settings.store
    return Plan(opened, scenes, assign_splits(list(scenes), split, seed), storage, settings, split, seed)


def _check_size(source: PairInput, size: str) -> None:
    """Refuse a size that the first readable pair of an input cannot be brought to, before any work."""
    for scene in source.scenes():
        for pair in source.pairs(f"scenes/{scene}"):
            try:
                sharp = source.read(f"scenes/{scene}", pair).sharp.light
            except LocalblurError as error:  # lost when its turn comes
                logger.debug("%s", error)
                continue
            output_size(size, sharp.shape[1], sharp.shape[0])
            return


def run_plan(
    plan: Plan,
    output: Path,
    *,
    report: Path | None = None,
    displacement: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    compression: Compression = "gzip",
) -> Outcome:
    """Align everything `plan` names into `output`, make masks, report; a run with the same plan continues one that was
    interrupted, at whatever moment.

    Raises:
        LocalblurError: if `output`, a report or a displacement field exists, an interrupted run had other inputs or
            side outputs, a rig cannot be calibrated, or not one pair can be aligned.
    """
    identity = {
        "inputs": {name: source.identity for name, source in plan.inputs.items()},
        "report": str(report.resolve()) if report else None,
        "save_displacement": str(displacement.resolve()) if displacement else None,
    }
    record = RunRecord(output, {**identity, "compression": compression, **plan.header.plain()})
    lost = record.lost(overwrite=overwrite)
    resumed = None
    if lost is None:
        writer = PairsWriter(output, plan.header, overwrite=overwrite, compression=compression, identity=identity)
        if writer.begins() and not overwrite:
            _refuse_existing(plan, report, displacement)
        with writer:
            resumed = len(writer.finished)
            lost = _align_pairs(plan, writer, report, displacement, workers, scheduler)
            if report is not None:
                # what an earlier run reported; a page that is there tells that this run's is written
                (report / PAGE).unlink(missing_ok=True)
            record.begin(lost)
    unmasked: list[str] = []
    if plan.settings.masks in ("sequence", "mog2"):
        unmasked = add_masks(output, plan.settings.mask, workers=workers, scheduler=scheduler).failures
    outcome = _outcome(plan, output, lost, unmasked, report)
    record.clear()
    return replace(outcome, resumed=outcome.pairs if resumed is None else resumed)


def _align_pairs(
    plan: Plan,
    writer: PairsWriter,
    report: Path | None,
    displacement: Path | None,
    workers: int,
    scheduler: str | None,
) -> dict[str, str]:
    """Calibrate every rig and align every pair that is not finished; the pairs that were lost, and why."""
    with open_executor(workers, scheduler) as executor:
        rigs = {name: model_rig(source, plan.settings, executor) for name, source in plan.inputs.items()}
        writer.set_calibration({name: rig.content() for name, rig in rigs.items()})
        tasks = _open_tasks(plan, rigs, writer, report, displacement)
        lost = _align_all(tasks, writer, executor)
    if not writer.finished:
        raise LocalblurError(f"none of the {len(lost)} pairs could be aligned; the first: {next(iter(lost.values()))}")
    return lost


def _outcome(plan: Plan, output: Path, lost: dict[str, str], unmasked: list[str], report: Path | None) -> Outcome:
    """Look at the finished file, so that pairs of an interrupted run are counted and shown too, and report."""
    with PairsFile.open(output) as pairs:
        entries = [
            ReportEntry(scene.name, scene.split, info) for scene in pairs.scenes for info in pairs.info(scene.name)
        ]
        calibrations = pairs.calibration()
        if report is not None and not (report / PAGE).exists():
            show_masks(report, pairs)
    rejected = {
        f"{entry.scene}/{entry.info.name}": entry.info.reasons
        for entry in entries
        if entry.info.verdict is Verdict.REJECT
    }
    title = f"Alignment of {', '.join(plan.inputs)}"
    measured = [(plan.scenes[entry.scene][0], entry.label, entry.info.quality) for entry in entries]
    codings = {name: source.coding for name, source in plan.inputs.items()}
    notes = run_notes(measured, codings, plan.settings.alignment.bumped_px)
    notes += _doubtful_note(entries, plan.settings.mask.doubtful_below)
    page = None
    if report is not None:
        page = report / PAGE
        if not page.exists():
            write_report(report, entries, calibrations, lost, title, settings=plan.header.settings, notes=notes)
    return Outcome(len(entries), 0, rejected, lost, page, notes, unmasked)


def _doubtful_note(entries: Sequence[ReportEntry], below: float) -> list[str]:
    """Name the pairs whose masks have little confidence, the worst first."""
    values = {entry.label: entry.info.quality.get(MASK_CONFIDENCE, 1.0) for entry in entries}
    labels = sorted((label for label in values if values[label] < below), key=lambda label: values[label])
    named = ", ".join(labels[:_PAIRS_NAMED]) + (", ..." if len(labels) > _PAIRS_NAMED else "")
    counted = (
        "1 mask is doubtful, look at it" if len(labels) == 1 else f"{len(labels)} masks are doubtful, look at them"
    )
    return [f"{counted} with view-dataset: {named}"] if labels else []


def _refuse_existing(plan: Plan, report: Path | None, displacement: Path | None) -> None:
    """Refuse to replace the side outputs of another run."""
    wanted = [report / PAGE] if report is not None else []
    if displacement is not None:
        wanted += [field_path(displacement, scene, pair) for scene in plan.scenes for pair in plan.pairs(scene)]
    for path in wanted:
        if path.exists():
            raise LocalblurError(f"{path} exists already; choose another folder or pass --overwrite")


def _open_tasks(
    plan: Plan, rigs: dict[str, RigModel], writer: PairsWriter, report: Path | None, displacement: Path | None
) -> list[AlignTask]:
    """Every pair that is not finished."""
    return [
        AlignTask(
            source=plan.inputs[name],
            group=group,
            pair=pair,
            scene=scene,
            split=plan.splits[scene],
            rig=rigs[name],
            settings=plan.settings,
            storage=plan.storage,
            parts=writer.parts,
            report=report,
            displacement=displacement,
        )
        for scene, (name, group) in plan.scenes.items()
        for pair in plan.pairs(scene)
        if (scene, pair) not in writer.finished
    ]


def _align_all(tasks: list[AlignTask], writer: PairsWriter, executor: Executor | None) -> dict[str, str]:
    """Run the tasks and fold their parts; returns the pairs that were lost and why."""
    lost: dict[str, str] = {}
    rejected = 0
    with Progress(len(tasks), "align") as progress:
        for task, result in run_tasks(run_align_task, tasks, executor, ahead=TASKS_AHEAD):
            try:
                if isinstance(result, Exception):
                    raise result
                writer.fold(result.part)
                rejected += result.verdict is Verdict.REJECT
            except LocalblurError as error:  # one damaged pair must not stop a run of thousands
                lost[f"{task.scene}/{task.pair}"] = str(error)
            progress.step(f"{rejected} rejected, {len(lost)} lost")
    return lost

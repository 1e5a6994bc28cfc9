"""Capturing one scene or calibration: levels of a bracket, batches of a simulated rig, what the screen shows."""

import contextlib
import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from localblur.acquisition.calibrating.checks import check_calibration
from localblur.acquisition.cameras.camera import CameraError, CameraRecord
from localblur.acquisition.measuring.exposure import bracket_factor
from localblur.acquisition.measuring.preflight import mirror_warning
from localblur.acquisition.pairing.pairing import CapturedPair, Pairer
from localblur.acquisition.pairing.sync import make_pairer
from localblur.acquisition.recording.record import RING_PAIRS, RecordHooks, RecordOptions, record_pairs
from localblur.acquisition.screen.preview import Preview
from localblur.acquisition.screen.screen import StatusLine
from localblur.acquisition.session.plan import CapturePlan, GroupPlan
from localblur.acquisition.session.sources import PairSource, reopen
from localblur.common.errors import LocalblurError
from localblur.datasets.recording import ROLES, JournalWriter, PairRecord, Recording, RecordingWriter, Role


@dataclass
class GroupOutcome:
    """What became of one group.

    Attributes:
        asked: pairs to capture.
        held: pairs it held before.
        replaced: the pairs take the place of older ones.
        committed: pairs captured.
        lost: one reason per lost attempt.
        problems: what is wrong with a calibration, and what to do.
    """

    group: str
    asked: int
    held: int
    replaced: bool = False
    committed: int = 0
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    saturated: dict[Role, float] = field(default_factory=lambda: {"B": 0.0, "S": 0.0})


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a session needs besides its plan.

    Attributes:
        workers, scheduler: for rendering simulated scenes.
        say: shows one line at once.
        guide: called before a calibration with its kind; returns when the user has set it up.
        preview: shows pairs while they are recorded.
    """

    workers: int = 1
    scheduler: str | None = None
    say: Callable[[str], None] = lambda line: None
    guide: Callable[[str], None] = lambda kind: None
    preview: Callable[[dict[Role, CameraRecord]], Preview] | None = None


class GroupCapture:
    """Captures one group of a plan with cameras that are open and set up.

    Args:
        source: the cameras.
        writer: the recording.
        records: the cameras' settings as read back.
        around: what else the session needs.
    """

    def __init__(
        self,
        plan: CapturePlan,
        group: GroupPlan,
        source: PairSource,
        writer: RecordingWriter,
        records: dict[Role, CameraRecord],
        around: Surroundings,
    ) -> None:
        self._plan, self._group, self._source, self._writer = plan, group, source, writer
        self._records, self._around = records, around
        self._journal = writer.journal(group.group)
        self._outcome = GroupOutcome(group.group, len(group.indices), self._journal.next_index, bool(group.replace))

    def capture(self) -> GroupOutcome:
        """Fill the group and say what became of it.

        Raises:
            LocalblurError: if the group does not hold the pairs it held when the plan was made.
        """
        group, outcome = self._group, self._outcome
        if self._journal.next_index != group.held:
            raise LocalblurError(
                f"{group.group} goes on with pair {self._journal.next_index} by now and not with pair {group.held}:"
                " another capture has added pairs, or its journal was edited; look with --verify, then run again"
            )
        if not group.indices:
            return outcome
        self._journal.start(_start_settings(self._plan, group))
        status = "aborted"
        try:
            self._fill(self._note_status("start"))
            self._note_status("stop")
            status = "complete"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            _finish(self._source, self._journal, status)
        if group.shot_kind != "scene":
            outcome.problems += self._problems(min(group.indices))
            for problem in outcome.problems:
                self._around.say(f"warning: {problem}")
        return outcome

    def _problems(self, first: int) -> list[str]:
        """What is wrong with the calibration just captured."""
        recording = Recording.open(self._plan.output)
        problems = check_calibration(recording, self._group.shot_kind, first=first)
        if self._group.shot_kind == "static" and self._plan.rig is None:
            mirrored = recording.manifest.settings.get("mirrored")
            frames = recording.frames(self._group.group, first)
            warning = mirror_warning(*frames, self._records, mirrored)
            problems += [warning] if warning is not None else []
        return problems

    def _fill(self, status: dict[str, float]) -> None:
        with contextlib.ExitStack() as stack:
            screen = stack.enter_context(
                StatusLine(
                    self._group.group,
                    len(self._group.indices),
                    self._outcome.held,
                    self._records,
                    self._plan.output,
                    ring=RING_PAIRS,
                )
            )
            screen.status(status)
            preview = self._around.preview(self._records) if self._around.preview is not None else None
            if preview is not None:
                stack.callback(preview.close)
            for factor, indices in _by_factor(self._group):
                records = self._records
                if factor != 1.0:
                    records = self._source.watchdog.run(functools.partial(self._source.set_up, factor))
                hooks = self._hooks(records, factor, screen, preview)
                pairer = make_pairer(self._source.sync, self._source.cameras, records)
                while indices:
                    ready = self._source.prepare(indices[0], _contiguous(indices))
                    self._record(indices[:ready], records, pairer, hooks)
                    indices = indices[ready:]

    def _record(
        self, indices: Sequence[int], records: dict[Role, CameraRecord], pairer: Pairer, hooks: RecordHooks
    ) -> None:
        sync = self._plan.sync
        options = RecordOptions(
            interval_ms=self._plan.interval_ms,
            average=self._group.average,
            durable=self._plan.durable,
            period_ms=1000 / sync.rate_hz if sync.rate_hz is not None else None,
            replaces=self._group.reason,
        )
        watchdog = self._source.watchdog
        record_pairs(pairer, self._journal, records, indices, hooks=hooks, options=options, watchdog=watchdog)

    def _hooks(
        self, records: dict[Role, CameraRecord], factor: float, screen: StatusLine, preview: Preview | None
    ) -> RecordHooks:
        hooks, outcome = self._source.hooks(), self._outcome

        def committed(record: PairRecord, pair: CapturedPair, waiting: int) -> None:
            outcome.committed += 1
            for role, frame in zip(ROLES, (record.B, record.S), strict=True):
                outcome.saturated[role] = max(outcome.saturated[role], frame.saturated)
            screen.committed(record, waiting)
            if preview is not None:
                preview.offer(pair.blurred.data, pair.sharp.data)

        def lost(reason: str, count: int) -> None:
            outcome.lost += [reason] * count
            screen.lost(reason, count)

        hooks.committed, hooks.lost = committed, lost
        hooks.reopen = functools.partial(reopen, self._source, records, factor)
        hooks.free_bytes = lambda: shutil.disk_usage(self._plan.output).free
        return hooks

    def _note_status(self, when: str) -> dict[str, float]:
        """Put temperatures and error counters into the journal; a camera that cannot tell is no reason to stop."""
        values: dict[str, float] = {}
        try:
            for camera in self._source.cameras:
                found = self._source.watchdog.run(camera.status)
                values |= {f"{camera.role}_{name}": value for name, value in found.items()}
        except CameraError as error:
            if error.kind == "hung":
                raise
        if values:
            self._journal.status(values, when)
        return values


def _by_factor(group: GroupPlan) -> list[tuple[float, Sequence[int]]]:
    """The pairs to capture, by the factor their exposures are multiplied with."""
    if group.shot_kind != "bracket":
        return [(1.0, group.indices)]
    return [(factor, list(indices)) for factor, indices in groupby(group.indices, bracket_factor)]


def _contiguous(indices: Sequence[int]) -> int:
    """How many of the first indices follow one another."""
    return next((n for n, index in enumerate(indices) if index != indices[0] + n), len(indices))


def _finish(source: PairSource, journal: JournalWriter, status: str) -> None:
    try:
        checked = source.finish()
        if checked:
            journal.note(checked)
        journal.stop(status)
    except OSError:
        if status == "complete":
            raise  # otherwise the failure under way says more


def _start_settings(plan: CapturePlan, group: GroupPlan) -> dict[str, Any]:
    return {
        "source": plan.source,
        "kind": group.shot_kind,
        "count": group.count,
        "interval_ms": plan.interval_ms,
        "average": group.average,
        "replace": list(group.replace),
        "scene": group.scene.model_dump(mode="json") if group.scene is not None else None,
    }

"""What worker processes do for `align-dataset`: fit and check static pairs, align pairs and leave them as parts."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator

from localblur.alignment.judging.judge import JudgedPair, judge_pair
from localblur.alignment.judging.quality import QualitySettings, measure_quality
from localblur.alignment.light.radiometry import LinearImage
from localblur.alignment.light.rendering import (
    Rendering,
    RenderSettings,
    chart_rendering,
    given_rendering,
    grey_world,
)
from localblur.alignment.light.sensor_fields import FlatField, FlatMean
from localblur.alignment.masks.blur_masks import MaskSettings, pair_result
from localblur.alignment.masks.settings import MethodName
from localblur.alignment.model.calibration import RigCalibration, StaticFit, calibrate, fit_static_pair
from localblur.alignment.model.chromatic import ChromaticSamples, ChromaticShift, chromatic_samples, fit_chromatic
from localblur.alignment.model.output import checked_size, output_pair, output_size
from localblur.alignment.model.pair import align_pair
from localblur.alignment.model.pipeline import AlignmentSettings, CapturedPair
from localblur.alignment.registration.displacement import valid_box
from localblur.alignment.report.pictures import pair_pictures, save_pictures
from localblur.alignment.run.inputs import CHART, FLAT, STATIC, PairInput
from localblur.common.errors import LocalblurError
from localblur.common.files import atomic_path
from localblur.common.parallel import run_tasks
from localblur.common.settings import Settings
from localblur.datasets.images import FloatArray, IntArray, from_unit, srgb_encode
from localblur.datasets.pair import Pair, PairInfo, Verdict
from localblur.datasets.storage.mask_confidence import with_confidence
from localblur.datasets.store import write_part

logger = logging.getLogger(__name__)

_GREY_WORLD_SCENES = 8

Result = TypeVar("Result")
Storage = Literal["srgb8", "linear16"]


class AlignDatasetSettings(Settings):
    """Everything `align-dataset` can be told; stored in its output.

    Attributes:
        encoding: how plain folders are coded; None takes srgb for 8-bit files.
        store: sRGB-coded 8 bit or linear 16 bit; auto is srgb8 from 8-bit input, else linear16.
        masks: how blur masks are made, or none; outranks the method in `mask`.
        size: of what is stored, WIDTHxHEIGHT or a scale; None keeps the size of the capture.
    """

    encoding: Literal["srgb", "linear"] | None = None
    store: Literal["auto", "srgb8", "linear16"] = "auto"
    masks: MethodName | Literal["none"] = "pair"
    size: Annotated[str, BeforeValidator(checked_size)] | None = None
    alignment: AlignmentSettings = AlignmentSettings()
    render: RenderSettings = RenderSettings()
    quality: QualitySettings = QualitySettings()
    mask: MaskSettings = MaskSettings()


@dataclass(frozen=True)
class RigModel:
    """What all pairs of one input share: calibration (None without static pairs), rendering, and how good they are.

    `blacks` is what the dark frames of each camera showed, `chromatic` the lateral chromatic shift between the cameras.
    """

    calibration: RigCalibration | None
    rendering: Rendering
    residuals: tuple[dict[str, float], ...] = ()
    blacks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chromatic: ChromaticShift | None = None

    def content(self) -> dict[str, Any]:
        """As stored under /calibration/<input>."""
        fitted = self.calibration.content() if self.calibration else {}
        plain = [{key: _plain(value) for key, value in measures.items()} for measures in self.residuals]
        black = {f"black_{role}": dict(content) for role, content in self.blacks.items()}
        chromatic = {"chromatic": self.chromatic.content()} if self.chromatic else {}
        return {**fitted, **black, **chromatic, "residuals": plain, "rendering": self.rendering.content()}


@dataclass(frozen=True)
class AlignTask:
    """One pair to align; small enough to be sent to another process."""

    source: PairInput
    group: str
    pair: str
    scene: str
    split: str
    rig: RigModel
    settings: AlignDatasetSettings
    storage: Storage
    parts: Path
    report: Path | None = None
    displacement: Path | None = None


@dataclass(frozen=True)
class AlignedPart:
    """What comes back: where the pair lies, and its verdict."""

    part: Path
    verdict: Verdict
    reasons: str


def run_align_task(task: AlignTask) -> AlignedPart:
    """Align one pair and leave it as a part.

    Side outputs come first, so a part means that all of them exist: a run is only continued with the same ones asked.
    """
    captured = task.source.read(task.group, task.pair)
    height, width = captured.sharp.light.shape[:2]
    size = output_size(task.settings.size, width, height)
    judged = judge_pair(captured, task.rig.calibration, task.settings.alignment, task.settings.quality)
    pair = _stored_pair(task, captured, judged, size)
    if task.report is not None:
        calibration = task.rig.calibration
        field = calibration.field if calibration else None
        mask = None if pair.mask is None else _on_full_grid(pair.mask, width, height)
        pictures = pair_pictures(captured, judged.aligned, mask, task.rig.rendering, field)
        save_pictures(task.report, task.scene, task.pair, pictures)
    if task.displacement is not None:
        save_displacement(field_path(task.displacement, task.scene, task.pair), judged.aligned.positions)
    return AlignedPart(write_part(task.parts, pair, task.split), pair.info.verdict, pair.info.reasons)


def _on_full_grid(mask: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """A mask as the report shows it: over pictures of the full size."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _stored_pair(task: AlignTask, captured: CapturedPair, judged: JudgedPair, size: tuple[int, int]) -> Pair:
    verdict, reasons = judged.verdict, judged.reasons
    rendered = output_pair(captured, judged.aligned, task.rig.rendering, size)
    mask, quality = None, judged.quality
    if task.settings.masks == "pair":
        coded = [srgb_encode(light) for light in (rendered.blurred, rendered.sharp)]
        try:
            result = pair_result(coded[0], coded[1], task.settings.mask, rendered.valid)
            mask, quality = result.mask, with_confidence(quality, result.confidence)
        except LocalblurError as error:
            logger.debug("%s: no blur mask: %s", captured.label, error)
            if verdict is not Verdict.REJECT:
                verdict, reasons = Verdict.REJECT, f"no blur mask could be made: {error}"
    box = valid_box(rendered.valid)
    return Pair(
        scene=task.scene,
        info=PairInfo(
            name=task.pair,
            exposure_long_ms=captured.exposure_long_ms,
            exposure_short_ms=captured.exposure_short_ms,
            valid_box=box if box[2] > box[0] else None,
            quality=quality,
            verdict=verdict,
            reasons=reasons,
        ),
        blurred=encode(rendered.blurred, task.storage),
        sharp=encode(rendered.sharp, task.storage),
        mask=mask,
    )


def encode(light: FloatArray, storage: Storage) -> IntArray:
    """Linear light (H, W, 3) as stored: sRGB-coded uint8 or linear uint16."""
    return from_unit(srgb_encode(light), 8) if storage == "srgb8" else from_unit(light, 16)


def field_path(folder: Path, scene: str, pair: str) -> Path:
    """Where the displacement field of a pair lies."""
    return folder / f"{scene}_{pair}.npy"


def save_displacement(path: Path, positions: FloatArray) -> None:
    """Write a displacement field, float32 (H, W, 2), as .npy, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, durable=False) as temporary:
        np.save(temporary, positions)


@dataclass(frozen=True)
class StaticTask:
    """One static pair to fit, or, with a calibration, to check it by."""

    source: PairInput
    pair: str
    settings: AlignDatasetSettings
    calibration: RigCalibration | None = None


def run_fit_task(task: StaticTask) -> StaticFit:
    """Fit the rig's field and take colour samples on one static pair."""
    return fit_static_pair(task.source.read(STATIC, task.pair), task.settings.alignment)


def run_check_task(task: StaticTask) -> tuple[dict[str, float], ChromaticSamples]:
    """What the calibration leaves of a static pair: quality measures, and shifts of its channels."""
    captured, settings = task.source.read(STATIC, task.pair), task.settings
    aligned = align_pair(captured, task.calibration, settings.alignment)
    return measure_quality(aligned, settings.quality), chromatic_samples(aligned, settings.alignment.tiles)


def model_rig(source: PairInput, settings: AlignDatasetSettings, executor: Executor | None) -> RigModel:
    """Calibrate one input from its static pairs, and decide how its colours become sRGB.

    Raises:
        LocalblurError: if there are static pairs but none can be used, or the chart or white balance fails.
    """
    rendering = _rendering(source, settings)
    blacks: dict[str, Mapping[str, float]] = {role: black.content() for role, black in source.blacks().items()}
    pairs = source.pairs(STATIC)
    if not pairs:
        logger.warning("%s has no static pairs: every pair is registered on its own (less reliable)", source.path)
        return RigModel(None, rendering, blacks=blacks)
    fits = _in_order(run_fit_task, [StaticTask(source, pair, settings) for pair in pairs], executor)
    if not fits:
        raise LocalblurError(f"not one of the {len(pairs)} static pairs of {source.path} can be read")
    calibration = calibrate(list(fits.values()), settings.alignment, _flats(source, settings))
    for fit in fits.values():
        if fit.label not in calibration.labels:
            logger.warning("static pair %s is not used: it correlates by %.2f only", fit.label, fit.correlation)
    used = [pair for pair, fit in fits.items() if fit.label in calibration.labels]
    checks = _in_order(run_check_task, [StaticTask(source, pair, settings, calibration) for pair in used], executor)
    width, height = calibration.field.width, calibration.field.height
    chromatic = fit_chromatic([samples for _, samples in checks.values()], width, height)
    return RigModel(calibration, rendering, tuple(quality for quality, _ in checks.values()), blacks, chromatic)


def _flats(source: PairInput, settings: AlignDatasetSettings) -> tuple[FlatField, FlatField] | None:
    """How cameras B and S see an even field, if usable flat frames were recorded."""
    pairs = source.pairs(FLAT)
    if not pairs or not settings.alignment.radiometry.flat_frames:
        return None
    blurred, sharp = FlatMean(), FlatMean()
    try:
        for pair in pairs:
            flat = source.read(FLAT, pair)
            blurred.add(flat.blurred)
            sharp.add(flat.sharp)
        return blurred.field(), sharp.field()
    except LocalblurError as error:
        logger.warning("the flat frames of %s are not used: %s", source.path, error)
        return None


def _in_order(
    function: Callable[[StaticTask], Result], tasks: Sequence[StaticTask], executor: Executor | None
) -> dict[str, Result]:
    """Results by pair in the order of the tasks, not of their completion, so that every run computes the same."""
    results: dict[str, Result] = {}
    for task, result in run_tasks(function, tasks, executor):
        if isinstance(result, LocalblurError):
            logger.warning("static pair %s is not used: %s", task.pair, result)
        elif isinstance(result, Exception):
            raise result
        else:
            results[task.pair] = result
    return {task.pair: results[task.pair] for task in tasks if task.pair in results}


def _rendering(source: PairInput, settings: AlignDatasetSettings) -> Rendering:
    method = settings.render.method
    charts = source.pairs(CHART)
    if method == "auto":
        if source.kind == "folder":
            method = "none"
        else:
            method = "chart" if charts else "gains" if settings.render.gains else "grey-world"
    if method == "none":
        return Rendering.none()
    if method == "gains":
        return given_rendering(settings.render)
    if method == "grey-world":
        return grey_world(_some_sharp_images(source))
    if not charts:
        raise LocalblurError(f"--render chart: {source.path} has no {CHART}; record one or use another --render")
    return chart_rendering(source.read(CHART, charts[0]).sharp)


def _some_sharp_images(source: PairInput) -> Iterator[LinearImage]:
    """The first readable sharp image of up to eight scenes."""
    scenes = source.scenes()
    for scene in scenes[:: max(1, -(-len(scenes) // _GREY_WORLD_SCENES))]:
        group = f"scenes/{scene}"
        for pair in source.pairs(group):
            try:
                captured = source.read(group, pair)
            except LocalblurError as error:  # lost when its turn comes
                logger.debug("%s", error)
                continue
            yield captured.sharp
            break


def _plain(value: float) -> float | None:
    return None if not np.isfinite(value) else value

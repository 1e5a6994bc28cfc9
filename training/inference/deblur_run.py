"""Restoring one picture or video after the other: the work behind `deblur`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from localblur.common.command import one_line
from localblur.common.errors import LocalblurError
from localblur.common.files import NO_SPACE
from localblur.common.parallel import Progress
from localblur.common.settings import validate
from localblur.datasets.images import as_rgb, write_image
from localblur.training.inference.deblur_jobs import Job
from localblur.training.inference.engine import Engine, Precision, SelfEnsemble, TorchEngine, prepare
from localblur.training.inference.model_skipping import stored_skipping
from localblur.training.inference.onnx_export import has_gpu_runtime
from localblur.training.inference.onnx_runtime import OnnxEngine
from localblur.training.inference.picture_files import check_format, read_picture, upright, write_picture
from localblur.training.inference.quantization import calibration_pictures, quantize
from localblur.training.inference.restoration_video import Frame, frame_count, restore_video
from localblur.training.inference.restore import Pixels, Tile, choose_tiling, restore_pixels, window_deviation
from localblur.training.inference.selective import restore_blurred
from localblur.training.inference.skipping import SkipSettings
from localblur.training.model_in_the_box import model_in_the_box
from localblur.training.published_weights import open_model
from localblur.training.runtime import resolve_device

GAP_PX = 8
"""Width of the white line between the two halves of a comparison."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How pictures are restored.

    Attributes:
        tile, memory_bytes: see `restore_pixels`.
        skip: how blurred parts are found, None to restore every pixel.
    """

    tile: Tile = "auto"
    memory_bytes: int | None = None
    skip: SkipSettings | None = None


class Ready(NamedTuple):
    """A model ready to run: its engine, the network's name, and how it finds what is blurred."""

    engine: Engine
    name: str
    skipping: SkipSettings


def make_engine(
    model: Path | None,
    *,
    network: str | None = None,
    runtime: Literal["torch", "onnx"] = "torch",
    precision: Precision = "auto",
    device: str = "auto",
    compiled: bool = False,
    ensemble: bool = False,
) -> Ready:
    """Make a model ready to run.

    Args:
        model: model folder, run folder, a published file of weights, or an ONNX file; None for the model in the box.
        network: name in `NETWORKS` of a published file's network, see `open_model`.

    Raises:
        LocalblurError: if the model cannot be used, or not in this way.
    """
    if network is not None and (model is None or runtime == "onnx"):
        raise LocalblurError("--network names the network of a published file of weights; give that with --model")
    place = resolve_device(device)
    engine: Engine
    if runtime == "onnx":
        if model is None:
            raise LocalblurError("--runtime onnx runs an ONNX file; name one with --model, export-model makes it")
        if model.suffix.lower() != ".onnx":
            raise LocalblurError(f"--runtime onnx runs an ONNX file, got {model}; make one with export-model")
        if precision not in ("auto", "fp32"):
            raise LocalblurError("--runtime onnx computes in the file's own number format; leave out --precision")
        if compiled:
            raise LocalblurError("--runtime onnx compiles by itself; leave out --compile")
        if device == "auto" and not has_gpu_runtime():
            place = resolve_device("cpu")
        found = OnnxEngine(model, place)
        engine, name = found, found.description.network
        skipping = validate(SkipSettings, found.description.skipping, str(model))
    else:
        if model is not None and model.suffix.lower() == ".onnx":
            raise LocalblurError(f"{model} is an ONNX file; pass --runtime onnx")
        model = model or model_in_the_box()
        module, card = open_model(model, network)
        skipping = stored_skipping(model)
        prepare(module, place)
        if precision == "int8":
            module = quantize(module, calibration_pictures())
        engine, name = TorchEngine(module, precision, compiled=compiled), card.network
    return Ready(SelfEnsemble(engine) if ensemble else engine, name, skipping)


def deblur_all(jobs: Sequence[Job], engine: Engine, way: Way) -> int:
    """Restore picture after picture; one that fails does not stop the others.

    Remarks, and a line for each failure, are said as soon as they are known: what comes later may be interrupted.

    Returns:
        How many failed.

    Raises:
        OSError: if no picture can be written any more, for example because the disk is full.
    """
    failed = 0
    frames = {job.source: _frames(job) for job in jobs if job.video}
    total = sum(frames.get(job.source, 1) for job in jobs)
    with Progress(total, "deblur", "picture") as progress:
        for job in jobs:
            try:
                if job.video:
                    remarks = _deblur_video(job, engine, way, progress)
                else:
                    remarks = deblur_picture(job, engine, way)
                    progress.step(job.source.name)
            except (LocalblurError, OSError, MemoryError) as error:
                if isinstance(error, OSError) and _stops_all(error, job):
                    raise
                failed += 1
                remarks = [_with_name(one_line(error), job)]
            for line in remarks:
                progress.say(line)
    return failed


def _with_name(message: str, job: Job) -> str:
    """A message that says which picture it is about."""
    return message if job.source.name in message else f"{job.source}: {message}"


def deblur_picture(job: Job, engine: Engine, way: Way) -> list[str]:
    """Restore one picture and write what the job asks for.

    Returns:
        Remarks for the user.

    Raises:
        LocalblurError: if the picture cannot be read, restored or written, or a gate is asked of a network without one.
        OSError: if the system does not read or write a file.
    """
    picture = read_picture(job.source)
    check_format(job.target, picture)
    remarks = list(picture.remarks)
    restored, gate = restore_one(engine, picture.pixels, way)
    remarks += _deviation(job.source, engine, picture.pixels, way)
    result = picture.with_pixels(restored)
    if job.gate is not None:
        if gate is None:
            raise LocalblurError("this network has no gate; leave out --gate-output")
        write_image(job.gate, upright(gate, picture.orientation))
    if job.compare is not None:
        after = as_rgb(result.channels()) if picture.gray else result.pixels
        before, after = (upright(half, picture.orientation) for half in (picture.pixels, after))
        write_image(job.compare, side_by_side(before, after))
        del before, after
    del picture, restored  # a large one is most of the memory
    write_picture(job.target, result)
    return remarks


def restore_one(engine: Engine, pixels: Pixels, way: Way) -> tuple[Pixels, npt.NDArray[np.uint8] | None]:
    """Restored pixels and the gate, None for networks without."""
    if way.skip is not None:
        found = restore_blurred(engine, pixels, way.skip, tile=way.tile, memory_bytes=way.memory_bytes)
        return found.pixels, found.gate
    restored = restore_pixels(engine, pixels, tile=way.tile, memory_bytes=way.memory_bytes)
    return restored.pixels, restored.gate


def side_by_side(blurred: npt.NDArray[Any], restored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Two pictures (H, W, 3) of one type side by side, a white line between them."""
    width = blurred.shape[1]
    # in the order in which it is written, so that no copy is made
    both = np.full((blurred.shape[0], 2 * width + GAP_PX, 3), np.iinfo(blurred.dtype).max, blurred.dtype)[..., ::-1]
    both[:, :width], both[:, width + GAP_PX :] = blurred, restored
    return both


def _stops_all(error: OSError, job: Job) -> bool:
    """Whether every other picture would fail alike: no space is left, or a folder cannot be made or takes no files."""
    folders = {path.parent for path in job.outputs}
    made = {parent for folder in folders for parent in (folder, *folder.parents)}
    return (
        error.errno in NO_SPACE
        or (error.filename is not None and Path(str(error.filename)) in made)
        or any(folder.is_dir() and not os.access(folder, os.W_OK) for folder in folders)
    )


def _deviation(source: Path, engine: Engine, pixels: Pixels, way: Way) -> list[str]:
    """A remark if windows changed the result of a network that looks at the whole image."""
    if not engine.global_statistics or way.skip is not None:
        return []
    height, width = pixels.shape[:2]
    tiling = choose_tiling(engine, height, width, tile=way.tile, memory_bytes=way.memory_bytes)
    if tiling is None or max(height, width) <= tiling.tile:
        return []
    levels = window_deviation(engine, pixels, tiling)
    remark = (
        f"{source}: this network looks at the whole image at once and was run in windows of {tiling.tile} px;"
        f" in its middle windows change the result by {levels:.2f} of 255 levels on average"
    )
    return [remark]


def _frames(job: Job) -> int:
    try:
        return max(1, frame_count(job.source))
    except (LocalblurError, OSError):  # told when its turn comes
        return 1


def _deblur_video(job: Job, engine: Engine, way: Way, progress: Progress) -> list[str]:
    remarks: list[str] = []
    first = True

    def restore(frame: Frame) -> Frame:
        nonlocal first
        if first:
            remarks.extend(_deviation(job.source, engine, frame, way))
            first = False
        return restore_one(engine, frame, way)[0]

    done = restore_video(job.source, job.target, restore, lambda: progress.step(job.source.name))
    return [*remarks, *([f"{job.source}: {done.damage}"] if done.damage else [])]

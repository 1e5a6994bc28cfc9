"""What workers of `align-dataset` cost at full size: CPU seconds and memory of a pair, and two workers against one."""

import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from alignment_ways import Rendered
from measure import MIB, PeakMemory

from localblur.alignment.judging.judge import judge_pair
from localblur.alignment.run.align_run import make_plan
from localblur.alignment.run.align_tasks import AlignDatasetSettings, AlignTask, model_rig, run_align_task
from localblur.alignment.run.inputs import STATIC
from localblur.common.parallel import BLAS_THREADS, prepare_worker, run_tasks
from localblur.datasets.images import from_unit, srgb_encode, write_image
from localblur.datasets.storage.parts import begin_run

SCENE = "bench"


def tasks_of(folder: Path, rendered: Rendered, count: int) -> list[AlignTask]:
    """A plain pair folder with `count` copies of one pair, and what `align-dataset` would do with it."""
    captured, parts = folder / "captured", folder / "parts"
    for group, pair in ((STATIC, rendered.statics[0]), (f"scenes/{SCENE}", rendered.pair)):
        for role, image in (("blur", pair.blurred), ("sharp", pair.sharp)):
            write_image(captured / group / f"00_{role}.png", from_unit(srgb_encode(image.light), 8))
    scene = captured / "scenes" / SCENE
    for index in range(1, count):
        for role in ("blur", "sharp"):
            shutil.copyfile(scene / f"00_{role}.png", scene / f"{index:02d}_{role}.png")
    plan = make_plan([captured], AlignDatasetSettings(), "train=1", 0)
    source = plan.inputs[captured.name]
    rig = model_rig(source, plan.settings, None)
    begin_run(parts, {"compression": "gzip", **plan.header.plain()})
    return [
        AlignTask(source, f"scenes/{SCENE}", pair, SCENE, "train", rig, plan.settings, plan.storage, parts)
        for pair in plan.pairs(SCENE)
    ]


def cost_of(task: AlignTask) -> dict[str, float]:
    """Run in a worker: CPU seconds of aligning and judging, and of the whole task; its largest resident memory."""
    captured = task.source.read(task.group, task.pair)
    cpu_s = time.process_time()
    judge_pair(captured, task.rig.calibration, task.settings.alignment, task.settings.quality)
    judged_s = time.process_time() - cpu_s
    del captured
    before_mib, cpu_s = psutil.Process().memory_info().rss / MIB, time.process_time()
    with PeakMemory() as memory:
        run_align_task(task)
    return {
        "judged_s": judged_s,
        "whole_s": time.process_time() - cpu_s,
        "resident_mib": before_mib + memory.peak_mib,
    }


@contextmanager
def pool_of(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes as `align-dataset` starts them, with one thread each, also if it is only one."""
    kept = {name: os.environ.get(name) for name in BLAS_THREADS}
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool:
            yield pool
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def cost_per_pair(tasks: list[AlignTask]) -> dict[str, float]:
    """`cost_of` the second pair a fresh worker does; the first one loads libraries."""
    with pool_of(1) as pool:
        _all(pool, tasks[:1])
        return pool.submit(cost_of, tasks[1]).result()


def seconds_per_pair(workers: int, tasks: list[AlignTask]) -> float:
    """Wall time per pair once every worker has done its first one."""
    with pool_of(workers) as pool:
        _all(pool, tasks[:2])
        started = time.perf_counter()
        _all(pool, tasks[2:])
        return (time.perf_counter() - started) / len(tasks[2:])


def _all(pool: ProcessPoolExecutor, tasks: list[Any]) -> None:
    for _, result in run_tasks(run_align_task, tasks, pool):
        if isinstance(result, Exception):
            raise result

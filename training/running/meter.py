"""Means of a run's figures between two log records, and where its time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from localblur.training.runtime import Runtime


class Meter:
    """Collects what each step returns; values stay on their device until they are logged.

    Args:
        runtime: the machine, for its memory.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.note = ""
        self._runtime = runtime
        self._reset()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time within is waiting for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time within is not training."""
        began = time.perf_counter()
        yield
        self._paused += time.perf_counter() - began

    def add(self, values: dict[str, torch.Tensor], images: int) -> None:
        """The figures of one step, and how many images it saw over all processes."""
        self._steps.append(values)
        self._images += images

    def flush(self) -> dict[str, float]:
        """Means since the last flush, with speed and memory.

        `images_per_s`; `data_wait`, the share of the time spent on waiting for data; `memory_mib`, see
        `Runtime.memory_mib`.
        """
        names = self._steps[0] if self._steps else {}
        means = {name: float(torch.stack([step[name].float() for step in self._steps]).mean()) for name in names}
        seconds = max(time.perf_counter() - self._began - self._paused, 1e-9)
        means["images_per_s"] = self._images / seconds
        means["data_wait"] = self._waited / seconds
        means["memory_mib"] = self._runtime.memory_mib()
        if "loss" in means:
            self.note = (
                f"loss {means['loss']:.4f}, {means['images_per_s']:.1f} images/s, {means['data_wait']:.0%} waiting for"
                f" data, {means['memory_mib']:.0f} MiB"
            )
        self._reset()
        return means

    def _reset(self) -> None:
        self._steps: list[dict[str, torch.Tensor]] = []
        self._images = 0
        self._began = time.perf_counter()
        self._waited = self._paused = 0.0

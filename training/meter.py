"""Means of a run's figures between two log records, and where its time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Meter:
    """Collects what each step returns; values stay on their device until they are logged.

    Args:
        batch: images per step, over all processes.
    """

    def __init__(self, batch: int) -> None:
        self.note = ""
        self._batch = batch
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

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """The figures of one step."""
        self._steps.append(values)

    def flush(self) -> dict[str, float]:
        """Means since the last flush, with `images_per_s` and `data_wait`, the share of the time spent on data."""
        names = self._steps[0] if self._steps else {}
        means = {name: float(torch.stack([step[name].float() for step in self._steps]).mean()) for name in names}
        seconds = max(time.perf_counter() - self._began - self._paused, 1e-9)
        means["images_per_s"] = self._batch * len(self._steps) / seconds
        means["data_wait"] = self._waited / seconds
        if "loss" in means:
            self.note = f"loss {means['loss']:.4f}, {means['images_per_s']:.1f} images/s"
        self._reset()
        return means

    def _reset(self) -> None:
        self._steps: list[dict[str, torch.Tensor]] = []
        self._began = time.perf_counter()
        self._waited = self._paused = 0.0
